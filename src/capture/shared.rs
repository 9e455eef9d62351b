//! The mounts that captures of this process share: one for all that have the same options.
//!
//! Made when it is first needed, gone with the last handle: the process keeps
//! only a weak reference. A forked child has its own.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crate::core::rules::{Deliver, FailOn, Linger};
use crate::error::Result;
use crate::forked::Owner;
use crate::mount::Mount;

/// What can be said of a captured file that a mount says of all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) deliver: Deliver,
    pub(super) linger: Linger,
    /// As of any mount unless set.
    pub(super) fail_on: Option<FailOn>,
    pub(super) window: Option<u64>,
}

/// The present mounts of the first process that made one, its forked child's, and so on. That of
/// another process may be locked for ever, by a thread that was not forked with it.
static PRESENT: OnceLock<Present> = OnceLock::new();

struct Present {
    owner: Owner,
    /// Guards which mounts are the present ones. Held while one is made, so that there
    /// are never two of the same options.
    mounts: Mutex<Vec<(Options, Weak<SharedMount>)>>,
    of_child: OnceLock<Box<Present>>,
}

impl Present {
    fn new() -> Present {
        Present {
            owner: Owner::this(),
            mounts: Mutex::default(),
            of_child: OnceLock::new(),
        }
    }

    /// That of this process.
    fn get() -> &'static Present {
        let mut present = PRESENT.get_or_init(Present::new);
        while !present.owner.is_this() {
            present = present.of_child.get_or_init(|| Box::new(Present::new()));
        }
        present
    }
}

#[derive(Debug)]
pub(super) struct SharedMount {
    mount: Mount,
    next: AtomicU64,
}

impl SharedMount {
    /// The present one with these options, or a new one.
    pub(super) fn get(options: &Options) -> Result<Arc<SharedMount>> {
        let present = &Present::get().mounts;
        let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
        present.retain(|(_, mount)| mount.strong_count() > 0);
        let found = present.iter().filter(|(of, _)| of == options);
        // One that somebody else unmounted serves only those who have it.
        let mut found = found.filter_map(|(_, mount)| mount.upgrade());
        if let Some(shared) = found.find(|shared| shared.is_there()) {
            return Ok(shared);
        }
        // Programs that look at each other's output must not wait for it: the end
        // of a capture hangs on the child, which may wait for them.
        let mut builder = Mount::builder().readers_wait(false).linger(options.linger);
        // As a rule it would be the reason that is given.
        if options.deliver != Deliver::Auto {
            builder = builder.deliver_all(options.deliver);
        }
        if let Some(fail_on) = options.fail_on {
            builder = builder.fail_on(fail_on);
        }
        if let Some(bytes) = options.window {
            builder = builder.window(bytes);
        }
        let shared = Arc::new(SharedMount {
            mount: builder.mount_temporary()?,
            next: AtomicU64::new(1),
        });
        present.push((options.clone(), Arc::downgrade(&shared)));
        Ok(shared)
    }

    fn is_there(&self) -> bool {
        !self.mount.wait_timeout(Duration::ZERO)
    }

    pub(super) fn mount(&self) -> &Mount {
        &self.mount
    }

    /// The name of a directory that no other capture has.
    pub(super) fn free_name(&self) -> OsString {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        number.to_string().into()
    }
}

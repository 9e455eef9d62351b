//! The mount that all captures of this process share.
//!
//! Made when it is first needed, gone with the last handle: the process keeps
//! only a weak reference. A forked child has one of its own.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crossbeam_channel::TryRecvError;

use crate::error::Result;
use crate::forked::Owner;
use crate::mount::Mount;

/// The present mount of the first process that made one, its forked child's, and so on. That of
/// another process may be locked for ever, by a thread that was not forked with it.
static PRESENT: OnceLock<Present> = OnceLock::new();

struct Present {
    owner: Owner,
    /// Guards which mount is the present one. Held while it is made, so that there
    /// are never two.
    mount: Mutex<Weak<SharedMount>>,
    of_child: OnceLock<Box<Present>>,
}

impl Present {
    fn new() -> Present {
        Present {
            owner: Owner::this(),
            mount: Mutex::default(),
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
    /// The present one, or a new one.
    pub(super) fn get() -> Result<Arc<SharedMount>> {
        let present = &Present::get().mount;
        let mut present = present.lock().unwrap_or_else(PoisonError::into_inner);
        // One that somebody else unmounted serves only those who have it.
        if let Some(shared) = present.upgrade().filter(|shared| shared.is_there()) {
            return Ok(shared);
        }
        // Programs that look at each other's output must not wait for it: the end
        // of a capture hangs on the child, which may wait for them.
        let mount = Mount::builder().readers_wait(false).mount_temporary()?;
        let shared = Arc::new(SharedMount {
            mount,
            next: AtomicU64::new(1),
        });
        *present = Arc::downgrade(&shared);
        Ok(shared)
    }

    fn is_there(&self) -> bool {
        self.mount.ended().try_recv() != Err(TryRecvError::Disconnected)
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

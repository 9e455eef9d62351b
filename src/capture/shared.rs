//! The mounts that captures of this process share: one for each set of options.
//!
//! ```text
//!          get                 the last lease is dropped            IDLE passes, or the process exits
//!  (none) ─────► leased ◄────────────────────────────────► idle ──────────────────────────────────► unmounted
//!                                     get
//! ```
//!
//! A mount is made when it is first needed, and kept for a while after the last lease, so that a loop does not mount
//! each time. A forked child has its own. Invariant: an idle mount has a thread that will end it.

use std::ffi::OsString;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Uid, geteuid};

use crate::core::rules::{Deliver, FailOn, Linger};
use crate::error::Result;
use crate::forked::{Owner, is_fork};
use crate::mount::Mount;
use crate::sync::lock;

/// How long an unused mount is kept: longer than a run of a program that is run in a loop, and short enough that a
/// later check for leftovers finds nothing.
const IDLE: Duration = Duration::from_secs(5);

/// Options of a captured file that apply to its whole mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) deliver: Deliver,
    pub(super) linger: Linger,
    /// The default of a mount unless set.
    pub(super) fail_on: Option<FailOn>,
    pub(super) window: Option<u64>,
}

/// The mounts of the first process that made one, of its forked child, and so on. A lock of another process may be
/// held for ever, by a thread that was not forked with it.
static PRESENT: OnceLock<Present> = OnceLock::new();

struct Present {
    owner: Owner,
    /// Guards the list of mounts. Held while a mount is made, so that there are never two with the same options, but
    /// never while one ends.
    mounts: Mutex<Mounts>,
    of_child: OnceLock<Box<Present>>,
}

#[derive(Default)]
struct Mounts {
    all: Vec<Entry>,
    /// Whether a thread looks for mounts that have been idle for long.
    swept: bool,
}

struct Entry {
    shared: Arc<SharedMount>,
    options: Options,
    /// The user that made it: another user cannot use it.
    user: Uid,
    leases: usize,
    /// When the last lease ended.
    idle_since: Instant,
}

impl Present {
    fn new() -> Present {
        Present {
            owner: Owner::this(),
            mounts: Mutex::default(),
            of_child: OnceLock::new(),
        }
    }

    /// The value of this process.
    fn get() -> &'static Present {
        let mut present = PRESENT.get_or_init(Present::new);
        while !present.owner.is_this() {
            present = present.of_child.get_or_init(|| Box::new(Present::new()));
        }
        present
    }

    fn mounts(&self) -> MutexGuard<'_, Mounts> {
        lock(&self.mounts)
    }
}

#[derive(Debug)]
pub(super) struct SharedMount {
    mount: Mount,
    next: AtomicU64,
}

impl SharedMount {
    fn is_there(&self) -> bool {
        !self.mount.wait_timeout(Duration::ZERO)
    }

    pub(super) fn mount(&self) -> &Mount {
        &self.mount
    }

    /// A directory name that no other capture has.
    pub(super) fn free_name(&self) -> OsString {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        number.to_string().into()
    }
}

/// Keeps a shared mount.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<SharedMount>,
    owner: Owner,
}

impl Lease {
    /// A lease of the present mount with these options, or of a new one.
    pub(super) fn get(options: &Options) -> Result<Lease> {
        let mut mounts = Present::get().mounts();
        let user = geteuid();
        // A mount that was unmounted from outside serves only captures that have it already.
        let found = mounts.all.iter_mut().find(|entry| {
            (&entry.options, entry.user) == (options, user) && entry.shared.is_there()
        });
        if let Some(entry) = found {
            entry.leases += 1;
            return Ok(Lease {
                shared: Arc::clone(&entry.shared),
                owner: Owner::this(),
            });
        }
        // Programs that look at each other's output must not wait for it: the end of a capture depends on the child,
        // which may wait for them.
        let mut builder = Mount::builder().readers_wait(false).linger(options.linger);
        // A rule would be reported as the reason for the delivery mode.
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
        mounts.all.push(Entry {
            shared: Arc::clone(&shared),
            options: options.clone(),
            user,
            leases: 1,
            idle_since: Instant::now(),
        });
        let owner = Owner::this();
        Ok(Lease { shared, owner })
    }

    /// Runs `act` on the entry of this mount.
    fn with_entry<R>(&self, act: impl FnOnce(&mut Entry) -> R) -> Option<R> {
        // A forked child has no such mount.
        if !self.owner.is_this() {
            return None;
        }
        let mut mounts = Present::get().mounts();
        let mut all = mounts.all.iter_mut();
        all.find(|entry| Arc::ptr_eq(&entry.shared, &self.shared))
            .map(act)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Lease {
        self.with_entry(|entry| entry.leases += 1);
        Lease {
            shared: Arc::clone(&self.shared),
            owner: self.owner,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let is_last = self.with_entry(|entry| {
            entry.leases -= 1;
            entry.idle_since = Instant::now();
            entry.leases == 0
        });
        if is_last == Some(true) {
            end_later();
        }
    }
}

impl Deref for Lease {
    type Target = SharedMount;

    fn deref(&self) -> &SharedMount {
        &self.shared
    }
}

/// Makes sure that idle mounts end.
fn end_later() {
    static AT_EXIT: Once = Once::new();
    // If no handler is registered, the watchdog unmounts. In a fork of a process with another thread in exit(3), the
    // lock of atexit(3) would stay locked for ever.
    if !is_fork() {
        AT_EXIT.call_once(|| {
            // SAFETY: the function exists as long as the process, and does not unwind.
            let _ = unsafe { libc::atexit(at_exit) };
        });
    }
    let mut mounts = Present::get().mounts();
    if mounts.swept {
        return;
    }
    let sweeper = thread::Builder::new().name("fifofs-idle".into());
    match sweeper.spawn(sweep) {
        Ok(_) => mounts.swept = true,
        Err(error) => {
            log::debug!("cannot keep a mount that is not used: {error}");
            drop(mounts);
            unmount_idle();
        }
    }
}

/// Ends mounts that have been idle for long, until none is idle.
fn sweep() {
    loop {
        let mut mounts = Present::get().mounts();
        let now = Instant::now();
        let is_over = |entry: &mut Entry| entry.leases == 0 && now >= entry.idle_since + IDLE;
        let over: Vec<Entry> = mounts.all.extract_if(.., |entry| is_over(entry)).collect();
        let idle = mounts.all.iter().filter(|entry| entry.leases == 0);
        let next = idle.map(|entry| entry.idle_since + IDLE).min();
        mounts.swept = next.is_some();
        drop(mounts);
        drop(over);
        match next {
            Some(next) => thread::sleep(next.saturating_duration_since(Instant::now())),
            None => return,
        }
    }
}

/// Unmounts what captures of this process shared and none needs any more. Such a mount is kept for some seconds, so
/// that a program that captures in a loop does not mount each time, and then ends by itself, or when the process
/// exits. Call this where that is too late: for instance before you remove the directory that holds the mount
/// ($TMPDIR).
///
/// ```
/// use fifofs::Capture;
///
/// let mount = fifofs::mount_of(Capture::new("out.txt")?.path())?.expect("a mount");
/// fifofs::unmount_idle();
/// assert!(!mount.exists());
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn unmount_idle() {
    let idle = Present::get().mounts().take_idle();
    drop(idle);
}

impl Mounts {
    fn take_idle(&mut self) -> Vec<Entry> {
        self.all.extract_if(.., |entry| entry.leases == 0).collect()
    }
}

/// The watchdog would unmount, too, but it may be ended together with this process.
extern "C" fn at_exit() {
    let end = || {
        // A thread that holds the lock may have been stopped by this very exit.
        let idle = match Present::get().mounts.try_lock() {
            Ok(mut mounts) => mounts.take_idle(),
            Err(TryLockError::Poisoned(mounts)) => mounts.into_inner().take_idle(),
            Err(TryLockError::WouldBlock) => return,
        };
        drop(idle);
    };
    // A panic must not unwind into C; its message has been printed.
    let _ = std::panic::catch_unwind(end);
}

//! How long this side of the kernel waits for what: all of its times, each with its reason.

use std::time::Duration;

use rustix::event::Timespec;

// The front loop.

/// For how long the next request is looked for before the thread sleeps: to be woken takes 20 to 50 µs.
pub(super) const REQUEST_SPIN: Duration = Duration::from_micros(100);

/// Who has not written again by now does not write again and again. Longer than a write takes if the loop must
/// be woken for it.
pub(super) const WRITES_AGAIN: Duration = Duration::from_millis(1);

/// How long the kernel's forgetting is waited for: it may be locked by a request that waits.
pub(super) const FORGETTING: Duration = Duration::from_secs(1);

// Mounting.

/// For how long others are let go first who mount on the same directory: a mount takes some milliseconds. Who has the
/// directory locked for something else is not waited for longer.
pub(super) const TURN_PATIENCE: Duration = Duration::from_secs(3);

/// How often it is looked meanwhile whether they are through.
pub(super) const TURN_INTERVAL: Duration = Duration::from_millis(5);

// The end of a mount.

/// How long the end of the mount is waited for once it is unmounted. Whoever still has a file of it open keeps it
/// alive, out of sight.
pub(super) const TEARDOWN: Duration = Duration::from_secs(1);

/// How long a mount may be busy before it is looked at by whom: a process that was killed lets go only when it is
/// gone.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_millis(100);

/// The same where nobody is found. The mount's own helper has files open while somebody waits for them, and for a
/// moment after that.
pub(super) const UNSEEN_PATIENCE: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_millis(10);

/// After how long the list of mounts is read again that could not be: nothing tells when there are descriptors or
/// memory.
pub(super) const MOUNT_LIST_RETRY: Duration = Duration::from_secs(1);

// Other daemons.

/// How long one may take to answer whether it lives. A live one answers in well under a millisecond.
pub(super) const LIVENESS_DEADLINE: Duration = Duration::from_secs(2);

/// How long one may take to say who waits in its mount.
pub(super) const STATUS_DEADLINE: Duration = Duration::from_secs(2);

// The flusher.

/// How long after one round of flushing the next begins at the earliest.
pub(super) const FLUSH_EVERY: Duration = Duration::from_millis(5);

/// How long after one round of flushing what is busy is flushed again: the kernel does nothing while it has much
/// to write back.
pub(super) const FLUSH_RETRY: Duration = Duration::from_millis(20);

/// How long a file is busy after it was written.
pub(super) const FLUSH_BUSY: Duration = Duration::from_millis(100);

/// How long after all files were flushed they are flushed again: of some writes no watch tells.
pub(super) const FLUSH_ALL_EVERY: Duration = Duration::from_millis(100);

// Helper processes.

/// How long a helper's start may take that the watchdog is asked for.
pub(super) const HELPER_STARTS: Timespec = timespec(Duration::from_secs(2));

/// How long a helper may take to end.
pub(super) const HELPER_ENDS: Timespec = timespec(Duration::from_millis(200));

/// How often a daemon is looked at that uses its own mount. One look costs some 20 µs, so this costs nothing; and
/// the process is to be gone within a second.
pub(super) const LOOK_OFTEN: Timespec = timespec(Duration::from_millis(100));

/// The same of a daemon that was ended before it could say that it does: it is to be gone soon, too. As many are
/// at rest for days, it is as seldom as that allows.
pub(super) const LOOK_SELDOM: Timespec = timespec(Duration::from_secs(1));

const fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos() as i64,
    }
}

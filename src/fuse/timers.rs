//! All times of this side of the kernel, each with its reason.

use std::time::Duration;

use rustix::event::Timespec;

// The front loop.

/// How long the front loop polls for the next request before it sleeps: waking it takes 20 to 50 µs.
pub(super) const REQUEST_SPIN: Duration = Duration::from_micros(100);

/// A thread that has not written again within this time is no continuous writer. Longer than a write takes if
/// the loop must be woken for it.
pub(super) const WRITES_AGAIN: Duration = Duration::from_millis(1);

/// How long to wait for the kernel to forget a name: a request that waits may hold the lock.
pub(super) const FORGETTING: Duration = Duration::from_secs(1);

// Mounting.

/// How long to wait for other processes that mount on the same directory: a mount takes some milliseconds. A
/// process that has locked the directory for something else is not waited for longer.
pub(super) const TURN_PATIENCE: Duration = Duration::from_secs(3);

/// How often to check meanwhile whether they are done.
pub(super) const TURN_INTERVAL: Duration = Duration::from_millis(5);

// The end of a mount.

/// How long to wait for the end of the mount once it is unmounted. A process that still has a file of it open
/// keeps it alive, out of sight.
pub(super) const TEARDOWN: Duration = Duration::from_secs(1);

/// How long a mount may be busy before its users are looked for: a process that was killed keeps its files
/// until it is gone.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_millis(100);

/// The same if no user is found. The mount's own helper has files open while a reader waits for them, and for
/// a moment after that.
pub(super) const UNSEEN_PATIENCE: Duration = Duration::from_secs(1);

/// How often to try meanwhile.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_millis(10);

/// When to read the list of mounts again after a failure: no event tells when there are descriptors or
/// memory.
pub(super) const MOUNT_LIST_RETRY: Duration = Duration::from_secs(1);

// Other daemons.

/// How long a daemon may take to show that it lives. A live one answers in well under a millisecond.
pub(super) const LIVENESS_DEADLINE: Duration = Duration::from_secs(2);

/// How long a daemon may take to name the processes that wait in its mount.
pub(super) const STATUS_DEADLINE: Duration = Duration::from_secs(2);

// The flusher.

/// How long after one round of flushing the next begins at the earliest.
pub(super) const FLUSH_EVERY: Duration = Duration::from_millis(5);

/// How long after one round of flushing busy files are flushed again: the kernel does nothing while it has
/// much to write back.
pub(super) const FLUSH_RETRY: Duration = Duration::from_millis(20);

/// How long a file is busy after it was written.
pub(super) const FLUSH_BUSY: Duration = Duration::from_millis(100);

/// How long after all files were flushed they are flushed again: some writes trigger no watch.
pub(super) const FLUSH_ALL_EVERY: Duration = Duration::from_millis(100);

// Helper processes.

/// How long the watchdog may take to start a helper.
pub(super) const HELPER_STARTS: Timespec = timespec(Duration::from_secs(2));

/// How long a helper may take to end.
pub(super) const HELPER_ENDS: Timespec = timespec(Duration::from_millis(200));

/// How often a daemon that uses its own mount is checked. One check costs some 20 µs, so this costs nothing;
/// and the process should be gone within a second.
pub(super) const LOOK_OFTEN: Timespec = timespec(Duration::from_millis(100));

/// The same for a daemon that may have been killed before it could report such use: it should be gone soon,
/// too. As many daemons are idle for days, this is as seldom as that allows.
pub(super) const LOOK_SELDOM: Timespec = timespec(Duration::from_secs(1));

const fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: time.subsec_nanos() as i64,
    }
}

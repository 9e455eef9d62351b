//! All times of the router, each with its reason.

use std::time::Duration;

/// How often callers that had a harmless signal while they waited, and zombies that are not reaped yet, are
/// checked. Well below the 200 ms within which a signal must end a wait.
pub(super) const SIGNAL_RECHECK: Duration = Duration::from_millis(25);

/// How long to wait for a process to be reaped, if only that shows how it ended: as long as readers wait for
/// a writer that might open their file again.
pub(super) const REAPING: Duration = Duration::from_secs(1);

/// The longest the event loop sleeps at once, well within what epoll_wait(2) takes.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How often the log says that processes are refused to write.
pub(super) const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long the kernel may take to report the last close of a process that is gone: milliseconds, on an idle
/// machine.
pub(super) const LAST_CLOSE: Duration = Duration::from_secs(1);

/// How often to check for it meanwhile, as no event reports it.
pub(super) const LAST_CLOSE_LOOK: Duration = Duration::from_millis(1);

/// How long a reader in this process polls for an answer before it sleeps: while a fast writer writes two
/// times 1 MiB. Else the kernel finds this processor idle and moves the writer to it, away from the thread
/// that answers it.
pub(super) const READER_SPIN: Duration = Duration::from_micros(500);

/// Approximate time to wake a sleeping thread on a virtual machine, whose processor has stopped.
pub(super) const WAKING: Duration = Duration::from_micros(50);

/// A scan of a process's descriptors stays valid for this many times as long as it took, so that scanning
/// takes a tenth of the time at most.
pub(super) const BELIEVED_TIMES: u32 = 10;

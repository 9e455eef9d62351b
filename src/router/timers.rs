//! How long the router waits for what: all of its times, each with its reason.

use std::time::Duration;

/// How often callers are looked at that had a harmless signal while they waited, and zombies that are to be
/// reaped. Well below the 200 ms
/// within which a signal must end a wait.
pub(super) const SIGNAL_RECHECK: Duration = Duration::from_millis(25);

/// For how long a process that has exited is expected to be reaped, if only that tells how it ended: as
/// long as readers wait for who might open their file again.
pub(super) const REAPING: Duration = Duration::from_secs(1);

/// The longest the event loop sleeps at once, well within what epoll_wait(2) takes.
pub(super) const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// How often it is said that processes are refused to write: as often as somebody reads a log.
pub(super) const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// How long the kernel may take to tell of the last close of a process that is gone: milliseconds, on a
/// machine that does nothing else.
pub(super) const LAST_CLOSE: Duration = Duration::from_secs(1);

/// How often it is looked at meanwhile. Nothing tells.
pub(super) const LAST_CLOSE_LOOK: Duration = Duration::from_millis(1);

/// For how long a reader in this process looks for an answer before it sleeps: while a fast writer
/// writes two times 1 MiB. Else the kernel finds this processor idle and moves
/// the writer to it, away from who answers it.
pub(super) const READER_SPIN: Duration = Duration::from_micros(500);

/// About what it takes a sleeping thread to be woken on a virtual machine, whose processor has stopped.
pub(super) const WAKING: Duration = Duration::from_micros(50);

/// For how many times as long as it took to look at the descriptors of a process what was found is
/// believed: so that looking takes a tenth of the time at most.
pub(super) const BELIEVED_TIMES: u32 = 10;

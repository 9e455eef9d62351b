//! One waiting reader: which path it follows, what it was given, what it asks.
//!
//! ```text
//!  OPEN waits ──► open ──► reading ──► at the end
//!      │                      │
//!      └─► ENOENT             └─► rewritten (final: every read fails)
//! ```
//!
//! Knows nothing of files; `reading` brings the two together. Invariant: a
//! reader whose `prior` is set has been given bytes of another inode, and gets
//! nothing more until the present one is seen to begin with the same.

use std::ffi::OsString;
use std::ops::Range;

use super::clock::Monotonic;
use super::doors::{Asked, AwaitedProcess, Gives, Target};
use super::effects::Unique;
use super::fifos::FifoId;
use super::ids::CaptureId;
use super::polling::Pollers;
use super::spool::{Kept, Spool};

/// What a reader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// The file it opened by its ordinary path, this inode.
    File(u64),
    /// Whatever comes to stand at its path.
    Path,
    /// What is written after it came: another generation than the one that was
    /// there then.
    NextAfter(Option<Seen>),
    /// What began to be written after this process began.
    Since(Target),
}

/// A generation that a reader does not want, since it came too late for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ino: u64,
    pub(crate) number: u64,
    /// How often it had been opened for writing, if nobody had it open any
    /// more: opened once again while it lingers, it is what comes next.
    pub(crate) openings: Option<u64>,
}

/// A READ that cannot be answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingRead {
    pub(crate) unique: Unique,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Since when there has been something, though not all, to answer it with.
    pub(crate) since: Option<Monotonic>,
    /// Whether it does not wait at all.
    pub(crate) nonblocking: bool,
}

/// One waiting reader.
#[derive(Debug)]
pub(crate) struct Reader {
    /// Who opened it; no user is this process itself.
    pub(crate) user: Option<u32>,
    /// The memory that it takes.
    pub(crate) _kept: Kept,
    pub(crate) awaits: Awaits,
    /// The process, and its name: who waits for whom is shown to users.
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) thread: i32,
    /// The path it follows; none if what it opened had none any more.
    pub(crate) path: Option<Vec<OsString>>,
    /// Other names of what it opened: it may have been by one of those.
    pub(crate) other_paths: Vec<Vec<OsString>>,
    /// The inode it reads.
    pub(crate) source: Option<u64>,
    /// Whether nothing stands at its path just now.
    pub(crate) absent: bool,
    /// The process group by which it may be a step of the script that writes its file.
    pub(crate) group: Option<i32>,
    /// What it captures, if it belongs to this process and not to one that reads
    /// through the kernel.
    pub(crate) capture: Option<CaptureId>,
    /// Opened with `O_NONBLOCK`: its OPEN does not wait.
    pub(crate) nonblocking: bool,
    /// What is behind the door of the control directory where it waits, and the inode of that
    /// place; none if it opened the file by its own path.
    pub(crate) door: Option<(Gives, u64)>,
    /// The process after whose end it waits no longer.
    pub(crate) process: Option<AwaitedProcess>,
    /// The virtual FIFO that it opened.
    pub(crate) fifo: Option<FifoId>,
    /// The processes from which it descends, if it opened one.
    pub(crate) lineage: Vec<i32>,
    /// Whether it has got a message of that, which is its own then.
    pub(crate) took: bool,
    /// Its OPEN, or what else it asked for before it has anything, while that waits.
    pub(crate) open: Option<Unique>,
    /// Which of them.
    pub(crate) asked: Asked,
    /// Whether its caller looks its path up again because we told it to. The kernel does so
    /// once; whoever cannot be told apart counts as such a one.
    pub(crate) was_sent_back: bool,
    /// Its READs, while they wait.
    pub(crate) reads: Vec<PendingRead>,
    /// One past the highest byte it was given.
    pub(crate) position: u64,
    /// When it was last given something.
    pub(crate) given: Option<Monotonic>,
    /// Whether a READ of it waits though there is something for it: more is about to come.
    pub(crate) gathers: bool,
    /// What it was given, if that was of another inode than `source`.
    pub(crate) prior: Option<Spool>,
    /// The bytes it was given that are no longer so.
    pub(crate) rewritten: Option<Range<u64>>,
    /// Whether it was told that it has everything.
    pub(crate) finished: bool,
    /// Whoever polls it.
    pub(crate) pollers: Pollers,
}

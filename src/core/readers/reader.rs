//! One waiting reader: which path it follows, what it was given, what it asks.
//!
//! ```text
//!  OPEN waits ──► open ──► reading ──► at the end
//!      │                      │
//!      └─► ENOENT             └─► rewritten (final: every read fails)
//! ```
//!
//! Knows nothing of files. Invariants: a reader that has a `prior` was given bytes of another inode, and gets
//! nothing more until the present one is seen to begin with them. `position` only grows. `origin` never
//! changes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::Range;
use std::time::Duration;

use super::super::clock::Monotonic;
use super::super::doors::{Gives, Target};
use super::super::generation::Way;
use super::super::ids::{CaptureId, FifoId, Unique};
use super::super::patching::Patches;
use super::super::spool::{Kept, Spool};
use super::pollers::Pollers;

/// What a reader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// The file it opened by its ordinary path, this inode.
    File(u64),
    /// Any file at its path, now or later.
    Path,
    /// A later generation than the one at its path when it came.
    NextAfter(Option<Seen>),
    /// A generation that began after this process did.
    Since(Target),
}

/// A generation that a reader does not want, since it came too late for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) ino: u64,
    pub(crate) number: u64,
    /// How often it had been opened for writing, if it was closed: opened again while it lingers, it counts
    /// as the next one.
    pub(crate) openings: Option<u64>,
}

/// A READ that cannot be answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingRead {
    pub(crate) unique: Unique,
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Since when there have been some, but not all, bytes to answer it with.
    pub(crate) since: Option<Monotonic>,
    /// Whether it never waits (O_NONBLOCK).
    pub(crate) nonblocking: bool,
}

/// What a reader came with.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The user that opened it; none for the daemon's own process.
    pub(crate) user: Option<u32>,
    /// The memory that it takes.
    pub(crate) _kept: Kept,
    /// The process; it and its name are shown to users.
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) thread: i32,
    /// The file whose inode the kernel has open for it, or will have; none if it came by the control
    /// directory or a virtual FIFO, which have inodes of their own.
    pub(crate) inode: Option<u64>,
    /// The incarnation of that inode.
    pub(crate) incarnation: Option<u32>,
    /// Other names of the inode, as it may have been opened by one of those.
    pub(crate) other_paths: Vec<Vec<OsString>>,
    /// The process group by which it may be a step of the script that writes its file.
    pub(crate) group: Option<i32>,
    /// What it captures, if it belongs to this process and not to one that reads
    /// through the kernel.
    pub(crate) capture: Option<CaptureId>,
    /// Opened with `O_NONBLOCK`: its OPEN does not wait.
    pub(crate) nonblocking: bool,
    /// What the door gives at which it waits, and the inode of the place behind the door; none if it opened
    /// the file by its own path.
    pub(crate) door: Option<(Gives, u64)>,
    /// The virtual FIFO that it opened.
    pub(crate) fifo: Option<FifoId>,
    /// Its process and the ancestors of that, if it opened a virtual FIFO.
    pub(crate) lineage: Vec<i32>,
    /// Whether its request is no OPEN, but a GETATTR at a door.
    pub(crate) asks_attributes: bool,
    /// Whether its caller was sent back by ESTALE. The kernel looks a path up again only once; a caller that
    /// cannot be told from others counts as sent back.
    pub(crate) was_sent_back: bool,
}

/// One waiting reader.
#[derive(Debug)]
pub(crate) struct Reader {
    origin: Origin,
    awaits: Awaits,
    /// Whether the process that it named (`Awaits::Since`) has ended.
    over: bool,
    /// The path it follows; none if the inode had no name any more.
    path: Option<Vec<OsString>>,
    /// The inode it reads.
    source: Option<u64>,
    /// Whether nothing stands at its path just now.
    absent: bool,
    /// Whether it has taken a message of a virtual FIFO.
    took: bool,
    /// Its OPEN, or its GETATTR at a door, while that waits.
    open: Option<Unique>,
    /// Its READs, while they wait.
    reads: Vec<PendingRead>,
    /// Whether it ever sent a READ.
    has_read: bool,
    /// One past the highest byte it was given.
    position: u64,
    /// When it was last given something.
    given: Option<Monotonic>,
    /// What it was given, if that was of another inode than `source`.
    prior: Option<Spool>,
    /// Range of bytes it was given that were changed afterwards: an error.
    rewritten: Option<Range<u64>>,
    /// Changed ranges of a reader by position, for which they are no error.
    patches: Option<Patches>,
    /// Ranges that a reader by position does not need any more, unchanged, in the order in which they may be
    /// dropped.
    released: VecDeque<Range<u64>>,
    /// Whether it ever released a range.
    has_released: bool,
    /// Whether it was told that it has everything.
    finished: bool,
    pollers: Pollers,
}

impl Reader {
    /// A reader that waits for this at that path. `open`, if given, is answered once there is something for
    /// it.
    pub(in crate::core) fn new(
        origin: Origin,
        awaits: Awaits,
        path: Option<Vec<OsString>>,
        open: Option<Unique>,
    ) -> Reader {
        Reader {
            origin,
            awaits,
            over: false,
            path,
            source: None,
            absent: false,
            took: false,
            open,
            reads: Vec::new(),
            has_read: false,
            position: 0,
            given: None,
            prior: None,
            rewritten: None,
            patches: None,
            released: VecDeque::new(),
            has_released: false,
            finished: false,
            pollers: Pollers::default(),
        }
    }

    /// Sets whether the process that it named has ended already.
    pub(in crate::core) fn over(mut self, over: bool) -> Reader {
        self.over = over;
        self
    }

    /// Makes it a reader by position.
    pub(in crate::core) fn by_position(mut self) -> Reader {
        self.patches = Some(Patches::default());
        self
    }

    pub(in crate::core) fn reads_by_position(&self) -> bool {
        self.patches.is_some()
    }

    /// Whether it waits for bytes, not the end, of a file that is delivered this way.
    pub(in crate::core) fn wants_bytes_of(&self, way: Option<Way>) -> bool {
        let come_early = way != Some(Way::Settled) || self.reads_by_position();
        come_early && !self.finished && !self.waits_for_whole()
    }

    /// What it came with.
    pub(in crate::core) fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(in crate::core) fn awaits(&self) -> Awaits {
        self.awaits
    }

    /// Has it wait for another file. Returns what it waited for before.
    pub(in crate::core) fn await_file(&mut self, ino: u64) -> Awaits {
        std::mem::replace(&mut self.awaits, Awaits::File(ino))
    }

    /// The path it follows.
    pub(in crate::core) fn path(&self) -> Option<&[OsString]> {
        self.path.as_deref()
    }

    pub(super) fn set_path(&mut self, path: Option<Vec<OsString>>) -> Option<Vec<OsString>> {
        std::mem::replace(&mut self.path, path)
    }

    /// The inode it reads.
    pub(in crate::core) fn source(&self) -> Option<u64> {
        self.source
    }

    pub(in crate::core) fn set_source(&mut self, source: Option<u64>) -> Option<u64> {
        if self.source != source {
            self.released.clear();
        }
        std::mem::replace(&mut self.source, source)
    }

    /// Whether nothing stands at its path just now.
    pub(in crate::core) fn is_absent(&self) -> bool {
        self.absent
    }

    pub(in crate::core) fn set_absent(&mut self, absent: bool) {
        self.absent = absent;
    }

    /// The process group by which it may be a step of a script. While its path leads nowhere it is no step.
    pub(in crate::core) fn group_here(&self) -> Option<i32> {
        self.origin.group.filter(|_| !self.absent)
    }

    /// Whether it waits for the finished file, and gets nothing before.
    pub(in crate::core) fn waits_for_whole(&self) -> bool {
        let door = self.origin.door.filter(|_| self.open.is_some());
        door.is_some_and(|(gives, _)| gives == Gives::File)
    }

    /// Whether it has taken a message of a FIFO.
    pub(in crate::core) fn has_taken(&self) -> bool {
        self.took
    }

    /// Notes that it has taken a message of a FIFO.
    pub(in crate::core) fn take(&mut self) {
        self.took = true;
    }

    /// Whether the process that it named has ended: no more will begin.
    pub(in crate::core) fn is_over(&self) -> bool {
        self.over
    }

    /// The process that it named, while that runs and may still write.
    pub(in crate::core) fn awaited_process(&self) -> Option<i32> {
        match self.awaits {
            Awaits::Since(target) if !self.over => target.pid,
            _ => None,
        }
    }

    /// A process has ended; returns whether it is the one that this reader named.
    pub(super) fn process_ended(&mut self, pid: i32) -> bool {
        let is_named = matches!(self.awaits, Awaits::Since(target) if target.pid == Some(pid));
        self.over |= is_named;
        is_named
    }

    /// Its OPEN, while that waits.
    pub(in crate::core) fn open(&self) -> Option<Unique> {
        self.open
    }

    /// Its OPEN is answered.
    pub(in crate::core) fn opened(&mut self) {
        self.open = None;
    }

    /// Its READs, while they wait.
    pub(in crate::core) fn reads(&self) -> &[PendingRead] {
        &self.reads
    }

    pub(in crate::core) fn add_read(&mut self, read: PendingRead) {
        self.reads.push(read);
        self.has_read = true;
    }

    /// Whether it opened a file without size and never read it.
    pub(in crate::core) fn never_read(&self) -> bool {
        let is_pipe = |(gives, _)| gives != Gives::File;
        let has_no_size = self.origin.fifo.is_some() || self.origin.door.is_some_and(is_pipe);
        has_no_size && self.open.is_none() && !self.has_read
    }

    /// Takes its READs, to be answered or kept again.
    pub(in crate::core) fn take_reads(&mut self) -> Vec<PendingRead> {
        std::mem::take(&mut self.reads)
    }

    pub(in crate::core) fn keep_reads(&mut self, reads: Vec<PendingRead>) {
        self.reads = reads;
    }

    pub(in crate::core) fn give_up_read(&mut self, unique: Unique) {
        self.reads.retain(|read| read.unique != unique);
    }

    /// One past the highest byte it was given.
    pub(in crate::core) fn position(&self) -> u64 {
        self.position
    }

    /// Notes that it is given these bytes.
    pub(in crate::core) fn give(&mut self, range: Range<u64>, now: Monotonic) {
        self.given = Some(now);
        self.position = self.position.max(range.end);
        if let Some(patches) = &mut self.patches {
            patches.remove(range);
        }
    }

    /// Whether it was given something within that time.
    pub(in crate::core) fn was_given_within(&self, time: Duration, now: Monotonic) -> bool {
        self.given.is_some_and(|at| now.saturating_sub(at) < time)
    }

    /// Whether it was given something, and is to get more.
    pub(in crate::core) fn is_underway(&self) -> bool {
        self.position > 0 && !self.finished
    }

    /// Length of the beginning of its file that it has unchanged, if it is to get more.
    pub(in crate::core) fn has_unchanged(&self) -> Option<u64> {
        let changed = self.patches.iter().flat_map(Patches::ranges).next();
        let position = self.has_of_source()?;
        Some(changed.map_or(position, |range| range.start.min(position)))
    }

    /// How much it has of its file, if it is to get more: 0 while bytes of another file are still to be
    /// compared.
    pub(in crate::core) fn has_of_source(&self) -> Option<u64> {
        let gets_more = !self.finished && self.rewritten.is_none();
        gets_more.then(|| self.prior.as_ref().map_or(self.position, |_| 0))
    }

    /// Whether it was told that it has everything.
    pub(in crate::core) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(in crate::core) fn finish(&mut self) {
        self.finished = true;
    }

    /// What it was given by another file than it reads now.
    pub(in crate::core) fn prior(&self) -> Option<&Spool> {
        self.prior.as_ref()
    }

    pub(super) fn set_prior(&mut self, prior: Option<Spool>) {
        self.prior = prior;
    }

    /// Range of bytes it was given that were changed afterwards: an error.
    pub(in crate::core) fn rewritten(&self) -> Option<&Range<u64>> {
        self.rewritten.as_ref()
    }

    /// Marks a range as changed. Returns whether that is its first error.
    pub(in crate::core) fn mark_rewritten(&mut self, range: Range<u64>) -> bool {
        if let Some(patches) = &mut self.patches {
            let is_apart =
                |other: &Range<u64>| other.end <= range.start || range.end <= other.start;
            self.released.retain(is_apart);
            patches.add(range);
            return false;
        }
        let is_first = self.rewritten.is_none();
        self.rewritten.get_or_insert(range);
        is_first
    }

    /// Changed ranges of a reader by position, until it is given them again.
    pub(in crate::core) fn changed(&self) -> Vec<Range<u64>> {
        self.patches.iter().flat_map(Patches::ranges).collect()
    }

    /// Notes that it does not need these bytes any more, unless they change. A range that it has not got, or
    /// that has changed since, is ignored. An empty range announces later ones.
    pub(in crate::core) fn release(&mut self, range: Range<u64>) {
        let Some(patches) = &self.patches else {
            return;
        };
        if range.end <= self.position && patches.within(&range).next().is_none() {
            self.has_released = true;
            if !range.is_empty() {
                self.released.push_back(range);
            }
        }
    }

    /// Whether it ever released bytes.
    pub(in crate::core) fn has_ever_released(&self) -> bool {
        self.has_released
    }

    /// Number of bytes released and not dropped yet.
    pub(in crate::core) fn released_bytes(&self) -> u64 {
        self.released
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// Takes the range that was released first, to be dropped.
    pub(in crate::core) fn take_released(&mut self) -> Option<Range<u64>> {
        self.released.pop_front()
    }

    pub(in crate::core) fn pollers(&mut self) -> &mut Pollers {
        &mut self.pollers
    }
}

//! One waiting reader: which path it follows, what it was given, what it asks.
//!
//! ```text
//!  OPEN waits ──► open ──► reading ──► at the end
//!      │                      │
//!      └─► ENOENT             └─► rewritten (final: every read fails)
//! ```
//!
//! Knows nothing of files. Invariants: a reader that has a `prior` has been given bytes of another inode,
//! and gets nothing more until the present one is seen to begin with the same. What it was given only
//! grows. What it came with stays.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::Range;
use std::time::Duration;

use super::super::clock::Monotonic;
use super::super::doors::{Asked, Gives, Target};
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

/// What a reader came with.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Who opened it; no user is this process itself.
    pub(crate) user: Option<u32>,
    /// The memory that it takes.
    pub(crate) _kept: Kept,
    /// The process, and its name: who waits for whom is shown to users.
    pub(crate) pid: i32,
    pub(crate) name: String,
    pub(crate) thread: i32,
    /// The file whose inode the kernel has open for it, or holds until it has: not where it came by the
    /// control directory or a virtual FIFO, which have inodes of their own.
    pub(crate) inode: Option<u64>,
    /// Which incarnation of that.
    pub(crate) incarnation: Option<u32>,
    /// Other names of what it opened: it may have been by one of those.
    pub(crate) other_paths: Vec<Vec<OsString>>,
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
    /// The virtual FIFO that it opened.
    pub(crate) fifo: Option<FifoId>,
    /// The processes from which it descends, if it opened one.
    pub(crate) lineage: Vec<i32>,
    /// What it asks for before it has anything.
    pub(crate) asked: Asked,
    /// Whether its caller looks its path up again because we told it to. The kernel does so
    /// once; whoever cannot be told apart counts as such a one.
    pub(crate) was_sent_back: bool,
}

/// One waiting reader.
#[derive(Debug)]
pub(crate) struct Reader {
    origin: Origin,
    awaits: Awaits,
    /// Whether the process has ended after whose end it waits no longer.
    over: bool,
    /// The path it follows; none if what it opened had none any more.
    path: Option<Vec<OsString>>,
    /// The inode it reads.
    source: Option<u64>,
    /// Whether nothing stands at its path just now.
    absent: bool,
    /// Whether it has got a message of a virtual FIFO, which is its own then.
    took: bool,
    /// Its OPEN, or what else it asked for before it has anything, while that waits.
    open: Option<Unique>,
    /// Its READs, while they wait.
    reads: Vec<PendingRead>,
    /// Whether it ever sent one.
    has_read: bool,
    /// One past the highest byte it was given.
    position: u64,
    /// When it was last given something.
    given: Option<Monotonic>,
    /// What it was given, if that was of another inode than `source`.
    prior: Option<Spool>,
    /// The bytes it was given that are no longer so.
    rewritten: Option<Range<u64>>,
    /// The same of one that reads by position, for which it is no error.
    patches: Option<Patches>,
    /// What such a one does not need any more, in the order in which it may be given up. Of these none has
    /// changed.
    released: VecDeque<Range<u64>>,
    /// Whether there ever was any.
    has_released: bool,
    /// Whether it was told that it has everything.
    finished: bool,
    /// Whoever polls it.
    pollers: Pollers,
}

impl Reader {
    /// One that waits for this at that path. The request, if there is one, is answered once it has something.
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

    /// The same, whose process has ended already, or not.
    pub(in crate::core) fn over(mut self, over: bool) -> Reader {
        self.over = over;
        self
    }

    /// The same, which reads by position.
    pub(in crate::core) fn by_position(mut self) -> Reader {
        self.patches = Some(Patches::default());
        self
    }

    pub(in crate::core) fn reads_by_position(&self) -> bool {
        self.patches.is_some()
    }

    /// Whether it waits for bytes of a file that is delivered so, and not for its end.
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

    /// It waits for another file. Gives what it waited for before.
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

    pub(super) fn set_source(&mut self, source: Option<u64>) -> Option<u64> {
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

    /// The process group by which it may be a step of a script. One whose path leads nowhere just now waits
    /// like everybody.
    pub(in crate::core) fn group_here(&self) -> Option<i32> {
        self.origin.group.filter(|_| !self.absent)
    }

    /// Whether it waits for the finished file, and gets nothing before.
    pub(in crate::core) fn waits_for_whole(&self) -> bool {
        let door = self.origin.door.filter(|_| self.open.is_some());
        door.is_some_and(|(gives, _)| gives == Gives::File)
    }

    /// Whether it has got a message of a FIFO.
    pub(in crate::core) fn has_taken(&self) -> bool {
        self.took
    }

    /// It gets a message of a FIFO.
    pub(in crate::core) fn take(&mut self) {
        self.took = true;
    }

    /// Whether the process that it named has ended: no more will begin.
    pub(in crate::core) fn is_over(&self) -> bool {
        self.over
    }

    /// The process that it named, while that runs and may write more.
    pub(in crate::core) fn awaited_process(&self) -> Option<i32> {
        match self.awaits {
            Awaits::Since(target) if !self.over => target.pid,
            _ => None,
        }
    }

    /// A process has ended. Says whether it named that.
    pub(super) fn process_ended(&mut self, pid: i32) -> bool {
        let is_it = matches!(self.awaits, Awaits::Since(target) if target.pid == Some(pid));
        self.over |= is_it;
        is_it
    }

    /// Its OPEN, while that waits.
    pub(in crate::core) fn open(&self) -> Option<Unique> {
        self.open
    }

    /// That is answered.
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

    /// Whether it opened what has no size, and had not read of it so far.
    pub(in crate::core) fn never_read(&self) -> bool {
        let is_pipe = |(gives, _)| gives != Gives::File;
        let has_no_size = self.origin.fifo.is_some() || self.origin.door.is_some_and(is_pipe);
        has_no_size && self.open.is_none() && !self.has_read
    }

    /// To be answered, or to be kept again.
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

    /// It is given these bytes.
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

    /// How much it has of what it reads as that is now, if it is to get more.
    pub(in crate::core) fn has_unchanged(&self) -> Option<u64> {
        let changed = self.patches.iter().flat_map(Patches::ranges).next();
        let position = self.has_of_source()?;
        Some(changed.map_or(position, |range| range.start.min(position)))
    }

    /// How much it has of what it reads, if it is to get more of that: nothing if what it was given of
    /// another file is still to be compared.
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

    /// The bytes it was given that are no longer so.
    pub(in crate::core) fn rewritten(&self) -> Option<&Range<u64>> {
        self.rewritten.as_ref()
    }

    /// Some are so. Says whether that is the first error of it.
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

    /// The same of one that reads by position, until it is given them again.
    pub(in crate::core) fn changed(&self) -> Vec<Range<u64>> {
        self.patches.iter().flat_map(Patches::ranges).collect()
    }

    /// It does not need these bytes any more, unless they change. What it has not got, or not as it is now, is
    /// not meant. An empty range says that others will follow.
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

    /// Whether it releases what it has got.
    pub(in crate::core) fn has_ever_released(&self) -> bool {
        self.has_released
    }

    /// How many bytes were released, and not given up.
    pub(in crate::core) fn released_bytes(&self) -> u64 {
        self.released
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    /// What was released first, to be given up.
    pub(in crate::core) fn take_released(&mut self) -> Option<Range<u64>> {
        self.released.pop_front()
    }

    /// Whoever polls it.
    pub(super) fn pollers(&mut self) -> &mut Pollers {
        &mut self.pollers
    }
}

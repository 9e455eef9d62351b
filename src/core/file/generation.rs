//! One writing of a file, from the first open for writing until it is done.
//!
//! ```text
//!                        last close
//!            Writing ─────────────────► Closed ──┬─ lingered, all well ──► Done
//!               ▲                         │      └─ a writer was killed ─► Failed
//!               └──── open for writing ───┘
//! ```
//!
//! Once it has been closed for long enough, the later steps of a script get it as it is ([`super::steps`]).
//! When they have closed it and have had time to write it anew, it is done.
//!
//! `Done` and `Failed` are final: the next open for writing makes a new generation. Knows the writers and how
//! they ended, and how far readers got; does not know the bytes (the spool does) or single readers.
//!
//! Invariants: a way, once chosen, stays for the whole generation, since the transport of every handle was
//! chosen by it. Number, writers and `lost` are changed here only.

mod done;
mod handing_out;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::clock::Monotonic;
use super::super::rules::FailOn;
use super::steps::{OpenStep, Step, Steps};
pub(crate) use super::writer::{Ending, Writer, is_crash, unseen_writer};
pub(crate) use done::{Left, Processes};

/// How written bytes reach the readers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Way {
    /// Like a pipe: as written, nothing kept.
    Stream,
    /// As written, everything kept.
    Follow,
    /// When it is done.
    Settled,
}

impl fmt::Display for Way {
    /// The word for it, as `--deliver` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Stream => "stream",
            Way::Follow => "follow",
            Way::Settled => "settled",
        })
    }
}

/// The reason why auto settles a file of unknown format.
pub(crate) const NO_KNOWN_KIND: &str = "bytes of no known kind";

/// The phase of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was never opened for writing: of a file that has no generation yet.
    #[default]
    Unopened,
    /// It is open for writing.
    Writing,
    /// It is closed, but may be opened again.
    Closed {
        /// When the last writer closed it.
        since: Monotonic,
    },
    /// The content is whole.
    Done,
    /// A writer came to a bad end: the content may be incomplete, and no more will come.
    Failed,
}

/// Number of writers kept before those that ended well are dropped.
const WRITERS_KEPT: usize = 64;

/// One generation of one file, or none yet.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    /// Counted from 1 for each file; 0 if there is none yet.
    number: u64,
    phase: Phase,
    /// How it reaches its readers, once chosen.
    way: Option<Way>,
    /// Why that way.
    reason: String,
    /// Whether auto chose, and so holds the first bytes back.
    chosen_by_auto: bool,
    /// When it was last opened for writing.
    opened: Option<Monotonic>,
    /// Open handles that may write.
    handles: u32,
    /// How often it was opened for writing.
    openings: u64,
    /// Whether an open suggests that it is written later, as that of touch(1) does.
    is_placeholder: bool,
    /// Whether it was last opened for appending, as files are that are opened for each line.
    is_appended: bool,
    /// Writers: all that still run or came to a bad end, and the last of the others.
    writers: Vec<Writer>,
    /// The process groups of all writers.
    groups: BTreeSet<i32>,
    /// Whether bytes were lost that the program believes written, or that were dropped when it changed or
    /// read them.
    lost: bool,
    /// When the first byte was written; with earlier content, when it was opened.
    first_byte: Option<Monotonic>,
    /// When it was last opened again after it had been closed.
    reopened: Option<Monotonic>,
    /// Whether anything was written.
    written: bool,
    /// The highest offset that any reader was given.
    delivered: u64,
    /// Whether it ever had a reader.
    had_reader: bool,
    /// Whether a reader got its end of file.
    told_done: bool,
    /// The later steps of the script that wrote it.
    steps: Steps,
    /// Whether its first bytes were held back long enough.
    released: bool,
}

impl Generation {
    /// The next generation, which is about to be opened for writing. Bytes lost in this one are missing in that,
    /// too, until the file is emptied.
    pub(super) fn next(&self) -> Self {
        Generation {
            number: self.number + 1,
            phase: Phase::Writing,
            lost: self.lost,
            ..Generation::default()
        }
    }

    /// Whether there is one: the file was opened for writing.
    pub(in crate::core) fn has_begun(&self) -> bool {
        self.phase != Phase::Unopened
    }

    /// Whether it is not done.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Writing | Phase::Closed { .. })
    }

    /// Counted from 1 for each file.
    pub(in crate::core) fn number(&self) -> u64 {
        self.number
    }

    pub(in crate::core) fn phase(&self) -> Phase {
        self.phase
    }

    /// How it reaches its readers, and why, once chosen.
    pub(in crate::core) fn chosen(&self) -> Option<(Way, &str)> {
        Some((self.way?, self.reason.as_str()))
    }

    /// Whether it is delivered this way.
    pub(in crate::core) fn goes(&self, way: Way) -> bool {
        self.way == Some(way)
    }

    /// Whether auto chose, and so holds the first bytes back.
    pub(in crate::core) fn is_chosen_by_auto(&self) -> bool {
        self.chosen_by_auto
    }

    /// When it was last opened for writing.
    pub(in crate::core) fn last_opened(&self) -> Option<Monotonic> {
        self.opened
    }

    /// Whether it is open for writing.
    pub(in crate::core) fn is_open(&self) -> bool {
        self.handles > 0
    }

    /// How often it was opened for writing.
    pub(in crate::core) fn openings(&self) -> u64 {
        self.openings
    }

    /// Whether it was last opened for appending.
    pub(in crate::core) fn is_appended(&self) -> bool {
        self.is_appended
    }

    /// Writers: all that still run or came to a bad end, and the last of the others.
    pub(in crate::core) fn writers(&self) -> &[Writer] {
        &self.writers
    }

    /// Whether bytes were lost.
    pub(in crate::core) fn is_lost(&self) -> bool {
        self.lost
    }

    /// The highest offset that any reader was given.
    pub(in crate::core) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Whether it ever had a reader.
    pub(in crate::core) fn had_reader(&self) -> bool {
        self.had_reader
    }

    /// The admitted steps of its script that have it open.
    pub(in crate::core) fn open_steps(&self) -> &[Step] {
        self.steps.open()
    }

    /// Whether steps of its script are admitted.
    pub(in crate::core) fn admits_steps(&self) -> bool {
        self.steps.are_admitted()
    }

    /// Whether anything was written.
    pub(super) fn is_written(&self) -> bool {
        self.written
    }

    /// Whether a reader got its end of file.
    pub(super) fn is_told_done(&self) -> bool {
        self.told_done
    }

    /// Notes that it has a reader.
    pub(super) fn note_reader(&mut self) {
        self.had_reader = true;
    }

    /// A reader was given bytes up to there.
    pub(in crate::core) fn note_delivered(&mut self, to: u64) {
        if self.has_begun() {
            self.delivered = self.delivered.max(to);
        }
    }

    /// It is emptied, to be written anew.
    pub(in crate::core) fn forget_delivered(&mut self) {
        self.delivered = 0;
    }

    /// A reader got the end of file, which counts only if the generation is done.
    pub(in crate::core) fn note_told(&mut self) {
        self.told_done |= self.has_begun() && !self.is_active();
    }

    /// Bytes were lost. Returns whether for the first time; false if the file was never opened for writing.
    pub(in crate::core) fn lose(&mut self) -> bool {
        self.has_begun() && !std::mem::replace(&mut self.lost, true)
    }

    /// It was emptied, so nothing is missing any more.
    pub(super) fn emptied(&mut self) {
        self.lost = false;
    }

    /// Content is there, or will come.
    pub(super) fn note_content(&mut self, now: Monotonic) {
        self.first_byte.get_or_insert(now);
    }

    /// It is written. Returns whether for the first time.
    pub(super) fn note_written(&mut self, now: Monotonic) -> bool {
        self.note_content(now);
        !std::mem::replace(&mut self.written, true)
    }

    /// Whether content has come, but not the first bytes that choose the way.
    pub(super) fn awaits_choice(&self) -> bool {
        self.is_undecided() && self.first_byte.is_some()
    }

    /// Whether it is done and none of its writers runs. A writer that cannot be seen is not waited for.
    pub(crate) fn is_abandoned(&self) -> bool {
        let may_return = |w: &Writer| w.pid != 0 && w.ending == Ending::Running;
        !self.is_active() && !self.writers.iter().any(may_return)
    }

    /// Chooses the way, if none is chosen yet.
    pub(crate) fn choose(&mut self, way: Way, reason: impl Into<String>, by_auto: bool) {
        if self.way.is_none() {
            self.way = Some(way);
            self.reason = reason.into();
            self.chosen_by_auto = by_auto;
        }
    }

    /// Adds a writer, unless it is known.
    pub(crate) fn add_writer(&mut self, writer: Writer) {
        self.groups.extend(writer.group);
        // The id of a writer that has ended may belong to another process now.
        let is_same =
            |known: &&mut Writer| known.pid == writer.pid && known.ending == Ending::Running;
        if let Some(known) = self.writers.iter_mut().find(is_same) {
            known.let_go &= writer.let_go;
            return;
        }
        if self.writers.len() >= WRITERS_KEPT
            && let Some(at) = self.writers.iter().position(|w| w.has_ended_well())
        {
            self.writers.remove(at);
        }
        self.writers.push(writer);
    }

    /// Notes how a process ended. Returns whether it is a writer.
    pub(crate) fn note_ending(&mut self, pid: i32, ending: Ending) -> bool {
        let mut is_writer = false;
        for writer in self.writers.iter_mut().filter(|w| w.pid == pid) {
            is_writer = true;
            if writer.ending == Ending::Running {
                writer.note(ending);
            }
        }
        is_writer
    }

    /// Whether no way is chosen and nothing was written.
    pub(crate) fn is_undecided(&self) -> bool {
        !self.written && self.way.is_none()
    }

    /// A writer has closed the file, maybe not for the last time.
    pub(crate) fn closed_by(&mut self, pid: i32) {
        for writer in &mut self.writers {
            writer.has_closed |= writer.pid == pid && writer.ending == Ending::Running;
        }
    }

    /// A writer dies with the file open; `ending` says how, if that can be seen.
    pub(crate) fn died_writing(&mut self, pid: i32, ending: Ending) {
        for writer in &mut self.writers {
            if writer.pid == pid && writer.ending == Ending::Running && !writer.let_go {
                writer.died_writing = true;
                if ending != Ending::Unknown {
                    writer.note(ending);
                }
            }
        }
    }

    /// It is opened for writing while the file has `length` bytes. Returns whether another process has it
    /// open and `writer` is unknown: neither an earlier writer, nor in the group of one.
    pub(in crate::core) fn open(
        &mut self,
        now: Monotonic,
        flags: i32,
        writer: Writer,
        length: u64,
    ) -> bool {
        let is_known = |known: &Writer| {
            known.pid == writer.pid || (known.group.is_some() && known.group == writer.group)
        };
        let is_stranger = self.is_open() && !self.writers.iter().any(is_known);
        self.opened(now);
        // A program that makes a file with O_EXCL and O_WRONLY, as cp and tar do, writes it now.
        let writes_now = flags & libc::O_TRUNC != 0
            || flags & libc::O_EXCL != 0 && flags & libc::O_ACCMODE == libc::O_WRONLY;
        self.is_placeholder |= !writes_now;
        self.is_appended = flags & libc::O_APPEND != 0;
        self.add_writer(writer);
        if !self.written {
            if flags & libc::O_ACCMODE == libc::O_RDWR {
                self.choose(Way::Settled, "opened for reading and writing", true);
            } else if flags & libc::O_APPEND != 0 {
                self.choose(Way::Follow, "opened for appending", true);
            }
            if length > 0 && flags & libc::O_TRUNC == 0 {
                self.note_content(now);
            }
        }
        is_stranger
    }

    /// Adds a handle that may write.
    fn opened(&mut self, now: Monotonic) {
        if self.phase != Phase::Writing {
            self.reopened = Some(now);
        }
        self.opened = Some(now);
        self.handles += 1;
        self.openings += 1;
        self.phase = Phase::Writing;
        self.steps.shut_out();
    }

    /// Removes a handle that may write.
    pub(crate) fn closed(&mut self, now: Monotonic) {
        self.handles = self.handles.saturating_sub(1);
        if self.handles == 0 && self.phase == Phase::Writing {
            self.phase = Phase::Closed { since: now };
        }
    }

    /// It was changed without an open. If it is closed, the wait for another open begins anew.
    pub(crate) fn changed(&mut self, now: Monotonic) {
        if let Phase::Closed { since } = &mut self.phase {
            *since = now;
            self.steps.shut_out();
        }
    }

    /// Whether it has failed, as far as is known.
    pub(crate) fn has_failed(&self, fail_on: FailOn) -> bool {
        self.lost || self.culprit(fail_on).is_some()
    }

    /// The writer by whose end it has failed.
    pub(crate) fn culprit(&self, fail_on: FailOn) -> Option<&Writer> {
        self.writers.iter().find(|w| w.has_failed(fail_on))
    }

    /// All processes of a group have exited. Returns whether it was a writers' group, with no writer still
    /// running.
    pub(crate) fn group_ended(&mut self, group: i32) -> bool {
        let runs = |w: &Writer| w.group == Some(group) && w.ending == Ending::Running;
        !self.writers.iter().any(runs) && self.groups.remove(&group)
    }

    /// Whether a member of this process group is a step of the script that writes it.
    pub(in crate::core) fn is_step(&self, group: Option<i32>) -> bool {
        self.is_active() && group.is_some_and(|group| self.groups.contains(&group))
    }

    /// Notes that a step opens it as it is; `None` if no writer was in this group.
    pub(in crate::core) fn open_as_step(
        &mut self,
        group: Option<i32>,
        step: Step,
    ) -> Option<OpenStep> {
        let open = OpenStep {
            generation: self.number,
            pid: step.pid,
        };
        self.is_step(group).then(|| self.steps.opened_by(step))?;
        Some(open)
    }

    /// A step has closed it. Returns whether it was this generation.
    pub(in crate::core) fn close_as_step(&mut self, step: OpenStep, now: Monotonic) -> bool {
        let is_same = self.number == step.generation;
        if is_same {
            self.steps.closed_by(step.pid, now);
        }
        is_same
    }

    /// A step that waited has left.
    pub(in crate::core) fn step_left(&mut self, now: Monotonic) {
        self.steps.has_left(now);
    }
}

//! One writing of a file, from the first open for writing until it is done.
//!
//! ```text
//!                        last close
//!            Writing ─────────────────► Closed ──┬─ lingered, all well ──► Done
//!               ▲                         │      └─ a writer was killed ─► Failed
//!               └──── open for writing ───┘
//! ```
//!
//! Closed for long enough it *rests*: its companions get it as it is, and once
//! they have let go of it and been given time to write it anew, it is done.
//!
//! `Done` and `Failed` are final: the next open for writing makes a new
//! generation. Knows the writers and how they ended; the bytes are the spool's,
//! and who reads them is the readers' own affair.
//!
//! Invariant: a way, once chosen, stays for the whole generation, since the
//! transport of every handle was chosen by it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::Monotonic;
use super::request::Opener;
use super::rules::{FailOn, Linger};
pub(crate) use super::writer::{Ending, Writer, is_crash};

/// How what is written to a file reaches its readers.
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

/// A companion that sees the file as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Its process id.
    pub(crate) pid: i32,
    /// Its name, as `ps` shows it.
    pub(crate) name: String,
}

impl Visitor {
    pub(super) fn of(opener: &Opener) -> Visitor {
        Visitor {
            pid: opener.pid,
            name: opener.name.clone(),
        }
    }
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Somebody has it open for writing.
    Writing,
    /// Nobody has, but somebody may open it again.
    Closed {
        /// When the last writer closed it.
        since: Monotonic,
    },
    /// The content is whole.
    Done,
    /// A writer came to a bad end: the content is all there is.
    Failed,
}

/// What other processes are doing at the moment that the core looks, which nobody can know before: whether
/// a closed file is done is decided by who is left.
pub(crate) trait Processes {
    /// How this process ended.
    fn ending(&self, pid: i32) -> Ending;
    /// Whether no process is left in this group.
    fn group_is_empty(&self, group: i32) -> bool;
    /// Whether it is the one that this is part of.
    fn is_own(&self, _pid: i32) -> bool {
        false
    }
    /// Whether it is this other process, or a descendant of it.
    fn descends_from(&self, pid: i32, ancestor: i32) -> bool {
        pid == ancestor
    }
    /// The process group that it is in.
    fn group_of(&self, _pid: i32) -> Option<i32> {
        None
    }
}

/// With `--linger auto`, how long after its last close a file comes to rest once
/// all who wrote have exited.
pub(crate) const REST: Duration = Duration::from_millis(200);
/// How long after its last close, by a writer or a companion, a reopening is waited
/// for.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// How long after it has come to rest its companions hold up others at most: one
/// may go on reading for ever.
const COMPANY: Duration = Duration::from_secs(5);
/// With a fixed linger, how much longer one who still runs is given, since it
/// may be dying.
const DYING: Duration = Duration::from_millis(20);
/// Of how many writers that ended well the names are kept.
const WRITERS_KEPT: usize = 64;
/// How often, at first, the process groups of the writers are looked at meanwhile.
const GROUP_CHECK: Duration = Duration::from_millis(10);
/// How often they are looked at in the end, while an empty file waits for its content.
const CONTENT_CHECK: Duration = Duration::from_secs(1);

/// Under auto, how long the first byte of a generation that follows is held
/// back, so that a short run that patches its output is never handed out early.
const HOLD: Duration = Duration::from_millis(100);
/// Under auto, how much of it is held back at most.
const HOLD_BYTES: u64 = 4 << 20;

/// One generation of one file.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Counted from 1 for each file.
    pub(crate) number: u64,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// How it reaches its readers, once chosen.
    pub(crate) way: Option<Way>,
    /// Why that way.
    pub(crate) reason: String,
    /// Whether auto chose, and so holds the first bytes back.
    pub(crate) chosen_by_auto: bool,
    /// When it was first opened for writing.
    pub(crate) began: Option<Monotonic>,
    /// Open handles that may write.
    pub(crate) handles: u32,
    /// How often it was opened for writing.
    pub(crate) openings: u64,
    /// Whether it was opened in such a way that somebody may mean to write it later: as touch(1)
    /// does.
    pub(crate) is_placeholder: bool,
    /// Who wrote: all that still run or came to a bad end, and the last of the
    /// others.
    pub(crate) writers: Vec<Writer>,
    /// The process groups of all who wrote.
    groups: BTreeSet<i32>,
    /// Whether bytes were lost that the program believes written, or were not
    /// there any more when it wanted to change or see them.
    pub(crate) lost: bool,
    /// When the first byte was written, or, where there was content before,
    /// when it was opened.
    pub(crate) first_byte: Option<Monotonic>,
    /// When it was last opened again after it had been closed.
    reopened: Option<Monotonic>,
    /// Whether anything was written.
    pub(crate) written: bool,
    /// The highest offset that any reader was given.
    pub(crate) delivered: u64,
    /// Whether there ever was a reader.
    pub(crate) had_reader: bool,
    /// Whether a reader was told that this is the end.
    pub(crate) told_done: bool,
    /// Since when it has been closed for so long that its companions may have it.
    pub(crate) rests: Option<Monotonic>,
    /// The processes of companions that have it open as it is, once for each time.
    pub(crate) visitors: Vec<Visitor>,
    /// When a companion last closed it.
    pub(crate) visited: Option<Monotonic>,
    released: bool,
}

impl Generation {
    /// A generation that is about to be opened for writing.
    pub(crate) fn new(number: u64) -> Self {
        Generation {
            number,
            phase: Phase::Writing,
            way: None,
            reason: String::new(),
            chosen_by_auto: false,
            began: None,
            handles: 0,
            openings: 0,
            is_placeholder: false,
            writers: Vec::new(),
            groups: BTreeSet::new(),
            lost: false,
            first_byte: None,
            reopened: None,
            written: false,
            delivered: 0,
            had_reader: false,
            told_done: false,
            rests: None,
            visitors: Vec::new(),
            visited: None,
            released: false,
        }
    }

    /// Whether it is not done.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Writing | Phase::Closed { .. })
    }

    /// Whether it is done and nobody who wrote it runs any more. Who cannot be
    /// seen is not waited for.
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

    /// A process writes.
    pub(crate) fn add_writer(&mut self, writer: Writer) {
        self.groups.extend(writer.group);
        // An id that was used by one who has ended is somebody else's now.
        let is_it =
            |known: &&mut Writer| known.pid == writer.pid && known.ending == Ending::Running;
        if let Some(known) = self.writers.iter_mut().find(is_it) {
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

    /// How a process ended that may be one of the writers.
    pub(crate) fn note_ending(&mut self, pid: i32, ending: Ending) {
        for writer in &mut self.writers {
            if writer.pid == pid && writer.ending == Ending::Running {
                writer.note(ending);
            }
        }
    }

    /// Whether nothing chose how it is delivered, and no first write did.
    pub(crate) fn is_undecided(&self) -> bool {
        !self.written && self.way.is_none()
    }

    /// A writer has closed the file, maybe not for the last time.
    pub(crate) fn closed_by(&mut self, pid: i32) {
        for writer in &mut self.writers {
            writer.has_closed |= writer.pid == pid && writer.ending == Ending::Running;
        }
    }

    /// A writer dies that still has the file open, and how, as far as that can be seen.
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

    /// One more handle that may write.
    pub(crate) fn opened(&mut self, now: Monotonic) {
        if self.phase != Phase::Writing {
            self.reopened = Some(now);
        }
        self.began.get_or_insert(now);
        self.handles += 1;
        self.openings += 1;
        self.phase = Phase::Writing;
        self.rests = None;
    }

    /// One less.
    pub(crate) fn closed(&mut self, now: Monotonic) {
        self.handles = self.handles.saturating_sub(1);
        if self.handles == 0 && self.phase == Phase::Writing {
            self.phase = Phase::Closed { since: now };
        }
    }

    /// It was changed by somebody who did not open it. If it is closed, the wait for another
    /// opening begins anew.
    pub(crate) fn changed(&mut self, now: Monotonic) {
        if let Phase::Closed { since } = &mut self.phase {
            *since = now;
            self.rests = None;
        }
    }

    /// Ends a closed generation if it has lingered enough, and if none of its
    /// companions, of which so many wait, may be about to write it anew, and if it does not wait for
    /// its content; otherwise says when to ask again.
    pub(crate) fn settle(
        &mut self,
        linger: Linger,
        fail_on: FailOn,
        now: Monotonic,
        processes: &dyn Processes,
        companions: usize,
        awaits_content: bool,
    ) -> Option<Monotonic> {
        let Phase::Closed { since } = self.phase else {
            return None;
        };
        for writer in &mut self.writers {
            // A process that cannot be seen is never taken for dead.
            if writer.pid != 0 && writer.ending == Ending::Running {
                writer.note(processes.ending(writer.pid));
            }
        }
        let exited = self.writers.iter().all(|w| w.ending != Ending::Running);
        let is_well = |w: &Writer| w.ending != Ending::Running || processes.is_own(w.pid);
        let limit = match linger {
            Linger::Exit => return self.settle_by_exit(since, fail_on, now, companions),
            // A process that was killed closes its files before it can be seen to
            // have been killed. It is not the one that looks.
            Linger::After(duration) if self.writers.iter().all(is_well) => duration,
            Linger::After(duration) => duration.saturating_add(DYING),
            Linger::Auto if exited => REST,
            Linger::Auto => LINGER,
        };
        let rested = since.saturating_add(limit);
        if exited && linger == Linger::Auto && self.groups_are_empty(processes) {
            self.end(fail_on);
            return None;
        }
        if now >= rested {
            self.rests.get_or_insert(now);
        }
        // Nobody may be there yet, since programs take a while to start.
        let lingers = (linger == Linger::Auto).then_some(since);
        let next = match self.left_to_companions(lingers, companions) {
            _ if now < rested => rested,
            Some(until) if now < until => until,
            _ if awaits_content => now + CONTENT_CHECK,
            _ => {
                self.end(fail_on);
                return None;
            }
        };
        match exited && linger == Linger::Auto {
            true => Some((now + GROUP_CHECK.max(now.saturating_sub(since) / 8)).min(next)),
            false => Some(next),
        }
    }

    /// The same where only the exits of those who wrote count.
    fn settle_by_exit(
        &mut self,
        since: Monotonic,
        fail_on: FailOn,
        now: Monotonic,
        companions: usize,
    ) -> Option<Monotonic> {
        let runs = |w: &Writer| w.pid != 0 && w.ending == Ending::Running;
        // Nobody will say when one who cannot be seen has exited.
        let unseen = self.writers.iter().any(|w| w.pid == 0);
        let rested = if unseen { since + LINGER } else { since };
        if self.writers.iter().any(runs) {
            return None;
        }
        if now < rested {
            return Some(rested);
        }
        self.rests.get_or_insert(now);
        let until = self.left_to_companions(None, companions);
        if until.is_none_or(|until| now >= until) {
            self.end(fail_on);
            return None;
        }
        until
    }

    /// Until when one that rests may be written anew, if `lingers` is when it was
    /// closed and so many companions wait.
    fn left_to_companions(
        &self,
        lingers: Option<Monotonic>,
        companions: usize,
    ) -> Option<Monotonic> {
        let most = self.rests? + COMPANY;
        if companions > 0 || !self.visitors.is_empty() {
            return Some(most);
        }
        let last = lingers.max(self.visited)?;
        Some(most.min(last + LINGER))
    }

    fn end(&mut self, fail_on: FailOn) {
        self.phase = match self.has_failed(fail_on) {
            true => Phase::Failed,
            false => Phase::Done,
        };
    }

    /// Whether it has failed, as far as is known.
    pub(crate) fn has_failed(&self, fail_on: FailOn) -> bool {
        self.lost || self.culprit(fail_on).is_some()
    }

    /// Who came to such an end that it has failed.
    pub(crate) fn culprit(&self, fail_on: FailOn) -> Option<&Writer> {
        self.writers.iter().find(|w| w.has_failed(fail_on))
    }

    /// Whether this is the process group of one who wrote.
    pub(crate) fn has_group(&self, group: i32) -> bool {
        self.groups.contains(&group)
    }

    /// All processes of a group have exited. Says whether that makes a difference.
    pub(crate) fn group_ended(&mut self, group: i32) -> bool {
        let runs = |w: &Writer| w.group == Some(group) && w.ending == Ending::Running;
        !self.writers.iter().any(runs) && self.groups.remove(&group)
    }

    /// The process groups of all who wrote.
    pub(crate) fn groups(&self) -> impl Iterator<Item = i32> {
        self.groups.iter().copied()
    }

    fn groups_are_empty(&mut self, processes: &dyn Processes) -> bool {
        if self.writers.iter().any(|writer| writer.group.is_none()) {
            return false;
        }
        self.groups
            .retain(|group| !processes.group_is_empty(*group));
        self.groups.is_empty()
    }

    /// Whether the bytes of a generation that follows may be handed out; otherwise
    /// when to ask again, if the clock alone will decide it. One that lingers may be
    /// the work of several steps of a script.
    pub(crate) fn may_hand_out(
        &mut self,
        length: u64,
        now: Monotonic,
        lingers: bool,
    ) -> Result<(), Option<Monotonic>> {
        if self.released || !self.is_active() || !self.chosen_by_auto || length >= HOLD_BYTES {
            self.released = true;
            return Ok(());
        }
        let Some(first) = self.first_byte else {
            return Err(None);
        };
        let until = match self.phase {
            // What a short step of a script left is for the next one to change.
            Phase::Closed { .. } if lingers => {
                let left = self.left_to_companions(Some(first), 0);
                left.map_or(first + LINGER, |left| left.max(first + LINGER))
            }
            _ if lingers => self.reopened.map_or(first, |at| at.min(first + LINGER)) + HOLD,
            _ => first + HOLD,
        };
        if now < until {
            return Err(Some(until));
        }
        self.released = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

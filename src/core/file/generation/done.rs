//! When a closed generation is done, and whether it has failed then.
//!
//! Decides from its writers' endings, the processes left in their groups, and its script's steps.

use super::super::super::clock::Monotonic;
use super::super::super::ids::Unique;
use super::super::super::rules::{FailOn, Linger};
use super::super::super::timers::{CONTENT_CHECK, DYING, GROUP_CHECK, LINGER, LINGER_EXITED};
use super::{Ending, Generation, Phase, Writer};

/// The state of other processes at the moment the core asks: whether a closed file is done depends on the
/// processes that are left.
pub(crate) trait Processes {
    /// How this process ended.
    fn ending(&self, pid: i32) -> Ending;
    /// Whether no process is left in this group.
    fn group_is_empty(&self, group: i32) -> bool;
    /// Whether it is the daemon's own process.
    fn is_own(&self, _pid: i32) -> bool {
        false
    }
    /// Whether it is this other process, or a descendant of it.
    fn descends_from(&self, pid: i32, ancestor: i32) -> bool {
        pid == ancestor
    }
    /// The name of this thread's program, as `ps` shows it.
    fn name_of(&self, _thread: i32) -> Option<String> {
        None
    }
    /// Whether it, or a process above it, is in this process group.
    fn is_below_group(&self, _pid: i32, _group: i32) -> bool {
        false
    }
    /// Asks whether processes other than those that wait for a closed file are left that might write it. The
    /// answer, if there are none, is `Request::NobodyElseLeft`.
    fn look_for_others(&self, _left: Left) {}
}

/// Processes to be checked for whether they might write a closed file again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) ino: u64,
    /// When it was closed.
    pub(crate) since: Monotonic,
    /// The process groups of its writers.
    pub(crate) groups: Vec<i32>,
    /// Its writers that still run.
    pub(crate) writers: Vec<i32>,
    /// The processes that wait for it, and their requests.
    pub(crate) waiting: Vec<(i32, Unique)>,
}

impl Generation {
    /// Ends a closed generation if it has lingered long enough, no step of its script may be about to write
    /// it anew (`waiting_steps` wait), and it does not await its content; otherwise returns when to ask
    /// again.
    pub(crate) fn settle(
        &mut self,
        linger: Linger,
        fail_on: FailOn,
        now: Monotonic,
        processes: &dyn Processes,
        waiting_steps: usize,
        awaits_content: bool,
    ) -> Option<Monotonic> {
        let Phase::Closed { since } = self.phase else {
            return None;
        };
        self.note_endings(processes);
        let exited = self.writers.iter().all(|w| w.ending != Ending::Running);
        let is_well = |w: &Writer| w.ending != Ending::Running || processes.is_own(w.pid);
        let limit = match linger {
            Linger::Exit => return self.settle_by_exit(since, fail_on, now, waiting_steps),
            // A killed process closes its files before its death can be seen. This cannot be the daemon's
            // own.
            Linger::After(duration) if self.writers.iter().all(is_well) => duration,
            Linger::After(duration) => duration.saturating_add(DYING),
            Linger::Auto if exited => LINGER_EXITED,
            Linger::Auto => LINGER,
        };
        let rested = since.saturating_add(limit);
        if exited && linger == Linger::Auto && self.groups_are_empty(processes) {
            self.end(fail_on);
            return None;
        }
        if now >= rested {
            self.steps.admit(now);
        }
        // The next step may not have started yet.
        let lingers = (linger == Linger::Auto).then_some(since);
        let next = match self.steps.may_write_until(lingers, waiting_steps) {
            _ if now < rested => rested,
            Some(until) if now < until => until,
            _ if awaits_content => now + CONTENT_CHECK,
            _ => {
                self.end(fail_on);
                return None;
            }
        };
        match exited && linger == Linger::Auto {
            true => Some(next_look(since, now).min(next)),
            false => Some(next),
        }
    }

    fn note_endings(&mut self, processes: &dyn Processes) {
        for writer in &mut self.writers {
            // A process that cannot be seen is never taken for dead.
            if writer.pid != 0 && writer.ending == Ending::Running {
                writer.note(processes.ending(writer.pid));
            }
        }
    }

    /// The same with `--linger exit`, where only the writers' exits count.
    fn settle_by_exit(
        &mut self,
        since: Monotonic,
        fail_on: FailOn,
        now: Monotonic,
        waiting_steps: usize,
    ) -> Option<Monotonic> {
        let runs = |w: &Writer| w.pid != 0 && w.ending == Ending::Running;
        // The exit of a writer that cannot be seen is never reported.
        let unseen = self.writers.iter().any(|w| w.pid == 0);
        let rested = if unseen { since + LINGER } else { since };
        if self.writers.iter().any(runs) {
            return None;
        }
        if now < rested {
            return Some(rested);
        }
        self.steps.admit(now);
        let until = self.steps.may_write_until(None, waiting_steps);
        if until.is_none_or(|until| now >= until) {
            self.end(fail_on);
            return None;
        }
        until
    }

    /// The processes to check while it is closed and these wait for it, and when to check again.
    pub(in crate::core) fn left(
        &self,
        ino: u64,
        waiting: Vec<(i32, Unique)>,
        now: Monotonic,
    ) -> Option<(Left, Monotonic)> {
        let Phase::Closed { since } = self.phase else {
            return None;
        };
        // A writer that cannot be seen may do anything.
        if waiting.is_empty() || self.writers.iter().any(|w| w.group.is_none()) {
            return None;
        }
        let running = self.writers.iter().filter(|w| w.ending == Ending::Running);
        let left = Left {
            ino,
            since,
            groups: self.groups.iter().copied().collect(),
            writers: running.map(|w| w.pid).collect(),
            waiting,
        };
        Some((left, next_look(since, now)))
    }

    /// Only processes that wait for it are left: it is over; or, if some of them are steps of its script,
    /// these are admitted.
    pub(in crate::core) fn nobody_else_is_left(
        &mut self,
        are_steps: bool,
        fail_on: FailOn,
        now: Monotonic,
        processes: &dyn Processes,
    ) {
        self.note_endings(processes);
        match are_steps || !self.steps.open().is_empty() {
            true => self.steps.admit(now),
            false => self.end(fail_on),
        }
    }

    fn end(&mut self, fail_on: FailOn) {
        self.phase = match self.has_failed(fail_on) {
            true => Phase::Failed,
            false => Phase::Done,
        };
    }

    /// Whether it is empty and may still get its content: many programs create their output at the start and
    /// write it at the end, and scripts create it with touch(1). A reader never waits for itself: a writer
    /// does not count if a reader descends from it, nor a script's group if a reader is below it, even in a
    /// process group of its own, as timeout(1) makes one.
    pub(in crate::core) fn awaits_content(
        &self,
        processes: &dyn Processes,
        readers: &[i32],
    ) -> bool {
        let is_maker = |w: &&Writer| w.pid != 0 && w.ending == Ending::Running && !w.let_go;
        let descend = |from: i32| {
            readers
                .iter()
                .any(|pid| processes.descends_from(*pid, from))
        };
        let may_write = |w: &Writer| processes.ending(w.pid) == Ending::Running && !descend(w.pid);
        if self.writers.iter().filter(is_maker).any(may_write) {
            return true;
        }
        let is_step = |group| {
            readers
                .iter()
                .any(|pid| processes.is_below_group(*pid, group))
        };
        let may_write = |group: &i32| !processes.group_is_empty(*group) && !is_step(*group);
        self.is_placeholder && self.groups.iter().any(may_write)
    }

    fn groups_are_empty(&mut self, processes: &dyn Processes) -> bool {
        if self.writers.iter().any(|writer| writer.group.is_none()) {
            return false;
        }
        self.groups
            .retain(|group| !processes.group_is_empty(*group));
        self.groups.is_empty()
    }
}

/// When to check the process groups of a file that was closed at `since` again.
fn next_look(since: Monotonic, now: Monotonic) -> Monotonic {
    now + GROUP_CHECK.max(now.saturating_sub(since) / 8)
}

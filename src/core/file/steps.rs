//! The later steps of a script: readers in the process group of a writer.
//!
//! Such a step may still give the file its final content (`cp a f; sed -i … f`, `ar`, a program that locks
//! it). So once the file has been closed for as long as a reopening is waited for, steps are *admitted*: they
//! get it as it is. For all other readers it is done only when the steps have had time to write it anew:
//! while they have it open and a second more, but no longer than five.
//!
//! Knows which steps have the file open, and since when they may; callers know which processes are steps, and
//! which wait. Invariant: while the file is open for writing no step is admitted.

use super::super::clock::Monotonic;
use super::super::timers::{LINGER, STEPS_MOST};

/// A step that has the file open as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Its process id.
    pub(crate) pid: i32,
    /// Its name, as `ps` shows it.
    pub(crate) name: String,
}

/// The generation that an open file of a step holds up.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct OpenStep {
    /// The generation's number.
    pub(super) generation: u64,
    /// The process that opened it.
    pub(super) pid: i32,
}

/// The steps of one generation.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// Since when they may open it as it is.
    admitted: Option<Monotonic>,
    /// Steps that have it open, one entry for each open.
    open: Vec<Step>,
    /// When a step last closed it or left.
    closed: Option<Monotonic>,
}

impl Steps {
    /// Admits steps from now on.
    pub(super) fn admit(&mut self, now: Monotonic) {
        self.admitted.get_or_insert(now);
    }

    /// Admits none any more, as it is written again.
    pub(super) fn shut_out(&mut self) {
        self.admitted = None;
    }

    pub(super) fn are_admitted(&self) -> bool {
        self.admitted.is_some()
    }

    pub(super) fn opened_by(&mut self, step: Step) {
        self.open.push(step);
    }

    pub(super) fn closed_by(&mut self, pid: i32, now: Monotonic) {
        if let Some(at) = self.open.iter().position(|step| step.pid == pid) {
            self.open.swap_remove(at);
        }
        self.has_left(now);
    }

    /// A step has closed the file, or has left without getting it.
    pub(super) fn has_left(&mut self, now: Monotonic) {
        self.closed = Some(now);
    }

    /// Steps that have it open.
    pub(super) fn open(&self) -> &[Step] {
        &self.open
    }

    /// Until when a step may write it anew, if steps are admitted: `waiting` is how many wait, `closed` when
    /// a writer closed it after which the next step may still start.
    pub(super) fn may_write_until(
        &self,
        closed: Option<Monotonic>,
        waiting: usize,
    ) -> Option<Monotonic> {
        let most = self.admitted? + STEPS_MOST;
        if waiting > 0 || !self.open.is_empty() {
            return Some(most);
        }
        let last = closed.max(self.closed)?;
        Some(most.min(last + LINGER))
    }
}

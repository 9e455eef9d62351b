//! The later steps of a script: readers in the process group of a writer.
//!
//! Such a step may be about to make of the file what it is to be in the end
//! (`cp a f; sed -i … f`, `ar`, whoever takes a lock on it). So when the file has
//! been closed for as long as a reopening is waited for, steps are *admitted*: they get it as it
//! is. For everybody else it is done only when they have had time to write it anew: while they have
//! it open and a second more, but no longer than five.
//!
//! Knows which steps have the file open, and since when they may; who is one, and who waits, is told.
//! Invariant: while somebody has the file open for writing no step is admitted.

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

/// What an open file of a step holds up.
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
    /// Since when they may have it as it is.
    admitted: Option<Monotonic>,
    /// Those that have it open, once for each time.
    open: Vec<Step>,
    /// When one last closed it.
    closed: Option<Monotonic>,
}

impl Steps {
    /// From now on they may have it.
    pub(super) fn admit(&mut self, now: Monotonic) {
        self.admitted.get_or_insert(now);
    }

    /// It is written again.
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

    /// One has left, with the file or without having got it.
    pub(super) fn has_left(&mut self, now: Monotonic) {
        self.closed = Some(now);
    }

    /// Those that have it open.
    pub(super) fn open(&self) -> &[Step] {
        &self.open
    }

    /// Until when it may be written anew by one of them, if they are admitted, so many wait, and
    /// `closed` is when a writer closed it from whom a step may follow yet.
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

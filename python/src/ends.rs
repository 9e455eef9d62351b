//! Conditions for the end of an output, other than the exit of a process that the crate watches itself.
//!
//! A reader that waits for the output asks all conditions that keep the file from being done, not only its own: the
//! reader of another one may have timed out, and does not ask until it is read again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fifofs::CaptureHold;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::waiting::unlocked;

/// A condition, with its number.
struct End {
    number: u64,
    /// A Python function that returns whether the end has come.
    has_ended: Py<PyAny>,
    /// Keeps the file from being done until then.
    hold: Option<CaptureHold>,
}

/// Whether a function has returned that the end has come. Only a bool is accepted: `poll` of a process returns None
/// until then, and 0 after it.
fn ended(has_ended: &Bound<'_, PyAny>) -> PyResult<bool> {
    has_ended.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "a function that says whether the writer has ended must give True or False, not {has_ended:?}"
        ))
    })
}

#[derive(Default)]
struct Known {
    next: u64,
    ends: Vec<End>,
}

/// The conditions of one capture that are not met yet.
#[derive(Clone, Default)]
pub(crate) struct Ends {
    /// Locked for moments only, while the interpreter's lock is held; no Python code runs meanwhile.
    known: Arc<Mutex<Known>>,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, has_ended: Py<PyAny>, hold: Option<CaptureHold>) -> u64 {
        let mut known = self.lock();
        known.next += 1;
        let number = known.next;
        known.ends.push(End {
            number,
            has_ended,
            hold,
        });
        number
    }

    pub(crate) fn have(&self, number: u64) -> bool {
        self.lock().ends.iter().any(|end| end.number == number)
    }

    /// Removes a condition that is met, or that no reader waits for any more. The hold keeps the file until it is
    /// dropped.
    pub(crate) fn take(&self, number: u64) -> (Option<CaptureHold>, Option<Py<PyAny>>) {
        let ends = &mut self.lock().ends;
        let at = ends.iter().position(|end| end.number == number);
        let taken = at.map(|at| ends.swap_remove(at));
        taken.map_or((None, None), |end| (end.hold, Some(end.has_ended)))
    }

    /// The conditions to ask: all that hold the file, and `own`.
    fn asked(&self, py: Python<'_>, own: Option<u64>) -> Vec<(u64, Py<PyAny>)> {
        let known = self.lock();
        let ends = known.ends.iter();
        let asked = ends.filter(|end| end.hold.is_some() || Some(end.number) == own);
        asked
            .map(|end| (end.number, end.has_ended.clone_ref(py)))
            .collect()
    }

    /// Whether there is any condition to ask.
    pub(crate) fn are_open(&self, own: Option<u64>) -> bool {
        let known = self.lock();
        let mut ends = known.ends.iter();
        ends.any(|end| end.hold.is_some() || Some(end.number) == own)
    }

    /// Asks the conditions. Returns whether any is not met yet.
    pub(crate) fn ask(&self, py: Python<'_>, own: Option<u64>) -> PyResult<bool> {
        let mut is_any_left = false;
        for (number, has_ended) in self.asked(py, own) {
            if ended(has_ended.call0(py)?.bind(py))? {
                let (hold, _told) = self.take(number);
                unlocked(py, || drop(hold));
            } else {
                is_any_left = true;
            }
        }
        Ok(is_any_left)
    }
}

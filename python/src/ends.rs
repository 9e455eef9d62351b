//! What has to end before an output can, other than a process that the crate watches itself.
//!
//! Whoever waits for the output asks all who keep the file from being done, not only its own: the
//! reader that came with one may have timed out, and is asked nothing itself until it is read again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fifofs::CaptureHold;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::waiting::unlocked;

/// One of them, by its number.
struct End {
    number: u64,
    /// A Python function that says by true that it has come.
    told: Py<PyAny>,
    /// Keeps the file from being done until then.
    hold: Option<CaptureHold>,
}

/// Whether a function has said that the end has come. Others than a bool are refused: a `poll` gives None until then, and
/// after it 0.
fn said(told: &Bound<'_, PyAny>) -> PyResult<bool> {
    told.extract().map_err(|_| {
        PyTypeError::new_err(format!(
            "a function that says whether the writer has ended must give True or False, not {told:?}"
        ))
    })
}

#[derive(Default)]
struct Known {
    next: u64,
    ends: Vec<End>,
}

/// Those of one capture that have not come yet.
#[derive(Clone, Default)]
pub(crate) struct Ends {
    /// Locked for moments only, while the interpreter's lock is held, in which nothing of Python runs.
    known: Arc<Mutex<Known>>,
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, told: Py<PyAny>, hold: Option<CaptureHold>) -> u64 {
        let mut known = self.lock();
        known.next += 1;
        let number = known.next;
        known.ends.push(End { number, told, hold });
        number
    }

    pub(crate) fn have(&self, number: u64) -> bool {
        self.lock().ends.iter().any(|end| end.number == number)
    }

    /// Nobody waits for it any more, or it has come. What is given keeps the file until it is dropped.
    pub(crate) fn take(&self, number: u64) -> (Option<CaptureHold>, Option<Py<PyAny>>) {
        let ends = &mut self.lock().ends;
        let at = ends.iter().position(|end| end.number == number);
        let taken = at.map(|at| ends.swap_remove(at));
        taken.map_or((None, None), |end| (end.hold, Some(end.told)))
    }

    /// Those who are to be asked: who holds the file, and this one.
    fn asked(&self, py: Python<'_>, own: Option<u64>) -> Vec<(u64, Py<PyAny>)> {
        let known = self.lock();
        let ends = known.ends.iter();
        let asked = ends.filter(|end| end.hold.is_some() || Some(end.number) == own);
        asked
            .map(|end| (end.number, end.told.clone_ref(py)))
            .collect()
    }

    /// Whether anybody is to be asked.
    pub(crate) fn are_open(&self, own: Option<u64>) -> bool {
        let known = self.lock();
        let mut ends = known.ends.iter();
        ends.any(|end| end.hold.is_some() || Some(end.number) == own)
    }

    /// Asks them. Says whether any is still to come.
    pub(crate) fn ask(&self, py: Python<'_>, own: Option<u64>) -> PyResult<bool> {
        let mut is_any_left = false;
        for (number, told) in self.asked(py, own) {
            if said(told.call0(py)?.bind(py))? {
                let (hold, _told) = self.take(number);
                unlocked(py, || drop(hold));
            } else {
                is_any_left = true;
            }
        }
        Ok(is_any_left)
    }
}

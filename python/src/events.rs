//! What happens to files, as lines of JSON: the package makes values of them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use fifofs::{CaptureEvents, Error};
use pyo3::prelude::*;

use crate::error;
use crate::waiting::{SLICE, deadline, ending, inside, interpreter_ends, unlocked};

enum Inner {
    Mount(fifofs::Events),
    Capture(CaptureEvents),
}

impl Inner {
    /// The next as JSON, within a slice of time.
    fn next(&mut self, wait: std::time::Duration) -> Option<fifofs::Result<String>> {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        match self {
            Inner::Mount(events) => {
                events.set_timeout(Some(wait));
                let next = events.next()?;
                Some(next.map(|event| json(serde_json::to_string(&event))))
            }
            Inner::Capture(events) => {
                events.set_timeout(Some(wait));
                let next = events.next()?;
                Some(next.map(|event| json(serde_json::to_string(&event))))
            }
        }
    }
}

/// Events, from when it was made.
#[pyclass(frozen, module = "_fifofs")]
pub(crate) struct Events {
    /// Locked during a wait; none once it is closed. Not touched by a forked child.
    inner: Mutex<Option<Inner>>,
    process: u32,
}

impl Events {
    pub(crate) fn of_mount(events: fifofs::Events) -> Events {
        Events::new(Inner::Mount(events))
    }

    pub(crate) fn of_capture(events: CaptureEvents) -> Events {
        Events::new(Inner::Capture(events))
    }

    fn new(inner: Inner) -> Events {
        Events {
            inner: Mutex::new(Some(inner)),
            process: std::process::id(),
        }
    }
}

#[pymethods]
impl Events {
    /// The next as JSON; none at the end.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<String>> {
        if self.process != std::process::id() {
            let message = "these events are of a process of which this is a fork";
            return Err(error::closed(py, message));
        }
        let deadline = deadline(timeout);
        inside(py, || {
            loop {
                let step = unlocked(py, || {
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    let wait = left.map_or(SLICE, |left| left.min(SLICE));
                    let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
                    inner.as_mut().and_then(|inner| inner.next(wait))
                });
                match step {
                    None => return Ok(None),
                    Some(Ok(json)) => return Ok(Some(json)),
                    Some(Err(error @ Error::TimedOut { .. })) => {
                        py.check_signals()?;
                        if interpreter_ends() {
                            return Err(error::interpreter_ends(py));
                        }
                        if deadline.is_some_and(|at| Instant::now() >= at) {
                            return Err(error::exception(py, error));
                        }
                    }
                    Some(Err(error)) => return Err(error::exception(py, error)),
                }
            }
        })
    }

    /// Takes no more of them.
    fn close(&self, py: Python<'_>) {
        if self.process == std::process::id() {
            ending(py, || {
                drop(
                    self.inner
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .take(),
                );
            });
        }
    }
}

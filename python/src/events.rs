//! Events of files, as lines of JSON: the package turns them into values.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fifofs::{CaptureEvents, Error};
use pyo3::prelude::*;

use crate::error;
use crate::waiting::{SLICE, deadline, ending, inside, interpreter_ends, unlocked};

enum Inner {
    Mount(fifofs::Events),
    Capture(CaptureEvents),
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Inner {
    /// The next event as JSON, within a slice of time.
    fn next(&mut self, wait: std::time::Duration) -> Option<fifofs::Result<String>> {
        match self {
            Inner::Mount(events) => {
                events.set_timeout(Some(wait));
                Some(events.next()?.map(|event| json(&event)))
            }
            Inner::Capture(events) => {
                events.set_timeout(Some(wait));
                Some(events.next()?.map(|event| json(&event)))
            }
        }
    }

    /// The next event, if there is one.
    fn try_next(&mut self) -> Option<fifofs::Result<String>> {
        match self {
            Inner::Mount(events) => Some(events.try_next()?.map(|event| json(&event))),
            Inner::Capture(events) => Some(events.try_next()?.map(|event| json(&event))),
        }
    }

    fn poll_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Inner::Mount(events) => events.poll_fd(),
            Inner::Capture(events) => events.poll_fd(),
        }
    }
}

/// The events from when this was made.
#[pyclass(frozen, module = "_fifofs")]
pub(crate) struct Events {
    /// Locked during a wait; none once it is closed. A forked child does not touch it.
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

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let message = "these events are of a process of which this is a fork";
        Err(error::closed(py, message))
    }
}

#[pymethods]
impl Events {
    /// The next event as JSON; none at the end.
    #[pyo3(signature = (timeout=None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<String>> {
        self.check_process(py)?;
        let deadline = deadline(timeout);
        inside(py, || {
            loop {
                let step = unlocked(py, || {
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    let wait = left.map_or(SLICE, |left| left.min(SLICE));
                    self.lock().as_mut().and_then(|inner| inner.next(wait))
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

    /// The next event as JSON, without waiting: none if there is none yet, empty at the end.
    fn try_next(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.check_process(py)?;
        let next = || self.lock().as_mut().and_then(Inner::try_next);
        match inside(py, || Ok(unlocked(py, next)))? {
            None => Ok(Some(String::new())),
            Some(Ok(json)) => Ok(Some(json)),
            Some(Err(Error::TimedOut { .. })) => Ok(None),
            Some(Err(error)) => Err(error::exception(py, error)),
        }
    }

    /// A descriptor that is readable when `try_next` is worth trying again; none once they are closed.
    fn poll_fd(&self, py: Python<'_>) -> PyResult<Option<RawFd>> {
        self.check_process(py)?;
        let asked = || {
            let mut inner = self.lock();
            let descriptor = inner.as_mut().map(Inner::poll_fd).transpose();
            descriptor.map(|descriptor| descriptor.map(|descriptor| descriptor.as_raw_fd()))
        };
        let descriptor = inside(py, || Ok(unlocked(py, asked)))?;
        descriptor.map_err(|error| error::of_reading(py, error))
    }

    /// Ends the subscription.
    fn close(&self, py: Python<'_>) {
        if self.process == std::process::id() {
            ending(py, || drop(self.lock().take()));
        }
    }
}

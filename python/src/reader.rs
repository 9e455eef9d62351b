//! Reads a captured file.

use std::io::{self, BufRead};
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fifofs::{Canceller, CaptureHold, Error};
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ends::Ends;
use crate::error;
use crate::waiting::deadline;
use crate::waiting::{self, SLICE};

/// How often to check whether any process is left that may write.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A reader of one captured file.
#[pyclass(frozen, module = "_fifofs")]
pub(crate) struct Reader {
    /// Locked during a wait, by a thread without the interpreter's lock; none once it is closed. In a
    /// forked child it may be locked for ever, and is not touched.
    inner: Mutex<Option<fifofs::Reader>>,
    /// The condition for this reader's end, until that is met or the reader is closed. Locked for moments
    /// only, while the interpreter's lock is held.
    until: Mutex<Option<u64>>,
    /// The conditions of its capture.
    ends: Ends,
    canceller: Canceller,
    path: PathBuf,
    process: u32,
}

/// The result of one wait.
enum Step {
    Bytes(usize),
    /// There is no memory for the bytes.
    NoMemory,
    Nothing,
    Closed,
}

impl Reader {
    pub(crate) fn new(reader: fifofs::Reader, ends: Ends, until: Option<u64>) -> Reader {
        Reader {
            canceller: reader.canceller(),
            path: reader.path().to_owned(),
            inner: Mutex::new(Some(reader)),
            until: Mutex::new(until),
            ends,
            process: std::process::id(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<fifofs::Reader>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> MutexGuard<'_, Option<u64>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for bytes and appends up to `most` of them; 0 at the end.
    fn next(
        &self,
        py: Python<'_>,
        deadline: Option<Instant>,
        most: usize,
        into: &mut Vec<u8>,
    ) -> PyResult<usize> {
        self.check_process(py)?;
        loop {
            let look_at = self.look(py)?;
            // In other threads no Python signal handler has to run.
            let returns = look_at.is_some() || is_main_thread();
            let slice = look_at.unwrap_or(SLICE);
            let step = waiting::unlocked(py, || {
                loop {
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    let step = self.step(left.map_or(slice, |left| left.min(slice)), most, into);
                    let over = left.is_some_and(|left| left.is_zero());
                    match step {
                        Ok(Step::Nothing) if !returns && !over && !waiting::interpreter_ends() => {}
                        step => return step,
                    }
                }
            });
            match step {
                Ok(Step::Bytes(bytes)) => return Ok(bytes),
                Ok(Step::NoMemory) => return Err(no_memory()),
                Ok(Step::Closed) => return Err(closed(py)),
                Ok(Step::Nothing) => {
                    py.check_signals()?;
                    if waiting::interpreter_ends() {
                        return Err(error::interpreter_ends(py));
                    }
                    if deadline.is_some_and(|at| Instant::now() >= at) {
                        return Err(error::timed_out(py, &self.path));
                    }
                }
                Err(error) => return Err(error::of_reading(py, error)),
            }
        }
    }

    fn step(&self, wait: Duration, most: usize, into: &mut Vec<u8>) -> io::Result<Step> {
        let mut inner = self.lock();
        let Some(reader) = inner.as_mut() else {
            return Ok(Step::Closed);
        };
        reader.set_timeout(Some(wait));
        let bytes = match reader.fill_buf() {
            Ok(have) => {
                let bytes = have.len().min(most);
                if into.try_reserve(bytes).is_err() {
                    return Ok(Step::NoMemory);
                }
                into.extend_from_slice(&have[..bytes]);
                bytes
            }
            Err(error) => match Error::io("read", "", error) {
                Error::TimedOut { .. } => return Ok(Step::Nothing),
                error => return Err(error.into()),
            },
        };
        reader.consume(bytes);
        Ok(Step::Bytes(bytes))
    }

    /// Removes this reader's condition, so that no other reader of the capture waits for it. The caller
    /// drops the result.
    fn give_up(&self) -> (Option<CaptureHold>, Option<Py<PyAny>>) {
        let until = self.until().take();
        until.map_or((None, None), |until| self.ends.take(until))
    }

    fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let message = "this reader was made before a fork: make a Capture in this process";
        Err(error::closed(py, message))
    }

    /// Checks the conditions; returns when to check again if one is not met yet.
    fn look(&self, py: Python<'_>) -> PyResult<Option<Duration>> {
        let until = *self.until();
        let is_any_left = self.ends.ask(py, until)?;
        if until.is_some_and(|until| !self.ends.have(until)) {
            self.until().take();
            waiting::unlocked(py, || {
                if let Some(reader) = self.lock().as_mut() {
                    reader.finish();
                }
            });
        }
        Ok(is_any_left.then_some(LOOK_INTERVAL))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

fn closed(py: Python<'_>) -> PyErr {
    error::closed(py, "this output file is closed")
}

fn no_memory() -> PyErr {
    PyMemoryError::new_err(
        "no memory for what was written: read it in pieces, by open(), and keep less of it, by keep_at_most",
    )
}

/// An object for bytes; not by `PyBytes::new`, which panics without memory.
fn object<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let copy = |object: &mut [u8]| {
        object.copy_from_slice(bytes);
        Ok(())
    };
    PyBytes::new_with(py, bytes.len(), copy).map_err(|_| no_memory())
}

fn is_main_thread() -> bool {
    // SAFETY: neither call takes a pointer.
    unsafe { libc::gettid() == libc::getpid() }
}

#[pymethods]
impl Reader {
    /// Up to `most` bytes, at least one unless it has ended.
    #[pyo3(signature = (most, timeout=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = Vec::new();
        if most > 0 {
            waiting::inside(py, || self.next(py, deadline(timeout), most, &mut bytes))?;
        }
        object(py, &bytes)
    }

    /// Everything until the end; what came is the `output` of an exception.
    #[pyo3(signature = (timeout=None))]
    fn read_all<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let deadline = deadline(timeout);
        let mut bytes = Vec::new();
        waiting::inside(py, || {
            loop {
                match self.next(py, deadline, usize::MAX, &mut bytes) {
                    Ok(0) => return object(py, &bytes),
                    Ok(_) => py.check_signals()?,
                    Err(error) => {
                        // The package's exceptions have this attribute.
                        if let Ok(output) = object(py, &bytes) {
                            let _ = error.value(py).setattr("output", output);
                        }
                        return Err(error);
                    }
                }
            }
        })
    }

    /// As `read`, without waiting: none if there is nothing yet.
    fn try_read<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Option<Bound<'py, PyBytes>>> {
        waiting::inside(py, || {
            self.check_process(py)?;
            self.look(py)?;
            let mut bytes = vec![0; most];
            let read = waiting::unlocked(py, || {
                self.lock()
                    .as_mut()
                    .map(|reader| reader.try_read(&mut bytes))
            });
            match read {
                Some(Ok(length)) => object(py, &bytes[..length]).map(Some),
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Some(Err(error)) => Err(error::of_reading(py, error)),
                None => Err(closed(py)),
            }
        })
    }

    /// A descriptor that is readable when `try_read` is worth trying again, and after how many seconds it
    /// is at the latest, as some ends make no descriptor readable. It belongs to this reader.
    fn poll_fd(&self, py: Python<'_>) -> PyResult<(RawFd, Option<f64>)> {
        self.check_process(py)?;
        let until = *self.until();
        let look_again = self.ends.are_open(until);
        let look_again = look_again.then(|| LOOK_INTERVAL.as_secs_f64());
        match self.lock().as_mut().map(|reader| reader.poll_fd()) {
            Some(Ok(descriptor)) => Ok((descriptor.as_raw_fd(), look_again)),
            Some(Err(error)) => Err(error::of_reading(py, error)),
            None => Err(closed(py)),
        }
    }

    /// Ends its waits for good.
    fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Closes it; a thread that waits gets an exception.
    fn close(&self, py: Python<'_>) {
        if self.process != std::process::id() {
            return;
        }
        self.canceller.cancel();
        let (hold, _told) = self.give_up();
        waiting::ending(py, || {
            drop(hold);
            drop(self.lock().take());
        });
    }
}

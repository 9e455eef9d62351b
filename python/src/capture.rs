//! A captured path: in a mount, or a FIFO.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fifofs::{CaptureHold, Result, TemporaryPipe};
use pyo3::prelude::*;

use crate::ends::Ends;
use crate::error;
use crate::events::Events;
use crate::reader::Reader;
use crate::waiting::{ending, inside, unlocked};

pub(crate) enum Inner {
    Fuse(fifofs::Capture),
    Fifo(TemporaryPipe),
}

impl Inner {
    fn path(&self) -> &std::path::Path {
        match self {
            Inner::Fuse(capture) => capture.path(),
            Inner::Fifo(pipe) => pipe.path(),
        }
    }
}

/// How a file is delivered, and which ends of a writer are failures.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    deliver: Option<String>,
    fail_on: Option<String>,
}

impl Options {
    fn capture(self, name: &OsStr) -> Result<fifofs::Capture> {
        let mut builder = fifofs::Capture::builder(name);
        if let Some(way) = self.deliver {
            builder = builder.deliver(way.parse()?);
        }
        if let Some(ends) = self.fail_on {
            builder = builder.fail_on(ends.parse()?);
        }
        builder.capture()
    }
}

/// A path to give to a program.
#[pyclass(frozen, module = "_fifofs")]
pub(crate) struct Capture {
    path: PathBuf,
    /// None once it is closed. Locked for moments only, while the interpreter's lock is held.
    inner: Mutex<Option<Arc<Inner>>>,
    /// The functions that end its readers.
    ends: Ends,
}

impl Capture {
    pub(crate) fn of(inner: Inner) -> Capture {
        Capture {
            path: inner.path().to_owned(),
            inner: Mutex::new(Some(Arc::new(inner))),
            ends: Ends::default(),
        }
    }

    fn here(&self) -> Option<Arc<Inner>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone()
    }

    fn inner(&self, py: Python<'_>) -> PyResult<Arc<Inner>> {
        self.here().ok_or_else(|| {
            let message = format!(
                "the capture of {} has ended: use it inside its `with`, or make another",
                self.path.display()
            );
            error::closed(py, &message)
        })
    }
}

#[pymethods]
impl Capture {
    #[new]
    fn new(py: Python<'_>, name: OsString, fifo: bool, options: Options) -> PyResult<Capture> {
        inside(py, || {
            let made = unlocked(py, || match fifo {
                false => options.capture(&name).map(Inner::Fuse),
                true => TemporaryPipe::named(name).map(Inner::Fifo),
            });
            made.map(Capture::of)
                .map_err(|error| error::exception(py, error))
        })
    }

    #[getter]
    fn path(&self) -> OsString {
        self.path.clone().into()
    }

    /// A reader that ends with a process, or at once if that is 0; or once a function returns true, which
    /// keeps the file from being done until then if it `holds`; or else as the other readers of the
    /// capture.
    #[pyo3(signature = (process=None, until=None, holds=false))]
    fn reader(
        &self,
        py: Python<'_>,
        process: Option<u32>,
        until: Option<Py<PyAny>>,
        holds: bool,
    ) -> PyResult<Reader> {
        let inner = self.inner(py)?;
        let open = || -> Result<(fifofs::Reader, Option<CaptureHold>)> {
            if let Some(pid) = process.filter(|pid| *pid != 0) {
                let reader = match &*inner {
                    Inner::Fuse(capture) => capture.reader_until_exit(pid)?,
                    Inner::Fifo(pipe) => pipe.reader_until_exit(pid)?,
                };
                return Ok((reader, None));
            }
            let (mut reader, hold) = match &*inner {
                Inner::Fuse(capture) => (capture.reader()?, holds.then(|| capture.hold())),
                Inner::Fifo(pipe) => (pipe.reader()?, None),
            };
            if process.is_some() {
                reader.finish();
            }
            Ok((reader, hold))
        };
        inside(py, || {
            let (reader, hold) = unlocked(py, open).map_err(|error| error::exception(py, error))?;
            let until = until.map(|told| self.ends.add(told, hold));
            Ok(Reader::new(reader, self.ends.clone(), until))
        })
    }

    /// The events of the file.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        match &*self.inner(py)? {
            Inner::Fuse(capture) => Ok(Events::of_capture(capture.events())),
            Inner::Fifo(pipe) => Err(error::unsupported(
                py,
                "a FIFO has no events: capture by FUSE to be told of them",
                pipe.path(),
            )),
        }
    }

    /// Process ids and names of the processes that have it open for writing.
    fn writers(&self, py: Python<'_>) -> PyResult<Vec<(u32, String)>> {
        let inner = self.inner(py)?;
        let Inner::Fuse(capture) = &*inner else {
            return Ok(Vec::new());
        };
        let writers = inside(py, || Ok(unlocked(py, || capture.writers())))?;
        Ok(writers.into_iter().map(|w| (w.pid, w.name)).collect())
    }

    /// Ends all reading: writers get SIGPIPE.
    fn hang_up(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner(py)?;
        inside(py, || {
            unlocked(py, || match &*inner {
                Inner::Fuse(capture) => capture.hang_up(),
                Inner::Fifo(pipe) => pipe.hang_up(),
            });
            Ok(())
        })
    }

    /// If the file follows, keeps only so many bytes that every reader has got.
    fn keep_at_most(&self, py: Python<'_>, bytes: u64) -> PyResult<()> {
        if let Inner::Fuse(capture) = &*self.inner(py)? {
            capture.keep_at_most(bytes);
        }
        Ok(())
    }

    /// Raises an exception once it is closed.
    fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        self.inner(py).map(drop)
    }

    /// Removes the file.
    fn close(&self, py: Python<'_>) {
        let inner = self
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // In a forked child this does nothing.
        ending(py, || drop(inner));
    }
}

/// Whether this process has a running child that is none of those: zombies do not count, nor do the crate's
/// own helpers, whose end sends no signal.
#[pyfunction]
pub(crate) fn has_running_child(except: Vec<libc::id_t>) -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return is_any_child();
    };
    let mut listed = threads
        .flatten()
        .map(|thread| std::fs::read_to_string(thread.path().join("children")));
    let is_one = |pid: &str| {
        let pid = pid.parse().unwrap_or_default();
        !except.contains(&pid) && looked_at(libc::P_PID, pid) == Some(false)
    };
    listed.any(|children| match children {
        Ok(children) => children.split_whitespace().any(is_one),
        // The thread has ended, or the kernel has no such file (CONFIG_PROC_CHILDREN).
        Err(error) => error.kind() == io::ErrorKind::NotFound && is_any_child(),
    })
}

/// Whether there is a child that has not been waited for.
fn is_any_child() -> bool {
    looked_at(libc::P_ALL, 0).is_some()
}

/// Whether a child, or any child, has exited; none if there is none. Does not reap it.
fn looked_at(kind: libc::idtype_t, id: libc::id_t) -> Option<bool> {
    // SAFETY: all zeros is a siginfo_t.
    let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the pointer is valid.
    let result = unsafe { libc::waitid(kind, id, &raw mut found, options) };
    // SAFETY: waitid(2) sets it, to 0 if no child has exited.
    let pid = unsafe { found.si_pid() };
    (result == 0).then_some(pid != 0)
}

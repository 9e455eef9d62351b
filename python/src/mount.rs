//! A mount that this process serves.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fifofs::{FailOn, Linger, MountBuilder, Result};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::capture::{self, Capture};
use crate::error;
use crate::events::Events;
use crate::waiting::{ending, inside, unlocked};

/// A mount served by this process.
#[pyclass(frozen, module = "_fifofs")]
pub(crate) struct Mount {
    path: PathBuf,
    /// None once it is unmounted. Locked for moments only, while the interpreter's lock is held.
    inner: Mutex<Option<Arc<fifofs::Mount>>>,
    process: u32,
}

impl Mount {
    fn inner(&self, py: Python<'_>) -> PyResult<Arc<fifofs::Mount>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clone().ok_or_else(|| {
            let path = self.path.display();
            error::closed(py, &format!("{path} is unmounted: mount it again"))
        })
    }
}

/// The options of a mount, as the package checked them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    rules: Vec<String>,
    /// `auto`, `exit`, or a number of seconds.
    linger: String,
    fail_on: String,
    window: Option<u64>,
    memory: Option<u64>,
    spill: Option<PathBuf>,
    max_size: Option<u64>,
    allow_other: bool,
    consume: bool,
    fifos: String,
    require_visible: bool,
}

impl Options {
    fn builder(self) -> PyResult<Result<MountBuilder>> {
        let wrong = |what: &str, value: &str, right: &str| {
            PyValueError::new_err(format!("invalid {what} {value:?}: give {right}"))
        };
        let linger = match self.linger.as_str() {
            "auto" => Linger::Auto,
            "exit" => Linger::Exit,
            seconds => seconds
                .parse()
                .ok()
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .map(Linger::After)
                .ok_or_else(|| wrong("linger", seconds, "auto, exit or a number of seconds"))?,
        };
        let fail_on: FailOn = self
            .fail_on
            .parse()
            .map_err(|_| wrong("fail_on", &self.fail_on, "crash, signal, status or never"))?;
        let mut builder = fifofs::Mount::builder()
            .linger(linger)
            .fail_on(fail_on)
            .allow_other(self.allow_other)
            .consume(self.consume)
            .require_visible(self.require_visible);
        builder = match builder.fifos(&self.fifos) {
            Ok(builder) => builder,
            Err(error) => return Ok(Err(error)),
        };
        for rule in self.rules {
            builder = match builder.rule(&rule) {
                Ok(builder) => builder,
                Err(error) => return Ok(Err(error)),
            };
        }
        if let Some(bytes) = self.window {
            builder = builder.window(bytes);
        }
        if let Some(bytes) = self.memory {
            builder = builder.memory(bytes);
        }
        if let Some(directory) = self.spill {
            builder = builder.spill(directory);
        }
        if let Some(bytes) = self.max_size {
            builder = builder.max_size(bytes);
        }
        Ok(Ok(builder))
    }
}

#[pymethods]
impl Mount {
    #[new]
    fn new(py: Python<'_>, path: Option<PathBuf>, options: Options) -> PyResult<Mount> {
        let builder = options.builder()?;
        let make = || {
            builder.and_then(|builder| match path {
                Some(path) => builder.mount(path),
                None => builder.mount_temporary(),
            })
        };
        let mount = inside(py, || {
            unlocked(py, make).map_err(|error| error::exception(py, error))
        })?;
        Ok(Mount {
            path: mount.path().to_owned(),
            inner: Mutex::new(Some(Arc::new(mount))),
            process: std::process::id(),
        })
    }

    #[getter]
    fn path(&self) -> std::ffi::OsString {
        self.path.clone().into()
    }

    /// Captures a path of it.
    fn capture(&self, py: Python<'_>, path: PathBuf) -> PyResult<Capture> {
        let inner = self.inner(py)?;
        inside(py, || {
            let made = unlocked(py, || inner.capture(path));
            made.map(|made| Capture::of(capture::Inner::Fuse(made)))
                .map_err(|error| error::exception(py, error))
        })
    }

    /// The events of its files.
    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        Ok(Events::of_mount(self.inner(py)?.events()))
    }

    /// Its state, as JSON.
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        let inner = self.inner(py)?;
        let json = || serde_json::to_string(&inner.status());
        let status = inside(py, || Ok(unlocked(py, json)))?;
        status.map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Raises an exception once it is unmounted.
    fn check_mounted(&self, py: Python<'_>) -> PyResult<()> {
        self.inner(py).map(drop)
    }

    /// Unmounts, if this is the last use of it.
    fn unmount(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let is_own = self.process == std::process::id();
        let unmounted = ending(py, || match inner.map(Arc::try_unwrap) {
            Some(Ok(mount)) if is_own => mount.unmount(),
            // It belongs to the parent, or another thread unmounts it when it has finished.
            _ => Ok(()),
        });
        unmounted.map_err(|error| error::exception(py, error))
    }
}

/// See `fifofs::wait_path`.
#[pyfunction]
pub(crate) fn wait_path(py: Python<'_>, path: PathBuf, next: bool) -> PyResult<std::ffi::OsString> {
    inside(py, || {
        unlocked(py, || fifofs::wait_path(path, next))
            .map(Into::into)
            .map_err(|error| error::exception(py, error))
    })
}

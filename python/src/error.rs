//! Turns errors of the crate into exceptions of the package, which defines their types.

use std::io;
use std::path::Path;

use fifofs::Error;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The exception for an error.
pub(crate) fn exception(py: Python<'_>, error: Error) -> PyErr {
    let message = error.to_string();
    let (name, errno, path) = match &error {
        Error::Usage { .. } => return PyValueError::new_err(message),
        Error::Rewritten { path, .. } => ("OutputRewritten", Some(libc::ESTALE), path),
        Error::Failed { path, .. } => ("WriterFailed", Some(libc::EIO), path),
        Error::Missing { path, .. } => ("OutputMissing", Some(libc::ENOENT), path),
        Error::TimedOut { path, .. } => ("TimeoutExpired", Some(libc::ETIMEDOUT), path),
        Error::Cancelled { path, .. } => ("Cancelled", Some(libc::ECANCELED), path),
        Error::Io { path, source, .. } => ("FifofsError", source.raw_os_error(), path),
        // A variant that is newer than this code.
        _ => return named(py, "FifofsError", (message, None::<i32>, None::<&str>)),
    };
    named(py, name, (message, errno, Some(path.as_os_str())))
}

/// The exception for an error of a reader.
pub(crate) fn of_reading(py: Python<'_>, error: io::Error) -> PyErr {
    exception(py, Error::io("read", "the output", error))
}

/// The exception if not everything came from `path` within the timeout.
pub(crate) fn timed_out(py: Python<'_>, path: &Path) -> PyErr {
    let message = format!(
        "not all of {} came in the time that was given",
        path.display()
    );
    named(
        py,
        "TimeoutExpired",
        (message, Some(libc::ETIMEDOUT), Some(path.as_os_str())),
    )
}

/// The exception if a wait is refused, or ended, because the interpreter exits.
pub(crate) fn interpreter_ends(py: Python<'_>) -> PyErr {
    let message = "the interpreter exits: nothing is waited for any more";
    named(
        py,
        "Cancelled",
        (message, Some(libc::ECANCELED), None::<&str>),
    )
}

/// The exception for use after the end.
pub(crate) fn closed(py: Python<'_>, message: &str) -> PyErr {
    named(py, "Closed", (message, Some(libc::EBADF), None::<&str>))
}

/// The exception if `path` does not support an operation.
pub(crate) fn unsupported(py: Python<'_>, message: &str, path: &Path) -> PyErr {
    named(
        py,
        "FifofsError",
        (message, Some(libc::EOPNOTSUPP), Some(path.as_os_str())),
    )
}

fn named<'py>(py: Python<'py>, name: &str, arguments: impl pyo3::call::PyCallArgs<'py>) -> PyErr {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let make = || -> PyResult<PyErr> {
        let module =
            MODULE.get_or_try_init(py, || py.import("fifofs._errors").map(Bound::unbind))?;
        let class = module.bind(py).getattr(name)?.cast_into::<PyType>()?;
        Ok(PyErr::from_value(class.call1(arguments)?))
    };
    make().unwrap_or_else(|error| error)
}

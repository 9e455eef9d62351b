//! The command `fifofs`, from the same shared object: it includes the source of the crate's command.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs a command line, whose first word is the command's name, and returns its exit status; `program`
/// starts the same command in another process. Only for a process that does nothing else, as it sets signal
/// dispositions.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, program: Vec<OsString>, words: Vec<OsString>) -> u8 {
    py.detach(|| crate::cli::main(program, words))
}

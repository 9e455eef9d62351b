//! The command `fifofs`, from the same shared object: what `src/main.rs` of the crate is made of.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs a command line, of which the first word is the command's name, and gives its exit status; `program`
/// starts the same command in another process. For a process that does nothing else, as it sets signals.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, program: Vec<OsString>, words: Vec<OsString>) -> u8 {
    py.detach(|| crate::cli::main(program, words))
}

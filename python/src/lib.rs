//! The extension module under the Python package `fifofs`.
//!
//! Knows the crate's public API and the interpreter's lock; Python programs see the package above it
//! (`python/fifofs`), which gives every argument here. Three invariants:
//!
//! - Nothing waits with the interpreter's lock held, and every wait ends when the interpreter exits
//!   (`waiting`).
//! - A lock of this module is held for moments only, and while the interpreter's lock is held, so that a
//!   fork, which holds the latter, finds all of them free; a forked child does not touch the one that is
//!   held during a wait (`reader::Reader`).
//! - A value that a fork inherited is not used, as the crate refuses that, and is never dropped here in a
//!   way that affects its parent's.

mod capture;
#[path = "../../src/cli/mod.rs"]
mod cli;
mod command;
mod ends;
mod error;
mod events;
mod mount;
mod reader;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
fn _fifofs(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<capture::Capture>()?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<events::Events>()?;
    module.add_class::<mount::Mount>()?;
    module.add_function(wrap_pyfunction!(capture::has_running_child, module)?)?;
    module.add_function(wrap_pyfunction!(command::main, module)?)?;
    module.add_function(wrap_pyfunction!(mount::wait_path, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::shut_down, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::after_fork, module)?)?;
    Ok(())
}

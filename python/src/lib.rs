//! The extension module under the Python package `fifofs`.
//!
//! Knows the crate's public API and the interpreter's lock; what Python programs see is the package
//! above it (`python/fifofs`), which gives every argument here. Three invariants:
//!
//! - Nothing waits with the interpreter's lock held, and every wait ends when the interpreter does
//!   (`waiting`).
//! - A lock of this module is taken for a moment only while the interpreter's lock is held, so that a
//!   fork, which holds that, finds all of them free; the one that is held during a wait
//!   (`reader::Reader`) is not touched by a forked child.
//! - A value that a fork inherited is not used, as the crate refuses that, and is never dropped here in a
//!   way that touches its parent's.

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

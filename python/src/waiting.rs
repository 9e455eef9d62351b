//! Waiting without the interpreter's lock, in a way that both signals and the interpreter's end interrupt.
//!
//! When the interpreter exits, it ends a waiting thread that wants the lock back, which unwinds through
//! Rust and aborts the process (up to Python 3.13). So the package calls [`shut_down`] at exit, which
//! makes every wait give up first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error;

/// The longest that a signal handler waits for a thread that waits for bytes, and the interpreter's exit
/// for any thread. A shorter time would cost waiting threads processor time.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// How long a thread may take to give up its wait at exit: the longest wait that cannot be cut short is an
/// unmount, a second.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of threads in code of this module that may release the interpreter's lock: from the first
/// Rust frame to the last, as each of them would be unwound.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Whether the interpreter exits.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Counts a thread as inside of this module.
struct Inside;

impl Inside {
    fn enter() -> Inside {
        INSIDE.fetch_add(1, Ordering::AcqRel);
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // In a forked child the count was set to zero.
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = INSIDE.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

/// Runs code that may release the interpreter's lock, by [`unlocked`] or by running Python code.
///
/// # Errors
///
/// If the interpreter exits; those of `work`.
pub(crate) fn inside<T>(py: Python<'_>, work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    if interpreter_ends() {
        return Err(error::interpreter_ends(py));
    }
    let _inside = Inside::enter();
    work()
}

/// Runs `work` without the interpreter's lock. Call this inside of [`inside`], so that the interpreter
/// waits for it.
pub(crate) fn unlocked<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    py.detach(work)
}

/// Runs `work`, which ends something, without the interpreter's lock unless the interpreter exits.
pub(crate) fn ending<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    if interpreter_ends() {
        return work();
    }
    let _inside = Inside::enter();
    py.detach(work)
}

/// Whether waits must give up.
pub(crate) fn interpreter_ends() -> bool {
    ENDS.load(Ordering::Acquire)
}

/// The time so many seconds from now; none if that is beyond the clock's range.
pub(crate) fn deadline(timeout: Option<f64>) -> Option<Instant> {
    let timeout = Duration::try_from_secs_f64(timeout?.max(0.0)).ok()?;
    Instant::now().checked_add(timeout)
}

/// Makes all waits give up, also later ones.
#[pyfunction]
pub(crate) fn shut_down(py: Python<'_>) {
    ENDS.store(true, Ordering::Release);
    let deadline = Instant::now() + PATIENCE;
    while INSIDE.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
        py.detach(|| thread::sleep(Duration::from_millis(1)));
    }
}

/// Call this in a forked child, which has one thread.
#[pyfunction]
pub(crate) fn after_fork() {
    INSIDE.store(0, Ordering::Release);
}

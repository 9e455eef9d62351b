//! Locks and atomics: how all code takes them, and which of them loom tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, even if a thread panicked while it held it: that bug was reported already. The guarded
/// data is consistent at every moment, or as good as it will get, and the mount must still be removed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For data that threads share without the core's lock: with `--cfg modelled` these are loom's types. Its
/// tests then run the threads in every possible order, with memory as weakly ordered as it may be
/// (`scripts/miri`).
pub(crate) mod modelled {
    #[cfg(all(test, modelled))]
    pub(crate) use loom::sync::atomic::AtomicUsize;
    #[cfg(not(all(test, modelled)))]
    pub(crate) use std::sync::atomic::AtomicUsize;
}

//! Locks and atomics: how they are taken everywhere, and which of them are tried in every order.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, also if a thread panicked with it: that is a bug which was reported already; what is
/// guarded is whole at every moment, or as good as it will get, and the mount must still come down.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For what threads share without the core's lock: loom's with `--cfg modelled`, whose tests then run the
/// threads in every order there is, and see memory as weakly ordered as it may be (`scripts/miri`).
pub(crate) mod modelled {
    #[cfg(all(test, modelled))]
    pub(crate) use loom::sync::atomic::AtomicUsize;
    #[cfg(not(all(test, modelled)))]
    pub(crate) use std::sync::atomic::AtomicUsize;
}

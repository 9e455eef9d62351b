//! Locks, as they are taken everywhere.

pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// Takes a lock, also if a thread panicked with it: that is a bug which was reported already; what is
/// guarded is whole at every moment, or as good as it will get, and the mount must still come down.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Values that do not work in forked children, and that a forked child must not drop.
//!
//! A fork copies memory and descriptors, but only the thread that forked: the threads that serve a
//! mount are missing, and a lock that one of them held stays locked for ever. Knows process ids, not
//! the values. Invariant: a value in [`Owned`] is dropped only by the process that made it; any other
//! process leaks it, with its descriptors open.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// The first process that made a value; later ones are forks of it. 0 before.
static FIRST: AtomicU32 = AtomicU32::new(0);

/// Whether the calling process is a fork of one that has made a value.
pub(crate) fn is_fork() -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    first != 0 && first != std::process::id()
}

/// The process that made a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner(u32);

impl Owner {
    /// The calling process.
    pub(crate) fn this() -> Owner {
        let this = std::process::id();
        let _ = FIRST.compare_exchange(0, this, Ordering::Relaxed, Ordering::Relaxed);
        Owner(this)
    }

    /// Whether the calling process is it.
    pub(crate) fn is_this(self) -> bool {
        self.0 == std::process::id()
    }

    /// # Errors
    ///
    /// If the calling process, which wants to do `operation` on `path`, is another.
    pub(crate) fn check(self, operation: &str, path: &Path) -> Result<()> {
        if self.is_this() {
            return Ok(());
        }
        let reason = format!("it belongs to process {}, of which this is a fork", self.0);
        Err(Error::io(operation, path, io::Error::other(reason))
            .with_remedy("make a new one in this process, after the fork"))
    }
}

/// A value that only its owner drops.
pub(crate) struct Owned<T> {
    owner: Owner,
    value: ManuallyDrop<T>,
}

impl<T> Owned<T> {
    /// Made by the calling process.
    pub(crate) fn new(value: T) -> Owned<T> {
        Owned {
            owner: Owner::this(),
            value: ManuallyDrop::new(value),
        }
    }

    /// The process that made it.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// The value, for an operation of its owner on `path`.
    ///
    /// # Errors
    ///
    /// In any other process.
    pub(crate) fn get_mut(&mut self, operation: &str, path: &Path) -> Result<&mut T> {
        self.owner.check(operation, path)?;
        Ok(self.value_mut())
    }

    /// The value, for operations in this process's memory, or after the owner was checked.
    pub(crate) fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// For reading what never changes; for anything else check [`Owned::owner`] first.
impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.owner.is_this() {
            // SAFETY: `self` is being dropped, so the value is not used after this.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

//! What a process made does not work in its forked children, and is not theirs to end.
//!
//! A fork copies memory and descriptors, but only the thread that forked: the threads that serve a
//! mount are not there, and a lock that one of them held stays locked for ever. Knows process ids and
//! nothing of what is kept. The invariant: a value in [`Owned`] is dropped only by the process that
//! made it; in any other it is left as it is, with its descriptors open.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// The first process that made something, of which others are forks; 0 before.
static FIRST: AtomicU32 = AtomicU32::new(0);

/// Whether the calling process is a fork of one that has made something.
pub(crate) fn is_fork() -> bool {
    let first = FIRST.load(Ordering::Relaxed);
    first != 0 && first != std::process::id()
}

/// The process that made something.
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
    /// If the calling process is another, which wants to do that to `path`.
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

    /// Who made it.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// The value, for what its owner does to `path`.
    ///
    /// # Errors
    ///
    /// In any other process.
    pub(crate) fn get_mut(&mut self, operation: &str, path: &Path) -> Result<&mut T> {
        self.owner.check(operation, path)?;
        Ok(self.value_mut())
    }

    /// The value, for what stays in this process's memory, or after the owner was asked for.
    pub(crate) fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// For what only looks at what never changes; for anything else ask [`Owned::owner`] first.
impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.owner.is_this() {
            // SAFETY: it is not used after this, as the whole is gone.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

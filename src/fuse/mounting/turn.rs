//! A process that is about to mount on a directory waits for its turn, so that of two such processes at the
//! same moment the second finds the mount of the first, and does not hide it.
//!
//! Knows a lock on the directory to be covered; nothing of mounts. The invariant: it only puts mounts in
//! order, and never prevents one. Every process that can open the directory can take the lock, as `flock DIR
//! fifofs mount DIR` does.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Instant;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};

use crate::fuse::timers::{TURN_INTERVAL, TURN_PATIENCE};

/// The turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    /// The directory, not what is mounted on it later. None where it cannot be locked.
    directory: Option<File>,
}

impl Turn {
    /// Waits for the turn at `directory`, on which nothing is mounted: until other processes are done, or
    /// `is_over` says that nothing is left to wait for, or for a while.
    pub(super) fn wait(directory: &Path, mut is_over: impl FnMut() -> bool) -> Turn {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let Ok(directory) = openat(CWD, directory, flags, Mode::empty()) else {
            return Turn { directory: None };
        };
        let start = Instant::now();
        while flock(&directory, FlockOperation::NonBlockingLockExclusive).is_err() {
            if start.elapsed() >= TURN_PATIENCE || is_over() {
                return Turn { directory: None };
            }
            thread::sleep(TURN_INTERVAL);
        }
        Turn {
            directory: Some(directory.into()),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Closing would not do: helper processes that were forked meanwhile may have it, too.
        if let Some(directory) = &self.directory {
            let _ = flock(directory, FlockOperation::Unlock);
        }
    }
}

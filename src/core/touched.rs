//! The marks: what an operation touched, to be examined by the settle pass ([`super::operation`]).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::hash::Hash;

use rustc_hash::FxHashSet;

use super::ids::{FifoId, ReaderId, Unique};

/// Marked objects, each once, in the order in which they were marked.
#[derive(Debug)]
pub(super) struct Marks<T> {
    queue: VecDeque<T>,
    known: FxHashSet<T>,
}

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Marks {
            queue: VecDeque::new(),
            known: FxHashSet::default(),
        }
    }
}

impl<T: Clone + Eq + Hash> Marks<T> {
    pub(super) fn add(&mut self, item: T) {
        if self.known.insert(item.clone()) {
            self.queue.push_back(item);
        }
    }

    pub(super) fn take(&mut self) -> Option<T> {
        let item = self.queue.pop_front()?;
        self.known.remove(&item);
        Some(item)
    }
}

/// A write whose bytes were accepted and that must be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenWrite {
    pub(super) unique: Unique,
    pub(super) thread: i32,
    pub(super) ino: u64,
    pub(super) length: u32,
    /// The offset past its last byte.
    pub(super) end: u64,
    /// Whether the kernel writes back its cache.
    pub(super) from_cache: bool,
    /// Whether it is answered before its readers are.
    pub(super) comes_first: bool,
}

/// The marks of an operation.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Names at which another file may stand, in any directory.
    pub(super) names: Marks<OsString>,
    /// Whether every path may lead elsewhere: a directory or link was made, removed or moved.
    pub(super) all_paths: bool,
    /// Files whose generation may be done.
    pub(super) generations: Marks<u64>,
    /// Files whose readers may all get more.
    pub(super) contents: Marks<u64>,
    /// Readers that may get more.
    pub(super) readers: Marks<ReaderId>,
    /// The write to be answered.
    pub(super) write: Option<TakenWrite>,
    /// Files whose waiting writes may be answered, or whose bytes may be dropped.
    pub(super) room: Marks<u64>,
    /// Files that the flusher may have to start or stop writing back.
    pub(super) writeback: Marks<u64>,
    /// FIFOs whose next message may take its turn.
    pub(super) fifos: Marks<FifoId>,
}

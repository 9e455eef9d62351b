//! The settle pass: what an operation touched is looked at again, until nothing is left to look at.
//!
//! Handlers change state and *mark* what they touched. They never call each other to have somebody woken.
//! [`Operation::settle`] ends every operation. It looks in one order, in which what comes first decides what comes
//! after it, and goes back to the beginning whenever something was marked meanwhile:
//!
//! ```text
//! names        who follows a path looks where it leads now
//! generations  a closed one may be done
//! readers      a reader gets what it may have
//! write        it is answered, or waits until its readers are near enough
//! room         writes that waited go on, and what every reader has is dropped
//! FIFOs        the next message comes in the place of one that was taken
//! writeback    the flusher is at work exactly where somebody waits
//! ```
//!
//! Last, contents are spilled until all is within the limit of memory, or nothing more can be spilled at that
//! moment.
//!
//! Each step decides from the state alone, so that marking too much is harmless; what is not marked is not
//! looked at.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::hash::Hash;

use rustc_hash::FxHashSet;

use super::Operation;
use super::effects::{Effect, Forget};
use super::ids::{FifoId, ReaderId, Unique};
use super::timers::SPILLS_AGAIN;

/// What is to be looked at again, each once, in the order in which it was marked.
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

    fn take(&mut self) -> Option<T> {
        let item = self.queue.pop_front()?;
        self.known.remove(&item);
        Some(item)
    }
}

/// A write that was taken and is to be answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenWrite {
    pub(super) unique: Unique,
    pub(super) thread: i32,
    pub(super) ino: u64,
    pub(super) length: u32,
    /// One past its last byte.
    pub(super) end: u64,
    /// Whether the kernel writes back its cache.
    pub(super) from_cache: bool,
    /// Whether the program is to go on before its readers do.
    pub(super) comes_first: bool,
}

/// What an operation touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Names at which another file may stand, in whatever directory.
    pub(super) names: Marks<OsString>,
    /// Whether every path may lead elsewhere: a directory or a link came, went or moved.
    pub(super) all_paths: bool,
    /// Files whose generation may be done.
    pub(super) generations: Marks<u64>,
    /// Files of which every reader may get more.
    pub(super) contents: Marks<u64>,
    /// Readers who may get more.
    pub(super) readers: Marks<ReaderId>,
    /// The write to be answered.
    pub(super) write: Option<TakenWrite>,
    /// Files whose writers may go on, or of which bytes may be dropped.
    pub(super) room: Marks<u64>,
    /// Files that the flusher may have to take in hand, or to let go.
    pub(super) writeback: Marks<u64>,
    /// FIFOs whose next message may have its turn.
    pub(super) fifos: Marks<FifoId>,
}

impl Operation<'_> {
    /// Does what an operation made possible or necessary.
    pub(super) fn settle(&mut self) {
        while self.settle_one() {}
        if self.is_shut_down && !self.waiting.is_empty() {
            // Nobody is left who would wake them.
            self.refuse_all();
            while self.settle_one() {}
        }
        self.make_room();
        for (ino, incarnation) in self.core.removed.drain(..) {
            let pages = Forget::Pages { ino, incarnation };
            self.effects.push(Effect::Forget(pages));
        }
    }

    /// Looks at the first thing that was touched; says whether there was any.
    fn settle_one(&mut self) -> bool {
        if let Some(name) = self.touched.names.take() {
            self.name_changed(&name);
        } else if std::mem::take(&mut self.touched.all_paths) {
            self.all_paths_changed();
        } else if let Some(ino) = self.touched.generations.take() {
            self.evaluate(ino);
        } else if let Some(ino) = self.touched.contents.take() {
            for id in self.readers_of(ino) {
                self.touched.readers.add(id);
            }
        } else if let Some(id) = self.touched.readers.take() {
            self.progress(id);
        } else if let Some(write) = self.touched.write.take() {
            self.answer_write(write);
        } else if let Some(ino) = self.touched.room.take() {
            self.release_writes(ino);
        } else if let Some(id) = self.touched.fifos.take() {
            self.renew_fifo(id);
        } else if let Some(ino) = self.touched.writeback.take() {
            self.update_flushing(ino);
        } else {
            return false;
        }
        true
    }

    /// Spills contents until there is room for what cannot be spilled, which has come already.
    ///
    /// Only a spill file that takes nothing more is a reason to refuse what needs room from now on, until it is
    /// tried again. What a reader has in hand cannot be spilled either, but for a moment; that is tried again
    /// after each operation.
    pub(super) fn make_room(&mut self) {
        match (self.core.pool.is_over(), self.core.pool.is_stuck()) {
            (false, false) => return,
            (true, true) if self.now < self.spills_again => return,
            (true, _) => {}
            (false, true) => return self.core.pool.set_stuck(false),
        }
        for file in self.core.files.values_mut() {
            while self.core.pool.is_over() {
                match file.spill_one() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => {
                        self.core.spills_again = self.now + SPILLS_AGAIN;
                        return self.core.pool.set_stuck(true);
                    }
                }
            }
        }
        self.core.pool.set_stuck(false);
    }

    fn readers_of(&self, ino: u64) -> Vec<ReaderId> {
        let file = self.files.get(&ino);
        file.map_or_else(Vec::new, |file| file.readers().iter().copied().collect())
    }
}

//! The settle pass: examines the objects that an operation has marked, until none is marked any more.
//!
//! Handlers change state and *mark* what they touched. They never wake readers or writers themselves.
//! [`Operation::settle`] ends every operation. It examines marks in this order, in which earlier steps decide for
//! later ones, and starts again with the first step whenever something was marked meanwhile:
//!
//! ```text
//! names        readers that follow a path look up where it leads now
//! generations  a closed one may be done
//! readers      a reader gets the bytes that are there for it
//! write        it is answered, or waits until its readers are near enough
//! room         writes that waited are answered, and bytes that every reader has are dropped
//! FIFOs        the next message takes the place of one that was read
//! writeback    the flusher works on exactly the files that a reader waits for
//! ```
//!
//! Last, contents are spilled until all are within the limit of memory, or no more can be spilled at that
//! moment.
//!
//! Each step decides from the state alone, so that too many marks are harmless. What is not marked is not
//! examined.

use super::Operation;
use crate::core::effects::{Effect, Forget};
use crate::core::ids::ReaderId;
use crate::core::timers::SPILLS_AGAIN;

impl Operation<'_> {
    /// The settle pass.
    pub(in crate::core) fn settle(&mut self) {
        while self.settle_one() {}
        if self.is_shut_down && !self.waiting.is_empty() {
            // No later event would answer them.
            self.refuse_all();
            while self.settle_one() {}
        }
        self.make_room();
        for (ino, incarnation) in self.core.removed.drain(..) {
            let pages = Forget::Pages { ino, incarnation };
            self.effects.push(Effect::Forget(pages));
        }
    }

    /// Examines the first marked object; returns whether there was one.
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

    /// Spills contents until there is room for memory that cannot be spilled and is in use already.
    ///
    /// Only if the spill file takes nothing more are requests that need memory refused from then on, until it is
    /// tried again. Bytes that are on their way to a reader cannot be spilled either, but only for a moment:
    /// spilling is tried again after each operation.
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

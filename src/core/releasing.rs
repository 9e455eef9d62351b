//! What a reader by position does not need any more: kept for the program while there is room, and given
//! up for what it writes when there is none.
//!
//! Knows when something is given up; what is released, each [`Reader`] knows. The invariant: nothing is
//! given up that a reader was not given, or that has changed since.

use std::ops::Range;

use rustix::io::Errno;

use super::readers::reader::Reader;
use super::{File, Handle, Operation};

/// With so little room a writer waits for its reader, unless that is more than half of all: about what the
/// kernel may have under way.
const MARGIN_BYTES: u64 = 128 << 20;

/// So much is taken past all that may be kept, unless that is more than a quarter of it, while a reader
/// that has got everything may be about to release it.
const SLACK_BYTES: u64 = 16 << 20;

impl Operation<'_> {
    /// A reader of this process does not need these bytes any more, unless they change.
    pub(super) fn release_bytes(&mut self, handle: u64, range: Range<u64>) {
        let Some(&Handle::Reader(id)) = self.handles.get(&handle) else {
            return;
        };
        if let Some(reader) = self.readers.get_mut(id) {
            reader.release(range);
        }
        // There may be room for any that waits.
        let core = &mut *self.core;
        for (ino, file) in &core.files {
            if file.has_held_writes() {
                core.touched.room.add(*ino);
            }
        }
    }

    /// Does something to a file that may need room, and gives up what was released until there is.
    pub(super) fn with_room<T>(
        &mut self,
        ino: u64,
        mut attempt: impl FnMut(&mut File) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        loop {
            match attempt(self.file_mut(ino)?) {
                Err(Errno::NOSPC) if self.give_up_released(ino) => {}
                done => return done,
            }
        }
    }

    /// Whether so little room is left that a file's writer is to wait for its reader, who releases what it
    /// has got.
    pub(super) fn is_tight(&self, file: &File) -> bool {
        let mut readers = self.readers.of(file);
        if !readers.any(Reader::has_ever_released) {
            return false;
        }
        let released: u64 = self.readers.iter().map(Reader::released_bytes).sum();
        let free = self.pool.available().saturating_add(released);
        // What was released makes room first for what was taken past all there is.
        let room = free.saturating_sub(self.pool.excess());
        room < MARGIN_BYTES.min(self.pool.max_size() / 2)
    }

    /// Whether bytes that have no room are taken all the same: whoever writes them waits then for a reader,
    /// of this file or another, who has not got all there is and releases what it gets. (The kernel sends on
    /// what it has under way, which is bounded.) Or the reader has just got all, and may be about to release
    /// it.
    pub(super) fn is_to_wait(&self, ino: u64) -> bool {
        let slack = SLACK_BYTES.min(self.pool.max_size() / 4);
        let file = self.files.get(&ino);
        file.is_some_and(|file| self.is_tight(file))
            && (self.pool.excess() < slack || self.is_one_behind())
    }

    /// Whether a reader that releases what it gets has not got all there is.
    fn is_one_behind(&self) -> bool {
        let mut releasing = self.readers.iter().filter(|r| r.has_ever_released());
        releasing.any(|reader| {
            let file = reader.source().and_then(|ino| self.files.get(&ino));
            let there_is = file.map_or(0, |file| file.spool().frontier());
            reader.has_of_source().is_some_and(|has| has < there_is)
        })
    }

    /// Gives up what was released first, of this file if there is something, or else of another; says
    /// whether there was any.
    fn give_up_released(&mut self, ino: u64) -> bool {
        self.give_up_released_of(ino) || {
            let others: Vec<u64> = self.readers.iter().filter_map(Reader::source).collect();
            others.into_iter().any(|ino| self.give_up_released_of(ino))
        }
    }

    fn give_up_released_of(&mut self, ino: u64) -> bool {
        let core = &mut *self.core;
        let Some(file) = core.files.get_mut(&ino) else {
            return false;
        };
        // Another one may need what this one does not.
        let [id] = file.readers().iter().copied().collect::<Vec<_>>()[..] else {
            return false;
        };
        let released = core.readers.get_mut(id).and_then(Reader::take_released);
        let Some(range) = released else {
            return false;
        };
        file.give_up(range);
        true
    }
}

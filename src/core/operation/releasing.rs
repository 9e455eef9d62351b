//! Bytes that a reader by position has *released*, as it does not need them any more. They are kept for the
//! program while there is room, and dropped to make room for what it writes.
//!
//! Knows when bytes are dropped; each [`Reader`] knows what it has released. The invariant: no byte is
//! dropped that the reader was not given, or that has changed since.

use std::ops::Range;

use rustix::io::Errno;

use super::Operation;
use crate::core::readers::reader::Reader;
use crate::core::{File, Handle};

/// A writer waits for its reader if there is less room than this, or than half of all room if that is less. It
/// is about as much as the kernel may have under way.
const MARGIN_BYTES: u64 = 128 << 20;

/// How many bytes are accepted beyond all room (at most a quarter of it) while a reader that has got all bytes
/// may be about to release them.
const SLACK_BYTES: u64 = 16 << 20;

impl Operation<'_> {
    /// A reader in this process releases these bytes, unless they change.
    pub(super) fn release_bytes(&mut self, handle: u64, range: Range<u64>) {
        let Some(&Handle::Reader(id)) = self.handles.get(&handle) else {
            return;
        };
        if let Some(reader) = self.readers.get_mut(id) {
            reader.release(range);
        }
        // There may be room for writes that wait, of any file.
        let core = &mut *self.core;
        for (ino, file) in &core.files {
            if file.has_held_writes() {
                core.touched.room.add(*ino);
            }
        }
    }

    /// Attempts something that may need room in a file, and drops released bytes until there is enough.
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

    /// Whether so little room is left that a file's writer must wait for its reader, which releases bytes.
    pub(super) fn is_tight(&self, file: &File) -> bool {
        let mut readers = self.readers.of(file);
        if !readers.any(Reader::has_ever_released) {
            return false;
        }
        let released: u64 = self.readers.iter().map(Reader::released_bytes).sum();
        let free = self.pool.available().saturating_add(released);
        // Released bytes first make up for bytes that were accepted beyond all room.
        let room = free.saturating_sub(self.pool.excess());
        room < MARGIN_BYTES.min(self.pool.max_size() / 2)
    }

    /// Whether bytes for which there is no room are accepted nevertheless. Then their writer waits: for a reader,
    /// of this file or another, that has not got all bytes and releases what it gets (what the kernel has under
    /// way meanwhile is bounded), or for one that has just got all bytes and may be about to release them.
    pub(super) fn is_to_wait(&self, ino: u64) -> bool {
        let slack = SLACK_BYTES.min(self.pool.max_size() / 4);
        let file = self.files.get(&ino);
        file.is_some_and(|file| self.is_tight(file))
            && (self.pool.excess() < slack || self.is_one_behind())
    }

    /// Whether a reader that releases bytes has not got all bytes of its file.
    fn is_one_behind(&self) -> bool {
        let mut releasing = self.readers.iter().filter(|r| r.has_ever_released());
        releasing.any(|reader| {
            let file = reader.source().and_then(|ino| self.files.get(&ino));
            let frontier = file.map_or(0, |file| file.spool().frontier());
            reader.has_of_source().is_some_and(|has| has < frontier)
        })
    }

    /// Drops the bytes that were released first: of this file if it has any, else of another. Returns whether
    /// there were any.
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
        // With several readers another one may still need them.
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

//! Changes of a file's bytes by its writers: the choice made by the first bytes, changes of delivered bytes,
//! and operations that no pipe supports.
//!
//! Invariants: the spool's bytes change only here, and each change returns the range of delivered bytes that
//! it concerns. The format, and that something was written, are noted before the bytes are there.

use std::ffi::OsString;
use std::ops::Range;

use rustix::io::Errno;

use super::super::clock::Monotonic;
use super::super::spool::{Load, ZEROS};
use super::generation::Way;
use super::{File, format};

impl File {
    /// Notes a write. `data` is its beginning, `name` the file's name. If it is the generation's first,
    /// returns the way of delivery and the reason for it.
    pub(in crate::core) fn note_write(
        &mut self,
        now: Monotonic,
        (offset, from_cache): (u64, bool),
        data: &[u8],
        name: impl FnOnce() -> Option<OsString>,
    ) -> Option<(Way, String)> {
        if from_cache && offset > 0 && self.generation.is_undecided() {
            // Two write-back threads of the kernel may overtake each other: the file's beginning may still be
            // on its way.
            self.generation.note_content(now);
            return None;
        }
        self.note_first_write(now, offset, data, name)
    }

    /// The file is closed: all of the kernel's cache has come, and nothing at the file's beginning. Returns
    /// the way of delivery, and the reason, if that is chosen only now.
    pub(in crate::core) fn note_no_first_write(
        &mut self,
        now: Monotonic,
        name: impl FnOnce() -> Option<OsString>,
    ) -> Option<(Way, String)> {
        match self.generation.awaits_choice() {
            true => self.note_first_write(now, 1, &[], name),
            false => None,
        }
    }

    fn note_first_write(
        &mut self,
        now: Monotonic,
        offset: u64,
        data: &[u8],
        name: impl FnOnce() -> Option<OsString>,
    ) -> Option<(Way, String)> {
        let generation = &mut self.generation;
        if !generation.note_written(now) {
            return None;
        }
        let name = name();
        let by_name = name.as_deref().and_then(format::by_extension);
        let is_chosen = generation.chosen().is_some();
        let by_content = match offset {
            0 if by_name.is_none() || !is_chosen => format::by_content(data),
            _ => None,
        };
        self.format = by_name.or(by_content);
        if !is_chosen {
            let (way, reason) = if offset > 0 {
                (
                    Way::Settled,
                    "first written beyond its beginning".to_owned(),
                )
            } else if self.fifo.is_some() && self.format.is_none() {
                (
                    Way::Follow,
                    "bytes of no known kind, written to a FIFO".to_owned(),
                )
            } else {
                format::choose(by_name, by_content, name.as_deref(), data)
            };
            generation.choose(way, reason, true);
        }
        let (way, reason) = generation.chosen()?;
        Some((way, reason.to_owned()))
    }

    /// Writes bytes, within the maximum size if `is_bounded`; if it fails nothing has changed. Returns the
    /// range that differs from delivered bytes.
    pub(in crate::core) fn write(
        &mut self,
        offset: u64,
        data: &mut Load<'_>,
        is_bounded: bool,
    ) -> Result<Option<Range<u64>>, Errno> {
        let changed = self.delivered_difference(offset, data)?;
        // The last byte that is not zero, for formats that end in zeros.
        let ends_in_zeros = self.format.is_some_and(|format| format.trailing_zeros);
        let last = ends_in_zeros.then(|| data.last_nonzero()).flatten();
        self.spool.take(offset, data, is_bounded)?;
        if let Some(last) = last {
            self.zeros_from = self.zeros_from.max(offset + last as u64 + 1);
        }
        Ok(changed)
    }

    /// Sets the length. Returns the range of delivered bytes that is cut off.
    pub(in crate::core) fn truncate(&mut self, length: u64) -> Result<Option<Range<u64>>, Errno> {
        let before = self.spool.len();
        let generation = &mut self.generation;
        if generation.is_active() && !generation.is_written() && length > 0 && length != before {
            generation.choose(Way::Settled, "set to a length before it was written", true);
        }
        let delivered = self.generation.delivered();
        self.spool.truncate(length)?;
        self.zeros_from = self.zeros_from.min(length);
        if length == 0 {
            self.generation.emptied();
        }
        Ok((length < delivered).then_some(length..delivered))
    }

    /// Reserves space.
    pub(in crate::core) fn allocate(
        &mut self,
        offset: u64,
        length: u64,
        keep_size: bool,
    ) -> Result<(), Errno> {
        if !self.generation.is_written() {
            let reason = "preallocated before it was written";
            self.generation.choose(Way::Settled, reason, true);
        }
        self.spool.allocate(offset, length, keep_size)
    }

    /// Zeroes a range; if `extends`, also beyond the end. Returns the range that readers have with other
    /// bytes.
    pub(in crate::core) fn zero(
        &mut self,
        range: Range<u64>,
        extends: bool,
    ) -> Result<Option<Range<u64>>, Errno> {
        let changed = self.delivered_nonzero(range.clone())?;
        self.spool.punch(range.start, range.end - range.start)?;
        if extends && range.end > self.spool.len() {
            self.spool.truncate(range.end)?;
        }
        Ok(changed)
    }

    /// Drops bytes that readers have released.
    pub(in crate::core) fn give_up(&mut self, range: Range<u64>) {
        self.spool.drop_range(range);
    }

    /// With stream, how far readers have read the present generation.
    pub(in crate::core) fn streamed(&self) -> u64 {
        match self.is_active() && self.is_stream() {
            true => self.generation.delivered(),
            false => 0,
        }
    }

    /// Whether some of these bytes cannot be changed or read back: they are dropped or were delivered by a
    /// stream.
    pub(in crate::core) fn has_passed_on(&self, range: &Range<u64>) -> bool {
        range.start < self.streamed() || self.spool.lacks(range)
    }

    /// Whether writes fail: it has hung up, or is a stream that lost bytes or whose readers are all gone.
    pub(in crate::core) fn is_broken(&self) -> bool {
        let is_left = self.generation.had_reader() && self.readers.is_empty();
        self.is_active() && self.is_stream() && (self.generation.is_lost() || is_left)
            || self.hung_up
    }

    /// Fails with EPIPE if writes fail. A later reader of the stream would miss these bytes, so it has
    /// failed.
    pub(in crate::core) fn refuse_if_broken(&mut self) -> Result<(), Errno> {
        if !self.is_broken() {
            return Ok(());
        }
        if self.is_stream() {
            self.generation.lose();
        }
        Err(Errno::PIPE)
    }

    /// The range of bytes about to be written that differs from delivered bytes.
    fn delivered_difference(
        &self,
        offset: u64,
        data: &Load<'_>,
    ) -> Result<Option<Range<u64>>, Errno> {
        let delivered = self.generation.delivered();
        if offset >= delivered {
            return Ok(None);
        }
        let mut differs: Option<Range<u64>> = None;
        let mut failed = false;
        data.each(|at, bytes| {
            let at = offset + at as u64;
            let length = bytes.len().min(delivered.saturating_sub(at) as usize);
            match self.spool.difference(at, &bytes[..length]) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let start = differs.as_ref().map_or(found.start, |before| before.start);
                    differs = Some(start..found.end);
                }
                Err(_) => failed = true,
            }
        });
        if failed { Err(Errno::IO) } else { Ok(differs) }
    }

    /// The range of delivered bytes about to be zeroed, from the first that is not zero.
    fn delivered_nonzero(&self, range: Range<u64>) -> Result<Option<Range<u64>>, Errno> {
        let mut at = range.start;
        let end = range.end.min(self.generation.delivered());
        while at < end {
            let length = ZEROS.len().min((end - at) as usize);
            let found = self
                .spool
                .difference(at, &ZEROS[..length])
                .map_err(|_| Errno::IO)?;
            if let Some(found) = found {
                return Ok(Some(found.start..end));
            }
            at += length as u64;
        }
        Ok(None)
    }
}

//! What writers do to the bytes of a file: what is chosen by the first of them, what readers had and is
//! changed, and what a pipe could not do.
//!
//! Invariants: no byte of the spool changes but here, and each change says which bytes that readers were
//! given it concerns. The format, and that something was written, are noted before the bytes are there.

use std::ffi::OsString;
use std::ops::Range;

use rustix::io::Errno;

use super::super::clock::Monotonic;
use super::super::spool::{Load, Spool, ZEROS};
use super::generation::{Generation, Way};
use super::{File, format};

impl File {
    /// Sees to what the first write of a generation says, at an offset, from the kernel's cache or not,
    /// with these bytes first, to a file of this name. Gives how it is delivered, and why, if this was the first.
    pub(in crate::core) fn note_write(
        &mut self,
        now: Monotonic,
        (offset, from_cache): (u64, bool),
        data: &[u8],
        name: impl FnOnce() -> Option<OsString>,
    ) -> Option<(Way, String)> {
        match &mut self.generation {
            // Two threads of the kernel that write its cache back may overtake each other: what was
            // written first may still be on its way.
            Some(generation) if from_cache && offset > 0 && generation.is_undecided() => {
                generation.note_content(now);
                None
            }
            _ => self.note_first_write(now, offset, data, name),
        }
    }

    /// It is closed: all that was in the kernel's cache has come, and nothing at its beginning. Gives how it
    /// is delivered if nothing chose that before.
    pub(in crate::core) fn note_no_first_write(
        &mut self,
        now: Monotonic,
        name: impl FnOnce() -> Option<OsString>,
    ) -> Option<(Way, String)> {
        self.generation().filter(|g| g.awaits_choice())?;
        self.note_first_write(now, 1, &[], name)
    }

    fn note_first_write(
        &mut self,
        now: Monotonic,
        offset: u64,
        data: &[u8],
        name: impl FnOnce() -> Option<OsString>,
    ) -> Option<(Way, String)> {
        let generation = self.generation.as_mut()?;
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

    /// Puts bytes into it, within the maximum size unless that is no bound to them; if it fails nothing has
    /// changed. Gives those that readers had otherwise.
    pub(in crate::core) fn write(
        &mut self,
        offset: u64,
        data: &mut Load<'_>,
        is_bounded: bool,
    ) -> Result<Option<Range<u64>>, Errno> {
        let changed = self.delivered_difference(offset, data)?;
        // Where its bytes end that are not zero, if that matters.
        let ends_in_zeros = self.format.is_some_and(|format| format.trailing_zeros);
        let last = ends_in_zeros.then(|| data.last_nonzero()).flatten();
        self.spool.take(offset, data, is_bounded)?;
        if let Some(last) = last {
            self.zeros_from = self.zeros_from.max(offset + last as u64 + 1);
        }
        Ok(changed)
    }

    /// Sets it to a length. Gives what readers had of that which is gone.
    pub(in crate::core) fn truncate(&mut self, length: u64) -> Result<Option<Range<u64>>, Errno> {
        let before = self.spool.len();
        if let Some(generation) = self.generation.as_mut().filter(|g| g.is_active())
            && !generation.is_written()
            && length > 0
            && length != before
        {
            generation.choose(Way::Settled, "set to a length before it was written", true);
        }
        let delivered = self.delivered();
        self.spool.truncate(length)?;
        self.zeros_from = self.zeros_from.min(length);
        if let (Some(generation), 0) = (&mut self.generation, length) {
            generation.emptied();
        }
        Ok((length < delivered).then_some(length..delivered))
    }

    /// It is to be emptied and written anew: what readers had of it is compared with what comes.
    pub(in crate::core) fn forget_delivered(&mut self) {
        if let Some(generation) = &mut self.generation {
            generation.forget_delivered();
        }
    }

    /// Reserves space.
    pub(in crate::core) fn allocate(
        &mut self,
        offset: u64,
        length: u64,
        keep_size: bool,
    ) -> Result<(), Errno> {
        if let Some(generation) = self.generation.as_mut().filter(|g| !g.is_written()) {
            generation.choose(Way::Settled, "preallocated before it was written", true);
        }
        self.spool.allocate(offset, length, keep_size)
    }

    /// Makes bytes zero, up to where it ends or beyond. Gives those of them that readers had otherwise.
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

    /// Gives bytes up that are not needed any more unless somebody changes or reads them.
    pub(in crate::core) fn give_up(&mut self, range: Range<u64>) {
        self.spool.drop_range(range);
    }

    /// What it begins with, to be compared with another.
    pub(in crate::core) fn snapshot(&self, length: u64) -> Spool {
        self.spool.snapshot(length)
    }

    /// With stream, how much of the present generation readers have had.
    pub(in crate::core) fn streamed(&self) -> u64 {
        let generation = self.active().filter(|g| g.goes(Way::Stream));
        generation.map_or(0, Generation::delivered)
    }

    /// Whether some of these bytes cannot be changed or read back: they are dropped, or on their way
    /// through a stream.
    pub(in crate::core) fn has_passed_on(&self, range: &Range<u64>) -> bool {
        range.start < self.streamed() || self.spool.lacks(range)
    }

    /// Bytes of it are lost. Says whether none were before, if it was ever opened for writing.
    pub(in crate::core) fn lose(&mut self) -> bool {
        self.generation.as_mut().is_some_and(Generation::lose)
    }

    /// Whether writes fail: with stream, if it has failed, or there were readers and none is left.
    pub(in crate::core) fn is_broken(&self) -> bool {
        let stream = self.active().filter(|g| g.goes(Way::Stream));
        let is_left = |g: &Generation| g.is_lost() || g.had_reader() && self.readers.is_empty();
        stream.is_some_and(is_left) || self.hung_up
    }

    /// Fails as a write then does. Whoever came to read a stream later would miss what was to be
    /// written, so that it has failed.
    pub(in crate::core) fn refuse_if_broken(&mut self) -> Result<(), Errno> {
        if !self.is_broken() {
            return Ok(());
        }
        if self.is_stream() {
            self.lose();
        }
        Err(Errno::PIPE)
    }

    fn delivered(&self) -> u64 {
        self.generation().map_or(0, Generation::delivered)
    }

    /// Which of the bytes about to be written differ from what readers have.
    fn delivered_difference(
        &self,
        offset: u64,
        data: &Load<'_>,
    ) -> Result<Option<Range<u64>>, Errno> {
        let delivered = self.delivered();
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

    /// Which of the bytes about to become zero were not, and readers have them.
    fn delivered_nonzero(&self, range: Range<u64>) -> Result<Option<Range<u64>>, Errno> {
        let mut at = range.start;
        let end = range.end.min(self.delivered());
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

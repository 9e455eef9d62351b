//! The content of one virtual file: sparse, in memory as far as the pool allows, else on disk.
//!
//! Knows bytes, which of them were written, and where they are kept. Knows nothing of names, readers,
//! delivery or time. The router's lock over core guards every spool; what [`Spool::read`] returns needs no
//! lock.
//!
//! [`chunks`] stores the bytes: what a chunk does not hold is zeros. This module counts: which bytes were
//! written ([`Spool::frontier`]), which pages hold content or were allocated, and so what the pool charges.
//! The invariant: a page is charged for if and only if it is in `data` or `reserved`, never in both, and an
//! operation that fails changes nothing.

mod buffer;
mod chunks;
mod claims;
mod cursor;
mod extents;
mod kept;
mod load;
mod memory;
mod pool;
mod segments;
mod slot;
mod spill;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

use rustix::io::Errno;

use chunks::Chunks;
pub(crate) use cursor::Cursor;
pub(in crate::core) use extents::Extents;
pub(crate) use kept::Kept;
pub(crate) use load::Load;
pub(crate) use memory::{CHUNK_BYTES, Memory};
pub(crate) use pool::{Limits, Pool};
pub(crate) use segments::Segments;
pub(in crate::core) use segments::ZEROS;

/// Unit of holes and space, as a filesystem's block.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// The longest file: offsets are signed to every program.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// The content of one virtual file.
#[derive(Debug)]
pub(crate) struct Spool {
    pool: Pool,
    length: u64,
    /// Bytes of the file that were dropped: counted in the length, but not stored.
    dropped: Extents,
    /// Bytes that were written or dropped, from which the frontier is computed.
    written: Extents,
    /// Whole pages with content; the rest are holes.
    data: Extents,
    /// Whole pages that were allocated and have no content.
    reserved: Extents,
    /// The bytes.
    chunks: Chunks,
    /// The charge for `data` and `reserved`.
    charged: Kept,
    /// The memory of this bookkeeping, without the bytes, or somewhat more.
    kept: Kept,
}

/// Approximate memory of a chunk beside its bytes: its slot, its store's description, and its share of the
/// nodes of two trees.
const SLOT_BYTES: u64 = 160;
/// Approximate memory of a range.
const RANGE_BYTES: u64 = 48;

impl Spool {
    /// An empty file.
    pub(crate) fn new(pool: &Pool) -> Spool {
        Spool {
            pool: pool.clone(),
            length: 0,
            dropped: Extents::default(),
            written: Extents::default(),
            data: Extents::default(),
            reserved: Extents::default(),
            chunks: Chunks::new(pool),
            charged: pool.charge_anyway(0),
            kept: pool.keep_anyway(0),
        }
    }

    /// The file's length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// The end of the gap-free prefix that was written; dropped bytes count as written.
    pub(crate) fn frontier(&self) -> u64 {
        self.written.prefix_end()
    }

    /// The offset below which all content was dropped.
    pub(crate) fn base(&self) -> u64 {
        self.dropped.prefix_end()
    }

    /// How many bytes were dropped.
    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.dropped.total()
    }

    /// The end of the bytes from this offset on of which none was dropped; the offset itself if its byte was.
    pub(crate) fn held_until(&self, offset: u64) -> u64 {
        let next = self.dropped.at_or_after(offset);
        next.map_or(u64::MAX, |range| range.start.max(offset))
    }

    /// Whether some of these bytes were dropped.
    pub(crate) fn lacks(&self, range: &Range<u64>) -> bool {
        self.dropped.overlapping(range).next().is_some()
    }

    /// The bytes that content and allocations take, in whole pages: `st_blocks` times 512.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.data.total() + self.reserved.total()
    }

    /// Writes `data` at `offset`, lengthening the file if it must.
    ///
    /// # Errors
    /// EFBIG past the longest offset, ESPIPE if the file [lacks](Spool::lacks) bytes there, ENOSPC past the maximum size,
    /// if the disk is full or if there is no memory to know where the bytes are, and what else the spill file gives. Then nothing has changed.
    pub(crate) fn write<'a>(
        &mut self,
        offset: u64,
        data: impl Into<Load<'a>>,
    ) -> Result<(), Errno> {
        self.take(offset, &mut data.into(), true)
    }

    /// The same, where the load's memory may be exchanged for other memory; within the maximum size if
    /// `is_bounded`.
    ///
    /// # Errors
    /// Those of [`Spool::write`].
    pub(crate) fn take(
        &mut self,
        offset: u64,
        data: &mut Load<'_>,
        is_bounded: bool,
    ) -> Result<(), Errno> {
        let end = end_of(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        if self.lacks(&(offset..end)) {
            return Err(Errno::SPIPE);
        }
        self.make_room_for((end - offset) / CHUNK_BYTES as u64 + 2)?;
        let pages = pages_around(offset..end);
        let before = self.allocated_bytes();
        let after = before + self.uncharged(&pages);
        match is_bounded {
            true => self.charged.resize(after)?,
            false => self.charged.resize_anyway(after),
        }
        self.chunks
            .store(offset, data)
            .inspect_err(|_| self.charged.resize_anyway(before))?;
        self.written.insert(offset..end);
        self.reserved.remove(pages.clone());
        self.data.insert(pages);
        self.length = self.length.max(end);
        Ok(())
    }

    /// Sets the length. Bytes that are cut off read as zeros if the file grows again.
    ///
    /// # Errors
    /// EFBIG past the longest offset.
    pub(crate) fn truncate(&mut self, length: u64) -> Result<(), Errno> {
        end_of(length, 0)?;
        if length <= self.length {
            self.chunks.truncate(length);
            self.written.remove(length..u64::MAX);
            self.release_pages(page_up(length)..u64::MAX);
            self.dropped.remove(length..u64::MAX);
            self.kept.shrink(self.bookkeeping());
        }
        self.length = length;
        Ok(())
    }

    /// fallocate(2) with mode 0, or KEEP_SIZE: makes sure that the range can be written. It stays
    /// unwritten: zeros, a hole, and a gap to the frontier.
    ///
    /// # Errors
    /// EINVAL for no length, EFBIG past the longest offset, ENOSPC if it does not fit into the
    /// maximum size. Then nothing has changed.
    pub(crate) fn allocate(
        &mut self,
        offset: u64,
        length: u64,
        keep_size: bool,
    ) -> Result<(), Errno> {
        let end = end_of(offset, length)?;
        if length == 0 {
            return Err(Errno::INVAL);
        }
        self.make_room_for(0)?;
        let pages = pages_around(offset..end);
        let mut fresh = Extents::default();
        fresh.insert(pages.clone());
        let held = self.data.overlapping(&pages);
        for range in held.chain(self.reserved.overlapping(&pages)) {
            fresh.remove(range);
        }
        // Dropped pages are not charged again.
        for range in self.dropped.overlapping(&(0..u64::MAX)) {
            fresh.remove(whole_pages_of(range));
        }
        self.charged
            .resize(self.allocated_bytes() + fresh.total())?;
        for range in fresh.overlapping(&pages) {
            self.reserved.insert(range);
        }
        if !keep_size {
            self.length = self.length.max(end);
        }
        Ok(())
    }

    /// fallocate(2) with PUNCH_HOLE: zeros from here on, and whole pages of it are a hole. Which bytes count
    /// as written does not change: a hole is zeros written by the program.
    ///
    /// # Errors
    /// ESPIPE if the file [lacks](Spool::lacks) bytes there; of the spill file, if a chunk's middle must be
    /// zeroed there; ENOSPC if there is no memory to know of the hole. Then nothing has changed.
    pub(crate) fn punch(&mut self, offset: u64, length: u64) -> Result<(), Errno> {
        let range = offset..offset.saturating_add(length);
        if range.is_empty() {
            return Ok(());
        }
        if self.lacks(&range) {
            return Err(Errno::SPIPE);
        }
        self.make_room_for(1)?;
        self.chunks.zero(range.clone())?;
        self.release_pages(page_up(range.start)..page_down(range.end));
        Ok(())
    }

    /// Drops bytes of the file, within its length; they count as written from now on. The caller no longer
    /// reads or compares them.
    pub(crate) fn drop_range(&mut self, range: Range<u64>) {
        let range = range.start..range.end.min(self.length);
        if self.dropped.covered(&range) == range.end.saturating_sub(range.start) {
            return;
        }
        self.written.insert(range.clone());
        self.dropped.insert(range.clone());
        // Together with dropped neighbours, so that a page goes once all of it was dropped.
        let around = self.dropped.at_or_after(range.start).unwrap_or(range);
        self.chunks.drop_within(around.clone());
        self.release_pages(whole_pages_of(around));
        self.kept.shrink(self.bookkeeping());
    }

    /// Counts every gap as written, for good: zeros up to the length. Holes stay holes.
    pub(crate) fn fill_gaps(&mut self) {
        self.written.insert(0..self.length);
    }

    /// lseek(2) with SEEK_DATA; `None` is ENXIO.
    pub(crate) fn seek_data(&self, offset: u64) -> Option<u64> {
        let start = self.data.at_or_after(offset)?.start.max(offset);
        (start < self.length).then_some(start)
    }

    /// lseek(2) with SEEK_HOLE; `None` is ENXIO. The end of the file is a hole.
    pub(crate) fn seek_hole(&self, offset: u64) -> Option<u64> {
        let data = self
            .data
            .at_or_after(offset)
            .filter(|data| data.start <= offset);
        let start = data.map_or(offset, |data| data.end.min(self.length));
        (offset < self.length).then_some(start)
    }

    /// The ranges between the holes, in order; whole pages except at the end of the file.
    pub(crate) fn data_ranges(&self) -> Vec<Range<u64>> {
        self.data.overlapping(&(0..self.length)).collect()
    }

    /// How many bytes of a range were written.
    pub(crate) fn written_within(&self, range: &Range<u64>) -> u64 {
        self.written.covered(range)
    }

    /// At most `length` bytes from `offset` on; gaps and holes are zeros. Loads nothing and copies nothing.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Segments {
        let end = offset.saturating_add(length as u64).min(self.length);
        self.chunks.read(offset..end)
    }

    /// The range from the first byte to one past the last at which the content differs from `data`
    /// at `offset`, looking no further than the file's end.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn difference(&self, offset: u64, data: &[u8]) -> io::Result<Option<Range<u64>>> {
        let stored = self.read(offset, data.len());
        let length = stored.len();
        let range = stored.mismatch(&data[..length])?;
        Ok(range.map(|(start, end)| offset + start as u64..offset + end as u64))
    }

    /// The first `length` bytes as a file of their own, sharing chunks until either is written to. Counts in
    /// full against the maximum size, but is never refused.
    pub(crate) fn snapshot(&self, length: u64) -> Spool {
        let mut copy = Spool {
            pool: self.pool.clone(),
            length: self.length,
            dropped: self.dropped.clone(),
            written: self.written.clone(),
            data: self.data.clone(),
            reserved: self.reserved.clone(),
            chunks: self.chunks.clone(),
            charged: self.pool.charge_anyway(self.allocated_bytes()),
            kept: self.pool.keep_anyway(self.bookkeeping()),
        };
        // Cannot fail: a length that exists is not too long.
        let _ = copy.truncate(length.min(self.length));
        copy
    }

    /// Moves a chunk from memory to disk; false if there is none to move.
    ///
    /// # Errors
    /// Of the spill file.
    pub(crate) fn spill_one(&mut self) -> Result<bool, Errno> {
        self.chunks.spill_one(|_| false)
    }

    /// Approximate memory of the bookkeeping.
    fn bookkeeping(&self) -> u64 {
        let sets = [&self.written, &self.data, &self.reserved, &self.dropped];
        let ranges: usize = sets.iter().map(|set| set.count()).sum();
        self.chunks.count() as u64 * SLOT_BYTES + ranges as u64 * RANGE_BYTES
    }

    /// Reserves memory to track so many chunks more, and one range more of each kind.
    fn make_room_for(&mut self, chunks: u64) -> Result<(), Errno> {
        let more = chunks * SLOT_BYTES + 3 * RANGE_BYTES;
        self.kept.fit(self.bookkeeping() + more)
    }

    /// The bytes of `pages` that the pool does not charge this file for yet.
    fn uncharged(&self, pages: &Range<u64>) -> u64 {
        pages.end - pages.start - self.data.covered(pages) - self.reserved.covered(pages)
    }

    /// Makes `pages` a hole.
    fn release_pages(&mut self, pages: Range<u64>) {
        self.data.remove(pages.clone());
        self.reserved.remove(pages);
        self.charged.resize_anyway(self.allocated_bytes());
    }
}

/// `offset` plus `length`, or EFBIG past the longest file.
pub(crate) fn end_of(offset: u64, length: u64) -> Result<u64, Errno> {
    offset
        .checked_add(length)
        .filter(|&end| end <= LENGTH_MAX)
        .ok_or(Errno::FBIG)
}

/// The start of the page that `offset` lies in.
fn page_down(offset: u64) -> u64 {
    offset / PAGE_BYTES * PAGE_BYTES
}

/// The end of the page that the byte before `offset` lies in.
fn page_up(offset: u64) -> u64 {
    page_down(offset.saturating_add(PAGE_BYTES - 1))
}

/// The whole pages that have no byte outside `range`.
fn whole_pages_of(range: Range<u64>) -> Range<u64> {
    page_up(range.start)..page_down(range.end)
}

/// The whole pages that have a byte of `range`.
fn pages_around(range: Range<u64>) -> Range<u64> {
    page_down(range.start)..page_up(range.end)
}

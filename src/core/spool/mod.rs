//! The content of one virtual file: sparse, in memory as far as the pool allows, else on disk.
//!
//! Knows bytes, which of them were written, and where they are kept. Knows nothing of names,
//! readers, delivery or time. Every method takes its caller's word that nobody else uses the same
//! spool meanwhile (the router's lock over core); what [`Spool::read`] returns needs no lock.
//!
//! A file is cut into chunks of [`CHUNK_BYTES`]; those with content have a slot, which is a length
//! and a store: a buffer in memory or a place in the file's own spill file. What a slot's length
//! does not reach, and what has no slot, is zeros.
//!
//! # Why a read that was handed out never changes
//!
//! A segment holds its buffer or place by `Arc`, as do snapshots.
//! - A buffer is changed only through `Arc::get_mut`, so only while nobody else holds it; a write
//!   to a shared one copies it first. Truncating and punching at its end only shorten the slot.
//! - A place is written where no slot's length reaches, and again only through `Arc::get_mut`.
//!   Overwriting bytes on disk means a buffer in memory or a fresh place instead, and a place is
//!   not used for anything else before its last `Arc` is gone. So truncating, growing again,
//!   punching and overwriting cannot reach bytes that a reader has yet to load.
//!
//! # Why a write that fails changes nothing
//!
//! A write first secures what it needs for each chunk (memory, or the bytes on disk where nothing
//! refers to them yet) and then, with nothing left that can fail, puts it into the slots.
//!
//! # When memory is short
//!
//! The file being written spills its own chunks, lowest first, except those being written and
//! those that are shared (spilling them would free nothing). With none left it writes to disk.
//! A chunk on disk that is written to in part comes back into memory if there is room, so a program
//! that works in one place pays for it once.

mod extents;
mod pool;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rustix::io::Errno;

use extents::Extents;
use pool::CHUNK_BYTES;
use pool::{Buffer, Place, Spill};
pub(crate) use pool::{Limits, Pool};
use segments::{DiskSlice, MemorySlice};
pub(crate) use segments::{Segment, Segments};

/// What holes and space are counted in, as a filesystem's blocks.
const PAGE_BYTES: u64 = 4096;

/// The longest file: offsets are signed to every program.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// Reads of at most this much from a chunk that is not full are copied rather than shared. The
/// next append goes to that very chunk, and were it shared it would have to copy all of it.
const COPY_BYTES_MAX: usize = 16 << 10;

/// The content of one virtual file.
#[derive(Debug)]
pub(crate) struct Spool {
    pool: Pool,
    length: u64,
    /// What lies below was given back.
    base: u64,
    /// Bytes that were written, or dropped; what the frontier is worked out from.
    written: Extents,
    /// Whole pages with content; the rest are holes.
    data: Extents,
    /// Whole pages that were allocated and have no content. With `data`, what the pool charges.
    reserved: Extents,
    /// Dropped before `slots`, so that the places in them need not be freed one by one.
    spill: Option<Spill>,
    /// By chunk number.
    slots: BTreeMap<u64, Slot>,
    /// The chunks whose store is memory.
    resident: BTreeSet<u64>,
}

/// One chunk's content. The store may hold more than `length` bytes, none of which count.
#[derive(Clone, Debug)]
struct Slot {
    length: usize,
    store: Store,
}

#[derive(Clone, Debug)]
enum Store {
    Memory(Arc<Buffer>),
    Disk(Arc<Place>),
}

/// The part of a write that falls into one chunk.
struct Piece<'a> {
    index: u64,
    start: usize,
    bytes: &'a [u8],
}

/// How a piece gets into its slot, all that can fail having been done.
enum Plan {
    /// Into the buffer that is there.
    InPlace,
    /// Into this buffer, which has what is to be kept of the old content and replaces it.
    Fill(Buffer),
    /// It is on disk already, as the end of the place that is there.
    Appended,
    /// It is on disk already, in a new place that replaces the slot.
    Replaced(Slot),
}

impl Spool {
    /// An empty file.
    pub(crate) fn new(pool: &Pool) -> Spool {
        Spool {
            pool: pool.clone(),
            length: 0,
            base: 0,
            written: Extents::default(),
            data: Extents::default(),
            reserved: Extents::default(),
            spill: None,
            slots: BTreeMap::new(),
            resident: BTreeSet::new(),
        }
    }

    /// The file's length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Whether the length is 0.
    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The end of the gap-free prefix that was written; dropped bytes count as written.
    pub(crate) fn frontier(&self) -> u64 {
        self.written.prefix_end()
    }

    /// The offset below which content was dropped.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The bytes that content and allocations take, in whole pages: `st_blocks` times 512.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.data.total() + self.reserved.total()
    }

    /// Writes `data` at `offset`, lengthening the file if it must.
    ///
    /// # Errors
    /// EFBIG past the longest offset, ESPIPE below [`Spool::base`], ENOSPC past the maximum size
    /// or if the disk is full, and what else the spill file gives. Then nothing has changed.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = end_of(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        if offset < self.base {
            return Err(Errno::SPIPE);
        }
        let pages = pages_around(offset..end);
        let fresh = self.uncharged(&pages);
        self.pool.charge(fresh)?;
        self.store(offset, data)
            .inspect_err(|_| self.pool.uncharge(fresh))?;
        self.written.insert(offset..end);
        self.reserved.remove(pages.clone());
        self.data.insert(pages);
        self.length = self.length.max(end);
        Ok(())
    }

    /// Sets the length. What is cut off is gone: it reads as zeros if the file grows again.
    ///
    /// # Errors
    /// EFBIG past the longest offset.
    pub(crate) fn truncate(&mut self, length: u64) -> Result<(), Errno> {
        end_of(length, 0)?;
        if length <= self.length {
            if length == 0 {
                self.spill = None;
            }
            let (index, within) = (
                length / CHUNK_BYTES as u64,
                (length % CHUNK_BYTES as u64) as usize,
            );
            self.shorten(index, within);
            self.slots.split_off(&(index + 1));
            self.resident.split_off(&(index + 1));
            self.written.remove(length..u64::MAX);
            self.release_pages(page_up(length)..u64::MAX);
            self.base = self.base.min(length);
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
        // What was dropped is not to be held again.
        let pages = pages_around(offset.max(self.base)..end.max(self.base));
        self.pool.charge(self.uncharged(&pages))?;
        self.reserved.insert(pages.clone());
        for range in self.data.overlapping(&pages) {
            self.reserved.remove(range);
        }
        if !keep_size {
            self.length = self.length.max(end);
        }
        Ok(())
    }

    /// fallocate(2) with PUNCH_HOLE: zeros from here on, and whole pages of it are a hole. To the
    /// frontier it stays as written as it was, for the program left zeros there.
    ///
    /// # Errors
    /// Of the spill file, if a chunk's middle must be zeroed there. Then nothing has changed.
    pub(crate) fn punch(&mut self, offset: u64, length: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(length);
        let start = offset.max(self.base);
        if start >= end {
            return Ok(());
        }
        // Only where the range ends amid a chunk's content must zeros be stored, and only that can
        // fail; so it comes first.
        let (last, last_end) = split(end - 1);
        let last_start = if start / CHUNK_BYTES as u64 == last {
            split(start).1
        } else {
            0
        };
        let kept = self.slots.get(&last).map_or(0, |slot| slot.length);
        if kept > last_end + 1 {
            let zeros = vec![0; last_end + 1 - last_start];
            self.store(last * CHUNK_BYTES as u64 + last_start as u64, &zeros)?;
        } else {
            self.shorten(last, last_start);
        }
        let (first, first_start) = split(start);
        if first < last {
            self.shorten(first, first_start);
            let between: Vec<u64> = self
                .slots
                .range(first + 1..last)
                .map(|(&index, _)| index)
                .collect();
            between
                .into_iter()
                .for_each(|index| self.remove_slot(index));
        }
        self.release_pages(page_up(start)..page_down(end));
        Ok(())
    }

    /// Gives back everything below `offset` (at most the length), which counts as written from now
    /// on. The caller no longer reads or compares there.
    pub(crate) fn drop_before(&mut self, offset: u64) {
        let offset = offset.min(self.length);
        if offset <= self.base {
            return;
        }
        while let Some(slot) = self.slots.first_entry() {
            if *slot.key() >= offset / CHUNK_BYTES as u64 {
                break;
            }
            self.resident.remove(slot.key());
            slot.remove();
        }
        self.written.insert(0..offset);
        self.release_pages(0..page_down(offset));
        self.base = offset;
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

    /// The bytes from `offset` on, `length` of them or what there is; gaps and holes are zeros.
    /// Loads nothing and, but for a few bytes, copies nothing.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Segments {
        let end = offset.saturating_add(length as u64).min(self.length);
        let mut segments = Segments::default();
        let mut at = offset;
        if at >= end {
            return segments;
        }
        for (&index, slot) in self
            .slots
            .range(offset / CHUNK_BYTES as u64..=(end - 1) / CHUNK_BYTES as u64)
        {
            let chunk = index * CHUNK_BYTES as u64;
            let (from, to) = (at.max(chunk), end.min(chunk + slot.length as u64));
            if from < to {
                segments.push(Segment::Zeros((from - at) as usize));
                segments.push(slot.share(
                    (from - chunk) as usize,
                    (to - from) as usize,
                    &self.pool,
                ));
                at = to;
            }
        }
        segments.push(Segment::Zeros((end - at) as usize));
        segments
    }

    /// The range from the first byte to one past the last at which the content differs from `data`
    /// at `offset`, looking no further than the file's end.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn first_difference(
        &self,
        offset: u64,
        data: &[u8],
    ) -> io::Result<Option<Range<u64>>> {
        let stored = self.read(offset, data.len());
        let range = stored.mismatch(&data[..stored.len()])?;
        Ok(range.map(|(start, end)| offset + start as u64..offset + end as u64))
    }

    /// The first `length` bytes as a file of their own, sharing chunks until either is written to.
    /// Counts in full against the maximum size, and never fails for it.
    pub(crate) fn snapshot(&self, length: u64) -> Spool {
        let mut copy = Spool {
            pool: self.pool.clone(),
            length: self.length,
            base: self.base,
            written: self.written.clone(),
            data: self.data.clone(),
            reserved: self.reserved.clone(),
            spill: self.spill.clone(),
            slots: self.slots.clone(),
            resident: self.resident.clone(),
        };
        self.pool.charge_anyway(copy.allocated_bytes());
        // Cannot fail: a length that exists is not too long.
        let _ = copy.truncate(length.min(self.length));
        copy
    }

    /// The bytes of `pages` that the pool does not charge this file for yet.
    fn uncharged(&self, pages: &Range<u64>) -> u64 {
        pages.end - pages.start - self.data.covered(pages) - self.reserved.covered(pages)
    }

    /// Makes `pages` a hole.
    fn release_pages(&mut self, pages: Range<u64>) {
        let before = self.allocated_bytes();
        self.data.remove(pages.clone());
        self.reserved.remove(pages);
        self.pool.uncharge(before - self.allocated_bytes());
    }

    /// Cuts the content of a chunk to `length` bytes.
    fn shorten(&mut self, index: u64, length: usize) {
        if let Some(slot) = self.slots.get_mut(&index) {
            slot.length = slot.length.min(length);
            if slot.length == 0 {
                self.remove_slot(index);
            }
        }
    }

    fn remove_slot(&mut self, index: u64) {
        self.slots.remove(&index);
        self.resident.remove(&index);
    }

    /// Puts bytes into the chunks they fall into; on failure no content has changed.
    fn store(&mut self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let (first, start) = split(offset);
        let (head, tail) = data.split_at(data.len().min(CHUNK_BYTES - start));
        let tail = (first + 1..).zip(tail.chunks(CHUNK_BYTES));
        let pieces = || {
            let tail = tail.clone().map(|(index, bytes)| Piece {
                index,
                start: 0,
                bytes,
            });
            std::iter::once(Piece {
                index: first,
                start,
                bytes: head,
            })
            .chain(tail)
        };
        let touched = first..=split(offset + data.len() as u64 - 1).0;
        let plans = pieces()
            .map(|piece| self.plan(&piece, &touched))
            .collect::<Result<Vec<_>, _>>()?;
        pieces()
            .zip(plans)
            .for_each(|(piece, plan)| self.apply(&piece, plan));
        Ok(())
    }

    /// Secures what a piece needs.
    fn plan(&mut self, piece: &Piece<'_>, touched: &RangeInclusive<u64>) -> Result<Plan, Errno> {
        let end = piece.start + piece.bytes.len();
        if let Some(Slot {
            store: Store::Memory(buffer),
            ..
        }) = self.slots.get_mut(&piece.index)
            && Arc::get_mut(buffer).is_some_and(|buffer| end <= buffer.capacity())
        {
            return Ok(Plan::InPlace);
        }
        // A file that filled the chunk before will fill this one: growing a buffer for it step by
        // step would copy each byte once more.
        let full = |slot: &Slot| slot.length == CHUNK_BYTES;
        let filling = piece
            .index
            .checked_sub(1)
            .and_then(|before| self.slots.get(&before))
            .is_some_and(full);
        let old_length = self.slots.get(&piece.index).map_or(0, |slot| slot.length);
        let wanted = if filling || *touched.start() < piece.index {
            CHUNK_BYTES
        } else {
            end.max(old_length)
        };
        let Some(mut buffer) = self.obtain(wanted, touched)? else {
            return self.plan_on_disk(piece);
        };
        if let Some(slot) = self
            .slots
            .get(&piece.index)
            .filter(|slot| !piece.covers(slot))
        {
            slot.load(&mut buffer).map_err(errno)?;
        }
        Ok(Plan::Fill(buffer))
    }

    /// A buffer for `bytes`, spilling this file's chunks other than `touched` until there is
    /// memory; `None` if that does not help.
    fn obtain(
        &mut self,
        bytes: usize,
        touched: &RangeInclusive<u64>,
    ) -> Result<Option<Buffer>, Errno> {
        loop {
            if let Some(buffer) = self.pool.try_take(bytes) {
                return Ok(Some(buffer));
            }
            let slots = &mut self.slots;
            let unshared = self
                .resident
                .iter()
                .filter(|index| !touched.contains(index))
                .find_map(|index| {
                    let slot = slots.get(index)?;
                    let Store::Memory(buffer) = &slot.store else {
                        return None;
                    };
                    (Arc::strong_count(buffer) == 1).then(|| (*index, buffer.clone(), slot.length))
                });
            let Some((index, buffer, length)) = unshared else {
                return Ok(None);
            };
            let place = self.spill()?.store(&buffer.bytes()[..length])?;
            self.slots.insert(
                index,
                Slot {
                    length,
                    store: Store::Disk(Arc::new(place)),
                },
            );
            self.resident.remove(&index);
        }
    }

    /// Puts a piece on disk where nothing refers to it yet.
    fn plan_on_disk(&mut self, piece: &Piece<'_>) -> Result<Plan, Errno> {
        if let Some(Slot {
            length,
            store: Store::Disk(place),
        }) = self.slots.get_mut(&piece.index)
            && piece.start >= *length
            && let Some(place) = Arc::get_mut(place)
        {
            // What a truncation left behind must not show in a gap.
            if piece.start > *length {
                place.append(*length, &vec![0; piece.start - *length])?;
            }
            place.append(piece.start, piece.bytes)?;
            return Ok(Plan::Appended);
        }
        let mut bytes = Vec::new();
        if let Some(slot) = self
            .slots
            .get(&piece.index)
            .filter(|slot| !piece.covers(slot))
        {
            slot.share(0, slot.length, &self.pool)
                .copy_to(&mut bytes)
                .map_err(errno)?;
        }
        pool::put(&mut bytes, piece.start, piece.bytes);
        let place = Arc::new(self.spill()?.store(&bytes)?);
        Ok(Plan::Replaced(Slot {
            length: bytes.len(),
            store: Store::Disk(place),
        }))
    }

    /// Puts a piece into its slot.
    fn apply(&mut self, piece: &Piece<'_>, plan: Plan) {
        match (plan, self.slots.get_mut(&piece.index)) {
            (
                Plan::InPlace,
                Some(Slot {
                    length,
                    store: Store::Memory(buffer),
                }),
            ) => {
                // As `plan` found, and nobody can have come to share it since.
                let buffer = Arc::get_mut(buffer).expect("a buffer that was not shared");
                buffer.truncate(*length);
                buffer.put(piece.start, piece.bytes);
                *length = buffer.bytes().len();
            }
            (Plan::Appended, Some(slot)) => slot.length = piece.start + piece.bytes.len(),
            (Plan::InPlace | Plan::Appended, _) => unreachable!("planned for a slot that is there"),
            (Plan::Fill(mut buffer), _) => {
                buffer.put(piece.start, piece.bytes);
                let length = buffer.bytes().len();
                let store = Store::Memory(Arc::new(buffer));
                self.slots.insert(piece.index, Slot { length, store });
                self.resident.insert(piece.index);
            }
            (Plan::Replaced(slot), _) => {
                self.slots.insert(piece.index, slot);
                self.resident.remove(&piece.index);
            }
        }
    }

    /// The file's spill file, made on first use.
    fn spill(&mut self) -> Result<&Spill, Errno> {
        match &mut self.spill {
            Some(spill) => Ok(spill),
            none => Ok(none.insert(Spill::new(&self.pool)?)),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.pool.uncharge(self.allocated_bytes());
    }
}

impl Piece<'_> {
    /// Whether nothing of the slot's content outlasts this piece.
    fn covers(&self, slot: &Slot) -> bool {
        self.start == 0 && self.bytes.len() >= slot.length
    }
}

impl Slot {
    /// The bytes from `start` as a segment of a read.
    fn share(&self, start: usize, length: usize, pool: &Pool) -> Segment {
        match &self.store {
            Store::Memory(buffer) if self.length < CHUNK_BYTES && length <= COPY_BYTES_MAX => {
                let mut copy = pool.take(length);
                copy.put(0, &buffer.bytes()[start..start + length]);
                Segment::Memory(MemorySlice::new(Arc::new(copy), 0, length))
            }
            Store::Memory(buffer) => {
                Segment::Memory(MemorySlice::new(buffer.clone(), start, length))
            }
            Store::Disk(place) => Segment::Disk(DiskSlice::new(place.clone(), start, length)),
        }
    }

    /// Appends the content to an empty buffer.
    fn load(&self, into: &mut Buffer) -> io::Result<()> {
        match &self.store {
            Store::Memory(buffer) => into.put(0, &buffer.bytes()[..self.length]),
            Store::Disk(place) => into.extend_with(self.length, |bytes| place.read(0, bytes))?,
        }
        Ok(())
    }
}

/// The number of the chunk that `offset` lies in, and where in it.
fn split(offset: u64) -> (u64, usize) {
    (
        offset / CHUNK_BYTES as u64,
        (offset % CHUNK_BYTES as u64) as usize,
    )
}

/// `offset` plus `length`, or EFBIG.
fn end_of(offset: u64, length: u64) -> Result<u64, Errno> {
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

/// The whole pages that have a byte of `range`.
fn pages_around(range: Range<u64>) -> Range<u64> {
    page_down(range.start)..page_up(range.end)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

//! Where a file's bytes are: in chunks, each in memory or on disk.
//!
//! Knows offsets, bytes and the pool; does not know how long the file is, what of it was written,
//! or what it is charged for.
//!
//! A file is cut into chunks of [`CHUNK_BYTES`]; those with content have a [`Slot`], which is a
//! length and a store: a buffer in memory or a place in the mount's spill file. What a slot's
//! length does not reach, and what has no slot, is zeros. Two invariants, as follows.
//!
//! # Why a read that was handed out never changes
//!
//! A segment holds its buffer or place by `Arc`, as do snapshots.
//! - The bytes of a buffer change only through `Arc::get_mut`, so only while it is not shared; a write to a
//!   shared one copies it first. Truncating and punching at its end only shorten the slot. A shared buffer
//!   may be appended to ([`super::buffer`]), but not where the slot is shorter than the buffer: there a
//!   segment may have the bytes that were cut off.
//! - A place is written only past every slot's length, and only through `Arc::get_mut`. Overwriting bytes on
//!   disk makes a buffer in memory or a new place instead, and a place is not reused before its last `Arc` is
//!   gone. So truncating, growing again, punching and overwriting cannot reach bytes that a reader has yet to
//!   load.
//!
//! # Why a write that fails changes nothing
//!
//! A write first takes what it needs for each chunk (memory, or a place on disk to which nothing refers yet)
//! and then, with nothing left that can fail, puts it into the slots.
//!
//! # When memory is short
//!
//! The file being written spills its own chunks, lowest first, except those being written and those that are
//! shared (spilling them would free nothing). With none left it writes to disk. A chunk on disk that is
//! written to in part comes back into memory if there is room, so a program that keeps writing in one place
//! reads it back once. Files that are not being written are spilled, too, if memory that cannot be spilled
//! needs the room (`Operation::make_room`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rustix::io::Errno;

use super::buffer::Buffer;
use super::load::Load;
use super::memory::{CHUNK_BYTES, Memory};
use super::pool::Pool;
use super::segments::{Segment, Segments};
use super::slot::{Slot, Store};

/// The chunks of one file. A clone shares their stores until either is written to.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    pool: Pool,
    /// By chunk number.
    slots: BTreeMap<u64, Slot>,
    /// The chunks whose store is memory.
    resident: BTreeSet<u64>,
}

/// The part of a write that falls into one chunk.
struct Piece<'a> {
    index: u64,
    start: usize,
    source: Source<'a>,
}

/// The bytes of a piece.
enum Source<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// At the beginning of a chunk of memory that may be exchanged for another.
    Memory(&'a mut Memory, usize),
}

/// How a piece gets into its slot, once everything that can fail is done.
enum Plan {
    /// Into the slot's buffer, which is not shared.
    InPlace,
    /// To the end of the slot's buffer, which is shared.
    Append,
    /// Into this buffer, which replaces the slot's and has its bytes that outlast the write.
    Fill(Buffer),
    /// It is on disk already, at the end of the slot's place.
    Appended,
    /// It is on disk already, in a new place that replaces the slot.
    Replaced(Slot),
}

impl Chunks {
    /// The chunks of an empty file.
    pub(super) fn new(pool: &Pool) -> Chunks {
        Chunks {
            pool: pool.clone(),
            slots: BTreeMap::new(),
            resident: BTreeSet::new(),
        }
    }

    /// The bytes of `range`, zeros where there is no content.
    pub(super) fn read(&self, range: Range<u64>) -> Segments {
        let mut segments = Segments::default();
        if range.is_empty() {
            return segments;
        }
        let Range { start: mut at, end } = range;
        for (&index, slot) in self
            .slots
            .range(at / CHUNK_BYTES as u64..=(end - 1) / CHUNK_BYTES as u64)
        {
            let chunk = index * CHUNK_BYTES as u64;
            let (from, to) = (at.max(chunk), end.min(chunk + slot.length as u64));
            if from < to {
                segments.push(Segment::Zeros((from - at) as usize));
                segments.push(Segment::Stored {
                    store: slot.store.clone(),
                    start: (from - chunk) as usize,
                    length: (to - from) as usize,
                });
                at = to;
            }
        }
        segments.push(Segment::Zeros((end - at) as usize));
        segments
    }

    /// Drops the content from `length` on.
    pub(super) fn truncate(&mut self, length: u64) {
        let (index, within) = split(length);
        self.shorten(index, within);
        self.slots.split_off(&(index + 1));
        self.resident.split_off(&(index + 1));
    }

    /// Makes `range`, which is not empty, zeros, keeping as little as it can.
    ///
    /// # Errors
    /// Of the spill file, if a chunk's middle must be zeroed there. Then nothing has changed.
    pub(super) fn zero(&mut self, range: Range<u64>) -> Result<(), Errno> {
        let Range { start, end } = range;
        // Zeros must be stored only if the range ends inside a chunk's content, and only that can fail; so it
        // comes first.
        let (last, last_end) = split(end - 1);
        let last_start = if start / CHUNK_BYTES as u64 == last {
            split(start).1
        } else {
            0
        };
        let kept = self.slots.get(&last).map_or(0, |slot| slot.length);
        if kept > last_end + 1 {
            let zeros = vec![0; last_end + 1 - last_start];
            let at = last * CHUNK_BYTES as u64 + last_start as u64;
            self.store(at, &mut Load::from(&zeros))?;
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
        Ok(())
    }

    /// Drops the chunks that have no byte outside `range`.
    pub(super) fn drop_within(&mut self, range: Range<u64>) {
        let chunk = CHUNK_BYTES as u64;
        let (first, end) = (range.start.div_ceil(chunk), range.end / chunk);
        if first < end {
            let dropped: Vec<u64> = self.slots.range(first..end).map(|(&at, _)| at).collect();
            dropped.into_iter().for_each(|at| self.remove_slot(at));
        }
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
    ///
    /// # Errors
    /// Of the spill file, ENOSPC among them.
    pub(super) fn store(&mut self, offset: u64, load: &mut Load<'_>) -> Result<(), Errno> {
        let (first, start) = split(offset);
        let touched = first..=split(offset + load.len() as u64 - 1).0;
        let (copied, whole, in_whole) = load.split(offset);
        let (head, tail) = copied.split_at(copied.len().min(CHUNK_BYTES - start));
        let copied = std::iter::once((start, head))
            .chain(tail.chunks(CHUNK_BYTES).map(|bytes| (0, bytes)))
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(start, bytes)| (start, Source::Bytes(bytes)));
        let whole = whole.iter_mut().enumerate().map(|(nth, memory)| {
            let length = (in_whole - nth * CHUNK_BYTES).min(CHUNK_BYTES);
            (0, Source::Memory(memory, length))
        });
        let mut pieces = (first..)
            .zip(copied.chain(whole))
            .map(|(index, (start, source))| Piece {
                index,
                start,
                source,
            });
        // Usually there is one piece, which needs no lists.
        if touched.start() == touched.end()
            && let Some(piece) = pieces.next()
        {
            let plan = self.plan(&piece, &touched)?;
            self.apply(piece, plan);
            return Ok(());
        }
        let pieces: Vec<Piece<'_>> = pieces.collect();
        let plans = pieces
            .iter()
            .map(|piece| self.plan(piece, &touched))
            .collect::<Result<Vec<_>, _>>()?;
        for (piece, plan) in pieces.into_iter().zip(plans) {
            self.apply(piece, plan);
        }
        Ok(())
    }

    /// Takes the memory or disk that a piece needs.
    fn plan(&mut self, piece: &Piece<'_>, touched: &RangeInclusive<u64>) -> Result<Plan, Errno> {
        let end = piece.start + piece.bytes().len();
        if let Some(Slot {
            store: Store::Memory(buffer),
            length,
        }) = self.slots.get_mut(&piece.index)
            && end <= buffer.capacity()
        {
            if Arc::get_mut(buffer).is_some() {
                return Ok(Plan::InPlace);
            }
            // Where a truncated file grows again, segments may still have its old bytes.
            if piece.start >= *length && *length == buffer.bytes().len() {
                return Ok(Plan::Append);
            }
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
        if let Some(old) = self.outlasting(piece)? {
            buffer.put(0, &old);
        }
        Ok(Plan::Fill(buffer))
    }

    /// The content of a piece's slot, if the piece does not cover all of it.
    fn outlasting(&self, piece: &Piece<'_>) -> Result<Option<Cow<'_, [u8]>>, Errno> {
        let slot = self.slots.get(&piece.index);
        let slot = slot.filter(|slot| !piece.covers(slot));
        let old = slot.map(|slot| slot.store.bytes(0, slot.length));
        old.transpose().map_err(errno)
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
            if !self.spill_one(|index| touched.contains(&index))? {
                return Ok(None);
            }
        }
    }

    /// Spills the first chunk that frees memory, other than those to keep; false if there is none.
    ///
    /// # Errors
    /// Of the spill file.
    pub(super) fn spill_one(&mut self, is_kept: impl Fn(u64) -> bool) -> Result<bool, Errno> {
        let slots = &mut self.slots;
        let unshared = self
            .resident
            .iter()
            .filter(|index| !is_kept(**index))
            .find_map(|index| {
                let slot = slots.get(index)?;
                let Store::Memory(buffer) = &slot.store else {
                    return None;
                };
                (Arc::strong_count(buffer) == 1).then(|| (*index, buffer.clone(), slot.length))
            });
        let Some((index, buffer, length)) = unshared else {
            return Ok(false);
        };
        let place = self.pool.spill().store(&buffer.bytes()[..length])?;
        self.slots.insert(
            index,
            Slot {
                length,
                store: Store::Disk(Arc::new(place)),
            },
        );
        self.resident.remove(&index);
        Ok(true)
    }

    /// Number of chunks with content.
    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Writes a piece to disk, to a place that nothing refers to yet.
    fn plan_on_disk(&mut self, piece: &Piece<'_>) -> Result<Plan, Errno> {
        if let Some(Slot {
            length,
            store: Store::Disk(place),
        }) = self.slots.get_mut(&piece.index)
            && piece.start >= *length
            && let Some(place) = Arc::get_mut(place)
        {
            // Bytes that a truncation left must not show in a gap.
            if piece.start > *length {
                place.append(*length, &vec![0; piece.start - *length])?;
            }
            place.append(piece.start, piece.bytes())?;
            return Ok(Plan::Appended);
        }
        let mut bytes = self.outlasting(piece)?.unwrap_or_default().into_owned();
        if bytes.len() < piece.start + piece.bytes().len() {
            bytes.resize(piece.start + piece.bytes().len(), 0);
        }
        bytes[piece.start..][..piece.bytes().len()].copy_from_slice(piece.bytes());
        let place = Arc::new(self.pool.spill().store(&bytes)?);
        Ok(Plan::Replaced(Slot {
            length: bytes.len(),
            store: Store::Disk(place),
        }))
    }

    /// Puts a piece into its slot.
    fn apply(&mut self, mut piece: Piece<'_>, plan: Plan) {
        match (plan, self.slots.get_mut(&piece.index)) {
            (
                Plan::InPlace,
                Some(Slot {
                    length,
                    store: Store::Memory(buffer),
                }),
            ) => {
                // `plan` found it unshared, and nothing has shared it since.
                let buffer = Arc::get_mut(buffer).expect("a buffer that was not shared");
                buffer.truncate(*length);
                buffer.put(piece.start, piece.bytes());
                *length = buffer.bytes().len();
            }
            (
                Plan::Append,
                Some(Slot {
                    length,
                    store: Store::Memory(buffer),
                }),
            ) => {
                let appended = buffer.append(piece.start, piece.bytes());
                assert!(appended, "a shared buffer does not change");
                *length = buffer.bytes().len();
            }
            (Plan::Appended, Some(slot)) => slot.length = piece.start + piece.bytes().len(),
            (Plan::InPlace | Plan::Append | Plan::Appended, _) => {
                unreachable!("planned for a slot that is there")
            }
            (Plan::Fill(mut buffer), _) => {
                piece.fill(&mut buffer);
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
}

impl Piece<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Bytes(bytes) => bytes,
            Source::Memory(memory, length) => memory.bytes(0..*length),
        }
    }

    /// Whether nothing of the slot's content outlasts this piece.
    fn covers(&self, slot: &Slot) -> bool {
        self.start == 0 && self.bytes().len() >= slot.length
    }

    /// Gets its bytes into a buffer, which may have others already.
    fn fill(&mut self, buffer: &mut Buffer) {
        match &mut self.source {
            Source::Memory(memory, length)
                if buffer.bytes().is_empty() && buffer.capacity() == CHUNK_BYTES =>
            {
                buffer.exchange(memory, *length);
            }
            _ => buffer.put(self.start, self.bytes()),
        }
    }
}

/// The number of the chunk that `offset` lies in, and where in it.
fn split(offset: u64) -> (u64, usize) {
    (
        offset / CHUNK_BYTES as u64,
        (offset % CHUNK_BYTES as u64) as usize,
    )
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

//! Memory for a chunk's bytes, which may be appended to while others read what is there.
//!
//! Knows bytes and how many of them count; does not know whose they are. The pool is told when a
//! buffer is dropped, which readers do on their own threads.
//!
//! # Why nobody sees a byte change
//!
//! Below `filled` bytes are changed through `&mut` only, so while nobody else holds the buffer.
//! Through `&` they are written between `filled` and the capacity, where [`Buffer::bytes`] does not
//! reach: whoever appends first moves `claimed` from `filled` to the new end, which only one can do,
//! then writes, then moves `filled` after it.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

use aligned_vec::{AVec, RuntimeAlign};

use super::PAGE_BYTES;
use super::pool::{CHUNK_BYTES, Pool};

type Cell = UnsafeCell<MaybeUninit<u8>>;

/// What memory of a chunk or more begins with, as the kernel's does and that of most programs which move
/// much: so no page is copied in two parts. With less, what the allocator leaves unused would count.
const LARGE_ALIGNMENT: usize = PAGE_BYTES as usize;

/// What less memory begins with.
///
/// Where memory begins decides how fast the kernel copies. On AMD's Zen 3 `rep movsb` takes 40 µs for
/// 64 KiB instead of 2 if the place in its page that is copied to is 1 to 31 bytes behind the one that is
/// copied from; what malloc(3) gives lies 16 behind.
const SMALL_ALIGNMENT: usize = 64;

/// Not zeroed: to touch pages that are about to be written costs as much as to write them.
struct Cells(AVec<Cell, RuntimeAlign>);

impl Cells {
    fn new(length: usize) -> Cells {
        let alignment = match length < CHUNK_BYTES {
            true => SMALL_ALIGNMENT,
            false => LARGE_ALIGNMENT,
        };
        let mut cells = AVec::with_capacity(alignment, length);
        // SAFETY: there is room for so many, and a cell is allowed to be uninitialized.
        unsafe { cells.set_len(length) };
        Cells(cells)
    }
}

impl Default for Cells {
    fn default() -> Cells {
        Cells::new(0)
    }
}

impl Deref for Cells {
    type Target = [Cell];

    fn deref(&self) -> &[Cell] {
        &self.0
    }
}

impl std::fmt::Debug for Cells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Room for bytes, of which some have been set.
#[derive(Debug)]
pub(crate) struct Memory {
    cells: Cells,
    /// Which bytes were set.
    set: Range<usize>,
}

// SAFETY: through `&Memory` bytes are only read, and only those that were set; whoever writes has it
// by `&mut`, or owns it.
unsafe impl Sync for Memory {}

impl Memory {
    /// `length` bytes.
    pub(crate) fn new(length: usize) -> Memory {
        Memory {
            cells: Cells::new(length),
            set: 0..0,
        }
    }

    /// As many as a chunk has.
    pub(crate) fn chunk() -> Memory {
        Memory::new(CHUNK_BYTES)
    }

    /// How many bytes they are.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Where the bytes from `start` on go, for somebody else to write there, and how many there
    /// are.
    pub(crate) fn room(&mut self, start: usize) -> (*mut u8, usize) {
        self.set = 0..0;
        // Writing behind a shared reference is what cells are for.
        let room = &self.cells[start..];
        (room.as_ptr().cast_mut().cast(), room.len())
    }

    /// The bytes that were put into the room.
    ///
    /// # Safety
    /// All of them have been written.
    pub(crate) unsafe fn was_set(&mut self, range: Range<usize>) {
        self.set = range;
    }

    /// Some of the bytes that were set.
    ///
    /// # Panics
    /// If one of them was not.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(self.set.start <= range.start && range.end <= self.set.end || range.is_empty());
        let cells = &self.cells[range];
        // SAFETY: they were set, and a cell has the layout of its byte. Only a `Buffer` writes
        // through `&`, to memory of its own to which it lends no reference.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len()) }
    }
}

/// Bytes of one chunk in memory, counted by the pool by its capacity.
#[derive(Debug)]
pub(super) struct Buffer {
    cells: Cells,
    /// How many bytes from the first on count. Never below what was handed out.
    filled: AtomicUsize,
    /// Up to where somebody is filling it, or `filled`.
    claimed: AtomicUsize,
    pool: Pool,
}

// SAFETY: what two threads can reach through `&Buffer` are the bytes below `filled`, which are not
// written through `&`, and those from there to `claimed`, which one thread alone writes: see above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Nothing yet, in this memory.
    pub(super) fn new(memory: Memory, pool: Pool) -> Buffer {
        Buffer {
            cells: memory.cells,
            filled: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            pool,
        }
    }

    /// The most bytes it takes.
    pub(super) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// The bytes in it.
    pub(super) fn bytes(&self) -> &[u8] {
        let filled = self.filled.load(Ordering::Acquire);
        let cells = &self.cells[..filled];
        // SAFETY: they were set before `filled` said so, and nobody writes them as long as `self`
        // is borrowed. A cell has the layout of its byte.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), filled) }
    }

    /// Puts `data`, which is not empty, at `start`, with zeros before it where there was nothing, also
    /// while others hold it; says whether that could be done.
    pub(super) fn append(&self, start: usize, data: &[u8]) -> bool {
        let filled = self.filled.load(Ordering::Acquire);
        let end = start + data.len();
        if start < filled || end > self.capacity() || data.is_empty() {
            return false;
        }
        let claim =
            self.claimed
                .compare_exchange(filled, end, Ordering::Acquire, Ordering::Relaxed);
        if claim.is_err() {
            return false;
        }
        // SAFETY: it lies beyond what anybody reads, and the claim is ours alone.
        unsafe { self.set(filled, start, data) };
        self.filled.store(end, Ordering::Release);
        true
    }

    /// Zeros from `filled` to `start`, and `data` from there.
    ///
    /// # Safety
    /// Nobody else reads or writes those bytes.
    unsafe fn set(&self, filled: usize, start: usize, data: &[u8]) {
        let zeros = &self.cells[filled.min(start)..start];
        let cells = &self.cells[start..start + data.len()];
        // SAFETY: as the caller has promised; writing behind a shared reference is what cells are
        // for.
        unsafe {
            let at = |cells: &[Cell]| cells.as_ptr().cast_mut().cast::<u8>();
            at(zeros).write_bytes(0, zeros.len());
            at(cells).copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
    }

    /// Forgets the bytes from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        let length = length.min(*self.filled.get_mut());
        self.fill_to(length);
    }

    /// Puts `data` at `start`, with zeros before it where there was nothing. The caller has seen
    /// to it that this is within the capacity.
    pub(super) fn put(&mut self, start: usize, data: &[u8]) {
        let filled = *self.filled.get_mut();
        // SAFETY: nobody else has a reference to `self`.
        unsafe { self.set(filled, start, data) };
        self.fill_to(filled.max(start + data.len()));
    }

    /// Takes memory of the same size, the first `length` bytes of which were set, and gives its own
    /// for it.
    pub(super) fn exchange(&mut self, memory: &mut Memory, length: usize) {
        assert!(memory.len() == self.capacity() && memory.bytes(0..length).len() == length);
        std::mem::swap(&mut self.cells, &mut memory.cells);
        memory.set = 0..0;
        self.fill_to(length);
    }

    fn fill_to(&mut self, length: usize) {
        debug_assert!(length <= self.cells.len());
        *self.filled.get_mut() = length;
        *self.claimed.get_mut() = length;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(Memory {
            cells: std::mem::take(&mut self.cells),
            set: 0..0,
        });
    }
}

/// Memory of so many bytes, some of which are these, for tests.
#[cfg(test)]
pub(super) fn memory_with(length: usize, start: usize, bytes: &[u8]) -> Memory {
    let mut memory = Memory::new(length);
    let (room, left) = memory.room(start);
    assert!(bytes.len() <= left);
    // SAFETY: there is room for them.
    unsafe {
        room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        memory.was_set(start..start + bytes.len());
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spool::Limits;

    fn buffer(capacity: usize) -> Buffer {
        let pool = Pool::new(Limits {
            memory: 1 << 20,
            max_size: None,
            spill_directory: std::env::temp_dir(),
        });
        pool.take(capacity)
    }

    #[test]
    fn what_others_read_stays_while_it_is_appended_to() {
        let buffer = buffer(512);
        assert!(buffer.append(0, b"abc"));
        let before = buffer.bytes();
        assert!(buffer.append(5, b"xy"), "with a gap");
        assert_eq!((before, buffer.bytes()), (&b"abc"[..], &b"abc\0\0xy"[..]));
        assert!(!buffer.append(6, b"z"), "there are bytes already");
        assert!(!buffer.append(7, &[1; 506]), "beyond the capacity");
        assert_eq!(buffer.bytes().len(), 7);
    }

    #[test]
    fn of_many_who_append_at_one_place_one_does() {
        let buffer = buffer(4096);
        for start in (0..4096).step_by(64) {
            let won: usize = std::thread::scope(|scope| {
                let buffer = &buffer;
                let threads: Vec<_> = (0..4_u8)
                    .map(|id| scope.spawn(move || usize::from(buffer.append(start, &[id; 64]))))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum()
            });
            assert_eq!(won, 1);
            let added = &buffer.bytes()[start..];
            assert!(added.len() == 64 && added.iter().all(|byte| *byte == added[0]));
        }
    }

    #[test]
    fn put_fills_the_gap_before_it_with_zeros() {
        let mut buffer = buffer(512);
        buffer.put(0, b"..............");
        buffer.truncate(2);
        buffer.put(0, b"ab");
        buffer.put(4, b"ef");
        buffer.put(1, b"B");
        buffer.put(5, b"FG");
        assert_eq!(buffer.bytes(), b"aB\0\0eFG");
    }

    #[test]
    fn chunks_begin_with_a_page_and_what_is_less_with_a_cache_line() {
        let begins_with =
            |memory: &mut Memory| memory.room(0).0.addr() & memory.room(0).0.addr().wrapping_neg();
        for length in [1, 512, CHUNK_BYTES / 2, CHUNK_BYTES, 1 << 20] {
            let mut some: Vec<Memory> = (0..9).map(|_| Memory::new(length)).collect();
            let least = some.iter_mut().map(begins_with).min().unwrap();
            match length < CHUNK_BYTES {
                true => assert!(least >= SMALL_ALIGNMENT, "{length}: {least}"),
                false => assert!(least >= LARGE_ALIGNMENT, "{length}: {least}"),
            }
        }
    }

    #[test]
    fn memory_is_exchanged_not_copied() {
        let mut buffer = buffer(512);
        let mut memory = memory_with(512, 0, b"new");
        let address = memory.bytes(0..3).as_ptr();
        buffer.exchange(&mut memory, 3);
        assert_eq!(
            (buffer.bytes(), buffer.bytes().as_ptr()),
            (&b"new"[..], address)
        );
    }
}

//! Memory that bytes are read into, and that becomes a chunk's.
//!
//! Knows where memory begins and which of its bytes were set; does not know whose they are. The
//! invariant: a byte that was not set is not read.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};

use aligned_vec::{AVec, RuntimeAlign};

use super::PAGE_BYTES;

/// Bytes in a chunk: the unit of recycling, copying on write and spilling. As many as programs that move
/// much write at once, at least, so that what they write becomes a chunk without being copied; and the
/// most that a request carries, 1 MiB, is few enough of them for the work per chunk not to show.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

pub(super) type Cell = UnsafeCell<MaybeUninit<u8>>;

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
pub(super) struct Cells(AVec<Cell, RuntimeAlign>);

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
    pub(super) cells: Cells,
    /// Which bytes were set.
    pub(super) set: Range<usize>,
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
}

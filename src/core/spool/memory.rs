//! Memory that bytes are read into, and that becomes a chunk's.
//!
//! Knows where memory begins and which of its bytes were set; does not know which file has them. The
//! invariant: a byte that was not set is not read.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::{Deref, Range};

use aligned_vec::{AVec, RuntimeAlign};

use super::PAGE_BYTES;

/// Bytes in a chunk: the unit of recycling, copying on write and spilling. No more than programs that move
/// much data write at once, so that their writes become chunks without a copy; and few enough chunks in the
/// largest request, 1 MiB, for the work per chunk not to show.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

pub(super) type Cell = UnsafeCell<MaybeUninit<u8>>;

/// Alignment of memory of a chunk or more, equal to that of the kernel's pages and of most programs' large
/// buffers, so that no page is copied in two parts. For smaller memory the allocator would leave too much
/// unused.
const LARGE_ALIGNMENT: usize = PAGE_BYTES as usize;

/// Alignment of smaller memory.
///
/// Alignment decides how fast the kernel copies. On AMD's Zen 3 `rep movsb` takes 40 µs for 64 KiB instead of
/// 2 if the target's offset in its page is 1 to 31 bytes greater than the source's; memory of malloc(3)
/// begins 16 bytes after a page's start.
const SMALL_ALIGNMENT: usize = 64;

/// Not zeroed: zeroing pages that will be written costs as much as writing them.
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

/// Room for bytes, some of which are set.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(super) cells: Cells,
    /// Which bytes were set.
    pub(super) set: Range<usize>,
}

// SAFETY: through `&Memory` bytes are only read, and only those that were set; writing needs `&mut` or
// ownership.
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

    /// Pointer to the bytes from `start` on, to be written by other code, and their number.
    pub(crate) fn room(&mut self, start: usize) -> (*mut u8, usize) {
        self.set = 0..0;
        // Cells may be written behind a shared reference.
        let room = &self.cells[start..];
        (room.as_ptr().cast_mut().cast(), room.len())
    }

    /// Marks bytes in the room as set.
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
    fn chunks_begin_with_a_page_and_smaller_memory_with_a_cache_line() {
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

//! Memory for a chunk's bytes, which may be appended to while other threads read its bytes.
//!
//! Knows bytes and how many of them count; does not know which file has them. A dropped buffer gives itself
//! back to the pool, maybe on a reader's thread.
//!
//! # Why no thread sees a byte change
//!
//! Bytes below `filled` change only through `&mut`, so only while the buffer is not shared. Through `&` bytes
//! are written between `filled` and the capacity, where [`Buffer::bytes`] does not reach: the thread that
//! appends claims them first ([`Claims`]), which only one thread can do.

use super::claims::Claims;
use super::memory::{Cell, Cells, Memory};
use super::pool::Pool;

/// Bytes of one chunk in memory, counted by the pool by its capacity.
#[derive(Debug)]
pub(super) struct Buffer {
    cells: Cells,
    claims: Claims,
    pool: Pool,
}

// SAFETY: what two threads can reach through `&Buffer` are the bytes below `filled`, which are not
// written through `&`, and those from there to `claimed`, which one thread alone writes: see above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// An empty buffer in this memory.
    fn new(memory: Memory, pool: Pool) -> Buffer {
        Buffer {
            cells: memory.cells,
            claims: Claims::default(),
            pool,
        }
    }

    /// The most bytes it takes.
    pub(super) fn capacity(&self) -> usize {
        self.cells.len()
    }

    /// The bytes in it.
    pub(super) fn bytes(&self) -> &[u8] {
        let filled = self.claims.filled();
        let cells = &self.cells[..filled];
        // SAFETY: they were set before `filled` said so, and no thread writes them as long as `self` is
        // borrowed. A cell has the layout of its byte.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), filled) }
    }

    /// Appends `data`, which is not empty, at `start`, with zeros in the gap before it, also while the buffer
    /// is shared; false if that is impossible.
    pub(super) fn append(&self, start: usize, data: &[u8]) -> bool {
        let filled = self.claims.filled();
        let end = start + data.len();
        if start < filled || end > self.capacity() || data.is_empty() {
            return false;
        }
        if !self.claims.claim(filled, end) {
            return false;
        }
        // SAFETY: no thread reads past `filled`, and only this thread has the claim.
        unsafe { self.set(filled, start, data) };
        self.claims.publish(end);
        true
    }

    /// Zeros from `filled` to `start`, and `data` from there.
    ///
    /// # Safety
    /// No other thread reads or writes those bytes.
    unsafe fn set(&self, filled: usize, start: usize, data: &[u8]) {
        let zeros = &self.cells[filled.min(start)..start];
        let cells = &self.cells[start..start + data.len()];
        // SAFETY: the caller guarantees it; cells may be written behind a shared reference.
        unsafe {
            let at = |cells: &[Cell]| cells.as_ptr().cast_mut().cast::<u8>();
            at(zeros).write_bytes(0, zeros.len());
            at(cells).copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
    }

    /// Discards the bytes from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        let length = length.min(self.claims.filled());
        self.fill_to(length);
    }

    /// Puts `data` at `start`, with zeros in a gap before it. The caller ensures that it is within the
    /// capacity.
    pub(super) fn put(&mut self, start: usize, data: &[u8]) {
        let filled = self.claims.filled();
        // SAFETY: `self` is borrowed exclusively.
        unsafe { self.set(filled, start, data) };
        self.fill_to(filled.max(start + data.len()));
    }

    /// Exchanges its memory for `memory` of the same size, whose first `length` bytes are set.
    pub(super) fn exchange(&mut self, memory: &mut Memory, length: usize) {
        assert!(memory.len() == self.capacity() && memory.bytes(0..length).len() == length);
        std::mem::swap(&mut self.cells, &mut memory.cells);
        memory.set = 0..0;
        self.fill_to(length);
    }

    fn fill_to(&mut self, length: usize) {
        debug_assert!(length <= self.cells.len());
        self.claims = Claims::new(length);
    }
}

impl Pool {
    /// An empty buffer that takes at least `bytes` (at most a chunk), or `None` if the memory limit does not
    /// allow it. It counts for no user: bytes in memory can be spilled.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Buffer> {
        let memory = self.try_memory(bytes)?;
        Some(Buffer::new(memory, self.for_no_user()))
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

#[cfg(test)]
mod tests {
    use super::super::memory::memory_with;
    use super::*;

    fn buffer(capacity: usize) -> Buffer {
        let pool = Pool::for_tests(1 << 20, None);
        Buffer::new(pool.memory(capacity), pool.for_no_user())
    }

    #[test]
    fn bytes_that_other_threads_read_stay_while_the_buffer_is_appended_to() {
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
    fn of_many_threads_that_append_at_one_place_one_does() {
        let buffer = buffer(4096);
        // Miri runs it again and again, each time slowly.
        let step = if cfg!(miri) { 2048 } else { 64 };
        for start in (0..4096).step_by(step) {
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

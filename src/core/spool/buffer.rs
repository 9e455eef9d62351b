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
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::pool::{CHUNK_BYTES, Pool};

/// Bytes that nothing is said about.
#[derive(Debug)]
pub(crate) struct Memory(Box<[UnsafeCell<u8>]>);

impl Memory {
    /// `length` bytes.
    pub(super) fn new(length: usize) -> Memory {
        // Zeros that come from the system cost nothing before they are touched.
        let bytes = Box::into_raw(vec![0_u8; length].into_boxed_slice());
        // SAFETY: `UnsafeCell<u8>` has the layout of `u8`, and the box came from `into_raw`.
        Memory(unsafe { Box::from_raw(bytes as *mut [UnsafeCell<u8>]) })
    }

    /// As many as a chunk has.
    pub(crate) fn chunk() -> Memory {
        Memory::new(CHUNK_BYTES)
    }

    /// How many bytes they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let bytes: *mut [UnsafeCell<u8>] = &mut *self.0;
        // SAFETY: the layout is the same, and nobody else has a reference while `self` is borrowed.
        unsafe { &mut *(bytes as *mut [u8]) }
    }

    /// The first `length` of them.
    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        let bytes = &self.0[..length];
        // SAFETY: the layout is the same. Only a `Buffer` writes through `&`, to memory of its own
        // to which it lends no reference.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), bytes.len()) }
    }
}

/// Bytes of one chunk in memory, counted by the pool by its capacity.
#[derive(Debug)]
pub(super) struct Buffer {
    memory: Memory,
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
            memory,
            filled: AtomicUsize::new(0),
            claimed: AtomicUsize::new(0),
            pool,
        }
    }

    /// The most bytes it takes.
    pub(super) fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// The bytes in it.
    pub(super) fn bytes(&self) -> &[u8] {
        let filled = self.filled.load(Ordering::Acquire);
        // Nobody writes below `filled` as long as `self` is borrowed.
        self.memory.bytes(filled)
    }

    /// Appends at `start`, where it must end or be followed by zeros, also while others hold it;
    /// says whether that could be done.
    pub(super) fn append(&self, start: usize, data: &[u8]) -> bool {
        let filled = self.filled.load(Ordering::Acquire);
        let end = start + data.len();
        if start < filled || end > self.capacity() {
            return false;
        }
        let claim =
            self.claimed
                .compare_exchange(filled, end, Ordering::Acquire, Ordering::Relaxed);
        if claim.is_err() {
            return false;
        }
        let at = |index: usize| self.memory.0[index..].as_ptr().cast_mut().cast::<u8>();
        // SAFETY: all of it lies within the memory and beyond what anybody reads, and the claim is
        // ours alone. Writing behind a shared reference is what `UnsafeCell` is for.
        unsafe {
            at(filled).write_bytes(0, start - filled);
            at(start).copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
        self.filled.store(end, Ordering::Release);
        true
    }

    /// Forgets the bytes from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        let length = length.min(*self.filled.get_mut());
        self.fill_to(length);
    }

    /// Puts `data` at `start`, with zeros before it where there was nothing. The caller has seen
    /// to it that this is within the capacity.
    pub(super) fn put(&mut self, start: usize, data: &[u8]) {
        let (filled, end) = (*self.filled.get_mut(), start + data.len());
        let bytes = self.memory.bytes_mut();
        if filled < start {
            bytes[filled..start].fill(0);
        }
        bytes[start..end].copy_from_slice(data);
        self.fill_to(filled.max(end));
    }

    /// Appends `length` bytes that `fill` sets; undone if that fails.
    pub(super) fn extend_with(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let filled = *self.filled.get_mut();
        fill(&mut self.memory.bytes_mut()[filled..filled + length])?;
        self.fill_to(filled + length);
        Ok(())
    }

    /// Takes memory of the same size, `length` bytes of which count, and gives its own for it.
    pub(super) fn exchange(&mut self, memory: &mut Memory, length: usize) {
        debug_assert_eq!(memory.len(), self.capacity());
        std::mem::swap(&mut self.memory, memory);
        self.fill_to(length);
    }

    fn fill_to(&mut self, length: usize) {
        debug_assert!(length <= self.memory.len());
        *self.filled.get_mut() = length;
        *self.claimed.get_mut() = length;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Memory(Box::default()));
        self.pool.give_back(memory);
    }
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
    fn memory_is_exchanged_not_copied() {
        let mut buffer = buffer(512);
        let mut memory = Memory::new(512);
        memory.bytes_mut()[..3].copy_from_slice(b"new");
        let address = memory.bytes_mut().as_ptr();
        buffer.exchange(&mut memory, 3);
        assert_eq!(
            (buffer.bytes(), buffer.bytes().as_ptr()),
            (&b"new"[..], address)
        );
    }
}

//! One chunk's content: a store, and how much of it counts.
//!
//! Knows how its bytes get to a reader and into a buffer; does not know which chunk of which file
//! it is, nor when it changes ([`super::chunks`] does). The invariant: what it hands out holds the
//! store by `Arc`.

use std::io;
use std::sync::Arc;

use super::buffer::Buffer;
use super::segments::{DiskSlice, MemorySlice, Segment};
use super::spill::Place;

/// One chunk's content. The store may hold more than `length` bytes, none of which count.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) length: usize,
    pub(super) store: Store,
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Memory(Arc<Buffer>),
    Disk(Arc<Place>),
}

impl Slot {
    /// The bytes from `start` as a segment of a read.
    pub(super) fn share(&self, start: usize, length: usize) -> Segment {
        match &self.store {
            Store::Memory(buffer) => {
                Segment::Memory(MemorySlice::new(buffer.clone(), start, length))
            }
            Store::Disk(place) => Segment::Disk(DiskSlice::new(place.clone(), start, length)),
        }
    }

    /// Appends the content to an empty buffer.
    pub(super) fn load(&self, into: &mut Buffer) -> io::Result<()> {
        match &self.store {
            Store::Memory(buffer) => into.put(0, &buffer.bytes()[..self.length]),
            Store::Disk(place) => {
                let mut bytes = vec![0; self.length];
                place.read(0, &mut bytes)?;
                into.put(0, &bytes);
            }
        }
        Ok(())
    }
}

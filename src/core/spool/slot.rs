//! One chunk's content: a store, and how much of it counts.
//!
//! Knows where its bytes are; does not know the file, the chunk's number, or when it changes
//! ([`super::chunks`] does).

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use super::buffer::Buffer;
use super::spill::Place;

/// One chunk's content. The store may hold more than `length` bytes, none of which count.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) length: usize,
    pub(super) store: Store,
}

/// Where a chunk's content is stored.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Memory(Arc<Buffer>),
    Disk(Arc<Place>),
}

impl Store {
    /// `length` of its bytes from `start` on: borrowed from memory, or read from disk.
    pub(super) fn bytes(&self, start: usize, length: usize) -> io::Result<Cow<'_, [u8]>> {
        Ok(match self {
            Store::Memory(buffer) => Cow::Borrowed(&buffer.bytes()[start..start + length]),
            Store::Disk(place) => {
                let mut bytes = vec![0; length];
                place.read(start, &mut bytes)?;
                Cow::Owned(bytes)
            }
        })
    }
}

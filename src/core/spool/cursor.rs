//! Iteration over the bytes of a read, piece by piece, and comparison.
//!
//! Invariant: the current piece is not empty before the end.

use std::collections::VecDeque;
use std::io;

use super::segments::{Segment, Segments, ZEROS};
use super::slot::Store;

/// The bytes of one read, piece by piece; each piece is dropped when it is done.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    parts: VecDeque<Segment>,
    /// Bytes of the first part that are consumed.
    done: usize,
    /// The first part's bytes, if it is on disk and was read.
    loaded: Option<Vec<u8>>,
}

impl Cursor {
    /// A cursor at the beginning.
    pub(crate) fn new(segments: Segments) -> Cursor {
        Cursor {
            parts: segments.into_parts().into(),
            done: 0,
            loaded: None,
        }
    }

    /// Whether all bytes are consumed.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The bytes from here on that are contiguous.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn chunk(&mut self) -> io::Result<&[u8]> {
        let done = self.done;
        Ok(match self.parts.front() {
            None => &[],
            Some(Segment::Zeros(length)) => &ZEROS[..ZEROS.len().min(length - done)],
            Some(Segment::Stored {
                store: Store::Memory(buffer),
                start,
                length,
            }) => &buffer.bytes()[start + done..start + length],
            Some(Segment::Stored {
                store,
                start,
                length,
            }) => {
                if self.loaded.is_none() {
                    self.loaded = Some(store.bytes(*start, *length)?.into_owned());
                }
                &self.loaded.as_deref().unwrap_or_default()[done..]
            }
        })
    }

    /// Consumes bytes, no more than the last [`chunk`](Self::chunk) had.
    pub(crate) fn advance(&mut self, length: usize) {
        self.done += length;
        if self
            .parts
            .front()
            .is_some_and(|part| self.done >= part.len())
        {
            self.parts.pop_front();
            self.done = 0;
            self.loaded = None;
        }
    }
}

impl Segments {
    /// A copy of all bytes.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::with_capacity(self.len());
        let mut cursor = Cursor::new(self.clone());
        while !cursor.is_empty() {
            let bytes = cursor.chunk()?;
            let length = bytes.len();
            all.extend_from_slice(bytes);
            cursor.advance(length);
        }
        Ok(all)
    }

    /// The first offset (from the start of both) at which the two differ; an earlier end counts as a
    /// difference. Reads a chunk at a time, whatever the length.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn differs_from(self, other: Segments) -> io::Result<Option<usize>> {
        let is_as_long = self.len() == other.len();
        let (mut left, mut right) = (Cursor::new(self), Cursor::new(other));
        let mut offset = 0;
        loop {
            let (a, b) = (left.chunk()?, right.chunk()?);
            let step = a.len().min(b.len());
            if step == 0 {
                return Ok((!is_as_long).then_some(offset));
            }
            if let Some(found) = first_mismatch(&a[..step], &b[..step]) {
                return Ok(Some(offset + found));
            }
            offset += step;
            left.advance(step);
            right.advance(step);
        }
    }

    /// The range, from the first to one past the last, of bytes that differ from `data`, which is
    /// as long as this.
    pub(super) fn mismatch(self, data: &[u8]) -> io::Result<Option<(usize, usize)>> {
        debug_assert_eq!(self.len(), data.len());
        let mut range: Option<(usize, usize)> = None;
        let mut cursor = Cursor::new(self);
        let mut offset = 0;
        loop {
            let stored = cursor.chunk()?;
            let length = stored.len();
            if length == 0 {
                return Ok(range);
            }
            let given = &data[offset..offset + length];
            if let Some(first) = first_mismatch(stored, given) {
                let backwards = stored.iter().zip(given).rev();
                let same = backwards.take_while(|(a, b)| a == b).count();
                let start = range.map_or(offset + first, |(start, _)| start);
                range = Some((start, offset + length - same));
            }
            offset += length;
            cursor.advance(length);
        }
    }
}

/// Where two slices of one length first differ. Compares by blocks first: whole blocks compare at
/// memory speed, single bytes do not.
fn first_mismatch(a: &[u8], b: &[u8]) -> Option<usize> {
    const BLOCK: usize = 4096;
    let block = a
        .chunks(BLOCK)
        .zip(b.chunks(BLOCK))
        .position(|(a, b)| a != b)?
        * BLOCK;
    let within = a[block..]
        .iter()
        .zip(&b[block..])
        .position(|(a, b)| a != b)?;
    Some(block + within)
}

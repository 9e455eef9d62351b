//! What a read hands out: references to stored bytes, to be used after the lock over core is gone.
//!
//! Knows where bytes are, not which file or offset they came from.
//!
//! Invariant: the bytes of a segment never change. It holds its chunk by `Arc`, and the spool changes a
//! chunk's bytes in place only while it is not shared (see the header of [`super::chunks`]).

use std::borrow::Cow;
use std::io;

use super::slot::Store;

/// Source of all zeros that are handed out; long runs repeat it.
pub(in crate::core) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A run of bytes in one chunk, or of zeros.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    /// Bytes of a store from `start` on.
    Stored {
        store: Store,
        start: usize,
        length: usize,
    },
    /// So many zeros: a hole, a gap, or bytes past the end of a chunk's buffer.
    Zeros(usize),
}

impl Segment {
    /// The number of its bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Segment::Stored { length, .. } | Segment::Zeros(length) => *length,
        }
    }
}

/// The bytes of one read, in order. It keeps whole chunks (and the spill file) alive even for a few bytes,
/// and makes writes over them copy; so use it and drop it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments {
    parts: Vec<Segment>,
    length: usize,
}

impl Segments {
    /// Adds a segment at the end; an empty one, or zeros after zeros, makes no new part.
    pub(super) fn push(&mut self, segment: Segment) {
        self.length += segment.len();
        match (self.parts.last_mut(), &segment) {
            (Some(Segment::Zeros(before)), Segment::Zeros(more)) => *before += more,
            _ if segment.len() == 0 => {}
            _ => self.parts.push(segment),
        }
    }

    /// The bytes in all segments.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The segments, in order, to be kept one by one.
    pub(super) fn into_parts(self) -> Vec<Segment> {
        self.parts
    }

    /// The segments, in order.
    #[cfg(test)]
    pub(super) fn parts(&self) -> &[Segment] {
        &self.parts
    }

    /// Makes all bytes addressable, for a vectored write: those in memory and zeros as they are,
    /// those on disk read into buffers.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn load(&self) -> io::Result<Vec<Cow<'_, [u8]>>> {
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            match part {
                Segment::Zeros(length) => {
                    for piece in zeros(*length) {
                        pieces.push(Cow::Borrowed(piece));
                    }
                }
                Segment::Stored {
                    store,
                    start,
                    length,
                } => pieces.push(store.bytes(*start, *length)?),
            }
        }
        Ok(pieces)
    }
}

/// So many zeros, in pieces.
fn zeros(length: usize) -> impl Iterator<Item = &'static [u8]> {
    let starts = (0..length).step_by(ZEROS.len());
    starts.map(move |start| &ZEROS[..ZEROS.len().min(length - start)])
}

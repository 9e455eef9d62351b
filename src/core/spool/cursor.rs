//! Going through the bytes of a read that are kept for a while.
//!
//! Invariant: the slice given is not empty before the end.

use std::collections::VecDeque;
use std::io;

use super::segments::{Segment, Segments, ZEROS};

/// The bytes of one read, given piece by piece, each let go of when it is done.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    parts: VecDeque<Segment>,
    /// Bytes of the first part that are behind.
    done: usize,
    /// The first part, if it is on disk and was read.
    loaded: Option<Vec<u8>>,
}

impl Cursor {
    /// At the beginning.
    pub(crate) fn new(segments: Segments) -> Cursor {
        Cursor {
            parts: segments.into_parts().into(),
            done: 0,
            loaded: None,
        }
    }

    /// Whether everything is behind.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes from here on, as many as lie together.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn chunk(&mut self) -> io::Result<&[u8]> {
        let done = self.done;
        Ok(match self.parts.front() {
            None => &[],
            Some(Segment::Memory(slice)) => &slice.bytes()[done..],
            Some(Segment::Zeros(length)) => &ZEROS[..ZEROS.len().min(length - done)],
            Some(Segment::Disk(slice)) => {
                if self.loaded.is_none() {
                    self.loaded = Some(slice.load()?);
                }
                &self.loaded.as_deref().unwrap_or_default()[done..]
            }
        })
    }

    /// Leaves bytes behind, no more than the last chunk had.
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

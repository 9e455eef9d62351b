//! What a read hands out: references to stored bytes, to be used after the lock over core is gone.
//!
//! Knows where bytes are, not which file or offset they came from.
//!
//! Invariant: the bytes of a segment never change. It holds its chunk by `Arc`, and what a chunk has
//! the spool changes in place only while nobody else holds it (see the header of [`super::chunks`]).

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::buffer::Buffer;
use super::spill::Place;

/// What zeros are handed out from; long runs repeat it.
pub(super) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A run of bytes in one chunk, or of zeros.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Bytes in memory.
    Memory(MemorySlice),
    /// So many zeros: a hole, a gap, or what a chunk's buffer does not reach.
    Zeros(usize),
    /// Bytes in a spill file.
    Disk(DiskSlice),
}

/// Part of a chunk buffer.
#[derive(Clone, Debug)]
pub(crate) struct MemorySlice {
    buffer: Arc<Buffer>,
    start: usize,
    length: usize,
}

/// Part of a place in a spill file.
#[derive(Clone, Debug)]
pub(crate) struct DiskSlice {
    place: Arc<Place>,
    start: usize,
    length: usize,
}

impl MemorySlice {
    /// `length` bytes of `buffer` from `start`.
    pub(super) fn new(buffer: Arc<Buffer>, start: usize, length: usize) -> MemorySlice {
        MemorySlice {
            buffer,
            start,
            length,
        }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer.bytes()[self.start..self.start + self.length]
    }
}

impl DiskSlice {
    /// `length` bytes of `place` from `start`.
    pub(super) fn new(place: Arc<Place>, start: usize, length: usize) -> DiskSlice {
        DiskSlice {
            place,
            start,
            length,
        }
    }

    /// Reads the bytes from disk.
    pub(super) fn load(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.place.read(self.start, &mut bytes)?;
        Ok(bytes)
    }
}

impl Segment {
    /// Its bytes' number.
    pub(crate) fn len(&self) -> usize {
        match self {
            Segment::Memory(slice) => slice.length,
            Segment::Zeros(length) => *length,
            Segment::Disk(slice) => slice.length,
        }
    }

    /// Appends its bytes to `out`.
    pub(super) fn copy_to(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        match self {
            Segment::Memory(slice) => out.extend_from_slice(slice.bytes()),
            Segment::Zeros(length) => out.resize(start + length, 0),
            Segment::Disk(slice) => {
                out.resize(start + slice.length, 0);
                slice.place.read(slice.start, &mut out[start..])?;
            }
        }
        Ok(())
    }
}

/// The bytes of one read, in order. Holding it keeps its chunks (and a spill file) alive, be it of a
/// few bytes, and makes writes over them copy; so use it and drop it.
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

    /// Appends all bytes to `out`.
    ///
    /// # Errors
    /// Of reading the spill file; then `out` is as it was.
    pub(crate) fn copy_to(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let before = out.len();
        out.reserve(self.length);
        let copied = self.parts.iter().try_for_each(|part| part.copy_to(out));
        copied.inspect_err(|_| out.truncate(before))
    }

    /// Makes all bytes addressable, for a vectored write: those in memory and zeros as they are,
    /// those on disk read into buffers.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn load(&self) -> io::Result<Loaded<'_>> {
        let mut parts = Vec::with_capacity(self.parts.len());
        let mut walk = Walk::new(self);
        while let Some(piece) = walk.next_piece(usize::MAX)? {
            match piece {
                Piece::Zeros(mut length) => {
                    while length > 0 {
                        let now = length.min(ZEROS.len());
                        parts.push(Cow::Borrowed(&ZEROS[..now]));
                        length -= now;
                    }
                }
                Piece::Bytes(bytes) => parts.push(bytes),
            }
        }
        Ok(Loaded { parts })
    }

    /// The first offset (from the start of both) at which the two differ; where one ends before
    /// the other, that is a difference too. Reads a chunk at a time, whatever the length.
    ///
    /// # Errors
    /// Of reading the spill file.
    pub(crate) fn differs_from(&self, other: &Segments) -> io::Result<Option<usize>> {
        let common = self.length.min(other.length);
        let (mut left, mut right) = (Walk::new(self), Walk::new(other));
        let mut offset = 0;
        while offset < common {
            let step = left.at_hand().min(right.at_hand()).min(common - offset);
            let (Some(a), Some(b)) = (left.next_piece(step)?, right.next_piece(step)?) else {
                break;
            };
            let found = match (&a, &b) {
                (Piece::Zeros(_), Piece::Zeros(_)) => None,
                (Piece::Bytes(bytes), Piece::Zeros(_)) | (Piece::Zeros(_), Piece::Bytes(bytes)) => {
                    bytes.iter().position(|&byte| byte != 0)
                }
                (Piece::Bytes(a), Piece::Bytes(b)) => first_mismatch(a, b),
            };
            if let Some(found) = found {
                return Ok(Some(offset + found));
            }
            offset += step;
        }
        Ok((self.length != other.length).then_some(common))
    }

    /// The range, from the first to one past the last, of bytes that differ from `data`, which is
    /// as long as this.
    pub(super) fn mismatch(&self, data: &[u8]) -> io::Result<Option<(usize, usize)>> {
        debug_assert_eq!(self.length, data.len());
        let mut range: Option<(usize, usize)> = None;
        let mut walk = Walk::new(self);
        let mut offset = 0;
        while let Some(piece) = walk.next_piece(ZEROS.len())? {
            let stored = match &piece {
                Piece::Zeros(length) => &ZEROS[..*length],
                Piece::Bytes(bytes) => &bytes[..],
            };
            let given = &data[offset..offset + stored.len()];
            if let Some(first) = first_mismatch(stored, given) {
                let same = stored
                    .iter()
                    .zip(given)
                    .rev()
                    .take_while(|(a, b)| a == b)
                    .count();
                let start = range.map_or(offset + first, |(start, _)| start);
                range = Some((start, offset + stored.len() - same));
            }
            offset += stored.len();
        }
        Ok(range)
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

/// Bytes of a read, all in memory.
#[derive(Debug)]
pub(crate) struct Loaded<'a> {
    parts: Vec<Cow<'a, [u8]>>,
}

impl Loaded<'_> {
    /// The bytes as slices for a vectored write. There may be more than IOV_MAX (1024) of them.
    pub(crate) fn io_slices(&self) -> Vec<IoSlice<'_>> {
        self.parts.iter().map(|part| IoSlice::new(part)).collect()
    }
}

/// A stretch of bytes, or of zeros.
enum Piece<'a> {
    Zeros(usize),
    Bytes(Cow<'a, [u8]>),
}

/// Goes through a read in steps of any length, loading each disk segment once.
struct Walk<'a> {
    parts: &'a [Segment],
    /// Bytes of the first of `parts` that are behind.
    done: usize,
    /// The first of `parts`, if it is on disk and was read.
    loaded: Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    fn new(segments: &'a Segments) -> Walk<'a> {
        Walk {
            parts: &segments.parts,
            done: 0,
            loaded: None,
        }
    }

    /// How many bytes the next piece can have; 0 at the end.
    fn at_hand(&self) -> usize {
        self.parts.first().map_or(0, |part| part.len() - self.done)
    }

    /// The next piece, of `limit` bytes at most, within one segment.
    fn next_piece(&mut self, limit: usize) -> io::Result<Option<Piece<'a>>> {
        let Some((part, rest)) = self.parts.split_first() else {
            return Ok(None);
        };
        let start = self.done;
        let end = part.len().min(start.saturating_add(limit));
        let last = end == part.len();
        let piece = match part {
            Segment::Zeros(_) => Piece::Zeros(end - start),
            Segment::Memory(slice) => Piece::Bytes(Cow::Borrowed(&slice.bytes()[start..end])),
            Segment::Disk(slice) => {
                let bytes = match self.loaded.take() {
                    Some(bytes) => bytes,
                    None => slice.load()?,
                };
                if last && start == 0 {
                    Piece::Bytes(Cow::Owned(bytes))
                } else {
                    let piece = bytes[start..end].to_vec();
                    self.loaded = (!last).then_some(bytes);
                    Piece::Bytes(Cow::Owned(piece))
                }
            }
        };
        (self.parts, self.done) = if last { (rest, 0) } else { (self.parts, end) };
        Ok(Some(piece))
    }
}

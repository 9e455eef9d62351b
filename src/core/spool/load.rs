//! Bytes on their way into a file.
//!
//! Knows where they lie; does not know where they go. A large request is read into memory of whole chunks; if
//! these are aligned to the file's chunks they replace them without a copy ([`super::chunks`]).

use std::borrow::Cow;

use super::memory::{CHUNK_BYTES, Memory};

/// Bytes to be written.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    /// The bytes before those in `chunks`, or all.
    first: Cow<'a, [u8]>,
    /// The rest; the last one may have more bytes, which do not count.
    chunks: &'a mut [Memory],
    /// How many bytes of `chunks` count.
    in_chunks: usize,
}

impl<'a> Load<'a> {
    /// `first` and, after it, `in_chunks` bytes in `chunks`, each a chunk long. The chunks may be exchanged
    /// for others.
    pub(crate) fn new(first: &'a [u8], chunks: &'a mut [Memory], in_chunks: usize) -> Load<'a> {
        debug_assert!(chunks.iter().all(|chunk| chunk.len() == CHUNK_BYTES));
        debug_assert_eq!(chunks.len(), in_chunks.div_ceil(CHUNK_BYTES));
        Load {
            first: Cow::Borrowed(first),
            chunks,
            in_chunks,
        }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.in_chunks
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contiguous bytes at the beginning: for an aligned load to the beginning of a file a whole chunk,
    /// or all.
    pub(crate) fn beginning(&self) -> &[u8] {
        if !self.first.is_empty() {
            return &self.first;
        }
        match self.chunks.first() {
            Some(chunk) => chunk.bytes(0..self.in_chunks.min(CHUNK_BYTES)),
            None => &[],
        }
    }

    /// Calls `look` with the bytes, piece by piece, and where each begins among them.
    pub(crate) fn each(&self, mut look: impl FnMut(usize, &[u8])) {
        look(0, &self.first);
        let before = self.first.len();
        for (index, chunk) in self.chunks.iter().enumerate() {
            let at = index * CHUNK_BYTES;
            let length = (self.in_chunks - at).min(CHUNK_BYTES);
            look(before + at, chunk.bytes(0..length));
        }
    }

    /// A copy of them.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.each(|_, bytes| all.extend_from_slice(bytes));
        all
    }

    /// The position of the last byte that is not zero.
    pub(crate) fn last_nonzero(&self) -> Option<usize> {
        let mut last = None;
        self.each(|at, bytes| {
            if let Some(found) = bytes.iter().rposition(|byte| *byte != 0) {
                last = Some(at + found);
            }
        });
        last
    }

    /// Makes the chunks match those of a file in which the bytes go to `offset`. They match already unless
    /// another offset was expected; else all bytes are copied.
    pub(crate) fn align(&mut self, offset: u64) {
        let start = (offset % CHUNK_BYTES as u64) as usize;
        let is_cut = self.in_chunks > 0;
        if is_cut && !(start + self.first.len()).is_multiple_of(CHUNK_BYTES) {
            self.first = Cow::Owned(self.to_vec());
            self.chunks = &mut [];
            self.in_chunks = 0;
        }
    }

    /// The bytes in two parts, for a file in which they go to `offset`: those that must be copied, and whole
    /// chunks with the number of bytes in them.
    pub(super) fn split(&mut self, offset: u64) -> (&[u8], &mut [Memory], usize) {
        self.align(offset);
        (&self.first, self.chunks, self.in_chunks)
    }
}

impl<'a> From<&'a [u8]> for Load<'a> {
    fn from(bytes: &'a [u8]) -> Load<'a> {
        Load {
            first: Cow::Borrowed(bytes),
            chunks: &mut [],
            in_chunks: 0,
        }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Load<'a> {
    fn from(bytes: &'a [u8; N]) -> Load<'a> {
        bytes[..].into()
    }
}

impl<'a> From<&'a Vec<u8>> for Load<'a> {
    fn from(bytes: &'a Vec<u8>) -> Load<'a> {
        bytes[..].into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::memory_with;
    use super::*;

    fn memory(fill: u8) -> Memory {
        memory_with(CHUNK_BYTES, 0, &vec![fill; CHUNK_BYTES])
    }

    #[test]
    fn bytes_are_the_same_wherever_they_were_expected_to_go() {
        let mut chunks = [memory(1), memory(2)];
        let mut load = Load::new(b"first", &mut chunks, CHUNK_BYTES + 3);
        let mut expected = b"first".to_vec();
        expected.resize(5 + CHUNK_BYTES, 1);
        expected.extend([2, 2, 2]);
        assert_eq!(
            (load.to_vec(), load.len()),
            (expected.clone(), expected.len())
        );
        {
            let (first, chunks, length) = load.split(CHUNK_BYTES as u64 - 5);
            assert_eq!(
                (first, chunks.len(), length),
                (&b"first"[..], 2, CHUNK_BYTES + 3)
            );
        }
        let (first, chunks, length) = load.split(0);
        assert_eq!((first, chunks.len(), length), (&expected[..], 0, 0));
        assert_eq!(load.to_vec(), expected);
        assert_eq!(load.last_nonzero(), Some(expected.len() - 1));
    }

    #[test]
    fn the_beginning_of_a_file_is_no_fragment_wherever_it_was_expected() {
        let mut chunks = [memory(2)];
        let mut load = Load::new(b"PK", &mut chunks, 3);
        load.align(0);
        assert_eq!(load.beginning(), [b'P', b'K', 2, 2, 2]);
    }

    #[test]
    fn the_beginning_is_in_a_chunk_if_nothing_is_before_it() {
        let mut chunks = [memory(7)];
        let load = Load::new(b"", &mut chunks, 2);
        assert_eq!(load.beginning(), [7, 7]);
        assert_eq!(Load::from(b"ab").beginning(), b"ab");
        assert!(Load::from(b"").beginning().is_empty());
    }
}

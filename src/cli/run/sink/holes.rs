//! Decides which bytes of an output may stay a hole in a new file.
//!
//! Knows bytes and their offsets; knows nothing of files.

/// The size and alignment of blocks of zeros that become holes: smaller ones may be below what the filesystem keeps as
/// a hole.
pub(super) const HOLE_BYTES: usize = 64 << 10;

/// The length of the first piece of the bytes at `offset`, and whether it becomes a hole: either whole blocks of zeros,
/// or the bytes before the next such block.
pub(super) fn piece(offset: u64, bytes: &[u8]) -> (usize, bool) {
    static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    let is_zero = |from: usize| {
        let block = bytes.get(from..from + HOLE_BYTES);
        block.is_some_and(|block| block == ZEROS)
    };
    // The offset of the first block.
    let mut end = (offset.wrapping_neg() % HOLE_BYTES as u64) as usize;
    let begins_with_zeros = end == 0 && is_zero(0);
    while end < bytes.len() && is_zero(end) == begins_with_zeros {
        end += HOLE_BYTES;
    }
    (end.min(bytes.len()), begins_with_zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_zeros_begin_or_end() {
        let mut bytes = vec![0; 4 * HOLE_BYTES];
        assert_eq!(piece(0, &bytes), (4 * HOLE_BYTES, true));
        assert_eq!(piece(0, &bytes[..HOLE_BYTES - 1]), (HOLE_BYTES - 1, false));
        assert_eq!(piece(1, &bytes), (HOLE_BYTES - 1, false));
        bytes[2 * HOLE_BYTES] = 1;
        assert_eq!(piece(0, &bytes), (2 * HOLE_BYTES, true));
        assert_eq!(piece(0, &bytes[2 * HOLE_BYTES..]), (HOLE_BYTES, false));
        assert_eq!(piece(7, b"text"), (4, false));
    }
}

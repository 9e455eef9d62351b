//! Which bytes of an output may stay a hole in a new file.
//!
//! Knows bytes and where they belong; knows nothing of files.

/// Zeros that are no fewer, and begin at a multiple of it, are left as a hole: a smaller one may be less than what the
/// file system keeps as one.
pub(super) const HOLE_BYTES: usize = 64 << 10;

/// How many of the bytes that belong at `offset` are all zeros in whole blocks, or are before the next that are: and which
/// of the two.
pub(super) fn piece(offset: u64, bytes: &[u8]) -> (usize, bool) {
    static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    let is_zero = |from: usize| {
        let block = bytes.get(from..from + HOLE_BYTES);
        block.is_some_and(|block| block == ZEROS)
    };
    // A block begins there.
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

//! Sizes of the parts of an upload, and the content of an object.
//!
//! Knows arithmetic only. Invariant: where a part begins depends only on its number, so that it can be
//! sent, and sent again, before their number is known.
//!
//! Stores take at most 10,000 parts and objects of 5 TiB, and want at least 5 MiB in each but the last.
//! The first thousand parts have one size, which some stores require of all; later ones grow, so that no
//! part is much larger than it must be: it is in memory while it is sent.

use std::ops::Range;

const MIB: u64 = 1 << 20;

/// The size of the first parts, in bytes.
const FIRST_BYTES: u64 = 8 * MIB;

/// The number of such parts.
const FIRST_PARTS: u64 = 1000;

/// How much larger each later part is than the one before.
const GROWTH_BYTES: u64 = 136 << 10;

/// The most parts of an upload.
pub(super) const PARTS_AT_MOST: usize = 10_000;

/// The content of an object, once all of it has come.
#[derive(Debug)]
#[cfg_attr(not(feature = "object-store"), allow(dead_code))]
pub(super) enum Whole {
    /// The first `count` parts, which were sent and have this many bytes.
    Parts { count: usize, bytes: u64 },
    /// These few bytes, none of which was sent.
    Bytes(Vec<u8>),
}

/// Where a part begins.
pub(super) fn start(part: usize) -> u64 {
    let part = part as u64;
    let grown = part.saturating_sub(FIRST_PARTS);
    // 0 + 1 + 2 + … steps.
    part * FIRST_BYTES + GROWTH_BYTES * (grown * grown.saturating_sub(1) / 2)
}

/// The bytes of a part.
pub(super) fn range(part: usize) -> Range<u64> {
    start(part)..start(part + 1)
}

/// The parts that contain some of these bytes.
pub(super) fn touched(bytes: &Range<u64>) -> Range<usize> {
    if bytes.is_empty() {
        return 0..0;
    }
    of(bytes.start)..of(bytes.end - 1) + 1
}

/// The number of parts of an object of this length; the last one may be smaller than others.
pub(super) fn count(length: u64) -> usize {
    touched(&(0..length)).end
}

fn of(offset: u64) -> usize {
    let (mut low, mut high) = (0, PARTS_AT_MOST);
    while low < high {
        let middle = (low + high) / 2;
        match start(middle + 1) <= offset {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    #[test]
    fn ten_thousand_parts_hold_five_tebibytes_and_none_is_too_small_or_too_large() {
        assert!(start(PARTS_AT_MOST) >= 5 * TIB, "{}", start(PARTS_AT_MOST));
        assert!(count(5 * TIB) <= PARTS_AT_MOST);
        let mut end = 0;
        for part in 0..PARTS_AT_MOST {
            let range = range(part);
            assert_eq!(range.start, end, "no gap before part {part}");
            let size = range.end - range.start;
            assert!(
                (5 * MIB..2 << 30).contains(&size),
                "part {part} has {size} bytes"
            );
            assert!(
                size <= FIRST_BYTES.max(range.end / 256),
                "part {part} has {size} bytes"
            );
            end = range.end;
        }
    }

    #[test]
    fn a_byte_is_in_the_part_that_begins_before_it_and_ends_behind_it() {
        for part in [0, 1, 999, 1000, 1001, 1002, 5000, PARTS_AT_MOST - 1] {
            let range = range(part);
            for offset in [range.start, range.start + 1, range.end - 1] {
                assert_eq!(touched(&(offset..offset + 1)), part..part + 1);
            }
            assert_eq!(touched(&(range.start..range.end + 1)), part..part + 2);
            assert_eq!(count(range.end), part + 1);
            assert_eq!(count(range.start + 1), part + 1);
        }
        assert_eq!((count(0), count(1)), (0, 1));
        assert!(touched(&(7..7)).is_empty());
    }
}

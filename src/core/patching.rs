//! Readers by position, in this process: they get the bytes that the file has, whatever its way of delivery, and
//! bytes that they were given may change.
//!
//! For them a rewritten byte is no error. It is noted until the reader reads it again, and then has what
//! the file holds. The invariant: every byte that such a reader was given and that has changed since
//! is in its [`Patches`].

use std::ops::Range;

use super::spool::Extents;

/// The most ranges that are kept. When there are more, all are rounded to larger pieces: this bounds
/// a reader's memory, and makes it read a little more again.
const RANGES_AT_MOST: usize = 1024;

/// The first size, in bytes, to which ranges are rounded.
const FIRST_GRANULE: u64 = 4096;

/// How a captured path is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// Only the file that the path's holders write.
    pub(crate) of_holders: bool,
    pub(crate) by_position: bool,
}

/// The bytes that a reader was given and that have changed since.
#[derive(Debug)]
pub(crate) struct Patches {
    ranges: Extents,
    granule: u64,
}

impl Default for Patches {
    fn default() -> Self {
        Patches {
            ranges: Extents::default(),
            granule: 1,
        }
    }
}

impl Patches {
    pub(super) fn add(&mut self, range: Range<u64>) {
        self.ranges.insert(self.rounded(range));
        while self.ranges.count() > RANGES_AT_MOST {
            self.granule = (self.granule * 2).max(FIRST_GRANULE);
            let ranges: Vec<Range<u64>> = self.ranges().collect();
            for range in ranges {
                self.ranges.insert(self.rounded(range));
            }
        }
    }

    /// The reader was given these bytes again.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        self.ranges.remove(range);
    }

    /// The patched ranges within a range.
    pub(super) fn within(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        self.ranges.overlapping(range)
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.ranges.overlapping(&(0..u64::MAX))
    }

    fn rounded(&self, range: Range<u64>) -> Range<u64> {
        let start = range.start - range.start % self.granule;
        let end = range.end.checked_next_multiple_of(self.granule);
        start..end.unwrap_or(range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_patched_stays_noted_however_many_patches_there_are() {
        let mut patches = Patches::default();
        let every = 100_000;
        for number in 0..20 * RANGES_AT_MOST as u64 {
            patches.add(number * every..number * every + 3);
        }
        let ranges: Vec<Range<u64>> = patches.ranges().collect();
        assert!(ranges.len() <= RANGES_AT_MOST, "{}", ranges.len());
        for number in 0..20 * RANGES_AT_MOST as u64 {
            let at = number * every;
            let covers = |range: &Range<u64>| range.contains(&at) && range.contains(&(at + 2));
            assert!(ranges.iter().any(covers), "{at}");
        }
        patches.remove(0..u64::MAX);
        assert_eq!(patches.ranges().count(), 0);
    }
}

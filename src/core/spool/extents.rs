//! A set of disjoint byte ranges of a file.
//!
//! Knows arithmetic on ranges and nothing about what they mean; the spool keeps one set for each
//! meaning (written, data, reserved).
//!
//! Invariant: ranges are non-empty, sorted, and neither overlap nor touch; `total` is the sum of
//! their lengths. A file written in order is therefore a single range however many writes made it,
//! and the cost of each of those writes is one look at the last range.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of bytes, kept as disjoint ranges.
#[derive(Clone, Debug, Default)]
pub(in crate::core) struct Extents {
    /// Start of each range to its end (one past its last byte).
    ranges: BTreeMap<u64, u64>,
    /// Bytes in all ranges.
    total: u64,
}

impl Extents {
    /// The bytes in the set.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many ranges there are.
    pub(in crate::core) fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Adds the bytes of `range`.
    pub(in crate::core) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // Writing in order only ever lengthens the last range.
        if let Some(mut last) = self.ranges.last_entry()
            && (*last.key()..=*last.get()).contains(&range.start)
        {
            let end = last.get_mut();
            if range.end > *end {
                self.total += range.end - *end;
                *end = range.end;
            }
            return;
        }
        let mut merged = range;
        if let Some((&start, &end)) = self.ranges.range(..merged.start).next_back()
            && end >= merged.start
        {
            self.take(start);
            merged = start..merged.end.max(end);
        }
        while let Some((&start, &end)) = self.ranges.range(merged.start..=merged.end).next() {
            self.take(start);
            merged.end = merged.end.max(end);
        }
        self.put(merged);
    }

    /// Removes the bytes of `range`.
    pub(in crate::core) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some((&start, &end)) = self.ranges.range(..range.start).next_back()
            && end > range.start
        {
            self.take(start);
            self.put(start..range.start);
            self.put(range.end..end);
        }
        while let Some((&start, &end)) = self.ranges.range(range.clone()).next() {
            self.take(start);
            self.put(range.end..end);
        }
    }

    /// How many bytes of `range` are in the set.
    pub(super) fn covered(&self, range: &Range<u64>) -> u64 {
        self.overlapping(range)
            .map(|part| part.end - part.start)
            .sum()
    }

    /// The parts of `range` that are in the set, in order.
    pub(in crate::core) fn overlapping(
        &self,
        range: &Range<u64>,
    ) -> impl Iterator<Item = Range<u64>> {
        let range = range.clone();
        let first = match self.ranges.range(..=range.start).next_back() {
            Some((&start, &end)) if end > range.start => start,
            _ => range.start,
        };
        // An empty range must not ask the map for one that ends before it starts.
        let last = range.end.max(first);
        self.ranges
            .range(first..last)
            .map(move |(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
    }

    /// The range that `offset` lies in, or else the next one after it.
    pub(super) fn at_or_after(&self, offset: u64) -> Option<Range<u64>> {
        match self.ranges.range(..=offset).next_back() {
            Some((&start, &end)) if end > offset => Some(start..end),
            _ => self
                .ranges
                .range(offset..)
                .next()
                .map(|(&start, &end)| start..end),
        }
    }

    /// The end of the range that starts at 0; 0 if none does.
    pub(super) fn prefix_end(&self) -> u64 {
        self.ranges.get(&0).copied().unwrap_or(0)
    }

    /// Takes out the range that starts at `start`.
    fn take(&mut self, start: u64) {
        if let Some(end) = self.ranges.remove(&start) {
            self.total -= end - start;
        }
    }

    /// Adds a range that touches no other, or nothing if it is empty.
    fn put(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.total += range.end - range.start;
            self.ranges.insert(range.start, range.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Extents;
    use proptest::prelude::*;

    #[test]
    fn writing_in_order_keeps_one_range() {
        let mut extents = Extents::default();
        for start in 0..1000 {
            extents.insert(start..start + 1);
        }
        assert_eq!(extents.ranges.len(), 1);
        assert_eq!((extents.prefix_end(), extents.total()), (1000, 1000));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_single_bytes(
            steps in proptest::collection::vec((any::<bool>(), 0u64..64, 0u64..24), 1..60),
        ) {
            let mut extents = Extents::default();
            let mut bytes = [false; 96];
            for (add, start, length) in steps {
                let range = start..start + length;
                prop_assert_eq!(
                    extents.covered(&range),
                    range.clone().filter(|&byte| bytes[byte as usize]).count() as u64
                );
                if add { extents.insert(range.clone()) } else { extents.remove(range.clone()) }
                range.for_each(|byte| bytes[byte as usize] = add);
                prop_assert_eq!(extents.total(), bytes.iter().filter(|&&byte| byte).count() as u64);
                prop_assert_eq!(
                    extents.prefix_end(),
                    bytes.iter().take_while(|&&byte| byte).count() as u64
                );
                for offset in 0..96u64 {
                    let next = (offset..96).find(|&byte| bytes[byte as usize]);
                    let found = extents.at_or_after(offset).map(|range| range.start.max(offset));
                    prop_assert_eq!(found, next);
                }
                let ranges: Vec<_> = extents.ranges.iter().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", ranges);
            }
        }
    }
}

//! A file as a vector of bytes with a flag for each: how a spool should behave, too simple to be wrong.
//!
//! Knows nothing of limits: the test that runs it beside a spool works out which operations must be refused.

use super::{CHUNK, PAGE, contents};
use crate::core::spool::Spool;

/// No operation reaches further than this.
pub(super) const END_MAX: usize = 6 * CHUNK;

/// The expected state of a file. Pages: `data` and `reserved` by page number.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) bytes: Vec<u8>,
    written: Vec<bool>,
    /// By byte.
    dropped: Vec<bool>,
    data: Vec<bool>,
    reserved: Vec<bool>,
}

impl Model {
    pub(super) fn new() -> Model {
        let pages = vec![false; END_MAX / PAGE + 1];
        Model {
            bytes: vec![],
            written: vec![],
            dropped: vec![],
            data: pages.clone(),
            reserved: pages,
        }
    }

    fn grow(&mut self, length: usize) {
        let length = length.max(self.bytes.len());
        self.bytes.resize(length, 0);
        self.written.resize(length, false);
        self.dropped.resize(length, false);
    }

    pub(super) fn charged(&self) -> usize {
        self.data
            .iter()
            .zip(&self.reserved)
            .filter(|(data, reserved)| **data || **reserved)
            .count()
            * PAGE
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        self.grow(end);
        self.bytes[offset..end].copy_from_slice(data);
        self.written[offset..end].fill(true);
        self.data[offset / PAGE..end.div_ceil(PAGE)].fill(true);
        self.reserved[offset / PAGE..end.div_ceil(PAGE)].fill(false);
    }

    pub(super) fn allocate(&mut self, offset: usize, length: usize, keep_size: bool) {
        for page in offset / PAGE..(offset + length).div_ceil(PAGE) {
            let bytes = self.dropped.iter().skip(page * PAGE).take(PAGE);
            let is_dropped = bytes.clone().count() == PAGE && bytes.clone().all(|byte| *byte);
            self.reserved[page] = !self.data[page] && !is_dropped;
        }
        if !keep_size {
            self.grow(offset + length);
        }
    }

    pub(super) fn truncate(&mut self, length: usize) {
        if length <= self.bytes.len() {
            self.bytes.truncate(length);
            self.written.truncate(length);
            self.data[length.div_ceil(PAGE)..].fill(false);
            self.reserved[length.div_ceil(PAGE)..].fill(false);
            self.dropped.truncate(length);
        }
        self.grow(length);
    }

    pub(super) fn punch(&mut self, offset: usize, length: usize) {
        let (start, end) = (offset, offset + length);
        let bytes_end = end.min(self.bytes.len());
        if start < bytes_end {
            self.bytes[start..bytes_end].fill(0);
        }
        let pages = start.div_ceil(PAGE)..end / PAGE;
        if !pages.is_empty() {
            self.data[pages.clone()].fill(false);
            self.reserved[pages].fill(false);
        }
    }

    pub(super) fn drop_range(&mut self, offset: usize, length: usize) {
        let end = (offset + length).min(self.bytes.len());
        if offset >= end {
            return;
        }
        self.written[offset..end].fill(true);
        self.dropped[offset..end].fill(true);
        for (page, bytes) in self.dropped.chunks_exact(PAGE).enumerate() {
            if bytes.iter().all(|byte| *byte) {
                self.data[page] = false;
                self.reserved[page] = false;
            }
        }
    }

    /// Whether some of these were dropped.
    pub(super) fn lacks(&self, offset: usize, length: usize) -> bool {
        self.dropped
            .iter()
            .skip(offset)
            .take(length)
            .any(|byte| *byte)
    }

    /// How many of these there are, up to the first that was dropped.
    pub(super) fn held(&self, offset: usize, length: usize) -> usize {
        let bytes = self.dropped.iter().skip(offset).take(length);
        bytes.take_while(|byte| !**byte).count()
    }

    pub(super) fn check(&self, spool: &Spool) {
        assert_eq!(spool.len(), self.bytes.len() as u64, "length");
        let base = self.dropped.iter().take_while(|byte| **byte).count();
        assert_eq!(spool.base(), base as u64, "base");
        let dropped = self.dropped.iter().filter(|byte| **byte).count();
        assert_eq!(spool.dropped_bytes(), dropped as u64, "dropped");
        let frontier = spool.frontier() as usize;
        assert!(
            self.written[..frontier] == vec![true; frontier][..],
            "frontier {frontier} too far"
        );
        assert_ne!(
            self.written.get(frontier),
            Some(&true),
            "frontier not far enough"
        );
        assert_eq!(
            spool.allocated_bytes(),
            self.charged() as u64,
            "allocated bytes"
        );
        let stored = contents(&spool.read(0, usize::MAX));
        assert_eq!(stored.len(), self.bytes.len());
        let bytes = stored.iter().zip(&self.bytes).zip(&self.dropped);
        let wrong = bytes
            .enumerate()
            .find(|(_, ((a, b), is_dropped))| !**is_dropped && a != b);
        if let Some((at, _)) = wrong {
            panic!("wrong byte {at}");
        }
        for offset in (0..END_MAX).step_by(CHUNK / 3) {
            let length = self.bytes.len();
            let pages = offset / PAGE..length.div_ceil(PAGE);
            let page = |data: bool| pages.clone().find(|&page| self.data[page] == data);
            let found = |data| {
                page(data)
                    .map(|page| offset.max(page * PAGE))
                    .filter(|_| offset < length)
            };
            let ends = offset < length;
            assert_eq!(
                spool.seek_data(offset as u64),
                found(true).map(|at| at as u64),
                "data, {offset}"
            );
            let hole = found(false).or(ends.then_some(length));
            assert_eq!(
                spool.seek_hole(offset as u64),
                hole.map(|at| at as u64),
                "hole, {offset}"
            );
        }
    }
}

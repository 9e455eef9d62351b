//! A file as a vector of bytes with a flag for each: what a spool should be like, with nothing in it
//! that could be clever and wrong.
//!
//! Knows nothing of limits: who runs it beside a spool works out what must be refused.

use super::{CHUNK, PAGE, contents};
use crate::core::spool::Spool;

/// No operation reaches further than this.
pub(super) const END_MAX: usize = 6 * CHUNK;

/// What a file should be like. Pages: `data` and `reserved` by page number.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) bytes: Vec<u8>,
    written: Vec<bool>,
    pub(super) base: usize,
    data: Vec<bool>,
    reserved: Vec<bool>,
}

impl Model {
    pub(super) fn new() -> Model {
        let pages = vec![false; END_MAX / PAGE + 1];
        Model {
            bytes: vec![],
            written: vec![],
            base: 0,
            data: pages.clone(),
            reserved: pages,
        }
    }

    fn grow(&mut self, length: usize) {
        let length = length.max(self.bytes.len());
        self.bytes.resize(length, 0);
        self.written.resize(length, false);
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
        let (start, end) = (offset.max(self.base), (offset + length).max(self.base));
        for page in start / PAGE..end.div_ceil(PAGE) {
            self.reserved[page] = !self.data[page];
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
            self.base = self.base.min(length);
        }
        self.grow(length);
    }

    pub(super) fn punch(&mut self, offset: usize, length: usize) {
        let (start, end) = (offset.max(self.base), offset + length);
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

    pub(super) fn drop_before(&mut self, offset: usize) {
        let offset = offset.min(self.bytes.len());
        if offset > self.base {
            self.base = offset;
            self.written[..offset].fill(true);
            self.data[..offset / PAGE].fill(false);
            self.reserved[..offset / PAGE].fill(false);
        }
    }

    pub(super) fn check(&self, spool: &Spool) {
        assert_eq!(spool.len(), self.bytes.len() as u64, "length");
        assert_eq!(spool.base(), self.base as u64, "base");
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
        let stored = contents(&spool.read(self.base as u64, usize::MAX));
        assert_eq!(stored.len(), self.bytes.len() - self.base);
        if stored != self.bytes[self.base..] {
            let at = stored
                .iter()
                .zip(&self.bytes[self.base..])
                .position(|(a, b)| a != b);
            panic!("wrong byte {at:?} after {}", self.base);
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

//! For builds without stores: no address of an object is accepted, so none of this is ever called.

use std::os::fd::{AsFd, BorrowedFd};

use fifofs::Result;

use super::parts::Whole;
use super::{Address, Fate, left_out};
use crate::cli::Ended;

/// `fifofs doctor s3://BUCKET`.
pub(in crate::cli) fn left(bucket: &std::ffi::OsStr, _: bool) -> Result<Ended> {
    Err(left_out(bucket))
}

#[derive(Debug)]
pub(in super::super) enum Upload {}

impl Upload {
    pub(in super::super) fn begin(
        address: &Address,
        _: (usize, Option<u64>),
        _: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        Err(address.failed("it was built without stores"))
    }

    pub(super) fn put(&self, _: usize, _: Vec<u8>) -> bool {
        match *self {}
    }

    pub(super) fn finish(&self, _: Whole) -> bool {
        match *self {}
    }

    pub(in super::super) fn parts(&self) -> u64 {
        match *self {}
    }

    pub(in super::super) fn commit(&self) {
        match *self {}
    }

    pub(in super::super) fn abort(&self) {
        match *self {}
    }

    pub(in super::super) fn fate(&self) -> Fate {
        match *self {}
    }
}

impl AsFd for Upload {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}

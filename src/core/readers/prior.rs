//! Bytes that a reader got from another file than it reads now: kept, and compared with the file in its
//! place.
//!
//! Invariant: a reader that has such bytes gets nothing until the new file is seen to begin with them.

use std::ops::Range;

use super::super::file::{File, View};
use super::super::spool::Spool;
use super::reader::Reader;

/// Bytes compared at once.
const COMPARE_BYTES: u64 = 1 << 20;

/// Result of a comparison.
pub(in crate::core) enum Compared {
    /// The file begins with what the reader has, or the reader has nothing of another.
    Same,
    /// Not enough of it is there yet.
    NotYet,
    /// These bytes that the reader has differ from the file.
    Differs(Range<u64>),
    /// The bytes cannot be read.
    Unreadable,
}

impl Reader {
    /// Keeps what it was given of a file, to be compared with the next file. If it cannot be kept, returns
    /// the range that the reader has, as no longer valid.
    pub(in crate::core) fn keep_prior(&mut self, file: &File) -> Option<Range<u64>> {
        if self.prior().is_some() {
            return None;
        }
        let position = self.position();
        if file.spool().dropped_bytes() > 0 || file.is_stream() || self.reads_by_position() {
            return Some(0..position);
        }
        self.set_prior(Some(file.spool().snapshot(position)));
        None
    }

    /// Compares what it was given with the beginning of the file it was moved to.
    pub(in crate::core) fn compare_prior(&mut self, file: &File, view: View) -> Compared {
        let position = self.position();
        let Some(prior) = self.prior() else {
            return Compared::Same;
        };
        let common = position.min(view.limit);
        if common < position && !view.end {
            return Compared::NotYet;
        }
        let differs = match first_difference(prior, file.spool(), common) {
            Ok(differs) => differs.or((common < position).then_some(common)),
            Err(_) => return Compared::Unreadable,
        };
        self.set_prior(None);
        differs.map_or(Compared::Same, |at| Compared::Differs(at..position))
    }
}

fn first_difference(old: &Spool, new: &Spool, until: u64) -> std::io::Result<Option<u64>> {
    let mut at = 0;
    while at < until {
        let length = COMPARE_BYTES.min(until - at) as usize;
        if let Some(offset) = old.read(at, length).differs_from(new.read(at, length))? {
            return Ok(Some(at + offset as u64));
        }
        at += length as u64;
    }
    Ok(None)
}

//! `SEEK_DATA` and `SEEK_HOLE`, and the same for the process that serves the mount.

use std::ops::Range;

use rustix::io::Errno;

use super::effects::{Effects, Reply};
use super::request::Caller;
use super::{Core, Handle};

/// The answer where the kernel may know of data that we do not: that there is no
/// such search. Programs then read the whole file.
const UNKNOWN: Errno = Errno::INVAL;

impl Core {
    /// `SEEK_DATA` and `SEEK_HOLE`. They have an answer only where the kernel holds
    /// no pages that were not written back: while nobody writes through its cache.
    pub(super) fn seek(
        &self,
        caller: Caller,
        (ino, handle): (u64, u64),
        offset: u64,
        data: bool,
        effects: &mut Effects,
    ) {
        let unique = caller.unique;
        // What lseek(2) was given as a negative number.
        if i64::try_from(offset).is_err() {
            return effects.refuse(unique, Errno::NXIO);
        }
        // A reader that waits reads on from where it is: a program that looked
        // for holes in what is there so far would take its end for the end.
        let waits = matches!(self.handles.get(&handle), Some(Handle::Reader(_)));
        let file = self.files.get(&ino).filter(|_| !waits);
        let Some(file) = file.filter(|file| !file.writeback().may_hold_more()) else {
            return effects.refuse(unique, UNKNOWN);
        };
        let found = match data {
            true => file.spool().seek_data(offset),
            false => file.spool().seek_hole(offset),
        };
        match found {
            Some(offset) => effects.reply(unique, Reply::Sought(offset)),
            None => effects.refuse(unique, Errno::NXIO),
        }
    }
    /// What lies between the holes of a file, as far as the kernel has passed it on.
    pub(crate) fn data_ranges(&self, ino: u64) -> Option<Vec<Range<u64>>> {
        Some(self.files.get(&ino)?.spool().data_ranges())
    }
}

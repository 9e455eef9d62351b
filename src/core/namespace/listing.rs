//! Listing a directory, piece by piece, while names come and go.
//!
//! Invariant: a listing ends, and has each entry that existed all the time exactly once, renamed or not. An
//! entry that is made meanwhile gets a cookie past the listing's end; one that is renamed keeps its own.

use std::collections::HashMap;
use std::ffi::OsStr;

use rustix::io::Errno;

use super::{DOTS, Namespace};

/// The directories that are open.
#[derive(Debug, Default)]
pub(super) struct Listings {
    /// Handle to the first cookie that is not listed.
    ends: HashMap<u64, u64>,
    last_handle: u64,
}

impl Namespace {
    /// Opens a directory; returns the handle by which it is listed.
    pub(crate) fn open_directory(&mut self, ino: u64) -> Result<u64, Errno> {
        let end = self.directory(ino)?.next_cookie;
        self.listings.last_handle += 1;
        let handle = self.listings.last_handle;
        self.listings.ends.insert(handle, end);
        Ok(handle)
    }

    /// The handle is closed.
    pub(crate) fn close_directory(&mut self, handle: u64) {
        self.listings.ends.remove(&handle);
    }

    /// The first cookie that is not listed by an open directory: the entries
    /// are those that were there when it was opened, or last listed from its
    /// start (`after` is 0).
    pub(crate) fn listing_end(&mut self, ino: u64, handle: u64, after: u64) -> Result<u64, Errno> {
        let next_cookie = self.directory(ino)?.next_cookie;
        let end = self.listings.ends.entry(handle).or_insert(next_cookie);
        if after == 0 {
            *end = next_cookie;
        }
        Ok(*end)
    }

    /// The entries of a directory whose cookies are above `after` and below
    /// `end`, `.` and `..` first: inode, cookie, name.
    pub(crate) fn list(
        &self,
        ino: u64,
        after: u64,
        end: u64,
    ) -> Result<impl Iterator<Item = (u64, u64, &OsStr)>, Errno> {
        let directory = self.directory(ino)?;
        let dots = [
            (ino, 1, OsStr::new(".")),
            (directory.parent, DOTS, OsStr::new("..")),
        ];
        let entries = directory
            .order
            .range(after.saturating_add(1)..)
            .take_while(move |(cookie, _)| **cookie < end)
            .filter_map(|(cookie, name)| {
                let entry = directory.entries.get(name)?;
                Some((entry.ino, *cookie, name.as_os_str()))
            });
        Ok(dots
            .into_iter()
            .filter(move |(_, cookie, _)| *cookie > after)
            .chain(entries))
    }
}

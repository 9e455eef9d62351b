//! Inodes that the kernel must know by a new number.
//!
//! The kernel drops an inode that is not open and has no name in its cache, and makes it anew from the next
//! answer to a LOOKUP: with the size in that answer, even if the answer was given before the file was
//! written. With write-back it never asks for the size again, so that every later reader would find the file
//! empty or short:
//!
//! ```text
//! writer   CREATE, write(2), close(2): WRITE, RELEASE    the inode is dropped
//! other    LOOKUP, answered with size 0 ─────────────────────────► the inode is made anew
//! ```
//!
//! A cached name does not prevent this: if another process looks it up during the CREATE, the kernel removes
//! it from the cache. Nothing tells the daemon when the kernel has used an answer. So a file that was looked
//! up by another process while it was open for writing becomes another *incarnation* once it is closed: the
//! kernel knows it by another number, as another inode, with the size that it has then.
//!
//! Invariant: while an inode is open, its incarnation stays.

use super::Namespace;

impl Namespace {
    /// How often the kernel was given a new number for an inode.
    pub(crate) fn incarnation(&self, ino: u64) -> u32 {
        self.inodes.get(&ino).map_or(0, |inode| inode.incarnation)
    }

    /// Whether the kernel must know a later incarnation than this.
    pub(crate) fn is_outdated(&self, ino: u64, incarnation: Option<u32>) -> bool {
        incarnation.is_some_and(|of| of != self.incarnation(ino))
    }

    /// Notes that the kernel got the size of an inode while that may change.
    pub(crate) fn note_seen_unfinished(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.seen_unfinished = true;
        }
    }

    /// Whether the kernel did.
    pub(crate) fn is_seen_unfinished(&self, ino: u64) -> bool {
        let inode = self.inodes.get(&ino);
        inode.is_some_and(|inode| inode.seen_unfinished)
    }

    /// An inode that was seen unfinished is closed: the next LOOKUP finds a new one.
    pub(crate) fn reincarnate(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.seen_unfinished = false;
            // The number has 24 bits for it.
            inode.incarnation = (inode.incarnation + 1) & 0xff_ffff;
        }
    }
}

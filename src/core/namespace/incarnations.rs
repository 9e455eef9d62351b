//! Inodes that the kernel is to know by a new number.
//!
//! The kernel drops an inode that nobody has open and to which no name leads in its cache, and makes it
//! anew from the next answer to a LOOKUP: with the size in that answer, also if the answer was given before
//! the file was written. With write-back it never asks for the size again, so that every later reader would
//! find the file empty or short:
//!
//! ```text
//! writer   CREATE, write(2), close(2): WRITE, RELEASE    the inode is dropped
//! other    LOOKUP, answered with size 0 ─────────────────────────► the inode is made anew
//! ```
//!
//! Its name need not be in the cache for long enough: if another process looks it up during the CREATE, the
//! kernel takes it out again. Nothing tells when an answer has been looked at. So a file that was looked up
//! by another process while it was open for writing becomes another *incarnation* once nobody has it open:
//! the kernel knows it by another number, as another inode, with the size that it has then.
//!
//! Invariant: while an inode is open, its incarnation stays.

use super::Namespace;

impl Namespace {
    /// How often the kernel was given a new number for an inode.
    pub(crate) fn incarnation(&self, ino: u64) -> u32 {
        self.inodes.get(&ino).map_or(0, |inode| inode.incarnation)
    }

    /// Whether this is no longer the incarnation that the kernel is to know.
    pub(crate) fn is_outdated(&self, ino: u64, incarnation: Option<u32>) -> bool {
        incarnation.is_some_and(|of| of != self.incarnation(ino))
    }

    /// The kernel is told of an inode while its size changes.
    pub(crate) fn note_seen_unfinished(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.seen_unfinished = true;
        }
    }

    /// Whether it was.
    pub(crate) fn is_seen_unfinished(&self, ino: u64) -> bool {
        let inode = self.inodes.get(&ino);
        inode.is_some_and(|inode| inode.seen_unfinished)
    }

    /// Nobody has an inode open that was seen unfinished: the next one to look it up finds a new one.
    pub(crate) fn reincarnate(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.seen_unfinished = false;
            // As many as there are bits for.
            inode.incarnation = (inode.incarnation + 1) & 0xff_ffff;
        }
    }
}

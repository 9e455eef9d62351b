//! Attributes of an inode: what `stat` shows, and which of them can be changed.

use super::clock::Timestamp;
use super::namespace::{Inode, Kind};

/// What `stat` shows of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The number by which the kernel asks for the inode.
    pub(crate) ino: u64,
    /// The number that `stat` shows: programs compare it to see whether a name still leads to the same file.
    pub(crate) st_ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    /// Whether the kernel may cache them. If not, it asks for them before each write to its page
    /// cache, which is the only way to make such a write fail.
    pub(crate) cacheable: bool,
}

/// A new time for a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// To this time.
    To(Timestamp),
    /// To the time of the change.
    Now,
}

/// Changes to an inode's attributes; those that are `None` stay.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Option<Change>,
    pub(crate) mtime: Option<Change>,
    pub(crate) ctime: Option<Timestamp>,
    /// Whether the change removes set-id bits and capabilities.
    pub(crate) drops_privileges: bool,
}

impl Attributes {
    /// The attributes that the inode alone tells; for a regular file its size and blocks are still missing.
    pub(super) fn of(ino: u64, inode: &Inode) -> Attributes {
        let size = match &inode.kind {
            Kind::Symlink(target) => target.as_os_str().len() as u64,
            _ => 0,
        };
        Attributes {
            ino,
            st_ino: inode.st_ino(ino),
            size,
            blocks: 0,
            mode: inode.st_mode(),
            nlink: inode.nlink(),
            uid: inode.uid,
            gid: inode.gid,
            rdev: inode.rdev,
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            cacheable: false,
        }
    }
}

/// The result of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) attributes: Attributes,
    /// The incarnation of the inode.
    pub(crate) incarnation: u32,
    /// Whether the kernel may cache the name: not if it may lead to another inode a moment later.
    pub(crate) cacheable: bool,
}

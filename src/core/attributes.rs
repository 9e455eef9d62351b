//! What is known of an inode beside its content: what `stat` shows, and what of it can be changed.

use super::clock::Timestamp;
use super::namespace::{Inode, Kind};

/// What `stat` shows of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// By which the kernel asks for it.
    pub(crate) ino: u64,
    /// What `stat` says that number is: that the same name leads to the same file is told by it.
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
    /// Whether the kernel may keep them: it asks before each write to its page
    /// cache if it does not, which is the only way to have such a write fail.
    pub(crate) lasting: bool,
}

/// A new time for a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// This one.
    To(Timestamp),
    /// The time of the change.
    Now,
}

/// What is to be changed of an inode; what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Option<Change>,
    pub(crate) mtime: Option<Change>,
    pub(crate) ctime: Option<Timestamp>,
    /// Whether set-id bits and capabilities go with it.
    pub(crate) drops_privileges: bool,
}

impl Attributes {
    /// Those of an inode of which nothing more is known.
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
            lasting: false,
        }
    }
}

/// What a name was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it is.
    pub(crate) attributes: Attributes,
    /// Whether the kernel may remember it: not where the same name may be
    /// another thing a moment later.
    pub(crate) lasting: bool,
}

//! One node of the tree: its kind, its owner, its names.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::super::clock::{Monotonic, Timestamp};
use super::super::ids::FifoId;
use super::super::spool::Kept;

/// What an inode is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A regular file; its content is kept elsewhere.
    File,
    /// A directory.
    Directory(Directory),
    /// A symbolic link and where it points.
    Symlink(PathBuf),
    /// A FIFO, socket or device: the kernel serves it, only the type is kept
    /// (the `S_IFMT` bits).
    Special(u32),
}

impl Kind {
    /// A directory below this one.
    pub(crate) fn directory(parent: u64) -> Kind {
        Kind::Directory(Directory {
            parent,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next_cookie: FIRST_COOKIE,
            subdirectories: 0,
        })
    }
}

/// The entries of a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(super) parent: u64,
    pub(super) entries: HashMap<OsString, Entry>,
    /// Cookie to name. A cookie belongs to one entry only, which keeps it when it is renamed within the
    /// directory or another file is renamed over it, so that a listing under way neither repeats nor misses
    /// an entry that stays while others come and go.
    pub(super) order: BTreeMap<u64, OsString>,
    pub(super) next_cookie: u64,
    pub(super) subdirectories: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) ino: u64,
    pub(super) cookie: u64,
    /// The memory that the name takes.
    pub(super) kept: Kept,
}

/// The first cookie of a real entry; `.` and `..` have 1 and 2.
const FIRST_COOKIE: u64 = 3;

impl Directory {
    /// Adds an entry, with the cookie of the entry that it replaces, if any.
    pub(super) fn insert(&mut self, name: &OsStr, ino: u64, cookie: Option<u64>, kept: Kept) {
        let cookie = cookie.unwrap_or(self.next_cookie);
        self.next_cookie = self.next_cookie.max(cookie + 1);
        self.order.insert(cookie, name.to_owned());
        let entry = Entry { ino, cookie, kept };
        self.entries.insert(name.to_owned(), entry);
    }

    pub(super) fn remove(&mut self, name: &OsStr) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        self.order.remove(&entry.cookie);
        Some(entry)
    }
}

/// One inode.
#[derive(Debug)]
pub(crate) struct Inode {
    /// What it is.
    pub(crate) kind: Kind,
    /// Permission bits with set-id and sticky bits (07777).
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Device number of a device.
    pub(crate) rdev: u32,
    /// Last access as set by utimensat(2): reads do not change it.
    pub(crate) atime: Timestamp,
    /// Last change of content.
    pub(crate) mtime: Timestamp,
    /// Last change of anything.
    pub(crate) ctime: Timestamp,
    /// Extended attributes, each with the memory that it takes.
    pub(crate) xattrs: BTreeMap<OsString, (Vec<u8>, Kept)>,
    /// The memory that the inode itself takes.
    pub(super) _kept: Kept,
    /// The names of a file or link, the one used last at the end.
    pub(super) names: Vec<(u64, OsString)>,
    /// The virtual FIFO that it is, or was, a message of.
    pub(crate) fifo: Option<FifoId>,
    /// When it last lost a name.
    pub(crate) lost_name: Option<Monotonic>,
    /// A directory that was removed, or a file without names.
    pub(super) removed: bool,
    pub(super) lookups: u64,
    pub(super) pins: u32,
    /// How often the kernel was given a new number for it, and whether it is to be once it is closed: see
    /// `incarnations`.
    pub(super) incarnation: u32,
    pub(super) seen_unfinished: bool,
}

impl Inode {
    /// The `S_IFMT` bits and the permission bits.
    pub(crate) fn st_mode(&self) -> u32 {
        let kind = match &self.kind {
            Kind::File => libc::S_IFREG,
            Kind::Directory(_) => libc::S_IFDIR,
            Kind::Symlink(_) => libc::S_IFLNK,
            Kind::Special(kind) => *kind,
        };
        kind | self.mode
    }

    /// The number that `stat` shows for this inode, which the kernel knows as `ino`.
    pub(crate) fn st_ino(&self, ino: u64) -> u64 {
        self.fifo.map_or(ino, FifoId::st_ino)
    }

    /// How many names it has, as `stat` counts them.
    pub(crate) fn nlink(&self) -> u32 {
        match &self.kind {
            Kind::Directory(_) if self.removed => 0,
            Kind::Directory(directory) => 2 + directory.subdirectories,
            _ => self.names.len() as u32,
        }
    }

    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File)
    }

    /// Clears the set-id bits and the capabilities of a file; says whether it had any. Set-group-id without
    /// group execution means something else, and is cleared only if a process outside the group changed the
    /// file.
    pub(crate) fn drop_privileges(&mut self, outsider: bool) -> bool {
        let mut bits = libc::S_ISUID;
        if outsider || self.mode & libc::S_IXGRP != 0 {
            bits |= libc::S_ISGID;
        }
        let had = self.mode & bits != 0;
        self.mode &= !bits;
        self.xattrs
            .remove(OsStr::new("security.capability"))
            .is_some()
            || had
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }
}

/// Owner and permissions of an inode to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creator {
    /// Owner of what is made.
    pub(crate) uid: u32,
    /// Group of what is made, unless the directory decides it.
    pub(crate) gid: u32,
    /// Permission bits, the umask taken off already.
    pub(crate) mode: u32,
}

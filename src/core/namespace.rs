//! The tree of names: directories, links, modes, owners, times, attributes.
//!
//! Knows nothing of content, generations or readers. The kernel checks permissions
//! (`default_permissions`); here is what it leaves to the file system: set-group-id directories, link
//! counts, which names may be replaced.
//!
//! Invariant: an inode lives as long as a name, a kernel reference (`lookups`)
//! or a pin from inside refers to it. Its number is never used again, so that a
//! stale number gives `ENOENT`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use rustc_hash::FxHashMap;
use rustix::io::Errno;

use super::clock::Timestamp;
use super::spool::{Kept, Pool};

mod incarnations;
mod inode;
mod listing;
mod rename;
mod resolve;

use inode::Directory;
pub(crate) use inode::{Creator, Inode, Kind};
use listing::Listings;
pub(crate) use rename::Rename;
pub(crate) use resolve::Leads;

/// The number of the root directory, fixed by the FUSE protocol.
pub(crate) const ROOT: u64 = 1;

/// The cookie of `..`, the second entry of every directory; those of all others are greater.
pub(crate) const DOTS: u64 = 2;

/// The name of the control directory, which appears in the root but is not part of the tree.
pub(crate) const CONTROL: &str = ".fifofs";

/// The longest file name, as on other Linux file systems (`NAME_MAX`).
pub(crate) const NAME_MAX: usize = 255;

/// Approximate memory of an inode, with the state of its file except bytes and names
/// (measured with 50,000 written files: 1.5 KiB each).
pub(crate) const INODE_BYTES: u64 = 1400;

/// Approximate memory of a name: it is stored in two tables of its directory, and in its inode.
pub(crate) fn name_bytes(name: &OsStr) -> u64 {
    240 + 3 * name.len() as u64
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// Where the memory of inodes and names is counted, for the user that made them.
    pool: Pool,
    inodes: FxHashMap<u64, Inode>,
    symlinks: usize,
    next_ino: u64,
    listings: Listings,
    /// Where the tree is mounted, once that is known: an absolute link may lead into it.
    place: Option<PathBuf>,
}

impl Namespace {
    /// An empty tree: only a root.
    ///
    /// All other inodes are numbered from `first_ino`, far from those of other file
    /// systems: descriptors of this mount are recognised by their inode number.
    pub(crate) fn new(owner: Creator, first_ino: u64, now: Timestamp, pool: &Pool) -> Self {
        let mut namespace = Namespace {
            pool: pool.clone(),
            inodes: FxHashMap::default(),
            symlinks: 0,
            next_ino: ROOT,
            listings: Listings::default(),
            place: None,
        };
        let kept = pool.keep_anyway(INODE_BYTES);
        let root = namespace.add(Kind::directory(ROOT), owner, 0, now, kept);
        namespace.pin(root);
        namespace.next_ino = first_ino.max(ROOT + 1);
        namespace
    }

    fn add(&mut self, kind: Kind, creator: Creator, rdev: u32, now: Timestamp, kept: Kept) -> u64 {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.symlinks += usize::from(matches!(kind, Kind::Symlink(_)));
        let inode = Inode {
            kind,
            mode: creator.mode & 0o7777,
            uid: creator.uid,
            gid: creator.gid,
            rdev,
            atime: now,
            mtime: now,
            ctime: now,
            xattrs: BTreeMap::new(),
            _kept: kept,
            names: Vec::new(),
            fifo: None,
            lost_name: None,
            removed: false,
            lookups: 0,
            pins: 0,
            incarnation: 0,
            seen_unfinished: false,
        };
        self.inodes.insert(ino, inode);
        ino
    }

    /// Reserves an inode number for a place that is not in the tree.
    pub(crate) fn reserve_number(&mut self) -> u64 {
        let ino = self.next_ino;
        self.next_ino += 1;
        ino
    }

    /// The inode of this number.
    pub(crate) fn get(&self, ino: u64) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::NOENT)
    }

    /// The inode of this number, to change it.
    pub(crate) fn get_mut(&mut self, ino: u64) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&ino).ok_or(Errno::NOENT)
    }

    /// Whether there are symbolic links, so that a path may lead through one.
    pub(crate) fn has_symlinks(&self) -> bool {
        self.symlinks > 0
    }

    /// The number of inodes.
    pub(crate) fn count(&self) -> usize {
        self.inodes.len()
    }

    /// All inodes, with their numbers.
    pub(crate) fn inodes(&self) -> impl Iterator<Item = (u64, &Inode)> {
        self.inodes.iter().map(|(ino, inode)| (*ino, inode))
    }

    /// The numbers of all regular files.
    pub(crate) fn files(&self) -> impl Iterator<Item = u64> {
        let files = self.inodes().filter(|(_, inode)| inode.is_file());
        files.map(|(ino, _)| ino)
    }

    fn directory(&self, ino: u64) -> Result<&Directory, Errno> {
        match &self.get(ino)?.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn directory_mut(&mut self, ino: u64) -> Result<&mut Directory, Errno> {
        match &mut self.get_mut(ino)?.kind {
            Kind::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The directory above this one.
    pub(crate) fn parent(&self, directory: u64) -> Result<u64, Errno> {
        Ok(self.directory(directory)?.parent)
    }

    /// The inode at a name.
    pub(crate) fn find(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        match self.directory(parent)?.entries.get(name) {
            Some(entry) => Ok(entry.ino),
            None if name.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
            None => Err(Errno::NOENT),
        }
    }

    /// Notes that a file was reached by this name: its readers follow the name used last.
    pub(crate) fn used_name(&mut self, ino: u64, parent: u64, name: &OsStr) {
        if let Some(inode) = self.inodes.get_mut(&ino)
            && inode.names.len() > 1
            && let Some(at) = inode
                .names
                .iter()
                .position(|(p, n)| *p == parent && n == name)
        {
            let used = inode.names.remove(at);
            inode.names.push(used);
        }
    }

    /// The components of the name that was used last, from the root, or `None`
    /// if it has no name.
    pub(crate) fn path(&self, ino: u64) -> Option<Vec<OsString>> {
        let mut components = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let inode = self.inodes.get(&at)?;
            let (parent, name) = inode.names.last()?;
            components.push(name.clone());
            at = *parent;
        }
        components.reverse();
        Some(components)
    }

    /// The names of a file or link, each with its directory.
    pub(crate) fn names_of(&self, ino: u64) -> &[(u64, OsString)] {
        self.inodes.get(&ino).map_or(&[], |inode| &inode.names)
    }

    /// All names that an inode has, the one used last first, as paths.
    pub(crate) fn paths(&self, ino: u64) -> Vec<Vec<OsString>> {
        let names = self.names_of(ino).iter().rev();
        names
            .filter_map(|(parent, name)| self.path_of(*parent, name))
            .collect()
    }

    /// A name in a directory, as a path from the root.
    pub(crate) fn path_of(&self, parent: u64, name: &OsStr) -> Option<Vec<OsString>> {
        let mut path = self.path(parent)?;
        path.push(name.to_owned());
        Some(path)
    }

    /// Makes an inode and a directory entry for it.
    pub(crate) fn make(
        &mut self,
        parent: u64,
        name: &OsStr,
        kind: Kind,
        mut creator: Creator,
        rdev: u32,
        now: Timestamp,
    ) -> Result<u64, Errno> {
        self.check_new(parent, name)?;
        let above = self.get(parent)?;
        // POSIX leaves this to the file system; all Linux file systems do it.
        if above.mode & libc::S_ISGID != 0 {
            creator.gid = above.gid;
            if matches!(kind, Kind::Directory(_)) {
                creator.mode |= libc::S_ISGID;
            }
        }
        let is_directory = matches!(kind, Kind::Directory(_));
        let target_bytes = match &kind {
            Kind::Symlink(target) => target.as_os_str().len() as u64,
            _ => 0,
        };
        let pool = self.pool.of(creator.uid);
        let kept = pool.keep(INODE_BYTES + target_bytes)?;
        let kept_by_name = pool.keep(name_bytes(name))?;
        let ino = self.add(kind, creator, rdev, now, kept);
        self.attach(parent, name, ino, None, now, kept_by_name);
        if is_directory {
            self.directory_mut(parent)?.subdirectories += 1;
        }
        Ok(ino)
    }

    fn check_new(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        if name.len() > NAME_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if self.get(parent)?.removed {
            return Err(Errno::NOENT);
        }
        if self.directory(parent)?.entries.contains_key(name) {
            return Err(Errno::EXIST);
        }
        Ok(())
    }

    /// The cookie by which a name is listed.
    fn cookie(&self, parent: u64, name: &OsStr) -> Option<u64> {
        let entry = self.directory(parent).ok()?.entries.get(name)?;
        Some(entry.cookie)
    }

    /// A directory whose entries are about to change; stamps it.
    fn changed(&mut self, directory: u64, now: Timestamp) -> Option<&mut Directory> {
        let inode = self.inodes.get_mut(&directory)?;
        inode.mtime = now;
        inode.ctime = now;
        match &mut inode.kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// Gives an inode a name, listed under the given cookie of an entry that is gone, or under a new one.
    fn attach(
        &mut self,
        parent: u64,
        name: &OsStr,
        ino: u64,
        cookie: Option<u64>,
        now: Timestamp,
        kept: Kept,
    ) {
        if let Some(above) = self.changed(parent, now) {
            above.insert(name, ino, cookie, kept);
        }
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.names.push((parent, name.to_owned()));
            inode.removed = false;
            inode.ctime = now;
            if let Kind::Directory(directory) = &mut inode.kind {
                directory.parent = parent;
            }
        }
    }

    /// Removes a name; returns the accounting of its memory.
    fn detach(&mut self, parent: u64, name: &OsStr, ino: u64, now: Timestamp) -> Option<Kept> {
        let entry = self
            .changed(parent, now)
            .and_then(|above| above.remove(name));
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.names.retain(|(p, n)| !(*p == parent && n == name));
            inode.removed = inode.names.is_empty();
            inode.ctime = now;
        }
        Some(entry?.kept)
    }

    /// Puts a name that was removed in another place. This never fails for lack of memory: the file must not be
    /// left without a name, and programs rename to put finished files in place.
    fn attach_again(
        &mut self,
        (parent, name): (u64, &OsStr),
        ino: u64,
        cookie: Option<u64>,
        now: Timestamp,
        kept: Option<Kept>,
    ) {
        let mut kept = kept.unwrap_or_else(|| self.pool.keep_anyway(0));
        kept.resize_anyway(name_bytes(name));
        self.attach(parent, name, ino, cookie, now, kept);
    }

    /// Makes a file that has no name yet.
    pub(crate) fn make_nameless(&mut self, creator: Creator, now: Timestamp) -> Result<u64, Errno> {
        let kept = self.pool.of(creator.uid).keep(INODE_BYTES)?;
        Ok(self.add(Kind::File, creator, 0, now, kept))
    }

    /// Moves all names of a file to another.
    pub(crate) fn put_in_place(&mut self, old: u64, new: u64, now: Timestamp) {
        for (parent, name) in self.names_of(old).to_vec() {
            let cookie = self.cookie(parent, &name);
            let kept = self.detach(parent, &name, old, now);
            self.attach_again((parent, &name), new, cookie, now, kept);
        }
    }

    /// Gives a file another name, whose memory is counted for this user.
    pub(crate) fn link(
        &mut self,
        ino: u64,
        (parent, name): (u64, &OsStr),
        user: u32,
        now: Timestamp,
    ) -> Result<(), Errno> {
        if self.get(ino)?.is_directory() {
            return Err(Errno::PERM);
        }
        // A removed file cannot get a name again: there is no O_TMPFILE here.
        if self.get(ino)?.removed {
            return Err(Errno::NOENT);
        }
        self.check_new(parent, name)?;
        let kept = self.pool.of(user).keep(name_bytes(name))?;
        self.attach(parent, name, ino, None, now, kept);
        Ok(())
    }

    /// Removes a name of an inode that is not a directory; returns the inode.
    pub(crate) fn unlink(
        &mut self,
        parent: u64,
        name: &OsStr,
        now: Timestamp,
    ) -> Result<u64, Errno> {
        let ino = self.find(parent, name)?;
        if self.get(ino)?.is_directory() {
            return Err(Errno::ISDIR);
        }
        self.detach(parent, name, ino, now);
        Ok(ino)
    }

    /// Removes an empty directory; returns its inode.
    pub(crate) fn remove_directory(
        &mut self,
        parent: u64,
        name: &OsStr,
        now: Timestamp,
    ) -> Result<u64, Errno> {
        let ino = self.find(parent, name)?;
        if !self.directory(ino)?.entries.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.detach(parent, name, ino, now);
        self.directory_mut(parent)?.subdirectories -= 1;
        Ok(ino)
    }

    /// The kernel was given a reference.
    pub(crate) fn looked_up(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups += 1;
        }
    }

    /// The kernel gives back references.
    pub(crate) fn forget(&mut self, ino: u64, lookups: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.lookups = inode.lookups.saturating_sub(lookups);
        }
    }

    /// Keeps an inode alive until it is unpinned.
    pub(crate) fn pin(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.pins += 1;
        }
    }

    /// Gives back one `pin`.
    pub(crate) fn unpin(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.pins = inode.pins.saturating_sub(1);
        }
    }

    /// Whether an inode has neither a name nor a pin, or does not exist.
    pub(crate) fn is_unreachable(&self, ino: u64) -> bool {
        self.inodes
            .get(&ino)
            .is_none_or(|inode| inode.names.is_empty() && inode.pins == 0)
    }

    /// Drops an inode to which nothing refers any more, the kernel included.
    pub(crate) fn reap(&mut self, ino: u64) {
        let forgotten = self
            .inodes
            .get(&ino)
            .is_some_and(|inode| inode.lookups == 0);
        if forgotten
            && self.is_unreachable(ino)
            && let Some(inode) = self.inodes.remove(&ino)
        {
            self.symlinks -= usize::from(matches!(inode.kind, Kind::Symlink(_)));
        }
    }
}

#[cfg(test)]
mod tests;

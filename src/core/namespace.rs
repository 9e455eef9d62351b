//! The tree of names: directories, links, modes, owners, times, attributes.
//!
//! Knows nothing of content, generations or readers. Permission checks are the
//! kernel's (`default_permissions`); what is left to the file system is done
//! here: set-group-id directories, link counts, which names may be replaced.
//!
//! Invariant: an inode lives as long as a name, a kernel reference (`lookups`)
//! or a pin from inside refers to it, and its number is never used again, so a
//! stale number is a clean `ENOENT`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use rustix::io::Errno;

use super::clock::Timestamp;

/// The number of the root directory, fixed by the FUSE protocol.
pub(crate) const ROOT: u64 = 1;

/// The longest file name, as on other Linux file systems (`NAME_MAX`).
pub(crate) const NAME_MAX: usize = 255;

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

/// The entries of a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    parent: u64,
    entries: HashMap<OsString, Entry>,
    /// Cookie to name. A cookie is given once and never again, so that a
    /// listing under way neither repeats nor misses the names that stay while
    /// others come and go.
    order: BTreeMap<u64, OsString>,
    next_cookie: u64,
    subdirectories: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    ino: u64,
    cookie: u64,
}

/// The first cookie of a real entry; `.` and `..` have 1 and 2.
const FIRST_COOKIE: u64 = 3;

impl Directory {
    fn new(parent: u64) -> Self {
        Directory {
            parent,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next_cookie: FIRST_COOKIE,
            subdirectories: 0,
        }
    }

    fn insert(&mut self, name: &OsStr, ino: u64) {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.order.insert(cookie, name.to_owned());
        self.entries.insert(name.to_owned(), Entry { ino, cookie });
    }

    fn remove(&mut self, name: &OsStr) {
        if let Some(entry) = self.entries.remove(name) {
            self.order.remove(&entry.cookie);
        }
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
    /// Last access, as far as anyone set it: reads do not touch it.
    pub(crate) atime: Timestamp,
    /// Last change of content.
    pub(crate) mtime: Timestamp,
    /// Last change of anything.
    pub(crate) ctime: Timestamp,
    /// Extended attributes.
    pub(crate) xattrs: BTreeMap<OsString, Vec<u8>>,
    /// The names of a file or link, the one used last at the end.
    names: Vec<(u64, OsString)>,
    /// A directory that was removed, or a file without names.
    removed: bool,
    lookups: u64,
    pins: u32,
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

    /// Takes the set-id bits and the capabilities of a file away; says whether
    /// it had any. Set-group-id without group execution means something else.
    pub(crate) fn drop_privileges(&mut self) -> bool {
        let mut bits = libc::S_ISUID;
        if self.mode & libc::S_IXGRP != 0 {
            bits |= libc::S_ISGID;
        }
        let had = self.mode & bits != 0;
        self.mode &= !bits;
        self.xattrs
            .remove(OsStr::new("security.capability"))
            .is_some()
            || had
    }

    fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }
}

/// Who makes something, and with which permissions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creator {
    /// Owner of what is made.
    pub(crate) uid: u32,
    /// Group of what is made, unless the directory decides it.
    pub(crate) gid: u32,
    /// Permission bits, the umask taken off already.
    pub(crate) mode: u32,
}

/// How a rename treats what stands at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rename {
    /// Replace it.
    Replace,
    /// Refuse (`RENAME_NOREPLACE`).
    KeepTarget,
    /// Swap the two (`RENAME_EXCHANGE`).
    Exchange,
}

/// The tree.
#[derive(Debug)]
pub(crate) struct Namespace {
    inodes: HashMap<u64, Inode>,
    symlinks: usize,
    next_ino: u64,
}

impl Namespace {
    /// A tree with nothing but a root.
    ///
    /// Inodes but the root are numbered from `first_ino`: far from those of other
    /// file systems, as a descriptor is recognised by its inode's number.
    pub(crate) fn new(owner: Creator, first_ino: u64, now: Timestamp) -> Self {
        let mut namespace = Namespace {
            inodes: HashMap::new(),
            symlinks: 0,
            next_ino: ROOT,
        };
        let root = namespace.add(Kind::Directory(Directory::new(ROOT)), owner, 0, now);
        namespace.pin(root);
        namespace.next_ino = first_ino.max(ROOT + 1);
        namespace
    }

    fn add(&mut self, kind: Kind, creator: Creator, rdev: u32, now: Timestamp) -> u64 {
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
            names: Vec::new(),
            removed: false,
            lookups: 0,
            pins: 0,
        };
        self.inodes.insert(ino, inode);
        ino
    }

    /// A number for something that is no inode of the tree but must never be
    /// mistaken for one.
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

    /// How many inodes there are.
    pub(crate) fn count(&self) -> usize {
        self.inodes.len()
    }

    /// The numbers of all regular files.
    pub(crate) fn files(&self) -> impl Iterator<Item = u64> {
        self.inodes
            .iter()
            .filter(|(_, inode)| inode.is_file())
            .map(|(ino, _)| *ino)
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

    /// What stands at a name.
    pub(crate) fn find(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        match self.directory(parent)?.entries.get(name) {
            Some(entry) => Ok(entry.ino),
            None if name.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
            None => Err(Errno::NOENT),
        }
    }

    /// Notes that a file was reached by this name, so that it is the name a
    /// reader of it follows.
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

    /// What stands at a path from the root; symbolic links inside the tree are
    /// followed, those that lead out of it lead nowhere.
    pub(crate) fn resolve(&self, path: &[OsString]) -> Option<u64> {
        let mut at = ROOT;
        let mut rest: Vec<OsString> = path.iter().rev().cloned().collect();
        // As many as the kernel follows in one path (MAXSYMLINKS).
        let mut links_left = 40;
        while let Some(name) = rest.pop() {
            if name == "." {
                continue;
            }
            if name == ".." {
                at = self.parent(at).ok()?;
                continue;
            }
            let ino = self.find(at, &name).ok()?;
            match &self.inodes.get(&ino)?.kind {
                Kind::Symlink(target) => {
                    links_left -= 1;
                    if links_left == 0 || target.is_absolute() {
                        return None;
                    }
                    rest.extend(target.iter().rev().map(OsStr::to_owned));
                }
                _ => at = ino,
            }
        }
        Some(at)
    }

    /// Makes a directory entry and what it names.
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
        // POSIX leaves this to the file system; Linux ones all do it.
        if above.mode & libc::S_ISGID != 0 {
            creator.gid = above.gid;
            if matches!(kind, Kind::Directory(_)) {
                creator.mode |= libc::S_ISGID;
            }
        }
        let is_directory = matches!(kind, Kind::Directory(_));
        let ino = self.add(kind, creator, rdev, now);
        self.attach(parent, name, ino, now);
        if is_directory {
            self.directory_mut(parent)?.subdirectories += 1;
        }
        Ok(ino)
    }

    /// Makes a directory.
    pub(crate) fn make_directory(
        &mut self,
        parent: u64,
        name: &OsStr,
        creator: Creator,
        now: Timestamp,
    ) -> Result<u64, Errno> {
        let directory = Kind::Directory(Directory::new(parent));
        self.make(parent, name, directory, creator, 0, now)
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

    fn attach(&mut self, parent: u64, name: &OsStr, ino: u64, now: Timestamp) {
        if let Some(above) = self.inodes.get_mut(&parent) {
            above.mtime = now;
            above.ctime = now;
            if let Kind::Directory(directory) = &mut above.kind {
                directory.insert(name, ino);
            }
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

    fn detach(&mut self, parent: u64, name: &OsStr, ino: u64, now: Timestamp) {
        if let Some(above) = self.inodes.get_mut(&parent) {
            above.mtime = now;
            above.ctime = now;
            if let Kind::Directory(directory) = &mut above.kind {
                directory.remove(name);
            }
        }
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.names.retain(|(p, n)| !(*p == parent && n == name));
            inode.removed = inode.names.is_empty();
            inode.ctime = now;
        }
    }

    /// Gives a file another name.
    pub(crate) fn link(
        &mut self,
        ino: u64,
        parent: u64,
        name: &OsStr,
        now: Timestamp,
    ) -> Result<(), Errno> {
        if self.get(ino)?.is_directory() {
            return Err(Errno::PERM);
        }
        // A file without names cannot come back: there is no O_TMPFILE here.
        if self.get(ino)?.removed {
            return Err(Errno::NOENT);
        }
        self.check_new(parent, name)?;
        self.attach(parent, name, ino, now);
        Ok(())
    }

    /// Takes away a name of something that is no directory; says what it was.
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

    /// Removes an empty directory; says what it was.
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

    /// Moves a name; says what stood at the target and was replaced.
    pub(crate) fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        how: Rename,
        now: Timestamp,
    ) -> Result<Option<u64>, Errno> {
        let ino = self.find(from.0, from.1)?;
        let is_directory = self.get(ino)?.is_directory();
        let target = match self.find(to.0, to.1) {
            Ok(target) => Some(target),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error),
        };
        match (how, target) {
            (Rename::KeepTarget, Some(_)) => return Err(Errno::EXIST),
            (Rename::Exchange, None) => return Err(Errno::NOENT),
            (Rename::Exchange, Some(target)) => {
                self.exchange((from.0, from.1, ino), (to.0, to.1, target), now)?;
                return Ok(None);
            }
            _ => {}
        }
        if target.is_none() {
            self.check_new(to.0, to.1)?;
        }
        if target == Some(ino) {
            return Ok(None);
        }
        if let Some(target) = target {
            match (is_directory, self.get(target)?.is_directory()) {
                (true, true) => {
                    self.remove_directory(to.0, to.1, now)?;
                }
                (false, false) => {
                    self.unlink(to.0, to.1, now)?;
                }
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
            }
        }
        self.detach(from.0, from.1, ino, now);
        self.attach(to.0, to.1, ino, now);
        if is_directory {
            self.directory_mut(from.0)?.subdirectories -= 1;
            self.directory_mut(to.0)?.subdirectories += 1;
        }
        Ok(target)
    }

    fn exchange(
        &mut self,
        from: (u64, &OsStr, u64),
        to: (u64, &OsStr, u64),
        now: Timestamp,
    ) -> Result<(), Errno> {
        let moves_directory = self.get(from.2)?.is_directory();
        let gets_directory = self.get(to.2)?.is_directory();
        self.detach(from.0, from.1, from.2, now);
        self.detach(to.0, to.1, to.2, now);
        self.attach(to.0, to.1, from.2, now);
        self.attach(from.0, from.1, to.2, now);
        if moves_directory != gets_directory {
            let (loses, gains) = if moves_directory {
                (from.0, to.0)
            } else {
                (to.0, from.0)
            };
            self.directory_mut(loses)?.subdirectories -= 1;
            self.directory_mut(gains)?.subdirectories += 1;
        }
        Ok(())
    }

    /// The entries of a directory whose cookies are above `after`, `.` and `..`
    /// first: inode, cookie, name.
    pub(crate) fn list(
        &self,
        ino: u64,
        after: u64,
    ) -> Result<impl Iterator<Item = (u64, u64, &OsStr)>, Errno> {
        let directory = self.directory(ino)?;
        let dots = [
            (ino, 1, OsStr::new(".")),
            (directory.parent, 2, OsStr::new("..")),
        ];
        let entries =
            directory
                .order
                .range(after.saturating_add(1)..)
                .filter_map(|(cookie, name)| {
                    let entry = directory.entries.get(name)?;
                    Some((entry.ino, *cookie, name.as_os_str()))
                });
        Ok(dots
            .into_iter()
            .filter(move |(_, cookie, _)| *cookie > after)
            .chain(entries))
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

    /// Whether an inode has no name and nobody inside holds it, or is no more.
    pub(crate) fn is_unreachable(&self, ino: u64) -> bool {
        self.inodes
            .get(&ino)
            .is_none_or(|inode| inode.names.is_empty() && inode.pins == 0)
    }

    /// Drops an inode that nothing refers to any more, the kernel neither.
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
mod tests {
    use super::*;

    const OWNER: Creator = Creator {
        uid: 0,
        gid: 0,
        mode: 0o755,
    };
    const NOW: Timestamp = Timestamp {
        seconds: 1,
        nanoseconds: 0,
    };

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn file(tree: &mut Namespace, parent: u64, text: &str) -> u64 {
        tree.make(parent, name(text), Kind::File, OWNER, 0, NOW)
            .unwrap()
    }

    #[test]
    fn a_listing_under_way_survives_names_that_come_and_go() {
        let mut tree = Namespace::new(OWNER, 2, NOW);
        for text in ["a", "b", "c", "d"] {
            file(&mut tree, ROOT, text);
        }
        let seen: Vec<_> = tree.list(ROOT, 0).unwrap().take(4).map(|e| e.1).collect();
        let last = *seen.last().unwrap();
        tree.unlink(ROOT, name("a"), NOW).unwrap();
        file(&mut tree, ROOT, "a");
        let rest: Vec<_> = tree.list(ROOT, last).unwrap().map(|e| e.2).collect();
        assert_eq!(rest, ["c", "d", "a"]);
    }

    #[test]
    fn exchange_moves_link_counts_with_the_directories() {
        let mut tree = Namespace::new(OWNER, 2, NOW);
        let one = tree.make_directory(ROOT, name("one"), OWNER, NOW).unwrap();
        let inner = tree.make_directory(one, name("inner"), OWNER, NOW).unwrap();
        let plain = file(&mut tree, ROOT, "plain");
        tree.rename(
            (one, name("inner")),
            (ROOT, name("plain")),
            Rename::Exchange,
            NOW,
        )
        .unwrap();
        assert_eq!(tree.get(ROOT).unwrap().nlink(), 4);
        assert_eq!(tree.get(one).unwrap().nlink(), 2);
        assert_eq!(tree.parent(inner).unwrap(), ROOT);
        assert_eq!(tree.path(plain).unwrap(), ["one", "inner"]);
    }

    #[test]
    fn an_inode_without_names_lives_until_it_is_forgotten() {
        let mut tree = Namespace::new(OWNER, 2, NOW);
        let ino = file(&mut tree, ROOT, "f");
        tree.looked_up(ino);
        tree.unlink(ROOT, name("f"), NOW).unwrap();
        tree.reap(ino);
        assert_eq!(tree.count(), 2);
        tree.forget(ino, 1);
        tree.reap(ino);
        assert_eq!(tree.count(), 1);
    }

    #[test]
    fn nothing_can_be_made_in_a_removed_directory() {
        let mut tree = Namespace::new(OWNER, 2, NOW);
        let gone = tree.make_directory(ROOT, name("d"), OWNER, NOW).unwrap();
        tree.looked_up(gone);
        tree.remove_directory(ROOT, name("d"), NOW).unwrap();
        let made = tree.make(gone, name("f"), Kind::File, OWNER, 0, NOW);
        assert_eq!(made.unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn relative_links_are_followed_and_loops_end() {
        let mut tree = Namespace::new(OWNER, 2, NOW);
        let ino = file(&mut tree, ROOT, "f");
        let link = |to: &str| Kind::Symlink(PathBuf::from(to));
        tree.make(ROOT, name("l"), link("./f"), OWNER, 0, NOW)
            .unwrap();
        tree.make(ROOT, name("loop"), link("loop"), OWNER, 0, NOW)
            .unwrap();
        assert_eq!(tree.resolve(&["l".into()]), Some(ino));
        assert_eq!(tree.resolve(&["loop".into()]), None);
    }
}

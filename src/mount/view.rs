//! The files of a mount, for the process that serves it.
//!
//! Knows the names and the state of all files; changes nothing. Invariant: never asks the kernel. A process that
//! is killed while it waits for its own mount stays for ever, unless another process unmounts it.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::io::Errno;

use crate::core::Core;
use crate::core::namespace::Kind;
use crate::core::status::Status;
use crate::router::Router;

/// The kind of a file in a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device.
    Special,
}

/// A name in a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The path, relative to the mount.
    pub path: PathBuf,
    /// Its kind.
    pub kind: EntryKind,
    /// The inode number, `st_ino`: the same for all names of a file.
    pub inode: u64,
    /// The number of names, `st_nlink`.
    pub links: u32,
    /// Kind and permissions, `st_mode`.
    pub mode: u32,
    /// The owner's user id.
    pub uid: u32,
    /// The owner's group id.
    pub gid: u32,
    /// The size in bytes.
    pub size: u64,
    /// When it was last modified.
    pub modified: SystemTime,
    /// The target of a symbolic link.
    pub target: Option<PathBuf>,
}

/// The files in a mount, for the process that serves it, without a request to the kernel: threads of that
/// process should not wait for their own mount. It does not keep the mount, and still works when that is gone.
/// `Clone`, `Send` and `Sync`.
///
/// ```
/// use std::path::Path;
///
/// use fifofs::{EntryKind, Mount};
///
/// let mount = Mount::builder().mount_temporary()?;
/// std::fs::write(mount.path().join("a.txt"), "hello\n")?;
/// let view = mount.view();
/// assert_eq!(view.entries()[0].path, Path::new("a.txt"));
/// assert_eq!(view.entries()[0].kind, EntryKind::File);
/// assert_eq!(view.file_size(Path::new("a.txt")), Some(6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MountView {
    router: Arc<Router>,
    path: PathBuf,
}

impl MountView {
    pub(super) fn new(router: &Arc<Router>, path: &Path) -> Self {
        MountView {
            router: Arc::clone(router),
            path: path.to_owned(),
        }
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        &self.router
    }

    /// The absolute path of the mount.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// See [`Mount::status`](crate::Mount::status).
    pub fn status(&self) -> Status {
        self.look(Core::status).unwrap_or_default()
    }

    /// All names in order, including directories, but without the mount itself and `.fifofs`.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.look(entries).unwrap_or_default();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    }

    /// The size, in bytes, of the regular file of the mount that a path leads to, if there is one. The path is
    /// relative to the mount; symbolic links lead where they do for programs.
    pub fn file_size(&self, path: &Path) -> Option<u64> {
        let path: Vec<OsString> = path.iter().map(OsString::from).collect();
        self.look(|core| core.file_size(&path)).flatten()
    }

    /// The contents of the regular file with this number ([`Entry::inode`]) from `offset` on: at most `length`
    /// bytes, fewer at its end, and none beyond it. Bytes that are still in the kernel's cache are missing; none
    /// is once the writers have closed the file.
    ///
    /// # Errors
    ///
    /// If there is no such file, if those bytes were passed on as a stream and dropped, or if spilled bytes
    /// cannot be read from disk.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// std::fs::write(mount.path().join("a.txt"), "hello\n")?;
    /// let view = mount.view();
    /// assert_eq!(view.read_at(view.entries()[0].inode, 1, 3)?, b"ell");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_at(&self, inode: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let range = offset..offset.saturating_add(length as u64);
        let content = self.look(|core| match core.spool(inode) {
            Some(spool) if spool.lacks(&range) => Err(Errno::STALE),
            Some(spool) => Ok(spool.read(offset, length)),
            None => Err(Errno::NOENT),
        });
        let content = content.unwrap_or(Err(Errno::NOENT))?;
        // Spilled bytes are read here, without a lock.
        content.to_vec()
    }

    /// The parts of the regular file with this number that are no holes, in order; none if there is no such
    /// file.
    pub fn data_ranges(&self, inode: u64) -> Option<Vec<Range<u64>>> {
        let ranges = |core: &Core| Some(core.spool(inode)?.data_ranges());
        self.look(ranges).flatten()
    }

    /// None in a forked child, which has no mount.
    fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> Option<R> {
        self.router
            .owner()
            .is_this()
            .then(|| self.router.look(look))
    }
}

fn entries(core: &Core) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (ino, inode) in core.names().inodes() {
        let (kind, target) = match &inode.kind {
            Kind::File => (EntryKind::File, None),
            Kind::Directory(_) => (EntryKind::Directory, None),
            Kind::Symlink(target) => (EntryKind::Symlink, Some(target)),
            Kind::Special(_) => (EntryKind::Special, None),
        };
        let Ok(attributes) = core.attributes(ino) else {
            continue;
        };
        // The root has no name.
        entries.extend(core.names().paths(ino).into_iter().map(|path| Entry {
            path: path.iter().collect(),
            kind,
            inode: ino,
            links: attributes.nlink,
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            size: attributes.size,
            modified: attributes.mtime.into(),
            target: target.cloned(),
        }));
    }
    entries
}

impl std::fmt::Debug for MountView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MountView")
            .field("path", &self.path)
            .finish()
    }
}

//! What is in a mount, for the process that serves it.
//!
//! Knows the names and the state of all files; changes nothing. The invariant: the kernel is not
//! asked. A process that is killed while it waits for its own mount stays for ever, if nobody is
//! left to unmount that.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::capture::Events;
use crate::core::Core;
use crate::core::namespace::Kind;
use crate::core::status::Status;
use crate::router::Router;

/// What stands at a path of a mount.
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
    /// Relative to the mount.
    pub path: PathBuf,
    /// What stands there.
    pub kind: EntryKind,
}

/// What is in a mount, looked at by the process that serves it, without a request to the kernel:
/// threads of that process had better not wait for their own mount. It does not keep the mount, and
/// can be asked when that is gone. `Clone`, `Send` and `Sync`.
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

    /// Where it is mounted, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Mount::status`](crate::Mount::status).
    pub fn status(&self) -> Status {
        self.look(Core::status).unwrap_or_default()
    }

    /// As [`Mount::events`](crate::Mount::events).
    pub fn events(&self) -> Events {
        Events::new(&self.router, None)
    }

    /// All names, in their order; the directories among them, too, but not the mount itself and
    /// `.fifofs`.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = self.look(entries).unwrap_or_default();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    }

    /// The size, in bytes, of the regular file that a path leads to, if one of the mount stands
    /// there. The path is relative to the mount; symbolic links lead where they do for programs.
    pub fn file_size(&self, path: &Path) -> Option<u64> {
        let path: Vec<OsString> = path.iter().map(OsString::from).collect();
        self.look(|core| core.file_size(&path)).flatten()
    }

    /// Not in a forked child, for which the mount is gone.
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
        let kind = match inode.kind {
            Kind::File => EntryKind::File,
            Kind::Directory(_) => EntryKind::Directory,
            Kind::Symlink(_) => EntryKind::Symlink,
            Kind::Special(_) => EntryKind::Special,
        };
        // The root has no name.
        entries.extend(core.names().paths(ino).into_iter().map(|path| Entry {
            path: path.iter().collect(),
            kind,
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

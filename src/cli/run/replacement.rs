//! A file that appears at its path in one step, by rename, when it is whole.
//!
//! Knows files and their modes; knows nothing of their contents. Invariant: until
//! [`Replacement::appear`], the old file at the path stays as it was, and if this process is killed
//! nothing is left (if the filesystem has `O_TMPFILE`; elsewhere, a hidden file).

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, StatFs, StatxAttributes, StatxFlags, Uid};
use rustix::io::Errno;

use crate::cli::links::{self, directory_of};

/// The mode of a new file before the umask.
const MODE: u32 = 0o666;

/// The prefix of the names of unfinished files, before a random part.
const PREFIX: &str = ".fifofs-";

/// A file that will appear at a path.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    /// The file at the path now.
    old: Option<Old>,
    /// The name that it has meanwhile, if it has one.
    hidden: Option<tempfile::TempPath>,
}

/// The owner and permissions of a file.
#[derive(Debug, Clone, Copy)]
struct Old {
    owner: u32,
    group: u32,
    mode: u32,
}

/// Why a file did not appear.
#[derive(Debug)]
pub(super) struct Hidden {
    pub(super) error: io::Error,
    /// Where it was left, if it was.
    pub(super) path: Option<PathBuf>,
}

impl From<io::Error> for Hidden {
    fn from(error: io::Error) -> Self {
        Hidden { error, path: None }
    }
}

impl Replacement {
    /// Makes an empty file, open for reading and writing, that can appear at `path`, where there is
    /// no file or a regular one.
    pub(super) fn create(path: &Path) -> io::Result<(Self, OwnedFd)> {
        // A link stays; its target is replaced.
        let path = links::followed(path)?;
        let directory = directory_of(&path);
        let old = match fs::metadata(&path) {
            Ok(metadata) => {
                check_attributes(&path)?;
                // The new file must not be a way around the old one's permissions.
                let access = rustix::fs::Access::WRITE_OK;
                rustix::fs::accessat(CWD, &path, access, AtFlags::EACCESS)?;
                check_owner(&metadata, &fs::metadata(directory)?)?;
                Some(Old {
                    owner: metadata.uid(),
                    group: metadata.gid(),
                    // Without set-id bits: those were meant for the old content.
                    mode: metadata.mode() & 0o777,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let (file, hidden) =
            match rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(MODE)) {
                Ok(file) => (file, None),
                // This filesystem or kernel does not support it.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                    let (file, hidden) = tempfile::Builder::new()
                        .prefix(PREFIX)
                        .permissions(Permissions::from_mode(MODE))
                        .tempfile_in(directory)?
                        .into_parts();
                    (file.into(), Some(hidden))
                }
                Err(errno) => return Err(errno.into()),
            };
        let replacement = Replacement { path, old, hidden };
        Ok((replacement, file))
    }

    /// Puts `file`, which [`Replacement::create`] returned, at the path. It gets the old file's mode,
    /// and its owner if that is allowed; if there was none, `mode`, or else [`MODE`] with the umask.
    pub(super) fn appear(self, file: &OwnedFd, mode: Option<u32>) -> Result<(), Hidden> {
        let hidden = match self.hidden {
            Some(hidden) => hidden,
            None => name(file, directory_of(&self.path))?,
        };
        if let Some(mode) = self.old.map(|old| old.mode).or(mode)
            && let Err(error) = permit(file, mode)
        {
            let path = hidden.keep().ok();
            return Err(Hidden { error, path });
        }
        if let Some(old) = self.old {
            let (owner, group) = (Uid::from_raw(old.owner), Gid::from_raw(old.group));
            let _ = rustix::fs::fchown(file, Some(owner), Some(group));
        }
        hidden.persist(&self.path).map_err(|error| Hidden {
            path: error.path.keep().ok(),
            error: error.error,
        })
    }
}

/// Sets a file's mode. Some filesystems have no modes of their own; there the fixed one must not
/// permit more.
fn permit(file: &OwnedFd, mode: u32) -> io::Result<()> {
    match rustix::fs::fchmod(file, Mode::from_raw_mode(mode)) {
        Ok(()) => Ok(()),
        Err(_) if rustix::fs::fstat(file)?.st_mode & 0o777 & !mode == 0 => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Checks that the attributes of a path allow a rename to replace it: not a mount point's, and not
/// those of a file that must not be changed, or only be appended to (chattr(1)).
fn check_attributes(path: &Path) -> io::Result<()> {
    let status = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS);
    let attributes = status.map_or(StatxAttributes::empty(), |status| status.stx_attributes);
    if attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Errno::BUSY.into());
    }
    if attributes.intersects(StatxAttributes::IMMUTABLE | StatxAttributes::APPEND) {
        return Err(io::Error::other(
            "its attributes forbid that it is replaced (lsattr)",
        ));
    }
    Ok(())
}

/// Checks that a rename can replace a file: it fails for other users' files in sticky directories. It
/// is better to know that before the program runs.
fn check_owner(file: &Metadata, directory: &Metadata) -> io::Result<()> {
    let us = rustix::process::geteuid();
    let owns = |metadata: &Metadata| us.is_root() || metadata.uid() == us.as_raw();
    let is_sticky = directory.mode() & libc::S_ISVTX != 0;
    if is_sticky && !owns(file) && !owns(directory) {
        return Err(Errno::PERM.into());
    }
    Ok(())
}

/// Gives an unnamed file a name: a link cannot replace an existing file, a rename can.
fn name(file: &OwnedFd, directory: &Path) -> io::Result<tempfile::TempPath> {
    let unnamed = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let link = |path: &Path| -> io::Result<()> {
        rustix::fs::linkat(CWD, &unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
        Ok(())
    };
    let named = tempfile::Builder::new()
        .prefix(PREFIX)
        .make_in(directory, link)?;
    Ok(named.into_temp_path())
}

/// Whether the path can be replaced: there is a regular file, or none.
pub(super) fn is_replaceable(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(Errno::ISDIR.into()),
        Ok(metadata) if metadata.is_file() && is_through_proc(path) => Err(io::Error::other(
            "it is another name of a file that somebody has open, which would be replaced",
        )),
        Ok(metadata) => Ok(metadata.is_file()),
        // It would be a directory.
        Err(_) if path.as_os_str().as_bytes().ends_with(b"/") => Err(Errno::ISDIR.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether a path leads to its file through a link in /proc, as `/dev/stderr` does.
fn is_through_proc(path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..links::AT_MOST {
        let Ok(target) = fs::read_link(&path) else {
            return false;
        };
        let directory = directory_of(&path);
        let is_proc =
            |found: StatFs| found.f_type as libc::c_long == libc::PROC_SUPER_MAGIC as libc::c_long;
        if rustix::fs::statfs(directory).is_ok_and(is_proc) && !target.is_relative() {
            return true;
        }
        path = directory.join(target);
    }
    false
}

/// Opens a destination that is written in place, such as a device or a FIFO. Opening a FIFO without a
/// reader would wait: for that this is only an `O_PATH` descriptor.
pub(super) fn open_in_place(path: &Path) -> io::Result<OwnedFd> {
    if !fs::metadata(path)?.file_type().is_fifo() {
        return File::options().write(true).open(path).map(OwnedFd::from);
    }
    let path_only = OFlags::PATH | OFlags::CLOEXEC;
    let fifo = rustix::fs::openat(CWD, path, path_only, Mode::empty())?;
    Ok(open_fifo(&fifo)?.unwrap_or(fifo))
}

/// Opens the FIFO of an `O_PATH` descriptor for writing, if it has a reader.
pub(super) fn open_fifo(fifo: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let path = format!("/proc/self/fd/{}", fifo.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, &path, flags | OFlags::NONBLOCK, Mode::empty()) {
        Ok(opened) => {
            rustix::fs::fcntl_setfl(&opened, flags)?;
            Ok(Some(opened))
        }
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .collect();
        names.sort();
        names
    }

    fn replace(path: &Path, content: &[u8]) {
        let (replacement, file) = Replacement::create(path).expect("a file");
        rustix::io::write(&file, content).expect("write");
        replacement.appear(&file, None).expect("rename");
    }

    #[test]
    fn it_appears_whole_and_leaves_nothing_else() {
        let place = place();
        let path = place.path().join("x");
        let (replacement, file) = Replacement::create(&path).expect("a file");
        rustix::io::write(&file, b"new").expect("write");
        assert!(!path.exists());
        replacement.appear(&file, None).expect("rename");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(names(place.path()), ["x"]);
    }

    #[test]
    fn dropping_it_leaves_the_old_file() {
        let place = place();
        let path = place.path().join("x");
        fs::write(&path, "old").expect("write");
        drop(Replacement::create(&path).expect("a file"));
        assert_eq!(fs::read(&path).expect("read"), b"old");
        assert_eq!(names(place.path()), ["x"]);
    }

    #[test]
    fn the_mode_of_the_old_file_stays() {
        let place = place();
        let path = place.path().join("x");
        fs::write(&path, "old").expect("write");
        fs::set_permissions(&path, Permissions::from_mode(0o751)).expect("chmod");
        replace(&path, b"new");
        let metadata = fs::metadata(&path).expect("stat");
        assert_eq!(metadata.mode() & 0o7777, 0o751);
        assert_eq!(fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn the_given_mode_is_for_a_new_file_only() {
        let place = place();
        let path = place.path().join("x");
        for (mode, expected) in [(0o600, 0o600), (0o755, 0o600)] {
            let (replacement, file) = Replacement::create(&path).expect("a file");
            replacement.appear(&file, Some(mode)).expect("rename");
            let metadata = fs::metadata(&path).expect("stat");
            assert_eq!(metadata.mode() & 0o7777, expected);
        }
    }

    #[test]
    fn a_symbolic_link_stays_and_its_target_is_replaced() {
        let place = place();
        fs::create_dir(place.path().join("deep")).expect("a directory");
        let link = place.path().join("link");
        std::os::unix::fs::symlink("deep/x", &link).expect("a link");
        for content in [b"one", b"two"] {
            replace(&link, content);
            let target = place.path().join("deep/x");
            assert_eq!(fs::read(target).expect("read"), content);
        }
        assert!(link.is_symlink());
        std::os::unix::fs::symlink("round", place.path().join("round")).expect("a link");
        let error = Replacement::create(&place.path().join("round")).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}

//! Finds existing mounts, the mount that holds a path, and the paths of doors.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::core::CONTROL_NAME;
use crate::error::{Error, Result};
use crate::fuse::mounting::{self, IfBusy};
use crate::temporary;

/// The directories at which fifofs is mounted, as far as this process sees. (Bind mounts of a part
/// of one are left out.)
///
/// # Errors
///
/// If `/proc/thread-self/mountinfo` cannot be read.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// assert!(fifofs::mounts()?.iter().any(|directory| directory == mount.path()));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn mounts() -> Result<Vec<PathBuf>> {
    mounting::whole_mounts()
}

/// The mount that holds a path, which need not exist. For a path in a bind mount of a part, the
/// mount of the whole.
///
/// # Errors
///
/// If `/proc/thread-self/mountinfo` cannot be read, or only a bind mount of a part is visible.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let found = fifofs::mount_of(mount.path().join("not/there/yet"))?;
/// assert_eq!(found.as_deref(), Some(mount.path()));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn mount_of(path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    let path = absolute(path.as_ref())?;
    Ok(find(&path)?.map(|(mount, _)| mount))
}

/// Unmounts the fifofs mount at `directory`; also cleans up after a killed daemon.
///
/// # Errors
///
/// If there is no mount, or the system refuses; of kind `ResourceBusy` if it is in use: the error
/// names the processes.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// fifofs::unmount(mount.path())?;
/// mount.wait();
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn unmount(directory: impl AsRef<Path>) -> Result<()> {
    unmount_if(directory, IfBusy::Refuse)
}

/// The same, with a choice of what to do if the mount is in use.
///
/// # Errors
///
/// Those of [`unmount`].
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let file = std::fs::File::create(mount.path().join("x"))?;
/// fifofs::unmount_if(mount.path(), fifofs::IfBusy::Cut)?;
/// assert!(file.metadata().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unmount_if(directory: impl AsRef<Path>, if_busy: IfBusy) -> Result<()> {
    mounting::unmount(directory.as_ref(), if_busy)
}

/// Removes what killed processes left: mounts without a daemon, as far as this user may, and
/// temporary directories. Returns the mounts that it removed.
///
/// # Errors
///
/// If `/proc/thread-self/mountinfo` cannot be read.
///
/// ```
/// for mount in fifofs::clear_dead()? {
///     println!("{} was dead", mount.display());
/// }
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn clear_dead() -> Result<Vec<PathBuf>> {
    let mounts = mounting::all_mounts()?.into_iter();
    let dead = mounts
        .filter(|mount| mounting::clear_if_dead(mount))
        .collect();
    temporary::clear_left();
    Ok(dead)
}

/// The path at which any program waits for a file of a mount: open(2) and stat(2) of it take until
/// the file is there and done; then it is the file itself. With `next` it means the next time that
/// the file is written.
///
/// # Errors
///
/// If the path is in no fifofs mount, or ends in a slash.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let path = fifofs::wait_path(mount.path().join("a/b.txt"), false)?;
/// assert_eq!(path, mount.path().join(".fifofs/wait/a%2Fb.txt"));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn wait_path(path: impl AsRef<Path>, next: bool) -> Result<PathBuf> {
    door_path(path.as_ref(), if next { "next/wait" } else { "wait" })
}

/// The path at which a file of a mount is read like a pipe: its bytes from the first on, as soon as
/// its delivery allows, even before the file exists. With `next`, the bytes of the next time that it
/// is written.
///
/// # Errors
///
/// Those of [`wait_path`].
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let path = fifofs::pipe_path(mount.path().join("a/b.txt"), true)?;
/// assert_eq!(path, mount.path().join(".fifofs/next/pipe/a%2Fb.txt"));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn pipe_path(path: impl AsRef<Path>, next: bool) -> Result<PathBuf> {
    door_path(path.as_ref(), if next { "next/pipe" } else { "pipe" })
}

/// As [`pipe_path`], for what is written since a process began: if the process ends and has left no
/// such file, reading fails with [`NotFound`](std::io::ErrorKind::NotFound).
///
/// # Errors
///
/// Those of [`wait_path`].
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let mut child = std::process::Command::new("true").spawn().expect("a program");
/// let path = fifofs::pipe_path_until_exit(mount.path().join("x"), child.id())?;
/// let error = std::fs::read(path).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// # child.wait().expect("it ends");
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn pipe_path_until_exit(path: impl AsRef<Path>, pid: u32) -> Result<PathBuf> {
    door_path(path.as_ref(), &format!("pid/{pid}/pipe"))
}

/// The path below a door of the control directory that stands for the path of a file.
fn door_path(given: &Path, door: &str) -> Result<PathBuf> {
    let path = absolute(given)?;
    if matches!(given.as_os_str().as_bytes(), [.., b'/'] | [.., b'/', b'.']) {
        let reason = std::io::Error::from_raw_os_error(libc::EISDIR);
        return Err(Error::io("wait for", given, reason)
            .with_remedy("give the path of a file, without a slash at its end"));
    }
    let found = match find(&path)? {
        Some(found) => Some(found),
        // Resolved, it leads out of the mount by a link, which the mount follows by itself.
        None => find(&std::path::absolute(given).map_err(|e| Error::io("find", given, e))?)?,
    };
    let no_mount = || {
        let reason = std::io::Error::other("it is not in a fifofs mount");
        Error::io("wait for", given, reason)
            .with_remedy("give a path below a directory that `fifofs mount` serves")
    };
    let (mount, inside) = found.ok_or_else(no_mount)?;
    let mut name = Vec::new();
    for component in inside.iter() {
        if !name.is_empty() {
            name.extend_from_slice(b"%2F");
        }
        for byte in component.as_bytes() {
            match byte {
                b'%' => name.extend_from_slice(b"%25"),
                byte => name.push(*byte),
            }
        }
    }
    if name.is_empty() {
        let reason = std::io::Error::from_raw_os_error(libc::EISDIR);
        return Err(Error::io("wait for", given, reason).with_remedy("name a file in the mount"));
    }
    Ok(mount
        .join(CONTROL_NAME)
        .join(door)
        .join(OsStr::from_bytes(&name)))
}

/// The mount that holds a resolved path, and the path relative to it.
fn find(path: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
    let mut found = mounting::find_whole(path)?;
    if found.is_none() {
        // An automount (autofs) mounts when a path leads through it, not when the path itself is
        // looked at.
        let _ = std::fs::metadata(path.join("."));
        found = mounting::find_whole(path)?;
    }
    Ok(found.map(|(mount, inside)| (mount.directory, inside)))
}

/// A path whose existing part is resolved; the rest, which does not exist yet, stays as it is.
fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io("find", path, error);
    let full = std::path::absolute(path).map_err(failed)?;
    let mut existing = full.as_path();
    let mut rest = Vec::new();
    // The last component is not resolved: it may be a link in the mount.
    while let Some(parent) = existing.parent() {
        rest.push(existing.components().next_back());
        existing = parent;
        if let Ok(resolved) = existing.canonicalize() {
            let mut path = resolved;
            for component in rest.iter().rev().flatten() {
                match component {
                    Component::ParentDir => {
                        path.pop();
                    }
                    component => path.push(component),
                }
            }
            return Ok(path);
        }
    }
    Ok(full)
}

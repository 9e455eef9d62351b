//! Mounting and unmounting, with the checks before and the cleanup after.
//!
//! Knows which directories are fit and what makes a mount dead; leaves asking
//! the kernel to [`super::attach`] and finding mounts to [`super::mountinfo`];
//! knows nothing of sessions or of what a mount serves. Two invariants:
//!
//! * Whatever fails leaves nothing behind: no mount, and no directory that was
//!   made for it ([`MountPoint`] removes it again when dropped unmounted).
//! * A mount is never touched (stat, open, readdir) unless it is known to be
//!   dead or foreign: until its daemon has answered the kernel's INIT, and
//!   whenever that daemon hangs, such a call blocks. Only [`is_dead`] looks, in
//!   a thread with a deadline, and [`device_number_at`] at what the kernel knows. Making a path canonical is safe: it reads links,
//!   which the kernel answers for a mount's root without asking the daemon.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::attach::{MountOptions, attach, detach};
use super::connection::{abort, abort_file};
use super::mountinfo::{FoundMount, all_mounts, mount_at, mounts_below, places_of};
use super::turn::Turn;
use super::users::users_of;
use crate::error::{Error, Result};
use crate::fuse::timers::{BUSY_INTERVAL, BUSY_PATIENCE, LIVENESS_DEADLINE, UNSEEN_PATIENCE};

/// How many dead mounts, one over another, are cleared before giving up.
const DEAD_LAYERS: usize = 16;

/// A mount that is not served yet.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// The connection to the kernel, close-on-exec. When its last copy is
    /// closed, the mount is dead, but still there.
    pub(crate) device: OwnedFd,
    /// Where, absolute and canonical.
    pub(crate) directory: PathBuf,
    /// The directory did not exist before, and is to be removed afterwards.
    pub(crate) made_directory: bool,
    /// The connection's number below `/sys/fs/fuse/connections`, which is the
    /// minor device number of the mount.
    pub(crate) device_number: u64,
}

/// A directory that is fit to be mounted on. Dropped without
/// [`MountPoint::mount`], it removes the directory if it made it.
#[derive(Debug)]
pub(crate) struct MountPoint {
    directory: PathBuf,
    made_directory: bool,
    mounted: bool,
    /// Keeps other processes from mounting on it meanwhile. None if no other process knows the directory.
    _turn: Option<Turn>,
}

impl MountPoint {
    /// Makes `directory` (mode 0700) if it is missing, clears dead fifofs mounts
    /// on it, and checks that it can be mounted on.
    ///
    /// Separate from [`MountPoint::mount`] because the watchdog must know the
    /// directory before there is a device that it could inherit.
    ///
    /// # Errors
    ///
    /// If it is not an empty directory, not ours to write, or holds a live
    /// fifofs mount; each with its remedy.
    pub(crate) fn prepare(directory: &Path) -> Result<MountPoint> {
        let directory = without_trailing_slash(directory);
        let fail = |source: io::Error| Error::io("mount on", &directory, source);
        let made_directory = match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "give a directory whose parent exists",
                    io::ErrorKind::PermissionDenied => {
                        "give a directory that exists, or one below a directory you may write"
                    }
                    _ if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => {
                        "it is inside a dead mount: `fifofs unmount` that one first"
                    }
                    _ => "give another directory",
                };
                let error = Error::io("make the directory", &directory, error);
                return Err(error.with_remedy(remedy));
            }
        };
        let mut point = MountPoint {
            made_directory,
            mounted: false,
            directory: directory.clone(),
            _turn: None,
        };
        point.directory = fs::canonicalize(&directory).map_err(|error| {
            fail(error).with_remedy("it may be a symbolic link to nowhere; give a directory")
        })?;
        clear_dead_mounts(&point.directory)?;
        let is_mounted = || !matches!(mount_at(&point.directory), Ok(None));
        point._turn = Some(Turn::wait(&point.directory, is_mounted));
        // The process that had its turn before may have mounted.
        clear_dead_mounts(&point.directory)?;
        check_directory(&point.directory)?;
        Ok(point)
    }

    /// A directory that this process made a moment ago under a new name, and which is removed with the mount:
    /// there is nothing to check.
    ///
    /// # Errors
    ///
    /// If it is not there any more.
    pub(crate) fn fresh(directory: &Path) -> Result<MountPoint> {
        let directory =
            fs::canonicalize(directory).map_err(|error| Error::io("mount on", directory, error))?;
        Ok(MountPoint {
            directory,
            made_directory: true,
            mounted: false,
            _turn: None,
        })
    }

    /// Where it is, absolute and canonical.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the directory was made and is to be removed afterwards.
    pub(crate) fn made_directory(&self) -> bool {
        self.made_directory
    }

    /// Mounts, nosuid and nodev, with modes checked by the kernel.
    ///
    /// # Errors
    ///
    /// If there is no usable FUSE device, or the kernel or `fusermount3`
    /// refuses.
    pub(crate) fn mount(mut self, options: &MountOptions) -> Result<Mounted> {
        let device = attach(&self.directory, options)?;
        let device_number = match device_number_at(&self.directory) {
            Some(number) => Some(number),
            None => mount_at(&self.directory)?.map(|mount| mount.device_number),
        };
        let Some(device_number) = device_number else {
            let _ = detach(&self.directory, UnmountFlags::DETACH);
            let source =
                io::Error::other("mounted, but /proc/thread-self/mountinfo does not show it");
            let error = Error::io("mount on", &self.directory, source);
            return Err(error.with_remedy("see that /proc is mounted, and try again"));
        };
        self.mounted = true;
        Ok(Mounted {
            device,
            directory: self.directory.clone(),
            made_directory: self.made_directory,
            device_number,
        })
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if self.made_directory && !self.mounted {
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// What to do with a mount that is in use.
///
/// ```
/// use fifofs::IfBusy;
///
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let file = std::fs::File::create(mount.path().join("x"))?;
/// let refused = fifofs::unmount_if(mount.path(), IfBusy::Refuse).unwrap_err();
/// assert!(refused.to_string().contains("it is in use by "));
/// fifofs::unmount_if(mount.path(), IfBusy::Detach)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfBusy {
    /// It stays, and the error says who uses it.
    Refuse,
    /// It goes from sight at once. Processes that use it may go on until its daemon ends; the daemon of
    /// `fifofs mount` ends with the last of them.
    Detach,
    /// Processes that use it get errors from now on.
    Cut,
}

/// Unmounts the fifofs mount at `directory`, dead or alive. Of a dead one nothing can be used, and
/// it is detached in any case.
///
/// Call it from a process that does not serve the mount, or from a thread that
/// the session does not need: the kernel may have dirty pages written first.
///
/// # Errors
///
/// If there is no fifofs mount at `directory`, it is another user's, or it is in use and `if_busy` is
/// [`IfBusy::Refuse`].
pub(crate) fn unmount(directory: &Path, if_busy: IfBusy) -> Result<()> {
    let directory = without_trailing_slash(directory);
    let directory = fs::canonicalize(&directory).unwrap_or(directory);
    let fail = |source: io::Error| Error::io("unmount", &directory, source);
    let Some(mount) = mount_at(&directory)? else {
        let mut mounts: Vec<String> = all_mounts()?
            .iter()
            .map(|mount| mount.display().to_string())
            .collect();
        mounts.dedup();
        let remedy = match mounts.is_empty() {
            true => "there is none on this machine that you can see".to_owned(),
            false => format!("those there are: {}", mounts.join(", ")),
        };
        return Err(fail(io::Error::other("no fifofs mount is there")).with_remedy(remedy));
    };
    match if_busy {
        IfBusy::Refuse => match detach_unused(&mount)? {
            None => Ok(()),
            Some(_) if is_dead(&directory) => detach_from(&directory),
            Some(users) => Err(fail(busy(&users, &mounts_below(&mount.directory)?))),
        },
        IfBusy::Detach => detach_from(&directory),
        IfBusy::Cut => {
            // Without the permission to abort it, it can still be detached.
            abort_file(mount.device_number).inspect(abort);
            let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
            detach(&directory, flags).map_err(|error| not_yours(fail(error)))
        }
    }
}

/// That it cannot be unmounted: processes use it, or something is mounted below it.
fn busy(users: &[(i32, String)], below: &[PathBuf]) -> io::Error {
    let users = users.iter().map(|(pid, name)| format!("{name} ({pid})"));
    let below = below
        .iter()
        .map(|place| format!("the mount on {}", place.display()));
    let by: Vec<String> = users.chain(below).collect();
    let by = match by.is_empty() {
        true => "a process that cannot be seen here: of another user, or in another pid namespace"
            .to_owned(),
        false => by.join(", "),
    };
    io::Error::new(io::ErrorKind::ResourceBusy, format!("it is in use by {by}"))
}

/// Unmounts unless it is in use; returns its users if it is.
fn detach_unused(mount: &FoundMount) -> Result<Option<Vec<(i32, String)>>> {
    let start = Instant::now();
    loop {
        match detach(&mount.directory, UnmountFlags::empty()) {
            Ok(()) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            Err(error) => return Err(not_yours(Error::io("unmount", &mount.directory, error))),
        }
        if start.elapsed() >= BUSY_PATIENCE {
            let users = users_of(mount);
            let is_known = || mounts_below(&mount.directory).is_ok_and(|below| !below.is_empty());
            if !users.is_empty() || is_known() || start.elapsed() >= UNSEEN_PATIENCE {
                return Ok(Some(users));
            }
        }
        std::thread::sleep(BUSY_INTERVAL);
    }
}

fn not_yours(error: Error) -> Error {
    match error.to_string().contains("/etc/mtab") {
        // What fusermount3 needs, and a minimal root file system lacks.
        true => error.with_remedy("as root: `ln -s /proc/self/mounts /etc/mtab`"),
        false => error.with_remedy("do it as the user who mounted, or as root"),
    }
}

/// Takes away the topmost mount at `directory` (canonical), which is known to be
/// the one that is meant; if it is in use it goes from sight at once.
///
/// # Errors
///
/// If it is another user's.
pub(crate) fn detach_from(directory: &Path) -> Result<()> {
    match detach(directory, UnmountFlags::empty()) {
        Ok(()) => Ok(()),
        // Only "busy" is known to be cured by detaching, but fusermount3 tells
        // its reasons in words, so it is tried whatever they were.
        Err(_) => detach(directory, UnmountFlags::DETACH)
            .map_err(|error| not_yours(Error::io("unmount", directory, error))),
    }
}

/// Takes away the mount of this number wherever it is, and bind mounts of parts of it, until `is_over`:
/// then the number may be another mount's.
///
/// # Errors
///
/// If one is another user's, something else is mounted over it, or mountinfo cannot be read.
pub(crate) fn detach_everywhere(device_number: u64, is_over: impl Fn() -> bool) -> Result<()> {
    loop {
        let places = places_of(device_number)?;
        // Asked after the list was read, which is of this mount if it is not over yet.
        if places.is_empty() || is_over() {
            return Ok(());
        }
        let topmost = places.iter().rev().find(|(_, is_topmost)| *is_topmost);
        let Some((directory, _)) = topmost else {
            let covered = io::Error::other("another file system is mounted over it");
            return Err(Error::io("unmount", &places[0].0, covered)
                .with_remedy("unmount that, and then this one with `fifofs unmount`"));
        };
        detach_from(directory)?;
    }
}

/// The number of the connection of the topmost mount at `directory`, without asking its daemon
/// (`AT_STATX_DONT_SYNC`). None if the kernel does not tell, or if the mount has a block device.
pub(crate) fn device_number_at(directory: &Path) -> Option<u64> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(CWD, directory, flags, StatxFlags::MNT_ID).ok()?;
    // Since Linux 5.8.
    let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    (is_root && stat.stx_dev_major == 0).then_some(u64::from(stat.stx_dev_minor))
}

/// Whether the mount at `directory` has lost its daemon: it is still there, and
/// every use of it fails. A daemon that does not answer within two seconds
/// hangs, which is not dead: it may come back.
///
/// Root cannot tell of another user's mount without `allow_other`, which the
/// kernel answers by itself; that counts as alive.
pub(crate) fn is_dead(directory: &Path) -> bool {
    let (answer, answered) = mpsc::sync_channel(1);
    let path = directory.to_owned();
    let probe = move || {
        // statfs, not stat: attributes are cached for an hour, dead or not.
        let _ = answer.send(rustix::fs::statfs(&path).map(drop));
    };
    // In a thread, which may stay behind, for a daemon that hangs.
    let thread = std::thread::Builder::new().name("fifofs-probe".to_owned());
    if thread.spawn(probe).is_err() {
        return false;
    }
    matches!(
        answered.recv_timeout(LIVENESS_DEADLINE),
        Ok(Err(error)) if means_dead(error)
    )
}

/// Whether `error` from a FUSE mount says that its daemon is gone: never
/// connected again, aborted, refused at INIT, or the root inode gone bad.
pub(crate) fn means_dead(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOTCONN | Errno::CONNABORTED | Errno::CONNREFUSED | Errno::IO
    )
}

/// Takes away the mount at `directory` (canonical) if it is dead; says whether it did.
pub(crate) fn clear_if_dead(directory: &Path) -> bool {
    is_dead(directory) && detach(directory, UnmountFlags::DETACH).is_ok()
}

fn without_trailing_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

fn clear_dead_mounts(directory: &Path) -> Result<()> {
    let fail = |source| Error::io("mount on", directory, source);
    let remedy = format!("`fifofs unmount {}` first", directory.display());
    for _ in 0..DEAD_LAYERS {
        if mount_at(directory)?.is_none() {
            return Ok(());
        }
        if !is_dead(directory) {
            let source = io::Error::other("fifofs is mounted there already");
            return Err(fail(source).with_remedy(format!("use that one, or {remedy}")));
        }
        detach(directory, UnmountFlags::DETACH).map_err(|error| {
            let source = io::Error::new(error.kind(), format!("a dead mount is there: {error}"));
            fail(source).with_remedy(format!("as its owner or root, {remedy}"))
        })?;
    }
    let source = io::Error::other("dead fifofs mounts are there, many over one another");
    Err(fail(source).with_remedy(remedy))
}

fn check_directory(directory: &Path) -> Result<()> {
    let fail = |source: io::Error| Error::io("mount on", directory, source);
    let metadata = fs::metadata(directory)
        .map_err(|error| fail(error).with_remedy("give a directory you may use"))?;
    if !metadata.is_dir() {
        let source = Errno::NOTDIR.into();
        return Err(fail(source).with_remedy("give an empty directory, or a name that is free"));
    }
    // fusermount3 asks for the same, but says less. Root needs none of it.
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if !rustix::process::geteuid().is_root()
        && let Err(error) = rustix::fs::accessat(CWD, directory, needed, AtFlags::EACCESS)
    {
        let remedy = "give a directory that you may read, write and search";
        return Err(fail(error.into()).with_remedy(remedy));
    }
    let mut entries = fs::read_dir(directory).map_err(fail)?;
    if let Some(entry) = entries.next() {
        let name = entry.map_err(fail)?.file_name();
        let source = io::Error::new(
            io::ErrorKind::DirectoryNotEmpty,
            format!("the directory is not empty: it holds {name:?}"),
        );
        return Err(fail(source).with_remedy("give an empty directory, or a name that is free"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

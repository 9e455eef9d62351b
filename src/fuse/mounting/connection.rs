//! What ends a connection, also one that has no mount any more.
//!
//! Everything here is async-signal-safe, for the watchdog.
//!
//! A lazy unmount leaves the connection to those who have files open, without a mount that could be forced. What is
//! left of it is the `abort` file in fusectl, which the owner of the mount may write to. It is opened while the mount
//! is there: connection numbers are used again, but an open file keeps to its connection, and does nothing after
//! that has ended (`fuse_ctl_remove_conn` in `fs/fuse/control.c`).

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::fuse::helpers::process::decimal;

/// Where fusectl is mounted if it is.
const CONNECTIONS: &[u8] = b"/sys/fs/fuse/connections/";
/// The place, a number of at most 20 digits, the name of the file.
const PATH_BYTES: usize = CONNECTIONS.len() + 20 + FILE.len();
const FILE: &[u8] = b"/abort\0";

/// The file that ends a connection.
pub(super) struct AbortFile(OwnedFd);

impl AbortFile {
    /// That of the connection `number`, which is there. None if it cannot be opened: where fusectl is not mounted only
    /// root can, since Linux 5.2.
    pub(super) fn open(number: u64) -> Option<AbortFile> {
        let (mut path, mut digits) = ([0; PATH_BYTES], [0; 20]);
        let mut free = &mut path[..];
        for part in [CONNECTIONS, decimal(number, &mut digits), FILE] {
            let (room, rest) = free.split_at_mut_checked(part.len())?;
            room.copy_from_slice(part);
            free = rest;
        }
        let name = CStr::from_bytes_until_nul(path.get(CONNECTIONS.len()..)?).ok()?;
        let path = CStr::from_bytes_until_nul(&path).ok()?;
        let file = open(CWD, path).or_else(|_| open(fusectl()?, name));
        file.ok().map(AbortFile)
    }

    /// Whoever uses it gets errors from now on.
    pub(super) fn abort(&self) {
        let _ = rustix::io::write(&self.0, b"1");
    }
}

impl From<OwnedFd> for AbortFile {
    fn from(file: OwnedFd) -> Self {
        AbortFile(file)
    }
}

impl AsFd for AbortFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(directory: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    openat(directory, path, flags, Mode::empty())
}

/// A mount of fusectl that is nowhere, and gone with its descriptor.
fn fusectl() -> Result<OwnedFd, Errno> {
    let context = fsopen(c"fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

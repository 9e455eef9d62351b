//! Ends a connection, even one that has no mount any more.
//!
//! Everything here is async-signal-safe, for the watchdog.
//!
//! A lazy unmount leaves the connection to processes that have files open, without a mount that could be
//! forced. What remains is the `abort` file in fusectl, which the owner of the mount may write to. It is
//! opened while the mount exists: connection numbers are reused, but an open file stays with its connection,
//! and does nothing after that has ended (`fuse_ctl_remove_conn` in `fs/fuse/control.c`).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::path::{Arg, DecInt};

/// Opens the file that ends the connection `number`, which is there. None if it cannot be opened: where fusectl is
/// not mounted only root can, since Linux 5.2.
pub(crate) fn abort_file(number: u64) -> Option<OwnedFd> {
    let of = |connections: OwnedFd| {
        let connection = open(connections, DecInt::new(number), OFlags::PATH)?;
        open(connection, c"abort", OFlags::WRONLY)
    };
    let mounted = open(CWD, c"/sys/fs/fuse/connections", OFlags::PATH);
    mounted.and_then(of).or_else(|_| of(fusectl()?)).ok()
}

/// Ends the connection: its users get errors from now on.
pub(crate) fn abort(file: &OwnedFd) {
    let _ = rustix::io::write(file, b"1");
}

fn open(directory: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(directory, path, flags | OFlags::CLOEXEC, Mode::empty())
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

//! Descriptors of destinations: those that fifofs was started with, and pipes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};

use crate::cli::standard;

/// As much as a pipe is asked to hold: what one request of the file system carries.
const PIPE_BYTES: usize = 1 << 20;

/// A favour to speed, which an unprivileged user may be refused.
pub(super) fn enlarge(pipe: &OwnedFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

/// A descriptor of our own for what is open as `number`, which stays open. No program that is
/// started inherits either: the destination is the output's alone, and whoever reads it sees its
/// end when this process ends.
pub(super) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    standard::check_open(number)?;
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}"))
        .map_err(|_| io::Error::from(Errno::BADF))?;
    // SAFETY: the descriptor was open a moment ago, and this process closes none of which it does
    // not know that it is its own; it is used until the end of this function.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    if number > libc::STDERR_FILENO {
        let flags = rustix::io::fcntl_getfd(descriptor)?;
        if flags.contains(FdFlags::CLOEXEC) {
            // What was inherited is not close-on-exec, else it would not be here: this one is
            // fifofs's own.
            return Err(Errno::BADF.into());
        }
        rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    let access = rustix::fs::fcntl_getfl(descriptor)? & OFlags::RWMODE;
    if access == OFlags::RDONLY {
        return Err(io::Error::other("it is open for reading only"));
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, 0)?)
}

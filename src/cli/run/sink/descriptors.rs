//! Descriptors of destinations: inherited ones, and pipes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::OFlags;
use rustix::io::{Errno, FdFlags};

use crate::cli::standard;

/// The capacity that a pipe gets: the most bytes of one request of the filesystem.
const PIPE_BYTES: usize = 1 << 20;

/// Makes a pipe larger, for speed; an unprivileged user may be refused that.
pub(super) fn enlarge(pipe: &OwnedFd) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

/// A copy of the open descriptor `number`, which stays open. Started programs inherit neither: only
/// the output is written to the destination, and its reader sees the end when this process ends.
pub(super) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    standard::check_open(number)?;
    std::fs::symlink_metadata(format!("/proc/self/fd/{number}"))
        .map_err(|_| io::Error::from(Errno::BADF))?;
    // SAFETY: the descriptor was open a moment ago, and this process closes only descriptors of its
    // own; it is used until the end of this function.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    if number > libc::STDERR_FILENO {
        let flags = rustix::io::fcntl_getfd(descriptor)?;
        if flags.contains(FdFlags::CLOEXEC) {
            // Inherited descriptors are not close-on-exec, or they would not be here: this one
            // belongs to fifofs itself.
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

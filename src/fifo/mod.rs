//! The mkfifo backend: a FIFO in a temporary directory of its own, with a reader that neither hangs
//! nor ends too early.
//!
//! Knows FIFOs and process exits; knows nothing of FUSE, mounts or routing. It can do no more than
//! a FIFO: the program must write front to back; its other file operations fail or go elsewhere
//! ([`Pipe::is_still_there`]). Three invariants:
//!
//! * No call blocks but [`PipeReader::read`], and that has three ways out: the
//!   exit of the process the stream is for, a deadline, a [`Canceller`].
//! * Failures and panics leave nothing behind: no directory, and no process that waits in open(2)
//!   for a reader that can no longer come.
//! * Every descriptor is close-on-exec. A program that inherited the reader's own write end would
//!   keep the stream from ending.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, lstat, mknodat, open};
use rustix::io::Errno;

use self::openings::Openings;
pub(crate) use self::reader::{Canceller, Outcome, PipeReader};
use crate::error::{Error, Result};
use crate::forked::Owned;
use crate::temporary::{self, Directory};

mod openings;
mod reader;

/// A FIFO in a temporary directory of its own, both removed on drop (also on a
/// panic, but not by `process::exit` or SIGKILL).
///
/// A program that opens it for writing waits in open(2) until there is a reader, as with any FIFO.
/// Once the reader was dropped, it waits until there is another or the pipe is dropped; then its
/// first write fails (EPIPE, SIGPIPE).
#[derive(Debug)]
pub(crate) struct Pipe {
    path: PathBuf,
    identity: Identity,
    has_reader: Arc<AtomicBool>,
    openings: Arc<Openings>,
    /// Removes itself and its contents.
    directory: Owned<Directory>,
}

impl Pipe {
    /// Makes a directory (mode 0700) below `$XDG_RUNTIME_DIR`, if that is
    /// absolute and can be used, else below `$TMPDIR` or `/tmp`, and in it the
    /// FIFO `name` (mode 0600).
    ///
    /// # Errors
    ///
    /// If `name` is not a single file name, or the system refuses.
    pub(crate) fn new(name: &OsStr) -> Result<Pipe> {
        check_name(name)?;
        let directory = temporary::directory()?;
        let path = directory.path().join(name);
        let fail = |source: Errno| Error::io("make the FIFO", &path, source.into());
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(|error| {
            let remedy = match error {
                Errno::NAMETOOLONG => "give a shorter name",
                _ => "set TMPDIR to a directory on a file system that has FIFOs",
            };
            fail(error).with_remedy(remedy)
        })?;
        let identity = Identity::of(&lstat(&path).map_err(fail)?);
        Ok(Pipe {
            openings: Arc::new(Openings::of(&path)),
            path,
            identity,
            has_reader: Arc::default(),
            directory: Owned::new(directory),
        })
    }

    /// The absolute path of the FIFO.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether [`Pipe::path`] still names this FIFO. If not, a program removed or replaced it, and
    /// the reader may see a clean end without having got the program's bytes.
    pub(crate) fn is_still_there(&self) -> bool {
        lstat(&self.path).is_ok_and(|stat| Identity::of(&stat) == self.identity)
    }

    /// Opens the reading end, without waiting for a writer.
    ///
    /// The reader may outlive the pipe. Bytes that one reader did not read before it was dropped
    /// are lost, unless a program had the FIFO open all the while: then the next reader gets them
    /// first.
    ///
    /// # Errors
    ///
    /// If there is a reader already, a program replaced the FIFO, or the system
    /// refuses.
    pub(crate) fn reader(&self) -> Result<PipeReader> {
        self.directory.owner().check("read", &self.path)?;
        let fail = |source: io::Error| Error::io("read", &self.path, source);
        let Some(claim) = Claim::take(&self.has_reader) else {
            let source = io::Error::new(io::ErrorKind::ResourceBusy, "it has a reader already");
            return Err(fail(source).with_remedy("drop that one first: each would get a part"));
        };
        self.openings.reset();
        // In this order: a write end opens without blocking only if there is a reading end.
        let read_end = self.open(OFlags::RDONLY)?;
        let write_end = self.open(OFlags::WRONLY)?;
        let openings = Arc::clone(&self.openings);
        PipeReader::new(read_end, write_end, openings, claim).map_err(fail)
    }

    /// Refuses all later readers: a process that waits in open(2) for a reader goes on and gets
    /// EPIPE, and a later open is refused (ENXIO).
    pub(crate) fn close(&self) {
        if !self.directory.owner().is_this() {
            return;
        }
        self.remove();
        // No process can open a socket, whatever its mode and the user.
        let mode = Mode::RUSR | Mode::WUSR;
        let _ = mknodat(CWD, &self.path, FileType::Socket, mode, 0);
    }

    fn remove(&self) {
        // A process that waits in open(2) for the other side would do so for ever once the name is
        // gone. Both sides stay open until it is, so that none waits: a writer then gets EPIPE, a
        // reader the end of file.
        let _both_sides = open_fifo(&self.path, OFlags::RDWR);
        let _ = fs::remove_file(&self.path);
    }

    fn open(&self, access: OFlags) -> Result<OwnedFd> {
        let fail = |source: io::Error| Error::io("read", &self.path, source);
        let replaced = || {
            let source = io::Error::other("a program removed or replaced the FIFO");
            fail(source).with_remedy("use the FUSE backend, where programs may do that")
        };
        let opened = match open_fifo(&self.path, access) {
            Ok(opened) => opened,
            Err(_) if !self.is_still_there() => return Err(replaced()),
            Err(error) => return Err(fail(error.into())),
        };
        let stat = fstat(&opened).map_err(|error| fail(error.into()))?;
        if Identity::of(&stat) != self.identity {
            return Err(replaced());
        }
        Ok(opened)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.directory.owner().is_this() {
            self.remove();
        }
    }
}

/// Identifies a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// Inode numbers are soon reused.
    is_fifo: bool,
}

impl Identity {
    fn of(stat: &Stat) -> Identity {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            is_fifo: FileType::from_raw_mode(stat.st_mode) == FileType::Fifo,
        }
    }
}

/// The right to be the only reader, given back on drop.
#[derive(Debug)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn take(taken: &Arc<AtomicBool>) -> Option<Claim> {
        let free = !taken.swap(true, Ordering::AcqRel);
        free.then(|| Claim(Arc::clone(taken)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn open_fifo(path: &Path, access: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    rustix::io::retry_on_intr(|| open(path, access | flags, Mode::empty()))
}

fn check_name(name: &OsStr) -> Result<()> {
    let is_plain = Path::new(name).file_name() == Some(name);
    if is_plain && !name.as_bytes().contains(&0) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{name:?} is not the name of a file; give one without a directory, such as report.zip"
    )))
}

#[cfg(test)]
mod tests;

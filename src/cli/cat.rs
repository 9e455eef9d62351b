//! `fifofs cat`.

mod waiting;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aligned_vec::avec;
use clap::{Args, ValueHint};
use fifofs::{Error, Result};
use rustix::fs::FileType;

use waiting::Wait;

use super::options::{duration, process};
use super::{PAGE_BYTES, check_standard_output, close_again, failure, standard};

/// The most bytes of one request of the filesystem.
const BUFFER_BYTES: usize = 1 << 20;

/// Enough for most files; allocating the larger buffer takes half a millisecond.
const FIRST_BUFFER_BYTES: usize = 64 << 10;

/// Wait for files in a mount and write them to standard output
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  fifofs cat /tmp/cap/out.gz | ssh host 'cat > out.gz'\n  \
                  fifofs cat --next --timeout 10s /tmp/cap/a.log\n  \
                  make report > /tmp/cap/report & fifofs cat --pid $! /tmp/cap/report"
)]
pub(crate) struct Arguments {
    /// Wait for the next time that the file is written, whatever is there now
    #[arg(long)]
    next: bool,
    /// Wait only for a file written since process PID began; fail if PID ends and has left none
    #[arg(long, value_name = "PID", conflicts_with = "next", value_parser = process)]
    pid: Option<u32>,
    /// End with status 124 when no file and no more bytes have come for this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Files in a mount; they need not exist yet
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    paths: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    check_standard_output()?;
    let wait = Wait::watch(arguments.timeout)?;
    for path in &arguments.paths {
        if !copy(path, arguments, &wait)? {
            return Ok(());
        }
    }
    close_again(io::stdout().as_fd())
        .map_err(|errno| Error::io("write to", "standard output", errno.into()))
}

/// Copies one file; returns whether standard output still has a reader.
fn copy(path: &Path, arguments: &Arguments, wait: &Wait) -> Result<bool> {
    let pipe = match arguments.pid {
        Some(pid) => fifofs::pipe_path_until_exit(path, pid)?,
        None => fifofs::pipe_path(path, arguments.next)?,
    };
    if is_standard_output(path) {
        let reason =
            io::Error::other("it is standard output, too, and would be read as it is written");
        return Err(Error::io("copy", path, reason).with_remedy("write to another file"));
    }
    let opened = wait.during(path, || open(&pipe));
    let mut file = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ESTALE) => {
            let reason = io::Error::other("it is a stream whose first bytes were dropped");
            Error::io("read", path, reason)
                .with_remedy("start the reader before the writer, or mount with `--deliver follow`")
        }
        Some(libc::EIO) => explain(path, &pipe, error),
        _ => match arguments.pid {
            Some(pid) => not_left(path, pid, error),
            None => other("wait for", path, error),
        },
    })?;
    let mut buffer = avec![[PAGE_BYTES]| 0; FIRST_BUFFER_BYTES];
    loop {
        let length = match wait.during(path, || file.read(&mut buffer)) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(explain(path, &pipe, error)),
        };
        match standard::write(&buffer[..length]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(Error::io("write to", "standard output", error)),
        }
        if length == FIRST_BUFFER_BYTES && buffer.len() == length {
            buffer = avec![[PAGE_BYTES]| 0; BUFFER_BYTES];
        }
    }
    Ok(true)
}

/// Whether the copy would go to the file it comes from: the file would grow for ever, or its writer would wait
/// for itself.
fn is_standard_output(path: &Path) -> bool {
    let Ok(output) = rustix::fs::fstat(io::stdout()) else {
        return false;
    };
    // Looking up a name in the control directory may wait, and no such file can be written.
    let is_door = path.components().any(|name| name.as_os_str() == ".fifofs");
    FileType::from_raw_mode(output.st_mode) == FileType::RegularFile
        && !is_door
        && rustix::fs::stat(path)
            .is_ok_and(|file| (file.st_dev, file.st_ino) == (output.st_dev, output.st_ino))
}

/// How often a file may be replaced at the very moment when it is done.
const REPLACED_AT_MOST: u32 = 10;

/// Opens a file, and waits for it if necessary. If it was replaced at the very moment when it was done, waits
/// for the new one.
fn open(path: &Path) -> io::Result<File> {
    let mut replaced = 0;
    loop {
        match File::open(path) {
            Err(error)
                if error.raw_os_error() == Some(libc::ESTALE) && replaced < REPLACED_AT_MOST =>
            {
                replaced += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            opened => return opened,
        }
    }
}

/// Why a process left no such file.
fn not_left(path: &Path, pid: u32, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            let reason = io::Error::other(format!("process {pid} has ended without making it"));
            Error::io("read", path, reason).with_remedy("check that it writes to this path")
        }
        Some(libc::ESRCH) => {
            let reason = io::Error::other(format!(
                "which process {pid} is cannot be seen from the mount's pid namespace"
            ));
            Error::io("wait for", path, reason)
                .with_remedy("mount where the processes can be seen, or leave --pid out")
        }
        _ => other("wait for", path, error),
    }
}

fn explain(path: &Path, door: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ESTALE) => Error::rewritten(path),
        Some(libc::EIO) => {
            let reason = failure::at_door(door).unwrap_or_else(|| {
                "a process that wrote it was killed or failed, there was no space left, or it was \
                 a stream and was changed, read back or replaced after bytes had been delivered"
                    .to_owned()
            });
            let reason = io::Error::other(format!("it is not whole: {reason}"));
            Error::io("read", path, reason).with_remedy("`fifofs ls` says more")
        }
        _ => other("read", path, error),
    }
}

fn other(operation: &str, path: &Path, error: io::Error) -> Error {
    match error.raw_os_error() {
        // Either of them: a killed daemon's mount is soon gone, too.
        Some(libc::ENOTCONN | libc::ECONNABORTED) => Error::io(operation, path, error)
            .with_remedy("it was unmounted, or its daemon was killed: mount it again"),
        Some(libc::EACCES) => Error::io(operation, path, error)
            .with_remedy("do it as the user who mounted; only that one can wait in a mount"),
        Some(libc::ELOOP | libc::ENOTDIR | libc::ENOENT) => {
            Error::io(operation, path, error).with_remedy("nothing can come there: see the path")
        }
        Some(libc::EISDIR) => Error::io(operation, path, error).with_remedy("name a file in it"),
        _ => Error::io(operation, path, error)
            .with_remedy("`fifofs ls` shows which files there are, and what becomes of them"),
    }
}

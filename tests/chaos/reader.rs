//! Readers, each a process. Bytes go to standard output; the times of its open, and its end, to standard error.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::actor::errno_of;
use crate::common::{FIFOFS, Finished};
use crate::ledger::now;
use crate::plan::{Kind, ReaderPlan};

/// The path at which a reader of this kind opens the file `name` of a directory of the mount.
fn path(kind: Kind, mount: &Path, name: &str) -> PathBuf {
    let door = match kind {
        Kind::Pipe => ".fifofs/pipe",
        Kind::Wait | Kind::Exact | Kind::Mapped => ".fifofs/wait",
        Kind::Next => ".fifofs/next/pipe",
        Kind::Path | Kind::Polling | Kind::Edge | Kind::Cat | Kind::CatNext => ".",
    };
    mount.join(door).join(name)
}

/// Runs the reader; its directory is below the mount point.
pub(crate) fn run(plan: ReaderPlan, mount: &Path, name: &str) -> i32 {
    thread::sleep(Duration::from_millis(plan.delay.unwrap_or(0).into()));
    let path = path(plan.kind, mount, name);
    if let Kind::Cat | Kind::CatNext = plan.kind {
        eprintln!("opens {}", now());
        let mut command = Command::new(FIFOFS);
        command.arg("cat");
        if plan.kind == Kind::CatNext {
            command.arg("--next");
        }
        panic!("fifofs cat: {}", command.arg(path).exec());
    }
    let outcome = read(plan, &path);
    let errno = outcome.err().map_or(0, |errno| errno.raw_os_error());
    eprintln!("ended {} {errno}", now());
    i32::from(errno != 0)
}

fn read(plan: ReaderPlan, path: &Path) -> Result<(), Errno> {
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC;
    flags.set(
        OFlags::NONBLOCK,
        matches!(plan.kind, Kind::Polling | Kind::Edge),
    );
    let file = loop {
        let before = now();
        match rustix::fs::open(path, flags, Mode::empty()) {
            // There is no file yet.
            Err(Errno::NOENT) if plan.kind.is_own_path() && !seen(path) => {
                thread::sleep(Duration::from_millis(2));
            }
            answer => {
                eprintln!("opened {before} {}", now());
                break File::from(answer?);
            }
        }
    };
    match plan.kind {
        Kind::Exact => exact(plan, &file),
        Kind::Mapped => mapped(&file),
        Kind::Edge => edge(plan, &file),
        _ => to_the_end(plan, &file),
    }
}

/// Whether there is a file, so that an ENOENT of open(2) was a real answer.
fn seen(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn give(data: &[u8]) {
    io::stdout().write_all(data).expect("standard output");
}

fn to_the_end(plan: ReaderPlan, mut file: &File) -> Result<(), Errno> {
    let mut buffer = vec![0; plan.chunk as usize];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => give(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut waits = [PollFd::new(file, PollFlags::IN)];
                poll(&mut waits, None)?;
            }
            Err(error) => return Err(errno_of(&error)),
        }
        thread::sleep(Duration::from_millis(plan.pause.into()));
    }
}

fn edge(plan: ReaderPlan, mut file: &File) -> Result<(), Errno> {
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let what = epoll::EventFlags::IN | epoll::EventFlags::ET;
    match epoll::add(poller.as_fd(), file, epoll::EventData::new_u64(0), what) {
        Ok(()) => {}
        // epoll refuses ordinary files, as a done file is.
        Err(Errno::PERM) => return to_the_end(plan, file),
        Err(errno) => return Err(errno),
    }
    let mut buffer = vec![0; plan.chunk as usize];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => give(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut events = Vec::with_capacity(1);
                epoll::wait(
                    poller.as_fd(),
                    rustix::buffer::spare_capacity(&mut events),
                    None,
                )?;
            }
            Err(error) => return Err(errno_of(&error)),
        }
    }
}

fn exact(plan: ReaderPlan, mut file: &File) -> Result<(), Errno> {
    let mut left = size(file)?;
    let mut buffer = vec![0; plan.chunk as usize];
    while left > 0 {
        let most = buffer.len().min(left);
        match file.read(&mut buffer[..most]) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                give(&buffer[..length]);
                left -= length;
            }
            Err(error) => return Err(errno_of(&error)),
        }
    }
    Ok(())
}

fn size(file: &File) -> Result<usize, Errno> {
    let status = rustix::fs::fstat(file)?;
    Ok(status.st_size as usize)
}

fn mapped(file: &File) -> Result<(), Errno> {
    let length = size(file)?;
    if length == 0 {
        return Ok(());
    }
    // SAFETY: a new mapping at an address that the kernel chooses.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(errno_of(&io::Error::last_os_error()));
    }
    // write(2) fails with EFAULT where reading the memory would be SIGBUS: the file is shorter now.
    let mut done = 0;
    while done < length {
        // SAFETY: mapped memory, which only the kernel reads.
        let more = unsafe {
            let from = start.cast::<u8>().add(done);
            libc::write(libc::STDOUT_FILENO, from.cast(), length - done)
        };
        if more <= 0 {
            return Err(errno_of(&io::Error::last_os_error()));
        }
        done += more as usize;
    }
    Ok(())
}

/// How a reader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Told(Told),
    /// A signal ended it.
    Stopped,
}

/// The error that it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// ESTALE.
    Rewritten,
    /// EIO.
    Failed,
    /// ENOENT.
    Gone,
    Other(i32),
}

/// The result of a reader.
pub(crate) struct Reading {
    /// It opened the file between these two times; none if it never did.
    pub(crate) opened: Option<(u64, u64)>,
    pub(crate) ended_at: u64,
    pub(crate) ended: Ended,
    pub(crate) bytes: Vec<u8>,
    /// Its standard error.
    pub(crate) said: String,
}

impl Reading {
    pub(crate) fn of(kind: Kind, finished: Finished, ended_before: u64) -> Self {
        let said = finished.stderr;
        let line = |word: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(word))?;
            let numbers = line.split_whitespace();
            Some(numbers.map_while(|n| n.parse().ok()).collect::<Vec<u64>>())
        };
        let own = matches!(kind, Kind::Cat | Kind::CatNext);
        let opened = if own {
            // fifofs opens the file at some time in this range.
            line("opens ").map(|numbers| (numbers[0], ended_before))
        } else {
            line("opened ").map(|numbers| (numbers[0], numbers[1]))
        };
        let mut ended_at = ended_before;
        let ended = match (finished.status.code(), line("ended ")) {
            (None, _) => Ended::Stopped,
            (Some(0), _) => Ended::Well,
            (Some(status), _) if own => Ended::Told(told_by_cat(status, &said)),
            (_, Some(numbers)) => Ended::Told(match Errno::from_raw_os_error(numbers[1] as i32) {
                Errno::STALE => Told::Rewritten,
                Errno::IO => Told::Failed,
                Errno::NOENT => Told::Gone,
                other => Told::Other(other.raw_os_error()),
            }),
            (Some(status), None) => Ended::Told(Told::Other(-status)),
        };
        if let Some(numbers) = line("ended ") {
            ended_at = numbers[0];
        }
        Self {
            opened,
            ended_at,
            ended,
            bytes: finished.stdout,
            said,
        }
    }
}

fn told_by_cat(status: i32, said: &str) -> Told {
    let names = |errno: Errno| said.contains(&io::Error::from(errno).to_string());
    if status == 74 {
        Told::Rewritten
    } else if said.contains("killed") || said.contains("failed") || names(Errno::IO) {
        Told::Failed
    } else if names(Errno::NOENT) {
        Told::Gone
    } else {
        Told::Other(-status)
    }
}

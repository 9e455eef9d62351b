//! A process that makes the kernel write back what it holds of files that
//! somebody waits for.
//!
//! Knows inode numbers and `DIR/.fifofs/inode/NUMBER`, a name under which the
//! daemon lets this process (by its [`Flusher::pid`]) open any inode without
//! being a reader of it; knows nothing of readers or generations. The
//! invariants: with nothing to flush it sleeps without ever waking, and it ends
//! when the daemon's end of its socket is closed.
//!
//! With the write-back cache a program's writes stay in the kernel until it
//! feels like writing them, which may be half a minute. `sync_file_range` every
//! [`FLUSH_EVERY`] starts that at once and waits for nothing. It must be done by
//! another process: a thread of the daemon that waits for the daemon's own mount
//! cannot be killed (see the watchdog). The watchdog forks it, when it is first
//! needed. This process may block in open(2),
//! close(2) (which flushes the whole file) or `sync_file_range` until the daemon
//! answers; hence the daemon never waits for it, and what the socket does not
//! take is queued.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Resource, Rlimit};
use rustix::time::{ClockId, clock_gettime};

use super::helper_process::{above_stdio, exit, reap};
use super::late_helper::{LateHelper, Starter};
use super::watchdog::decimal;

/// How long after one round of flushing the next begins.
const FLUSH_EVERY: Duration = Duration::from_millis(5);
/// How many files can be flushed at a time. One more is answered by
/// [`Answer::Failed`], and the daemon does without, or with
/// [`Flusher::sync_once`].
const TABLE_SLOTS: usize = 4096;
/// Messages taken in before the next look at the clock.
const MESSAGES_A_TURN: usize = 64;
/// A message or answer: what, and which inode, little-endian.
const MESSAGE_BYTES: usize = 9;

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const SYNC_ONCE: u8 = 3;
const SYNCED: u8 = 4;
const FAILED: u8 = 5;

type Message = [u8; MESSAGE_BYTES];

/// What the flusher says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A [`Flusher::sync_once`] of this inode has ended: all that the kernel
    /// held of it when that began was written.
    Synced(u64),
    /// This inode could not be opened, or synced, or is one too many; nothing
    /// is done about it.
    Failed(u64),
    /// The flusher was killed. Said once; nothing is flushed any more. Its
    /// socket is no longer to be waited for: it stays readable.
    Gone,
}

/// The daemon's end. Dropping it ends the process. To be dropped before the
/// mount is unmounted, which it keeps busy.
#[derive(Debug)]
pub(crate) struct Flusher {
    socket: OwnedFd,
    /// Guards what starts the process, gone once it did. Before `backlog` in the lock
    /// order; held while the watchdog forks, which waits for nobody.
    starter: Mutex<Option<Starter>>,
    /// The process, as long as it is to be waited for.
    pid: AtomicI32,
    /// Guards the messages that the socket had no room for, in order; they are
    /// sent before the next message, or by [`Flusher::receive`]. A leaf in the
    /// lock order; held only over sends that do not block.
    backlog: Mutex<VecDeque<Message>>,
    gone: AtomicBool,
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Flusher {
    /// The daemon's socket, and the process for the mount at `directory` (absolute),
    /// which the watchdog is to start. It touches nothing before it is asked to.
    ///
    /// # Errors
    ///
    /// If no socket can be made.
    pub(crate) fn prepare(
        directory: &Path,
    ) -> io::Result<(OwnedFd, LateHelper<impl FnOnce() -> Infallible + use<>>)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let theirs = above_stdio(theirs)?;
        let kept = theirs.as_raw_fd();
        let mut worker = Worker::new(directory);
        // `Worker`'s methods but `new` are async-signal-safe, as said there.
        let body = move || -> Infallible {
            // SAFETY: kept open in the helper, for as long as it runs.
            worker.work(unsafe { BorrowedFd::borrow_raw(kept) });
            exit(0)
        };
        let late_helper = LateHelper {
            name: c"fifofs-flusher",
            keep: theirs,
            body,
        };
        Ok((ours, late_helper))
    }

    /// A flusher whose process is started when it is first needed.
    pub(crate) fn new(socket: OwnedFd, starter: Starter) -> Flusher {
        Flusher {
            socket,
            starter: Mutex::new(Some(starter)),
            pid: AtomicI32::new(0),
            backlog: Mutex::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// Its process id, which is that of the requests it makes; 0 before it has any
    /// to make.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Has the process started, unless it was.
    fn start(&self) {
        let mut starter = self.lock_starter();
        let Some(starter) = starter.take() else {
            return;
        };
        match starter.start() {
            Ok(pid) => self.pid.store(pid, Ordering::Release),
            Err(error) => {
                log::error!("cannot start the flusher: {error}");
                // Which is then gone, as `receive` says.
                let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
            }
        }
    }

    /// From now on, has inode `ino` written back all the time. Adding it again
    /// changes nothing.
    pub(crate) fn add(&self, ino: u64) {
        self.send(ADD, ino);
    }

    /// Ends an [`Flusher::add`].
    pub(crate) fn remove(&self, ino: u64) {
        if self.pid() != 0 {
            self.send(REMOVE, ino);
        }
    }

    /// Has all of inode `ino` written back, and answers when that is done.
    pub(crate) fn sync_once(&self, ino: u64) {
        self.send(SYNC_ONCE, ino);
    }

    /// Ends the process, which lets go of all its files. There is no other after it.
    pub(crate) fn stop(&self) {
        drop(self.lock_starter().take());
        // One that is gone already has nothing to be told.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        match self.pid.swap(0, Ordering::AcqRel) {
            0 => {}
            pid => reap(pid),
        }
    }

    /// Readable when there is an answer. Non-blocking.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next answer, if there is one now.
    pub(crate) fn receive(&self) -> Option<Answer> {
        self.send_backlog(None);
        let mut answer = [0; MESSAGE_BYTES];
        match retry_on_intr(|| recv(&self.socket, &mut answer, RecvFlags::DONTWAIT)) {
            Ok((MESSAGE_BYTES, _)) if answer[0] == SYNCED => Some(Answer::Synced(inode(&answer))),
            Ok((MESSAGE_BYTES, _)) => Some(Answer::Failed(inode(&answer))),
            Err(Errno::AGAIN) => None,
            _ => (!self.gone.swap(true, Ordering::Relaxed)).then_some(Answer::Gone),
        }
    }

    fn send(&self, kind: u8, ino: u64) {
        self.start();
        let mut message = [kind; MESSAGE_BYTES];
        message[1..].copy_from_slice(&ino.to_le_bytes());
        self.send_backlog(Some(message));
    }

    /// Sends what the socket takes, `last` after all that waits.
    fn send_backlog(&self, last: Option<Message>) {
        let mut backlog = self.lock_backlog();
        backlog.extend(last);
        while let Some(message) = backlog.front() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match retry_on_intr(|| send(&self.socket, message, flags)) {
                Ok(_) => drop(backlog.pop_front()),
                Err(Errno::AGAIN) => return,
                // Gone, which `receive` says.
                Err(_) => backlog.clear(),
            }
        }
    }

    fn lock_starter(&self) -> std::sync::MutexGuard<'_, Option<Starter>> {
        // There is one or none, also if a holder panicked.
        self.starter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_backlog(&self) -> std::sync::MutexGuard<'_, VecDeque<Message>> {
        // A queue is whole at every moment, also if a holder panicked.
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inode(message: &Message) -> u64 {
    let [_, ino @ ..] = message;
    u64::from_le_bytes(*ino)
}

struct Slot {
    ino: u64,
    file: OwnedFd,
}

/// The process's side, allocated before the fork. Every method but `new` runs
/// after it and is async-signal-safe: system calls, and vectors that never grow
/// beyond what they were made for.
struct Worker {
    /// Never more than [`TABLE_SLOTS`], so that it never grows.
    table: Vec<Slot>,
    /// `DIR/.fifofs/inode/`, with room for a number and a NUL.
    path: Vec<u8>,
    path_prefix: usize,
}

impl Worker {
    fn new(directory: &Path) -> Worker {
        let mut path = directory.as_os_str().as_bytes().to_vec();
        path.extend_from_slice(b"/.fifofs/inode/");
        path.reserve_exact(21);
        Worker {
            table: Vec::with_capacity(TABLE_SLOTS),
            path_prefix: path.len(),
            path,
        }
    }

    /// Serves until the other end is closed.
    fn work(&mut self, socket: BorrowedFd<'_>) {
        // The usual limit of 1,024 is less than the table's size.
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        let _ = rustix::process::setrlimit(Resource::Nofile, raised);
        let mut next_flush = monotonic();
        loop {
            let left = next_flush.saturating_sub(monotonic());
            let timeout = Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            };
            let timeout = (!self.table.is_empty()).then_some(&timeout);
            let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], timeout);
            for _ in 0..MESSAGES_A_TURN {
                let mut message = [0; MESSAGE_BYTES];
                match retry_on_intr(|| recv(socket, &mut message, RecvFlags::DONTWAIT)) {
                    Ok((MESSAGE_BYTES, _)) => self.obey(&message, socket),
                    Err(Errno::AGAIN) => break,
                    _ => return,
                }
            }
            if !self.table.is_empty() && monotonic() >= next_flush {
                for slot in &self.table {
                    // What the kernel could not write is its writer's to know.
                    let _ = sync_range(slot.file.as_fd(), libc::SYNC_FILE_RANGE_WRITE);
                }
                next_flush = monotonic() + FLUSH_EVERY;
            }
        }
    }

    fn obey(&mut self, message: &Message, socket: BorrowedFd<'_>) {
        let ino = inode(message);
        let position = self.table.iter().position(|slot| slot.ino == ino);
        let result = match (message[0], position) {
            (ADD, Some(_)) => Ok(()),
            (ADD, None) if self.table.len() >= TABLE_SLOTS => Err(Errno::NFILE),
            (ADD, None) => self
                .open(ino)
                .map(|file| self.table.push(Slot { ino, file })),
            (REMOVE, Some(position)) => {
                drop(self.table.swap_remove(position));
                Ok(())
            }
            (SYNC_ONCE, _) => self.open(ino).and_then(|file| {
                let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
                    | libc::SYNC_FILE_RANGE_WRITE
                    | libc::SYNC_FILE_RANGE_WAIT_AFTER;
                let synced = sync_range(file.as_fd(), all);
                drop(file); // before the answer: then the open is over, too
                synced
            }),
            _ => Ok(()),
        };
        let answer = match result {
            Err(_) => FAILED,
            Ok(()) if message[0] == SYNC_ONCE => SYNCED,
            Ok(()) => return,
        };
        let mut reply = *message;
        reply[0] = answer;
        // May block until the daemon reads its answers; a closed socket shows
        // in the next receive.
        let _ = retry_on_intr(|| send(socket, &reply, SendFlags::NOSIGNAL));
    }

    /// Blocks until the daemon answers the open.
    fn open(&mut self, ino: u64) -> Result<OwnedFd, Errno> {
        let mut digits = [0; 20];
        self.path.truncate(self.path_prefix);
        self.path.extend_from_slice(decimal(ino, &mut digits));
        self.path.push(0);
        let path = CStr::from_bytes_with_nul(&self.path).map_err(|_| Errno::INVAL)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    }
}

fn sync_range(file: BorrowedFd<'_>, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: takes no pointers; the descriptor is borrowed.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) } {
        0 => Ok(()),
        _ => Err(Errno::IO),
    }
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests;

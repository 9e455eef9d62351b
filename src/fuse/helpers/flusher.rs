//! A process that makes the kernel write back cached pages of files that a reader waits for.
//!
//! Knows inode numbers and `DIR/.fifofs/inode/NUMBER`, a name under which the
//! daemon lets this process (by its [`Flusher::pid`]) open any inode without
//! being a reader of it; knows nothing of readers or generations. The
//! invariants: with nothing to flush it sleeps without ever waking, and it ends
//! when the daemon's end of its socket is closed.
//!
//! With the write-back cache a program's writes stay in the kernel until it
//! feels like writing them, which may be half a minute. `sync_file_range`
//! starts that at once and waits for nothing; [`worker`] says when it is called. It
//! must be done by another process: a thread of the daemon that waits for the daemon's own mount
//! cannot be killed (see the watchdog). The watchdog forks it, when it is first
//! needed: by then the daemon may be large, and a fork would copy all of its page tables; the
//! watchdog is small, as it has given back what it does not need. This process may block in open(2),
//! close(2) (which flushes the whole file) or `sync_file_range` until the daemon
//! answers; hence the daemon never waits for it, and what the socket does not
//! take is queued.

mod worker;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::SendFlags;

use self::worker::Worker;
use super::message;
use super::process::{above_stdio, reap};
use crate::core::effects::Flush;
use crate::fuse::timers::HELPER_STARTS;
use crate::router::{Flushes, Gone, Refused};
use crate::sync::lock;

// The kinds of messages and answers, all of one inode.
const ADD: u8 = 1;
const REMOVE: u8 = 2;
const REFUSED: u8 = 3;

/// Asks the watchdog to start the process; the answer has its id, or 0.
pub(super) const START: u8 = b'S';

/// The daemon's end. Dropping it ends the process. To be dropped before the
/// mount is unmounted, which it keeps busy.
#[derive(Debug)]
pub(crate) struct Flusher {
    socket: OwnedFd,
    /// Guards the socket to the watchdog, taken when that is asked to start the process. Held while it forks.
    watchdog: Mutex<Option<Arc<OwnedFd>>>,
    /// The process, until it is reaped.
    pid: AtomicI32,
    /// Guards the messages to be sent, in order. A leaf in the lock order; held only over sends that do not
    /// block.
    queue: Mutex<VecDeque<Flush>>,
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Flusher {
    /// For the mount at `directory` (absolute), with what its process will do and the socket that the process
    /// keeps, not below 3. The process touches nothing before it is asked to, and is started when it is first
    /// needed, by the watchdog, of whose socket `watchdog` is the daemon's end.
    ///
    /// # Errors
    ///
    /// If no socket can be made.
    pub(super) fn prepare(
        directory: &Path,
        watchdog: Arc<OwnedFd>,
    ) -> io::Result<(Flusher, Worker, OwnedFd)> {
        let (ours, theirs) = message::pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let flusher = Flusher {
            socket: ours,
            watchdog: Mutex::new(Some(watchdog)),
            pid: AtomicI32::new(0),
            queue: Mutex::default(),
        };
        Ok((flusher, Worker::new(directory), above_stdio(theirs)?))
    }

    /// Its process id, which its requests carry; 0 before it is started.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Has the process started.
    fn start(&self, watchdog: &OwnedFd) {
        match start(watchdog) {
            Ok(pid) => self.pid.store(pid, Ordering::Release),
            Err(error) => {
                log::error!("cannot start the flusher: {error}");
                // `next` then returns `Gone`.
                let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
            }
        }
    }

    /// Ends the process, which closes all its files. No other is started after it.
    pub(crate) fn stop(&self) {
        drop(lock(&self.watchdog).take());
        // It fails if the process is gone already.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        match self.pid.swap(0, Ordering::AcqRel) {
            0 => {}
            pid => reap(pid),
        }
    }

    /// Sends what the socket takes.
    fn send(&self) {
        let mut queue = lock(&self.queue);
        while let Some(Flush { ino, on }) = queue.front() {
            let kind = if *on { ADD } else { REMOVE };
            match message::send(&self.socket, kind, *ino, SendFlags::DONTWAIT) {
                Ok(()) => drop(queue.pop_front()),
                Err(Errno::AGAIN) => return,
                // Gone, which `next` reports.
                Err(_) => queue.clear(),
            }
        }
    }
}

/// Has the watchdog start the process; returns its id.
///
/// # Errors
///
/// If there can be no process, or the watchdog was killed or stopped.
fn start(watchdog: &OwnedFd) -> io::Result<i32> {
    message::send(watchdog, START, 0, SendFlags::empty())?;
    let mut waited_for = [PollFd::new(watchdog, PollFlags::IN)];
    retry_on_intr(|| poll(&mut waited_for, Some(&HELPER_STARTS)))?;
    let (_, pid, _) = message::receive(watchdog)?;
    match i32::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err(io::Error::other("the watchdog could not start it")),
    }
}

/// The watchdog's answer: the process's id. Async-signal-safe.
pub(super) fn answer(socket: BorrowedFd<'_>, pid: i32) {
    let _ = message::send(socket, START, pid.unsigned_abs().into(), SendFlags::empty());
}

impl Flushes for Flusher {
    fn queue(&self, flushes: &[Flush]) {
        lock(&self.queue).extend(flushes);
    }

    /// Starts the process, unless it was started. A thread that finds another one doing so returns; that one
    /// sends all that is queued by then.
    fn tell(&self) {
        let Ok(mut watchdog) = self.watchdog.try_lock() else {
            return;
        };
        if let Some(watchdog) = watchdog.take() {
            self.start(&watchdog);
        }
        drop(watchdog);
        self.send();
    }

    /// After [`Gone`] it stays readable.
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn next(&self) -> Result<Option<Refused>, Gone> {
        self.send();
        match message::receive(&self.socket) {
            Ok((_, ino, _)) => Ok(Some(Refused(ino))),
            Err(Errno::AGAIN) => Ok(None),
            Err(_) => Err(Gone),
        }
    }
}

#[cfg(test)]
mod tests;

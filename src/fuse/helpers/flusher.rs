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
//! feels like writing them, which may be half a minute. `sync_file_range`
//! starts that at once and waits for nothing; [`worker`] says when it is called. It
//! must be done by another process: a thread of the daemon that waits for the daemon's own mount
//! cannot be killed (see the watchdog). The watchdog forks it, when it is first
//! needed. This process may block in open(2),
//! close(2) (which flushes the whole file) or `sync_file_range` until the daemon
//! answers; hence the daemon never waits for it, and what the socket does not
//! take is queued.

mod worker;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::io::Errno;
use rustix::net::SendFlags;

use self::worker::Worker;
use super::deferred::{DeferredHelper, HelperStarter};
use super::message;
use super::process::{above_stdio, exit, reap};
use crate::core::effects::Flush;
use crate::router::{Flushes, Gone, Refused};
use crate::sync::lock;

// The kinds of messages and answers, all of one inode.
const ADD: u8 = 1;
const REMOVE: u8 = 2;
const REFUSED: u8 = 3;

/// The daemon's end. Dropping it ends the process. To be dropped before the
/// mount is unmounted, which it keeps busy.
#[derive(Debug)]
pub(crate) struct Flusher {
    socket: OwnedFd,
    /// Guards what starts the process, gone once it did. Held while the watchdog forks.
    starter: Mutex<Option<HelperStarter>>,
    /// The process, as long as it is to be waited for.
    pid: AtomicI32,
    /// Guards what is to be sent, in order. A leaf in the lock order; held only over sends that do not
    /// block.
    queue: Mutex<VecDeque<Flush>>,
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
    ) -> io::Result<(OwnedFd, DeferredHelper<impl FnOnce() -> Infallible + use<>>)> {
        let (ours, theirs) = message::pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let theirs = above_stdio(theirs)?;
        let kept = theirs.as_raw_fd();
        let mut worker = Worker::new(directory);
        let needed = worker.needed();
        // `Worker::work` is async-signal-safe, as said there.
        let body = move || -> Infallible {
            // SAFETY: kept open in the helper, for as long as it runs.
            worker.work(unsafe { BorrowedFd::borrow_raw(kept) });
            exit(0)
        };
        let deferred_helper = DeferredHelper {
            name: c"fifofs-flusher",
            keep: theirs,
            needed,
            body,
        };
        Ok((ours, deferred_helper))
    }

    /// A flusher whose process is started when it is first needed.
    pub(crate) fn new(socket: OwnedFd, starter: HelperStarter) -> Flusher {
        Flusher {
            socket,
            starter: Mutex::new(Some(starter)),
            pid: AtomicI32::new(0),
            queue: Mutex::default(),
        }
    }

    /// Its process id, which is that of the requests it makes; 0 before it has any
    /// to make.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Has the process started.
    fn start(&self, starter: HelperStarter) {
        match starter.start() {
            Ok(pid) => self.pid.store(pid, Ordering::Release),
            Err(error) => {
                log::error!("cannot start the flusher: {error}");
                // Which is then gone, as `next` says.
                let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
            }
        }
    }

    /// Ends the process, which lets go of all its files. There is no other after it.
    pub(crate) fn stop(&self) {
        drop(lock(&self.starter).take());
        // One that is gone already has nothing to be told.
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
                // Gone, which `next` says.
                Err(_) => queue.clear(),
            }
        }
    }
}

impl Flushes for Flusher {
    fn queue(&self, flushes: &[Flush]) {
        lock(&self.queue).extend(flushes);
    }

    /// Has the process started, unless it was. Nobody waits for whoever does, and tells all that is queued
    /// by then.
    fn tell(&self) {
        let Ok(mut starter) = self.starter.try_lock() else {
            return;
        };
        if let Some(starter) = starter.take() {
            self.start(starter);
        }
        drop(starter);
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

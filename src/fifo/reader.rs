//! The reading end of a FIFO, and when its stream ends.
//!
//! A FIFO alone ends whenever its last writer closes it, and is at its end before the first has
//! opened it. So the reader holds a write end of its own, and closes it when the process that the
//! stream is for has exited:
//!
//! ```text
//!          ends_with              it exited
//!   Held ─────────────► Until ──────────────┐
//!     │                   │                 ▼
//!     └───────end─────────┴──────end────► Draining ───────────► Ended
//!                                           no writer is left,
//!                                           and all is read
//! ```
//!
//! Until then read(2) gives EAGAIN when there is nothing to read, and poll(2) never POLLHUP. While
//! draining, other writers (descendants of the process) keep the stream going in the same way; when
//! none is left, read(2) gives 0. A process's exit is seen only after it closed its descriptors, so
//! none of its bytes can come after that 0. A program that opens the FIFO only then is too late:
//! `Ended` stays.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

use super::{Claim, Openings};
use crate::bell::Bell;

/// The FIFO's capacity, instead of the kernel's 64 KiB. Any user may set this much unless
/// `/proc/sys/fs/pipe-max-size` was changed, see pipe(7).
const CAPACITY_BYTES: usize = 1 << 20;

/// How a [`PipeReader::read`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This many bytes were read: at least one, unless the buffer has no room.
    Bytes(usize),
    /// The stream has ended, and everything was read.
    End,
    /// The same, and no program ever had the FIFO open to write.
    Unopened,
    /// The deadline passed, and nothing was there to be read.
    TimedOut,
    /// A [`Canceller`] was used.
    Cancelled,
}

/// The reading end of a [`Pipe`](super::Pipe), which it may outlive.
/// Dropping it never blocks. Writers of the FIFO then get EPIPE and SIGPIPE; a process that opens it
/// for writing waits until there is another reader or the pipe is dropped.
#[derive(Debug)]
pub(crate) struct PipeReader {
    read_end: OwnedFd,
    stream: Stream,
    openings: Arc<Openings>,
    cancellation: Arc<Cancellation>,
    /// For pollers: an epoll of everything that a read waits for; made when it is first asked for.
    polled: Option<OwnedFd>,
    /// Last, so that the next reader comes after all of this is closed.
    _claim: Claim,
}

/// How far the stream is from its end; the diagram is in the module's header.
#[derive(Debug)]
enum Stream {
    /// Goes on until its end is decided.
    Held { write_end: OwnedFd },
    /// Goes on at least as long as a process runs.
    Until {
        write_end: OwnedFd,
        /// The pidfd of that process.
        process: OwnedFd,
    },
    /// Goes on as long as other processes write.
    Draining,
    /// Has ended.
    Ended,
}

impl PipeReader {
    /// A reader of a FIFO with these ends, both nonblocking.
    pub(super) fn new(
        read_end: OwnedFd,
        write_end: OwnedFd,
        openings: Arc<Openings>,
        claim: Claim,
    ) -> io::Result<Self> {
        enlarge(&read_end);
        Ok(PipeReader {
            read_end,
            stream: Stream::Held { write_end },
            openings,
            cancellation: Arc::new(Cancellation::new()?),
            polled: None,
            _claim: claim,
        })
    }

    /// Ends the stream with a process, given by its pidfd: after it has exited, when all other
    /// writers (descendants too) have closed the FIFO and everything was read. A descendant that
    /// opens it only after that is too late.
    ///
    /// The last process given counts. No effect once the stream is ending.
    pub(crate) fn ends_with(&mut self, process: OwnedFd) {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Ended) {
            Stream::Held { write_end } | Stream::Until { write_end, .. } => {
                Stream::Until { write_end, process }
            }
            ending @ (Stream::Draining | Stream::Ended) => ending,
        };
    }

    fn drain(&self, write_end: OwnedFd) -> Stream {
        self.openings.without(write_end);
        if !self.has_lost_all_writers() {
            self.openings.note();
        }
        Stream::Draining
    }

    /// Whether no process has it open for writing.
    fn has_lost_all_writers(&self) -> bool {
        let mut polled = [PollFd::new(&self.read_end, PollFlags::empty())];
        let now = Timespec::default();
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }

    /// Ends the stream as soon as no program has the FIFO open for writing and everything was read,
    /// which may be now.
    pub(crate) fn end(&mut self) {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Ended) {
            Stream::Held { write_end } | Stream::Until { write_end, .. } => self.drain(write_end),
            ending @ (Stream::Draining | Stream::Ended) => ending,
        };
    }

    /// Reads into `buffer`, and waits for bytes until `deadline`, or for ever if that is `None`.
    /// With a deadline in the past it does not wait.
    ///
    /// # Errors
    ///
    /// If the system refuses to read or to wait, for which there is no known reason.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Outcome> {
        loop {
            if self.cancellation.happened() {
                return Ok(Outcome::Cancelled);
            }
            if matches!(self.stream, Stream::Ended) {
                return Ok(match self.openings.any() {
                    true => Outcome::End,
                    false => Outcome::Unopened,
                });
            }
            // read(2) would give 0, which means the end.
            if buffer.is_empty() {
                return Ok(Outcome::Bytes(0));
            }
            match rustix::io::read(&self.read_end, &mut *buffer) {
                Ok(0) => self.stream = Stream::Ended,
                Ok(bytes) => {
                    self.openings.note();
                    return Ok(Outcome::Bytes(bytes));
                }
                Err(Errno::AGAIN) => {
                    if !self.wait(deadline)? {
                        return Ok(Outcome::TimedOut);
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A descriptor that is readable when it is worth reading again. Ask for it after `ends_with`,
    /// if the stream ends with a process.
    pub(crate) fn poll_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        if self.polled.is_none() {
            let polled = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let data = epoll::EventData::new_u64(0);
            let add =
                |source: BorrowedFd<'_>| epoll::add(&polled, source, data, epoll::EventFlags::IN);
            add(self.read_end.as_fd())?;
            add(self.cancellation.event.as_fd())?;
            if let Stream::Until { process, .. } = &self.stream {
                add(process.as_fd())?;
            }
            self.polled = Some(polled);
        }
        let polled = self.polled.as_ref().map(OwnedFd::as_fd);
        polled.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A handle that ends reading from any thread.
    pub(crate) fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.cancellation))
    }

    /// Waits until it is worth looking again, and notes the process's exit. `false` if the deadline
    /// passed instead.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let process = match &self.stream {
            Stream::Until { process, .. } => Some(process.as_fd()),
            Stream::Held { .. } | Stream::Draining | Stream::Ended => None,
        };
        let cancelled = self.cancellation.event.as_fd();
        let mut polled = [
            PollFd::new(&self.read_end, PollFlags::IN),
            PollFd::new(&cancelled, PollFlags::IN),
            PollFd::new(process.as_ref().unwrap_or(&cancelled), PollFlags::IN),
        ];
        let watched = if process.is_some() { 3 } else { 2 };
        // The kernel does not take a time so far away: wait for ever.
        let timeout = deadline.and_then(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left).ok()
        });
        match poll(&mut polled[..watched], timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if process.is_some() && !polled[2].revents().is_empty() {
            self.end();
        }
        Ok(true)
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        // Its own write end must not count as a program's.
        self.end();
    }
}

/// Makes present and later reads of its [`PipeReader`] return [`Outcome::Cancelled`], even if bytes
/// are left. May outlive it.
#[derive(Debug, Clone)]
pub(crate) struct Canceller(Arc<Cancellation>);

impl Canceller {
    /// Cancels for good. Never blocks.
    pub(crate) fn cancel(&self) {
        self.0.happened.store(true, Ordering::Release);
        // Fails only after 2^64 - 2 calls, so it has rung already.
        self.0.event.ring();
    }
}

/// Whether reading was cancelled: a flag for reads, and an event for waits.
#[derive(Debug)]
struct Cancellation {
    happened: AtomicBool,
    /// Readable after `happened` was set, and never read.
    event: Bell,
}

impl Cancellation {
    fn new() -> io::Result<Cancellation> {
        Ok(Cancellation {
            happened: AtomicBool::new(false),
            event: Bell::new()?,
        })
    }

    fn happened(&self) -> bool {
        self.happened.load(Ordering::Acquire)
    }
}

/// Gives the FIFO room for [`CAPACITY_BYTES`], or as much of it as the system allows: each user has
/// a limit of pages for all pipes.
fn enlarge(fifo: &OwnedFd) {
    let Ok(present) = fcntl_getpipe_size(fifo) else {
        return;
    };
    let sizes = std::iter::successors(Some(CAPACITY_BYTES), |size| Some(size / 2));
    let _ = sizes
        .take_while(|size| *size > present)
        .find(|size| fcntl_setpipe_size(fifo, *size).is_ok());
}

//! Reads a program's output as a stream.

use std::io::{self, BufRead, Read};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::buffered_pipe::BufferedPipe;
use super::canceller::{Canceller, Cancels};
use super::shared::Lease;
use super::waiting::{READ_BYTES, bytes_of, wait_for_a_writer, wait_for_bytes};
use crate::bell::Polled;
use crate::core::generation::Way;
use crate::core::spool::Cursor;
use crate::core::{CaptureId, Core};
use crate::error::{Error, Result};
use crate::fifo::{Pipe, PipeReader};
use crate::forked::Owned;
use crate::router::{ExitHold, LocalReader};

/// A program's output, as a stream.
///
/// Reading waits for bytes, and returns zero bytes at the end, which comes only when the output is done and whole.
/// Otherwise it fails with an [`io::Error`] that holds an [`Error`] of this crate, which [`Error::io`] takes out again:
///
/// - [`Error::Rewritten`]: the program changed bytes that had been read already;
/// - [`Error::Failed`]: a writer was killed by a signal or failed otherwise (see [`FailOn`](crate::FailOn)), or bytes
///   were lost because there was no space left. If the output is delivered as it is written, the reader has got every
///   byte before this error; if it is [`Settled`](Way::Settled), it has got none. Or the program did what no pipe can
///   with a [`Stream`](Way::Stream);
/// - [`Error::Missing`]: the program has ended and there is no file at the path, or it never opened the FIFO there;
/// - [`Error::TimedOut`], [`Error::Cancelled`]: this process ended the wait.
///
/// `Send`; may outlive the capture. Dropping it does not block.
///
/// ```
/// use std::io::BufRead;
/// use std::process::Command;
///
/// use fifofs::Capture;
///
/// let capture = Capture::new("log")?;
/// let mut running = capture.spawn(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
/// for line in running.reader.lines() {
///     println!("{}", line?);
/// }
/// assert!(running.child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader {
    source: Owned<Source>,
    path: PathBuf,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    position: u64,
    ended: bool,
    /// Whether its end depends on no process, so that perhaps no writer will ever come.
    is_open_ended: bool,
    /// Wakes pollers, if there are any.
    polled: Polled,
    /// Keeps the shared mount.
    _mount: Option<Lease>,
}

enum Source {
    Capture {
        local: LocalReader,
        id: CaptureId,
        have: Cursor,
        /// The process with whose exit the reader ends. Dropped last: until then the file counts as one that has a
        /// reader.
        _until: Option<ExitHold>,
    },
    Pipe(BufferedPipe),
}

impl Reader {
    pub(super) fn of_capture(
        (local, id): (LocalReader, CaptureId),
        until: Option<ExitHold>,
        path: PathBuf,
        mount: Option<Lease>,
    ) -> Reader {
        let source = Source::Capture {
            local,
            id,
            have: Cursor::default(),
            _until: until,
        };
        Reader::new(source, path, mount)
    }

    /// Marks a reader whose end depends on no process.
    pub(super) fn open_ended(mut self) -> Reader {
        self.is_open_ended = true;
        self
    }

    pub(crate) fn of_pipe(reader: PipeReader, pipe: &Arc<Pipe>) -> Reader {
        let path = pipe.path().to_owned();
        let buffered = BufferedPipe::new(reader, pipe);
        Reader::new(Source::Pipe(buffered), path, None)
    }

    fn new(source: Source, path: PathBuf, mount: Option<Lease>) -> Reader {
        Reader {
            source: Owned::new(source),
            path,
            timeout: None,
            deadline: None,
            position: 0,
            ended: false,
            is_open_ended: false,
            polled: Polled::default(),
            _mount: mount,
        }
    }

    /// The path of the file that is read.
    ///
    /// ```
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// let reader = capture.reader()?;
    /// assert_eq!(reader.path(), capture.path());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long one read waits for bytes before it fails with
    /// [`Error::TimedOut`]; after that it may be tried again. For ever unless
    /// set.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fifofs::{Capture, Error};
    ///
    /// let capture = Capture::new("never-written")?;
    /// let mut reader = capture.reader()?;
    /// reader.set_timeout(Some(Duration::from_millis(10)));
    /// assert!(matches!(reader.read_all(), Err(Error::TimedOut { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Deadline for reads: after it they return available bytes at once, and otherwise fail with [`Error::TimedOut`].
    /// It limits reading as a whole, while [`Reader::set_timeout`] limits each read, which never times out if the
    /// program writes a line now and then. No deadline unless set.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use fifofs::{Capture, Error};
    ///
    /// let capture = Capture::new("log.txt")?;
    /// let mut command = std::process::Command::new("sh");
    /// command.args(["-c", "while echo tick; do sleep 0.02; done > $1", "sh"]).arg(capture.path());
    /// let mut running = capture.spawn(&mut command)?;
    /// running.reader.set_deadline(Some(Instant::now() + Duration::from_secs(1)));
    /// assert!(matches!(running.reader.read_all(), Err(Error::TimedOut { .. })));
    /// running.child.kill()?;
    /// running.child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Ends the output once no process has the file open for writing, for this reader and all others of the capture
    /// whose end depends on no process. For ends that only the caller can see, where
    /// [`Capture::reader`](crate::Capture::reader) would linger and
    /// [`TemporaryPipe::reader`](crate::TemporaryPipe::reader) would wait for ever.
    ///
    /// ```
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// let mut reader = capture.reader()?;
    /// std::fs::write(capture.path(), "hello\n")?;
    /// reader.finish();
    /// assert_eq!(reader.read_all()?, b"hello\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish(&mut self) {
        if !self.source.owner().is_this() {
            return;
        }
        match self.source.value_mut() {
            Source::Capture { local, id, .. } => local.release(*id),
            Source::Pipe(buffered) => buffered.finish(),
        }
    }

    /// A handle that ends the waits of this reader, for any thread.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// use fifofs::{Capture, Error, Target};
    ///
    /// let capture = Capture::new("never-written")?;
    /// let mut reader = capture.reader()?;
    /// let canceller = reader.canceller();
    /// std::thread::spawn(move || canceller.cancel());
    /// let error = reader.read(&mut [0]).unwrap_err();
    /// assert!(matches!(Error::io("read", reader.path(), error), Error::Cancelled { .. }));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn canceller(&self) -> Canceller {
        let cancels = match &*self.source {
            Source::Capture { local, .. } => Cancels::Capture(local.canceller()),
            Source::Pipe(buffered) => Cancels::Pipe(buffered.canceller()),
        };
        Canceller::new(cancels, self.source.owner())
    }

    /// The delivery mode of the output. None until it is chosen, at the first byte written at the latest.
    ///
    /// ```
    /// use fifofs::{Capture, Target, Way};
    ///
    /// let capture = Capture::new("report.zip")?;
    /// let mut reader = capture.reader()?;
    /// assert_eq!(reader.way(), None);
    /// std::fs::write(capture.path(), "PK\x03\x04")?;
    /// reader.read_all()?;
    /// assert_eq!(reader.way(), Some(Way::Settled));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn way(&self) -> Option<Way> {
        match &*self.source {
            // In a forked child the locks may be held for ever.
            Source::Capture { .. } if !self.source.owner().is_this() => None,
            Source::Capture { local, .. } => local.look(Core::way_read),
            Source::Pipe(_) => Some(Way::Stream),
        }
    }

    /// The number of bytes read so far.
    ///
    /// ```
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("out.txt")?;
    /// let mut reader = capture.reader()?;
    /// std::fs::write(capture.path(), "hello\n")?;
    /// reader.read_all()?;
    /// assert_eq!(reader.position(), 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads available bytes without waiting: fails with [`io::ErrorKind::WouldBlock`] if there are none yet. Poll
    /// [`Reader::poll_fd`] to learn when to try again.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`], and those of reading.
    ///
    /// ```
    /// use std::io::ErrorKind;
    ///
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// let mut reader = capture.reader()?;
    /// let mut buffer = [0; 100];
    /// assert_eq!(reader.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waker = self.polled.waker();
        if self.poll_fill(&waker)?.is_pending() {
            self.polled.silence();
            if self.poll_fill(&waker)?.is_pending() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let have = self.have()?;
        let length = have.len().min(buffer.len());
        buffer[..length].copy_from_slice(&have[..length]);
        self.consume(length);
        Ok(length)
    }

    /// A descriptor to poll, together with others: readable when it is worth calling [`Reader::try_read`] again after
    /// that has given [`io::ErrorKind::WouldBlock`]. Ask for it before that call, and do not read from it. It stays the
    /// same.
    ///
    /// # Errors
    ///
    /// If this process may have no more descriptors.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::os::fd::AsFd;
    ///
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// let command = &mut std::process::Command::new("cp");
    /// let mut running = capture.spawn(command.arg("Cargo.toml").arg(capture.path()))?;
    /// let descriptor = running.reader.poll_fd()?.try_clone_to_owned()?;
    /// let (mut buffer, mut bytes) = ([0; 4096], Vec::new());
    /// loop {
    ///     match running.reader.try_read(&mut buffer) {
    ///         Ok(0) => break,
    ///         Ok(length) => bytes.extend_from_slice(&buffer[..length]),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => {
    ///             poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None)?;
    ///         }
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert!(bytes.starts_with(b"[package]"));
    /// running.child.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn poll_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        match self.source.get_mut("poll", &self.path)? {
            Source::Pipe(buffered) => buffered.poll_fd(),
            Source::Capture { .. } => self.polled.descriptor(),
        }
    }

    /// Whether it reads a FIFO, which calls no waker.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_of_pipe(&self) -> bool {
        matches!(&*self.source, Source::Pipe(_))
    }

    /// Gets bytes or the end; if there is neither yet, wakes `waker` when there is (captures only).
    pub(crate) fn poll_fill(&mut self, waker: &Waker) -> io::Result<Poll<()>> {
        match self.source.get_mut("read", &self.path)? {
            Source::Capture { local, have, .. } => {
                if have.is_empty() && !self.ended {
                    let Poll::Ready(given) = local.poll_read(self.position, READ_BYTES, waker)
                    else {
                        return Ok(Poll::Pending);
                    };
                    *have = bytes_of(given, local, &self.path)?;
                    self.ended = have.is_empty();
                }
            }
            Source::Pipe(buffered) => match buffered.fill(Some(Instant::now())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Poll::Pending),
                Err(error) => return Err(error),
            },
        }
        Ok(Poll::Ready(()))
    }

    /// The bytes that were read ahead.
    pub(crate) fn have(&mut self) -> io::Result<&[u8]> {
        match self.source.value_mut() {
            Source::Capture { have, .. } => have.chunk(),
            Source::Pipe(buffered) => Ok(buffered.have()),
        }
    }

    /// Reads everything until the end.
    ///
    /// # Errors
    ///
    /// Those of reading, as [`Error`].
    ///
    /// ```
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("out.txt")?;
    /// let mut reader = capture.reader()?;
    /// std::fs::write(capture.path(), "hello\n")?;
    /// assert_eq!(reader.read_all()?, b"hello\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_all(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .map_err(|error| Error::io("read", &self.path, error))?;
        Ok(bytes)
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let length = {
            let have = self.fill_buf()?;
            let length = have.len().min(buffer.len());
            buffer[..length].copy_from_slice(&have[..length]);
            length
        };
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let timeout = self.timeout.and_then(|t| Instant::now().checked_add(t));
        let deadline = match (timeout, self.deadline) {
            (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
            (timeout, deadline) => timeout.or(deadline),
        };
        match self.source.get_mut("read", &self.path)? {
            Source::Capture { local, have, .. } => {
                if have.is_empty() && !self.ended {
                    let wait = match self.is_open_ended && deadline.is_none() {
                        true => wait_for_a_writer,
                        false => wait_for_bytes,
                    };
                    *have = wait(local, &self.path, self.position, deadline)?;
                    self.ended = have.is_empty();
                }
                have.chunk()
            }
            Source::Pipe(buffered) => buffered.fill(deadline),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount as u64;
        match self.source.value_mut() {
            Source::Capture { have, .. } => have.advance(amount),
            Source::Pipe(buffered) => buffered.advance(amount),
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

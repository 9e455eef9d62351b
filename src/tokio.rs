//! Captures in tasks of [tokio](https://docs.rs/tokio): with the feature `tokio`.
//!
//! [`run`] and [`spawn`] do for a [`tokio::process::Command`] what [`Capture::run`](crate::Capture::run)
//! and [`Capture::spawn`](crate::Capture::spawn) do for std's; [`Reader::new`] makes any
//! [`Reader`](crate::Reader) implement tokio's traits, and the events of a capture or a mount are a
//! stream. No reader takes a thread: a task is woken when there is something to read.
//!
//! ```
//! use tokio::io::AsyncBufReadExt;
//! use tokio::process::Command;
//!
//! use fifofs::Capture;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let capture = Capture::new("progress.log")?;
//! let script = "for i in 1 2 3; do echo step $i >> $0; sleep 0.05; done";
//! let mut command = Command::new("sh");
//! let mut running = fifofs::tokio::spawn(&capture, command.arg("-c").arg(script).arg(capture.path()))?;
//! let mut lines = running.reader.lines();
//! while let Some(line) = lines.next_line().await? {
//!     assert!(line.starts_with("step "));
//! }
//! assert!(running.child.wait().await?.success());
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! The runtime must be built with `enable_io` (or `enable_all`), as for any process. For a time limit
//! use [`tokio::time::timeout`](https://docs.rs/tokio/latest/tokio/time/fn.timeout.html), with
//! [`kill_on_drop`](::tokio::process::Command::kill_on_drop) on the command: dropping the future of
//! [`run`] then kills the program.
//!
//! The first [`Capture`](crate::Capture) makes a mount, which blocks the thread for some milliseconds,
//! and so does a new one some seconds after the last was dropped. Outside of a runtime, functions that
//! need one panic, as in tokio:
//!
//! ```should_panic
//! let capture = fifofs::Capture::new("out.txt").unwrap();
//! let _ = fifofs::tokio::spawn(&capture, &mut tokio::process::Command::new("true"));
//! ```

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use ::tokio::io::unix::AsyncFd;
use ::tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, Interest, ReadBuf};
use ::tokio::process::{Child, Command};
use futures_core::Stream;

use crate::capture::{CaptureEvents, Events, ProcessRef, RunError, RunOutput, Target};
use crate::core::event::{Event, FileEvent};
use crate::error::{Error, Result};

/// A program's output, as tokio's [`AsyncRead`] and [`AsyncBufRead`]. Its errors are those of
/// [`fifofs::Reader`](crate::Reader), but that reader's timeouts and deadline have no effect here, and
/// it waits for any process that may come to write, as that reader does with a timeout.
///
/// Dropping it has the same effect as dropping that reader.
///
/// ```
/// use tokio::io::AsyncReadExt;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let capture = fifofs::Capture::new("log.txt")?;
/// let mut reader = fifofs::tokio::Reader::new(capture.reader()?)?;
/// std::fs::write(capture.path(), "hello\n")?;
/// let mut text = String::new();
/// reader.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello\n");
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct Reader {
    reader: crate::Reader,
    /// For a FIFO, the descriptor that shows when it is worth reading again.
    polled: Option<AsyncFd<OwnedFd>>,
}

impl Reader {
    /// Call this in a task of a runtime.
    ///
    /// # Errors
    ///
    /// If this process may have no more descriptors.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, if it reads a [`TemporaryPipe`](crate::TemporaryPipe).
    pub fn new(mut reader: crate::Reader) -> io::Result<Reader> {
        let polled = match reader.is_of_pipe() {
            true => {
                let descriptor = reader.poll_fd()?.try_clone_to_owned()?;
                // SAFETY: an `OwnedFd` is open, and the same, until it is dropped; no other code gets
                // this one.
                let polled =
                    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
                Some(polled?)
            }
            false => None,
        };
        Ok(Reader { reader, polled })
    }

    /// The reader itself.
    pub fn get_ref(&self) -> &crate::Reader {
        &self.reader
    }

    /// The reader itself, to be read by a thread from now on.
    pub fn into_inner(self) -> crate::Reader {
        self.reader
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(polled) = &self.polled else {
                return match self.reader.poll_fill(context.waker()) {
                    Ok(filled) => filled.map(Ok),
                    Err(error) => Poll::Ready(Err(error)),
                };
            };
            if let Poll::Ready(()) = self.reader.poll_fill(Waker::noop())? {
                return Poll::Ready(Ok(()));
            }
            ready!(polled.poll_read_ready(context))?.clear_ready();
        }
    }
}

impl AsyncBufRead for Reader {
    fn poll_fill_buf(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let reader = self.get_mut();
        ready!(reader.poll_fill(context))?;
        Poll::Ready(reader.reader.have())
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        io::BufRead::consume(&mut self.get_mut().reader, amount);
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let have = ready!(self.as_mut().poll_fill_buf(context))?;
        let length = have.len().min(buffer.remaining());
        buffer.put_slice(&have[..length]);
        self.consume(length);
        Poll::Ready(Ok(()))
    }
}

/// A running program, and the reader of its output. Dropping it kills the program only if its command
/// has [`kill_on_drop`](Command::kill_on_drop).
#[derive(Debug)]
#[non_exhaustive]
pub struct Running {
    /// The program.
    pub child: Child,
    /// Its output; ends with the program.
    pub reader: Reader,
}

/// Starts a program that writes to the path of a target, and reads it, as
/// [`Capture::spawn`](crate::Capture::spawn) does.
///
/// # Errors
///
/// [`Error::Io`] if it cannot be started.
///
/// # Panics
///
/// As [`Command::spawn`], outside of a runtime.
pub fn spawn(target: &(impl Target + ?Sized), command: &mut Command) -> Result<Running> {
    let prepared = target.prepare()?;
    let mut child = command
        .spawn()
        .map_err(|error| Error::io("run", command.as_std().get_program(), error))?;
    let reader = target.read_of(prepared, ProcessRef::from(&child));
    let reader = reader.and_then(|reader| {
        Reader::new(reader).map_err(|error| Error::io("read", target.path(), error))
    });
    match reader {
        Ok(reader) => Ok(Running { child, reader }),
        Err(error) => {
            // The runtime reaps it.
            let _ = child.start_kill();
            Err(error)
        }
    }
}

/// Runs a program to its end, as [`Capture::run`](crate::Capture::run) does. If the future is dropped
/// earlier, the program goes on, or is killed if its command has
/// [`kill_on_drop`](Command::kill_on_drop).
///
/// # Errors
///
/// Those of [`Capture::run`](crate::Capture::run); but if this very process keeps the file open for
/// writing, it waits instead.
///
/// # Panics
///
/// As [`Command::spawn`], outside of a runtime.
///
/// ```
/// use std::time::Duration;
///
/// use tokio::process::Command;
///
/// use fifofs::Capture;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let capture = Capture::new("copy.toml")?;
/// let mut command = Command::new("cp");
/// command.arg("Cargo.toml").arg(capture.path()).kill_on_drop(true);
/// let run = fifofs::tokio::run(&capture, &mut command);
/// let output = tokio::time::timeout(Duration::from_secs(60), run).await??;
/// assert!(output.status.success() && output.bytes.starts_with(b"[package]"));
/// # Ok(())
/// # })
/// # }
/// ```
pub async fn run(
    target: &(impl Target + ?Sized),
    command: &mut Command,
) -> std::result::Result<RunOutput, RunError> {
    let Running {
        mut child,
        mut reader,
    } = spawn(target, command)?;
    drop(child.stdin.take());
    let mut bytes = Vec::new();
    let (read, waited) = {
        let read = async {
            let read = reader.read_to_end(&mut bytes).await;
            // Remaining writers of a FIFO must see that it has no reader.
            drop(reader);
            read
        };
        both(read, child.wait_with_output()).await
    };
    let fail = |error| Error::io("wait for", command.as_std().get_program(), error);
    let ended = waited.map_err(|error| RunError::from(fail(error)))?;
    let read = read.map_err(|error| Error::io("read", target.path(), error));
    match read {
        // The exit status shows that the program was killed or failed.
        Err(Error::Failed { .. } | Error::Missing { .. }) if !ended.status.success() => {}
        Err(error) => {
            return Err(RunError {
                status: Some(ended.status),
                bytes,
                stdout: ended.stdout,
                stderr: ended.stderr,
                source: Box::new(error),
            });
        }
        Ok(_) => {}
    }
    Ok(RunOutput {
        status: ended.status,
        bytes,
        stdout: ended.stdout,
        stderr: ended.stderr,
    })
}

/// The results of two futures that run concurrently.
async fn both<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut of_first, mut of_second) = (None, None);
    poll_fn(|context| {
        if of_first.is_none()
            && let Poll::Ready(result) = first.as_mut().poll(context)
        {
            of_first = Some(result);
        }
        if of_second.is_none()
            && let Poll::Ready(result) = second.as_mut().poll(context)
        {
            of_second = Some(result);
        }
        match (of_first.take(), of_second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (first, second) => {
                (of_first, of_second) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}

/// [`CaptureEvents`] and [`Events`] are streams, which end with the mount. Their timeouts have no effect
/// here.
///
/// ```
/// use std::pin::Pin;
///
/// use futures_core::Stream;
///
/// use fifofs::{Capture, Event};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let capture = Capture::new("log.txt")?;
/// let mut events = capture.events();
/// std::fs::write(capture.path(), "hello\n")?;
/// let mut next = async || std::future::poll_fn(|cx| Pin::new(&mut events).poll_next(cx)).await;
/// assert!(matches!(next().await, Some(Ok(Event::Opened { .. }))));
/// # Ok(())
/// # })
/// # }
/// ```
impl Stream for CaptureEvents {
    type Item = Result<Event>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        self.get_mut().poll_event(context.waker())
    }
}

impl Stream for Events {
    type Item = Result<FileEvent>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<FileEvent>>> {
        self.get_mut().poll_event(context.waker())
    }
}

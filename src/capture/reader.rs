//! Reading what a program writes.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aligned_vec::{AVec, ConstAlign, avec};
use rustix::io::Errno;

use super::process;
use super::shared::SharedMount;
use crate::core::generation::Way;
use crate::core::spool::{self, Cursor};
use crate::error::{Error, Result};
use crate::fifo::{self, Outcome, Pipe, PipeReader};
use crate::forked::{Owned, Owner};
use crate::router::{Failure, Given, LocalCanceller, LocalReader};

/// As much as one request of the kernel carries, and so about what comes at once.
const READ_BYTES: u32 = 1 << 20;

/// As much as is read from a FIFO at once.
const PIPE_READ_BYTES: usize = 256 << 10;

const PAGE_BYTES: usize = spool::PAGE_BYTES as usize;

/// What a program writes, as a stream.
///
/// Reading waits for bytes and gives zero of them at the end, which is there only
/// when the output is done and whole. Otherwise it fails with an [`io::Error`]
/// that holds an [`Error`] of this crate, which [`Error::io`] gives back:
///
/// - [`Error::Rewritten`]: the program changed bytes that were given already;
/// - [`Error::Failed`]: a writer was killed by a signal or failed otherwise (see
///   [`FailOn`](crate::FailOn)), or bytes were lost since there was no space left. What
///   is delivered as it is written was given to its last byte before; of what is
///   [`Settled`](Way::Settled) nothing was given. Or the program did what no pipe
///   can with a [`Stream`](Way::Stream);
/// - [`Error::Missing`]: the program has ended and nothing stands at the path, or it never opened the
///   FIFO there;
/// - [`Error::TimedOut`], [`Error::Cancelled`]: the wait was ended from here.
///
/// `Send`; may outlive what it was made from. Dropping it does not block, unless it
/// is the last that keeps the mount of [`Capture::new`](crate::Capture::new): then it
/// unmounts, which takes a second at most.
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
    /// Whether its end hangs on no process, so that nobody may ever come to write.
    is_open_ended: bool,
    /// Keeps the shared mount.
    _mount: Option<Arc<SharedMount>>,
}

enum Source {
    Capture { local: LocalReader, have: Cursor },
    Pipe(BufferedPipe),
}

/// A FIFO's reader, and what it has read ahead.
struct BufferedPipe {
    reader: PipeReader,
    /// The FIFO itself, while there is one.
    pipe: Weak<Pipe>,
    path: PathBuf,
    /// Begins with a page, as the kernel's pipes do: so it is copied to several times as fast on some
    /// processors.
    buffer: AVec<u8, ConstAlign<PAGE_BYTES>>,
    /// Which of it is still to be given.
    have: Range<usize>,
}

impl BufferedPipe {
    /// Bytes, once there are any; none at the end.
    fn fill(&mut self, deadline: Option<Instant>) -> io::Result<&[u8]> {
        if self.have.is_empty() {
            self.have = 0..self.read(deadline)?;
        }
        Ok(&self.buffer[self.have.clone()])
    }

    fn read(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let path = || self.path.clone();
        let error = match self.reader.read(&mut self.buffer, deadline)? {
            Outcome::Bytes(length) => return Ok(length),
            Outcome::End | Outcome::Unopened
                if self
                    .pipe
                    .upgrade()
                    .is_some_and(|pipe| !pipe.is_still_there()) =>
            {
                let reason = io::Error::other("the program removed or replaced the FIFO");
                Error::io("read", path(), reason)
                    .with_remedy("capture it by FUSE, where programs may do that")
            }
            Outcome::End => return Ok(0),
            Outcome::Unopened => Error::Missing { path: path() },
            Outcome::TimedOut => Error::TimedOut { path: path() },
            Outcome::Cancelled => Error::Cancelled { path: path() },
        };
        Err(error.into())
    }
}

impl Reader {
    pub(super) fn of_capture(
        local: LocalReader,
        path: PathBuf,
        mount: Option<Arc<SharedMount>>,
    ) -> Reader {
        let have = Cursor::default();
        Reader::new(Source::Capture { local, have }, path, mount)
    }

    /// Its end hangs on no process.
    pub(super) fn open_ended(mut self) -> Reader {
        self.is_open_ended = true;
        self
    }

    pub(crate) fn of_pipe(reader: PipeReader, pipe: &Arc<Pipe>) -> Reader {
        let path = pipe.path().to_owned();
        let buffered = BufferedPipe {
            reader,
            pipe: Arc::downgrade(pipe),
            path: path.clone(),
            buffer: avec![[PAGE_BYTES]| 0; PIPE_READ_BYTES],
            have: 0..0,
        };
        Reader::new(Source::Pipe(buffered), path, None)
    }

    fn new(source: Source, path: PathBuf, mount: Option<Arc<SharedMount>>) -> Reader {
        Reader {
            source: Owned::new(source),
            path,
            timeout: None,
            deadline: None,
            position: 0,
            ended: false,
            is_open_ended: false,
            _mount: mount,
        }
    }

    /// The path of what is read.
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

    /// Until when reads wait for bytes: after that they give what there is at once, and else fail
    /// with [`Error::TimedOut`]. For the whole of what is read, where [`Reader::set_timeout`] is for
    /// each read: a program that writes a line now and then never times out by that. No deadline
    /// unless set.
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

    /// What ends the waits of this reader from anywhere else.
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
            Source::Pipe(buffered) => Cancels::Pipe(buffered.reader.canceller()),
        };
        Canceller {
            cancels,
            owner: self.source.owner(),
        }
    }

    /// How what is read is delivered. Nothing before that is chosen, which is when the
    /// first byte is written at the latest.
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
            // In a forked child nobody would let go of the locks.
            Source::Capture { .. } if !self.source.owner().is_this() => None,
            Source::Capture { local, .. } => local.way(),
            Source::Pipe(_) => Some(Way::Stream),
        }
    }

    /// How many bytes were read so far.
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

    /// Reads all there is until the end.
    ///
    /// # Errors
    ///
    /// Those of reading, unwrapped.
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
            Source::Capture { local, have } => {
                if have.is_empty() && !self.ended {
                    let wait = match self.is_open_ended && deadline.is_none() {
                        true => wait_for_anybody,
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
            Source::Pipe(BufferedPipe { have, .. }) => {
                have.start = have.end.min(have.start + amount);
            }
        }
    }
}

/// How long it is waited for somebody to open the path before it is looked whether anybody is there
/// to do so. Twice that is long enough for one whose parent has started it and exited.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// As [`wait_for_bytes`], as long as there may be somebody to write some.
fn wait_for_anybody(
    local: &mut LocalReader,
    path: &Path,
    position: u64,
    _: Option<Instant>,
) -> io::Result<Cursor> {
    let mut was_alone = false;
    while local.waits_for_nobody() {
        let soon = Instant::now() + LOOK_INTERVAL;
        match wait_for_bytes(local, path, position, Some(soon)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            given => return given,
        }
        let is_alone = local.waits_for_nobody() && !process::has_living_child()?;
        if was_alone && is_alone {
            let path = path.to_owned();
            return Err(Error::Missing { path }.into());
        }
        was_alone = is_alone;
    }
    wait_for_bytes(local, path, position, None)
}

fn wait_for_bytes(
    local: &mut LocalReader,
    path: &Path,
    position: u64,
    deadline: Option<Instant>,
) -> io::Result<Cursor> {
    let path = path.to_owned();
    let error = match local.read(position, READ_BYTES, deadline) {
        Ok(Given::Bytes(bytes)) => return Ok(Cursor::new(bytes)),
        // Not of a file.
        Ok(Given::Events(_)) => return Ok(Cursor::default()),
        Err(Failure::TimedOut) => Error::TimedOut { path },
        Err(Failure::Cancelled) => Error::Cancelled { path },
        Err(Failure::Errno(Errno::STALE)) => match local.rewritten_range() {
            None => dropped_bytes(&path),
            range => Error::Rewritten { path, range },
        },
        Err(Failure::Errno(Errno::IO)) => {
            let writer = local.failed_writer();
            Error::Failed { path, writer }
        }
        Err(Failure::Errno(Errno::NOENT)) => Error::Missing { path },
        Err(Failure::Errno(errno)) => Error::io("read", &path, errno.into()),
    };
    Err(error.into())
}

fn dropped_bytes(path: &Path) -> Error {
    let reason = io::Error::other("it is a stream whose first bytes were dropped");
    Error::io("read", path, reason)
        .with_remedy("open the reader before the program writes, or deliver it by follow")
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("path", &self.path)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Ends the waits of one [`Reader`]. `Clone`, `Send` and `Sync`.
///
/// ```
/// let capture = fifofs::Capture::new("never-written")?;
/// let reader = capture.reader()?;
/// let canceller = reader.canceller();
/// // In a handler of signals, say:
/// std::thread::spawn(move || canceller.cancel());
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Clone)]
pub struct Canceller {
    cancels: Cancels,
    owner: Owner,
}

#[derive(Clone)]
enum Cancels {
    Capture(LocalCanceller),
    Pipe(fifo::Canceller),
}

impl Canceller {
    /// Has the read that waits now, and every later one that would have to ask
    /// for bytes, fail with [`Error::Cancelled`].
    ///
    /// ```
    /// use fifofs::{Capture, Error};
    ///
    /// let capture = Capture::new("never-written")?;
    /// let mut reader = capture.reader()?;
    /// reader.canceller().cancel();
    /// assert!(matches!(reader.read_all(), Err(Error::Cancelled { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self) {
        if !self.owner.is_this() {
            return;
        }
        match &self.cancels {
            Cancels::Capture(canceller) => canceller.cancel(),
            Cancels::Pipe(canceller) => canceller.cancel(),
        }
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Canceller").finish()
    }
}

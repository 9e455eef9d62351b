//! The source of an output: what a program writes to a target, or all files that it left in a
//! directory.
//!
//! Knows how to start reading it; `supervise` decides when.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fifofs::{
    Canceller, Capture, Error, Event, Events, FileState, FileStatus, MountView, Process,
    ProcessRef, Reader, Result, Target, TemporaryPipe, Way,
};

use super::copy::copy;
use super::end::End;
use super::object;
use super::sink::{Sink, Stopped};
use super::tar;

/// How often to check the mount for processes that still write, even if no event comes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long a process that closed a file is given to exit: it may be dying, and then its end counts. A
/// process that lives on is not waited for any longer.
const DYING: Duration = Duration::from_millis(200);

/// Buffers the small writes of tar.
const BUFFER_BYTES: usize = 256 << 10;

/// Where bytes come from.
pub(super) enum Source {
    Target {
        /// The output's name on the command line.
        name: PathBuf,
        target: Written,
        /// Whether the program would wait for ever if it had no reader before it exits.
        must_be_read: bool,
    },
    /// All files of a mount, as tar.
    Directory(MountView),
    /// The same files, left where they are: only waits until no process writes to them any more. With
    /// the placeholder of the directory.
    Quiet(&'static str, MountView),
}

/// The target that a program writes to.
pub(super) enum Written {
    Capture(Capture),
    Fifo(TemporaryPipe),
}

impl Written {
    fn target(&self) -> &dyn Target {
        match self {
            Written::Capture(capture) => capture,
            Written::Fifo(pipe) => pipe,
        }
    }

    /// A reader of what `child` writes, or has written.
    fn read(&self, child: &mut Child) -> Result<Reader> {
        match self {
            // Its end depends on the stage's hold, which counts processes that the child left behind.
            Written::Capture(capture) => capture.reader(),
            Written::Fifo(pipe) => pipe.reader_until_exit(ProcessRef::from(child)),
        }
    }
}

/// Whether the program succeeded; set once it has exited.
pub(super) type Success = Arc<OnceLock<bool>>;

/// Copies to a destination, in a thread of its own.
pub(super) type Job = Box<dyn FnOnce(&mut Sink, &AtomicU64) -> End + Send>;

impl Source {
    /// Its name in messages.
    pub(super) fn name(&self) -> &Path {
        match self {
            Source::Target { name, .. } => name,
            Source::Directory(_) => Path::new("{dir}"),
            Source::Quiet(name, _) => Path::new(name),
        }
    }

    /// Whether it must be read while the program runs.
    pub(super) fn must_be_read(&self) -> bool {
        matches!(self, Source::Target { must_be_read, .. } if *must_be_read)
    }

    /// Whether there is anything to read before the program has exited.
    pub(super) fn streams(&self) -> bool {
        matches!(self, Source::Target { .. })
    }

    /// Starts reading what `child` writes, or has written: returns the copying job, and the canceller
    /// of its waits. Output that is finished only with the child is passed on only if the child
    /// succeeds.
    pub(super) fn read(
        &self,
        child: &mut Child,
        sink: &Sink,
        success: &Success,
    ) -> Result<(Job, Option<Canceller>)> {
        let success = Arc::clone(success);
        match self {
            Source::Target {
                name,
                target: Written::Capture(capture),
                ..
            } if sink.object().is_some() => {
                let mut reader = capture.positional_reader(child)?;
                let canceller = reader.canceller();
                let name = name.clone();
                let job: Job = Box::new(move |sink, delivered| match sink.object() {
                    Some((address, feed)) => {
                        object::copy(&mut reader, &name, address, feed, delivered)
                    }
                    None => End::Aborted,
                });
                Ok((job, Some(canceller)))
            }
            Source::Target { name, target, .. } => {
                let mut reader = target.read(child)?;
                let canceller = reader.canceller();
                let name = name.clone();
                let job: Job = Box::new(move |sink, delivered| {
                    // This waits until the delivery mode is chosen. An error comes again later.
                    let _ = reader.fill_buf();
                    match reader.way() {
                        Some(Way::Settled) if !success.wait() => End::Withheld,
                        _ => copy(&mut reader, &name, sink, delivered),
                    }
                });
                Ok((job, Some(canceller)))
            }
            Source::Directory(view) => {
                let view = view.clone();
                let job: Job = Box::new(move |sink, delivered| match success.wait() {
                    true => pack(&view, sink, delivered),
                    false => End::Withheld,
                });
                Ok((job, None))
            }
            Source::Quiet(_, view) => {
                let view = view.clone();
                let job: Job = Box::new(move |_, _| {
                    match wait_until_all(&view, None, |state| state != FileState::Writing) {
                        Ok(_) => End::Whole,
                        Err(error) => End::Unread(error),
                    }
                });
                Ok((job, None))
            }
        }
    }

    /// The permissions that the program gave it: a private key, or an executable program, must stay so
    /// in its new place. Asks the library: a process that is killed while it waits for its own mount
    /// stays for ever, unless another process unmounts it.
    pub(super) fn permissions(&self) -> Option<u32> {
        match self {
            Source::Target {
                target: Written::Capture(capture),
                ..
            } => capture.permissions(),
            _ => None,
        }
    }

    /// The processes that write it now, and what they write; none if there are none.
    pub(super) fn writers(&self) -> Option<(Vec<String>, String)> {
        let (writers, what) = match self {
            Source::Target { name, target, .. } => {
                let writers = target.target().writers();
                (writers, format!("'{}'", name.display()))
            }
            Source::Directory(view) | Source::Quiet(_, view) => {
                let writers = view.writers();
                let mut paths: Vec<&Path> = writers.iter().map(|(path, _)| &**path).collect();
                paths.dedup();
                let what = match (paths.as_slice(), self) {
                    ([path], Source::Quiet(name, _)) => format!("'{name}/{}'", path.display()),
                    ([path], _) => format!("'{}'", path.display()),
                    _ => format!("files in {}", self.name().display()),
                };
                (
                    writers.into_iter().map(|(_, writer)| writer).collect(),
                    what,
                )
            }
        };
        let mut named: Vec<String> = Vec::new();
        for Process { name, pid, .. } in writers {
            let one = format!("{name} ({pid})");
            if !named.contains(&one) {
                named.push(one);
            }
        }
        (!named.is_empty()).then_some((named, what))
    }

    /// Ends all reading: its writers get SIGPIPE.
    pub(super) fn hang_up(&self) {
        if let Source::Target { target, .. } = self {
            target.target().hang_up();
        }
    }
}

/// Waits until all files of the mount satisfy a condition, or until a timeout. Asks the library, as
/// [`Source::permissions`] does.
fn wait_until_all(
    view: &MountView,
    patience: Option<Duration>,
    are_so: impl Fn(FileState) -> bool,
) -> Result<Vec<FileStatus>> {
    let start = Instant::now();
    // Subscribed before the first look, so that no event is missed.
    let mut events = view.events();
    loop {
        let files = view.status().files;
        let left = patience.map(|patience| patience.saturating_sub(start.elapsed()));
        if files.iter().all(|file| are_so(file.state)) || left == Some(Duration::ZERO) {
            return Ok(files);
        }
        // In case a change has no event.
        let wait = left.unwrap_or(LOOK_INTERVAL).min(LOOK_INTERVAL);
        wait_for_end(&mut events, Instant::now() + wait)?;
    }
}

/// Waits for an event that may have ended a file, or until the deadline.
fn wait_for_end(events: &mut Events, deadline: Instant) -> Result<()> {
    loop {
        events.set_timeout(Some(deadline.saturating_duration_since(Instant::now())));
        match events.next() {
            // There are very many of these while a file is written.
            Some(Ok(event)) if matches!(event.event, Event::Wrote { .. }) => {}
            Some(Ok(_)) | Some(Err(Error::TimedOut { .. })) => return Ok(()),
            Some(Err(error)) => return Err(error),
            // The mount is gone, which callers notice themselves.
            None => {
                let path = PathBuf::from("{dir}");
                return Err(Error::cancelled(path));
            }
        }
    }
}

/// Waits until no process writes to any file of the mount, and packs them.
fn pack(view: &MountView, sink: &mut Sink, delivered: &AtomicU64) -> End {
    let ended = |state| matches!(state, FileState::Done | FileState::Failed);
    let closed = wait_until_all(view, None, |state| state != FileState::Writing);
    let files = match closed.and_then(|_| wait_until_all(view, Some(DYING), ended)) {
        Ok(files) => files,
        Err(error) => return End::Unread(error),
    };
    let mut failed = files
        .into_iter()
        .filter(|file| file.state == FileState::Failed);
    if let Some(FileStatus { path, .. }) = failed.next() {
        return End::Unread(Error::failed(path));
    }
    let mut output = Output {
        sink,
        delivered,
        stopped: None,
    };
    let buffered = io::BufWriter::with_capacity(BUFFER_BYTES, &mut output);
    let written = tar::write(view, buffered);
    if let Some(stopped) = output.stopped {
        return stopped.into();
    }
    if let Err(error) = written {
        return End::Unread(Error::io("pack", view.path(), error));
    }
    match sink.finish() {
        Ok(()) => End::Whole,
        Err(stopped) => stopped.into(),
    }
}

/// A writer that keeps the reason why its sink stopped, which an `io::Error` cannot hold.
struct Output<'a> {
    sink: &'a mut Sink,
    delivered: &'a AtomicU64,
    stopped: Option<Stopped>,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stopped.is_none() {
            match self.sink.write(bytes) {
                Ok(()) => {
                    let length = bytes.len();
                    self.delivered.fetch_add(length as u64, Ordering::Relaxed);
                    return Ok(length);
                }
                Err(stopped) => self.stopped = Some(stopped),
            }
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! What is delivered to a destination: what a program writes to a target, or all that it left in a
//! directory.
//!
//! Knows how to begin to read it; whose turn it is, `supervise` knows.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use fifofs::{Canceller, Capture, Error, Process, Reader, Result, Target, TemporaryPipe, Way};
use serde::Deserialize;

use super::copy::{End, copy};
use super::sink::{Sink, Stopped};
use super::tar;

/// How often the directory is looked at for processes that still write.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// For how long it is waited for who closed a file to exit, since it may be dying: how it ends
/// counts. Who lives on may do so for ever.
const DYING: Duration = Duration::from_millis(200);

/// Gathers what tar writes in small pieces.
const BUFFER_BYTES: usize = 256 << 10;

/// Where bytes come from.
pub(super) enum Source {
    Target {
        /// What the user calls it.
        name: PathBuf,
        target: Written,
        /// Whether the program would wait for ever if nobody read before it has exited.
        must_be_read: bool,
    },
    /// All files of a mount, as tar.
    Directory(PathBuf),
    /// The same, until nobody writes to them any more; they are left where they are.
    Quiet(PathBuf),
}

/// What a program writes to.
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

    /// A reader of what `child` writes; or, when it has exited, of what it left, though that was
    /// read before.
    fn read(&self, child: &mut Child, again: bool) -> Result<Reader> {
        match self {
            Written::Capture(capture) if again => capture.reader(),
            target => target.target().reader_until(child),
        }
    }
}

/// Whether the program succeeded, once it has exited.
pub(super) type Success = Arc<OnceLock<bool>>;

/// Copies to a destination; to be done by a thread of its own.
pub(super) type Job = Box<dyn FnOnce(&mut Sink, &AtomicU64) -> End + Send>;

impl Source {
    /// What messages call it.
    pub(super) fn name(&self) -> &Path {
        match self {
            Source::Target { name, .. } => name,
            Source::Directory(_) | Source::Quiet(_) => Path::new("{dir}"),
        }
    }

    /// Whether it can and has to be read while the program runs.
    pub(super) fn must_be_read(&self) -> bool {
        matches!(self, Source::Target { must_be_read, .. } if *must_be_read)
    }

    /// Whether there is anything to read before the program has exited.
    pub(super) fn streams(&self) -> bool {
        matches!(self, Source::Target { .. })
    }

    /// Begins to read what `child` writes, or left, if it is read `again`: what is to be done, and
    /// what ends its waits. What is finished only with the child is passed on only if that
    /// succeeds.
    pub(super) fn read(
        &self,
        child: &mut Child,
        again: bool,
        success: &Success,
    ) -> Result<(Job, Option<Canceller>)> {
        let success = Arc::clone(success);
        match self {
            Source::Target { name, target, .. } => {
                let mut reader = target.read(child, again)?;
                let canceller = reader.canceller();
                let name = name.clone();
                let job: Job = Box::new(move |sink, delivered| {
                    // Now it is chosen how it is delivered. An error comes again.
                    let _ = reader.fill_buf();
                    match reader.way() {
                        Some(Way::Settled) if !success.wait() => End::Withheld,
                        _ => copy(&mut reader, &name, sink, delivered),
                    }
                });
                Ok((job, Some(canceller)))
            }
            Source::Directory(directory) => {
                let directory = directory.clone();
                let job: Job = Box::new(move |sink, delivered| match success.wait() {
                    true => pack(&directory, sink, delivered),
                    false => End::Withheld,
                });
                Ok((job, None))
            }
            Source::Quiet(directory) => {
                let directory = directory.clone();
                let job: Job = Box::new(move |_, _| {
                    match wait_until_all(&directory, None, |file| !file.is_open()) {
                        Ok(_) => End::Whole,
                        Err(error) => End::Unread(Error::io("look at", directory, error)),
                    }
                });
                Ok((job, None))
            }
        }
    }

    /// The permissions that the program gave it: a key that it keeps from others, or a program that
    /// can be executed, is to be so where it appears. Asked of the library: a process that is killed
    /// while it waits for its own mount stays for ever, if nobody is left to unmount that.
    pub(super) fn permissions(&self) -> Option<u32> {
        match self {
            Source::Target {
                target: Written::Capture(capture),
                ..
            } => capture.permissions(),
            _ => None,
        }
    }

    /// Who writes it now.
    pub(super) fn writers(&self) -> Vec<String> {
        let describe = |name: &str, pid: i32| format!("{name} ({pid})");
        match self {
            Source::Target { target, .. } => {
                let writers = target.target().writers();
                let process = |process: &Process| describe(&process.name, process.pid);
                writers.iter().map(process).collect()
            }
            Source::Directory(directory) | Source::Quiet(directory) => {
                let files = files_of(directory).unwrap_or_default();
                let open = files.iter().filter(|file| file.is_open());
                let running = open.flat_map(|file| file.writers.iter().filter(|w| w.running));
                running
                    .map(|writer| describe(&writer.name, writer.pid))
                    .collect()
            }
        }
    }

    /// Nobody will read it any more: who writes it is told.
    pub(super) fn hang_up(&self) {
        if let Source::Target { target, .. } = self {
            target.target().hang_up();
        }
    }
}

/// The part of a mount's status that is used here.
#[derive(Deserialize)]
struct Status {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: PathBuf,
    state: String,
    writers: Vec<Writer>,
}

#[derive(Deserialize)]
struct Writer {
    pid: i32,
    name: String,
    running: bool,
}

impl File {
    fn is_open(&self) -> bool {
        self.state == "writing"
    }

    fn has_ended(&self) -> bool {
        self.state == "done" || self.has_failed()
    }

    fn has_failed(&self) -> bool {
        self.state == "failed"
    }
}

fn files_of(directory: &Path) -> io::Result<Vec<File>> {
    let text = fs::read_to_string(directory.join(".fifofs/status"))?;
    let status: Status = serde_json::from_str(&text)?;
    Ok(status.files)
}

/// Waits until all files of the mount are so, or for so long.
fn wait_until_all(
    directory: &Path,
    patience: Option<Duration>,
    are_so: impl Fn(&File) -> bool,
) -> io::Result<Vec<File>> {
    let start = Instant::now();
    loop {
        let files = files_of(directory)?;
        let is_late = || patience.is_some_and(|patience| start.elapsed() >= patience);
        if files.iter().all(&are_so) || is_late() {
            return Ok(files);
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits until nobody writes to any file of the mount, and packs them.
fn pack(directory: &Path, sink: &mut Sink, delivered: &AtomicU64) -> End {
    let failed = |error| Error::io("pack", directory, error);
    let closed = wait_until_all(directory, None, |file| !file.is_open());
    let ended = closed.and_then(|_| wait_until_all(directory, Some(DYING), File::has_ended));
    let files = match ended {
        Ok(files) => files,
        Err(error) => return End::Unread(failed(error)),
    };
    if let Some(File { path, .. }) = files.into_iter().find(File::has_failed) {
        return End::Unread(Error::Failed { path });
    }
    let mut output = Output {
        sink,
        delivered,
        stopped: None,
    };
    let buffered = io::BufWriter::with_capacity(BUFFER_BYTES, &mut output);
    let written = tar::write(directory, buffered);
    if let Some(stopped) = output.stopped {
        return stopped.into();
    }
    if let Err(error) = written {
        return End::Unread(failed(error));
    }
    match sink.finish() {
        Ok(()) => End::Whole,
        Err(stopped) => stopped.into(),
    }
}

/// A sink that remembers why it stopped, which an `io::Error` could not say.
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

//! The plain FIFO, for comparison and for places without FUSE.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::process::{Process, ProcessRef};
use super::reader::Reader;
use super::run::spawn;
use super::running::Running;
use super::sealed::{Prepared, Sealed};
use crate::error::Result;
use crate::fifo::{Canceller, Pipe, PipeReader};
use crate::sync::lock;

/// A FIFO in a temporary directory of its own.
///
/// It does what a FIFO can: opening it never hangs for lack of the other side, several openings by
/// the program are one stream, and the stream ends with the child. But it is a FIFO: a program that
/// seeks, checks for a regular file or renames over its output fails or behaves differently, and a
/// writer that was killed looks like one that finished.
///
/// `Send` and `Sync`. Dropping it removes FIFO and directory, also during a panic; after SIGKILL
/// they stay.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::TemporaryPipe;
///
/// let pipe = TemporaryPipe::new()?;
/// let script = r#"echo hello > "$1"; echo again >> "$1""#;
/// let output = pipe.run(Command::new("sh").args(["-c", script, "sh"]).arg(pipe.path()))?;
/// assert_eq!(output.bytes, b"hello\nagain\n");
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug)]
pub struct TemporaryPipe {
    pipe: Arc<Pipe>,
    /// Guards the canceller of the last reader. No other lock is taken while it is held.
    last: Mutex<Option<Canceller>>,
}

impl TemporaryPipe {
    /// Makes a FIFO called `out`, in a directory of mode 0700 below `$XDG_RUNTIME_DIR` or else
    /// `$TMPDIR`.
    ///
    /// # Errors
    ///
    /// If the directory or the FIFO cannot be made.
    ///
    /// ```
    /// use fifofs::{Target, TemporaryPipe};
    ///
    /// let pipe = TemporaryPipe::new()?;
    /// assert!(pipe.path().ends_with("out"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn new() -> Result<TemporaryPipe> {
        TemporaryPipe::named("out")
    }

    /// As [`TemporaryPipe::new`] with another name, for programs that look at the extension.
    ///
    /// # Errors
    ///
    /// As [`TemporaryPipe::new`], and if `name` is not a plain file name.
    ///
    /// ```
    /// use fifofs::{Target, TemporaryPipe};
    ///
    /// let pipe = TemporaryPipe::named("report.csv")?;
    /// assert!(pipe.path().ends_with("report.csv"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn named(name: impl AsRef<OsStr>) -> Result<TemporaryPipe> {
        Ok(TemporaryPipe {
            pipe: Arc::new(Pipe::new(name.as_ref())?),
            last: Mutex::new(None),
        })
    }
}

impl TemporaryPipe {
    /// The path to give to the program, absolute.
    ///
    /// ```
    /// let pipe = fifofs::TemporaryPipe::new()?;
    /// assert!(pipe.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        self.pipe.path()
    }

    /// A reader of what a process and its descendants write. It ends when the process has exited and
    /// no process has the FIFO open for writing any more; see
    /// [`Capture::reader_until_exit`](crate::Capture::reader_until_exit).
    ///
    /// # Errors
    ///
    /// If the FIFO has a reader already, or the process cannot be watched.
    ///
    /// ```
    /// let pipe = fifofs::TemporaryPipe::new()?;
    /// let mut child = std::process::Command::new("cp").arg("Cargo.toml").arg(pipe.path()).spawn()?;
    /// let mut reader = pipe.reader_until_exit(&child)?;
    /// assert!(reader.read_all()?.starts_with(b"[package]"));
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader_until_exit<'p>(&self, process: impl Into<ProcessRef<'p>>) -> Result<Reader> {
        self.end_with(self.pipe.reader()?, process.into())
    }

    /// A reader whose end depends on no process, but on [`Reader::finish`]: until then it waits.
    ///
    /// # Errors
    ///
    /// If the FIFO has a reader already.
    ///
    /// ```
    /// let pipe = fifofs::TemporaryPipe::new()?;
    /// let mut reader = pipe.reader()?;
    /// std::fs::write(pipe.path(), "hello\n")?;
    /// reader.finish();
    /// assert_eq!(reader.read_all()?, b"hello\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self) -> Result<Reader> {
        Ok(self.reading(self.pipe.reader()?))
    }

    /// Starts a program that writes to the FIFO, and reads it.
    ///
    /// The reading end is opened before the program starts: otherwise a program that opens the FIFO
    /// without waiting (`O_NONBLOCK`) would be refused.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if it cannot be started, or the FIFO has a reader already.
    ///
    /// ```
    /// use fifofs::{Running, TemporaryPipe};
    ///
    /// let pipe = TemporaryPipe::new()?;
    /// let mut command = std::process::Command::new("cp");
    /// let Running { mut child, mut reader, .. } =
    ///     pipe.spawn(command.arg("Cargo.toml").arg(pipe.path()))?;
    /// assert!(reader.read_all()?.starts_with(b"[package]"));
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn(&self, command: &mut Command) -> Result<Running> {
        spawn(self, command)
    }

    /// Ends the waits of the reader; once the reader is dropped, writers get SIGPIPE from the
    /// kernel. Opening the path after this fails with `ENXIO`, where a FIFO would wait for a reader,
    /// and no other reader can be made.
    ///
    /// ```
    /// let pipe = fifofs::TemporaryPipe::new()?;
    /// pipe.hang_up();
    /// assert!(std::fs::File::create(pipe.path()).is_err());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn hang_up(&self) {
        self.pipe.close();
        let last = lock(&self.last);
        if let Some(canceller) = &*last {
            canceller.cancel();
        }
    }

    /// Always empty: the writers of a FIFO cannot be found out.
    pub(crate) fn writers(&self) -> Vec<Process> {
        Vec::new()
    }

    /// Makes the stream end with the process.
    fn end_with(&self, mut reader: PipeReader, process: ProcessRef<'_>) -> Result<Reader> {
        match process.find_for(self.path())? {
            Some(found) => reader.ends_with(found.pidfd),
            None => reader.end(),
        }
        Ok(self.reading(reader))
    }

    fn reading(&self, reader: PipeReader) -> Reader {
        let mut last = lock(&self.last);
        *last = Some(reader.canceller());
        Reader::of_pipe(reader, &self.pipe)
    }
}

impl Sealed for TemporaryPipe {
    fn prepare(&self) -> Result<Prepared> {
        Ok(Prepared(Some(self.pipe.reader()?)))
    }

    fn read_of(&self, prepared: Prepared, process: ProcessRef<'_>) -> Result<Reader> {
        match prepared.0 {
            Some(reader) => self.end_with(reader, process),
            None => self.reader_until_exit(process),
        }
    }
}

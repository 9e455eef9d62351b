//! What a program is told to write to, whichever way its bytes come here.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{Capture, Reader};
use crate::error::{Error, Result};
use crate::temporary_pipe::TemporaryPipe;

/// A path to give to a program, whose output there comes to this process.
///
/// [`Capture`] and [`TemporaryPipe`] are the two there are; [`Backend::target`]
/// makes either by a value.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::Backend;
///
/// # let without_fuse = false;
/// let backend = if without_fuse { Backend::Fifo } else { Backend::Fuse };
/// let target = backend.target("out.txt")?;
/// let output = target.run(Command::new("cp").arg("Cargo.toml").arg(target.path()))?;
/// assert!(output.status.success());
/// assert!(output.bytes.starts_with(b"[package]"));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub trait Target: Send + Sync {
    /// The path to give to the program, absolute.
    ///
    /// ```
    /// use fifofs::{Backend, Target};
    ///
    /// let target = Backend::Fifo.target("out.txt")?;
    /// assert!(target.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    fn path(&self) -> &Path;

    /// A reader of what `child` and those it started write. It ends when the
    /// child has exited and nobody has the file open for writing any more.
    ///
    /// To be called right after spawning, when nothing is lost yet; a child that
    /// has exited by then is fine, too. A child that was waited for otherwise
    /// than by `child` itself counts as exited.
    ///
    /// What an earlier child left is not given again: if this one writes nothing,
    /// there is nothing. After a child whose output was not read to its end prefer
    /// [`Target::spawn`], which sees to that before the next one can write.
    ///
    /// # Errors
    ///
    /// If the mount is gone; of a FIFO, if it has a reader already.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let (data, log) = (Capture::new("data.csv")?, Capture::new("run.log")?);
    /// let script = "echo 1,2 > \"$1\"; echo well > \"$2\"";
    /// let mut command = Command::new("sh");
    /// command.args(["-c", script, "sh"]).args([data.path(), log.path()]);
    /// let mut child = command.spawn()?;
    /// // Two outputs of one program.
    /// let mut readers = [data.reader_until(&mut child)?, log.reader_until(&mut child)?];
    /// assert_eq!(readers[0].read_all()?, b"1,2\n");
    /// assert_eq!(readers[1].read_all()?, b"well\n");
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn reader_until(&self, child: &mut Child) -> Result<Reader>;

    /// Nobody will read any more: every further write fails with `EPIPE`, and the
    /// processes that have the file open for writing get SIGPIPE, as of a pipe.
    /// So do writes to what comes to stand there later.
    ///
    /// ```
    /// use std::io::Read;
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Running, Target};
    ///
    /// let capture = Capture::new("endless.txt")?;
    /// let script = "exec yes > \"$1\"";
    /// let mut command = Command::new("sh");
    /// let Running { mut child, mut reader } =
    ///     capture.spawn(command.args(["-c", script, "sh"]).arg(capture.path()))?;
    /// reader.read_exact(&mut [0; 100])?;
    /// capture.hang_up();
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn hang_up(&self);

    /// Which processes have the file open for writing now; of a FIFO it cannot
    /// be told, and nobody is named.
    ///
    /// ```
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("out.txt")?;
    /// let file = std::fs::File::create(capture.path())?;
    /// assert_eq!(capture.writers()[0].pid, std::process::id() as i32);
    /// drop(file);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn writers(&self) -> Vec<Process>;

    /// Starts a program that writes to [`Target::path`], and reads it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be started.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Running, Target};
    ///
    /// let capture = Capture::new("copy.toml")?;
    /// let Running { mut child, mut reader } =
    ///     capture.spawn(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
    /// assert!(reader.read_all()?.starts_with(b"[package]"));
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn spawn(&self, command: &mut Command) -> Result<Running> {
        start(command, |child| self.reader_until(child))
    }

    /// Runs a program to its end and gives its exit status and what it wrote to
    /// [`Target::path`], and to its standard output and error where those are
    /// [`Stdio::piped`](std::process::Stdio::piped). Its standard input, if it is piped, is at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be started; those of [`Reader`], once it has
    /// ended: its output is then not whole. But if the program itself was killed or
    /// exited with another status than 0, [`Error::Failed`] and [`Error::Missing`]
    /// are no errors here: look at `status` before you trust `bytes`.
    ///
    /// [`Error::Io`] too if, once the program has ended, only this process has the file open for
    /// writing and keeps it open: `command` does, if the file was given to
    /// [`Command::stdout`] or the like.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("copy.toml")?;
    /// let output = capture.run(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
    /// assert!(output.status.success() && output.bytes.starts_with(b"[package]"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    fn run(&self, command: &mut Command) -> Result<Output> {
        let mut running = self.spawn(command)?;
        let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
        let mut bytes = Vec::new();
        thread::scope(|scope| {
            // Each by a thread, as the program may wait for any one to be read.
            let drain = |pipe: Option<Box<dyn Read + Send>>| {
                pipe.map(|mut pipe| {
                    scope.spawn(move || {
                        let mut bytes = Vec::new();
                        pipe.read_to_end(&mut bytes).map(|_| bytes)
                    })
                })
            };
            let stdout = drain(stdout.map(|pipe| Box::new(pipe) as _));
            let stderr = drain(stderr.map(|pipe| Box::new(pipe) as _));
            let status = finish(self, running, command, &mut bytes)?;
            let drained = |thread: Option<thread::ScopedJoinHandle<'_, io::Result<Vec<u8>>>>| {
                let bytes = thread.map(|thread| thread.join().unwrap_or_else(|p| resume_unwind(p)));
                bytes
                    .transpose()
                    .map(Option::unwrap_or_default)
                    .map_err(|error| Error::io("read a pipe of", command.get_program(), error))
            };
            Ok(Output {
                status,
                stdout: drained(stdout)?,
                stderr: drained(stderr)?,
                bytes: std::mem::take(&mut bytes),
            })
        })
    }

    /// The same, with the bytes going to `sink` as they come.
    ///
    /// # Errors
    ///
    /// As [`Target::run`]; those of `sink`, upon which the program's further
    /// writes fail, see [`Target::hang_up`]. [`Error::Usage`] if its standard output or error is
    /// piped, which nobody would read; the program is killed then.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("copy.toml")?;
    /// let mut sink = Vec::new();
    /// let mut command = Command::new("cp");
    /// let status = capture.run_to(command.arg("Cargo.toml").arg(capture.path()), &mut sink)?;
    /// assert!(status.success() && sink.starts_with(b"[package]"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    fn run_to(&self, command: &mut Command, sink: &mut dyn Write) -> Result<ExitStatus> {
        let mut running = self.spawn(command)?;
        if running.child.stdout.is_some() || running.child.stderr.is_some() {
            let _ = running.child.kill();
            let _ = running.child.wait();
            return Err(Error::usage(format!(
                "nobody would read the pipe of {}: let it inherit its standard output and error, or \
                 call run, which gives what comes there, or spawn",
                command.get_program().display()
            )));
        }
        finish(self, running, command, sink)
    }
}

/// Passes on what a program writes, until it has ended, and waits for it.
fn finish<T: Target + ?Sized>(
    target: &T,
    Running { mut child, reader }: Running,
    command: &Command,
    sink: &mut dyn Write,
) -> Result<ExitStatus> {
    // A pipe to it that nobody will write to must end, as in `Child::wait`.
    drop(child.stdin.take());
    let path = target.path();
    let mut own_writer = OwnWriter::default();
    let copied = match copy(reader, sink, || own_writer.check(target, &child)) {
        Ok(()) => Ok(()),
        Err(Copying::Reading(error)) => Err(Error::io("read", path, error)),
        Err(Copying::Writing(error)) => {
            target.hang_up();
            Err(Error::io("pass on", path, error))
        }
    };
    let status = child
        .wait()
        .map_err(|error| Error::io("wait for", command.get_program(), error))?;
    match copied {
        // Whoever was killed has a status that says so.
        Err(Error::Failed { .. } | Error::Missing { .. }) if !status.success() => Ok(status),
        copied => copied.map(|()| status),
    }
}

/// How long nothing comes before it is looked at what it waits for. Twice that is long enough for
/// another thread of this process that is about to close the file.
const QUIET: Duration = Duration::from_secs(1);

/// Whether the end of a run hangs on the very process that waits for it.
#[derive(Default)]
struct OwnWriter {
    /// It did so at the last look.
    was_seen: bool,
}

impl OwnWriter {
    /// To be called when nothing has come for [`QUIET`].
    ///
    /// # Errors
    ///
    /// If the child has exited, and this process alone has had the file open since the last look.
    fn check<T: Target + ?Sized>(&mut self, target: &T, child: &Child) -> io::Result<()> {
        // Not reaped: how it ended may still be asked for.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let has_exited = !matches!(waitid(WaitId::Pid(Pid::from_child(child)), look), Ok(None));
        let own = std::process::id().cast_signed();
        let is_own = || {
            let writers = target.writers();
            !writers.is_empty() && writers.iter().all(|writer| writer.pid == own)
        };
        let was_seen = std::mem::replace(&mut self.was_seen, has_exited && is_own());
        if !(was_seen && self.was_seen) {
            return Ok(());
        }
        let reason = io::Error::other(
            "the program has ended, but this process has the file open for writing",
        );
        let error = Error::io("see the end of", target.path(), reason).with_remedy(
            "close it; a Command keeps a file that was given to its stdout or stderr: have the \
             program open the path, or use spawn and drop the Command before reading",
        );
        Err(error.into())
    }
}

/// Starts a program that is read; if it cannot be, nobody would wait for it, and it is ended.
pub(crate) fn start(
    command: &mut Command,
    read: impl FnOnce(&mut Child) -> Result<Reader>,
) -> Result<Running> {
    let mut child = command
        .spawn()
        .map_err(|error| Error::io("run", command.get_program(), error))?;
    match read(&mut child) {
        Ok(reader) => Ok(Running { child, reader }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

enum Copying {
    Reading(io::Error),
    Writing(io::Error),
}

/// Calls `quiet` whenever nothing has come for [`QUIET`].
fn copy(
    mut reader: Reader,
    sink: &mut dyn Write,
    mut quiet: impl FnMut() -> io::Result<()>,
) -> std::result::Result<(), Copying> {
    reader.set_timeout(Some(QUIET));
    loop {
        if let Err(error) = reader.fill_buf() {
            match Error::io("read", reader.path(), error) {
                Error::TimedOut { .. } => quiet().map_err(Copying::Reading)?,
                error => return Err(Copying::Reading(error.into())),
            }
            continue;
        }
        let bytes = reader.fill_buf().map_err(Copying::Reading)?;
        if bytes.is_empty() {
            return sink.flush().map_err(Copying::Writing);
        }
        let length = bytes.len();
        sink.write_all(bytes).map_err(Copying::Writing)?;
        reader.consume(length);
    }
}

/// A program that runs, and the reader of what it writes. Dropping it neither
/// kills the program nor waits for it, as with [`Child`]; of the reader see
/// [`Reader`].
///
/// ```
/// use std::process::Command;
///
/// use fifofs::{Running, Target, TemporaryPipe};
///
/// let pipe = TemporaryPipe::new()?;
/// let mut command = Command::new("cp");
/// let Running { mut child, mut reader } =
///     pipe.spawn(command.arg("Cargo.toml").arg(pipe.path()))?;
/// assert!(reader.read_all()?.starts_with(b"[package]"));
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Running {
    /// The program.
    pub child: Child,
    /// What it writes; ends with it.
    pub reader: Reader,
}

/// How a program ended, and what it wrote.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::{Capture, Target};
///
/// let capture = Capture::new("out.txt")?;
/// let output = capture.run(&mut Command::new("false"))?;
/// assert_eq!((output.status.code(), &output.bytes[..]), (Some(1), &b""[..]));
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// What the file held in the end. None if the program failed before it made one, or if a
    /// writer was killed and the file was [`Settled`](crate::Way::Settled): of such a one
    /// nothing is given.
    pub bytes: Vec<u8>,
    /// What it wrote to its standard output, if that is piped.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error, if that is piped.
    pub stderr: Vec<u8>,
}

/// A process that has a file open.
///
/// ```
/// use fifofs::{Capture, Target};
///
/// let capture = Capture::new("out.txt")?;
/// for process in capture.writers() {
///     println!("{} ({}) still writes", process.name, process.pid);
/// }
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// Its name as `ps` shows it, of at most 15 bytes.
    pub name: String,
}

/// How a program's output is brought here.
///
/// ```
/// use fifofs::Backend;
///
/// let with_fuse = std::path::Path::new("/dev/fuse").exists();
/// let backend = if with_fuse { Backend::Fuse } else { Backend::Fifo };
/// println!("write to {}", backend.target("out.txt")?.path().display());
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// By a [`Capture`]: a file of a FUSE mount, for any program.
    Fuse,
    /// By a [`TemporaryPipe`]: a FIFO, for programs that write from the first
    /// byte to the last, and for places without FUSE.
    Fifo,
}

impl Backend {
    /// A target of this name, in a directory of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Capture::new`] and [`TemporaryPipe::named`].
    ///
    /// ```
    /// use fifofs::Backend;
    ///
    /// let target = Backend::Fifo.target("report.txt")?;
    /// assert!(target.path().ends_with("report.txt"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn target(self, name: impl AsRef<OsStr>) -> Result<Box<dyn Target>> {
        Ok(match self {
            Backend::Fuse => Box::new(Capture::new(name)?),
            Backend::Fifo => Box::new(TemporaryPipe::named(name)?),
        })
    }
}

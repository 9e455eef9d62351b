//! What a program is told to write to, whichever way its bytes come here.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::running::{RunError, RunOutput, Running};
use super::{Capture, Process, ProcessRef, Reader, Target, TemporaryPipe, run};
use crate::error::Result;

/// The methods of a target that are the same for all, as its own and as the trait's. The rest it has
/// as its own.
macro_rules! runs_programs {
    ($target:ty) => {
        impl $target {
            /// Runs a program to its end and gives its exit status and what it wrote to the path,
            /// and to its standard output and error where those are
            /// [`Stdio::piped`](std::process::Stdio::piped). Its standard input, if it is piped, is
            /// at its end.
            ///
            /// # Errors
            ///
            /// Each with what came before it. [`Error::Io`](crate::Error::Io) if it cannot be
            /// started; those of [`Reader`](crate::Reader), once it has ended: its output is then
            /// not whole. But if the program itself was killed or exited with another status than
            /// 0, [`Error::Failed`](crate::Error::Failed) and
            /// [`Error::Missing`](crate::Error::Missing) are no errors here: look at `status`
            /// before you trust `bytes`.
            ///
            /// [`Error::Io`](crate::Error::Io) too if, once the program has ended, only this process
            /// has the file open for writing and keeps it open: `command` does, if the file was
            /// given to [`Command::stdout`] or the like.
            ///
            /// ```
            /// use std::process::Command;
            ///
            /// use fifofs::Capture;
            ///
            /// let capture = Capture::new("copy.toml")?;
            /// let output = capture.run(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
            /// assert!(output.status.success() && output.bytes.starts_with(b"[package]"));
            /// # Ok::<(), fifofs::Error>(())
            /// ```
            pub fn run(&self, command: &mut Command) -> std::result::Result<RunOutput, RunError> {
                run::run(self, command, None)
            }

            /// The same, but if the program has not ended when `timeout` has passed, it is killed,
            /// and with it its process group: what it started, unless that made a group of its own.
            ///
            /// To that end the program is made the leader of a process group of its own
            /// ([`process_group(0)`](std::os::unix::process::CommandExt::process_group), which
            /// `command` keeps): from a terminal it cannot read, and Ctrl-C there does not reach it.
            ///
            /// # Errors
            ///
            /// As without a timeout; [`Error::TimedOut`](crate::Error::TimedOut) if it was killed,
            /// with what it had written where that is delivered as it comes: of what is
            /// [`Settled`](crate::Way::Settled) nothing is given.
            ///
            /// ```
            /// use std::process::Command;
            /// use std::time::Duration;
            ///
            /// use fifofs::{Capture, Error};
            ///
            /// let capture = Capture::new("out.txt")?;
            /// let error = capture.run_timeout(Command::new("sleep").arg("60"), Duration::from_millis(50));
            /// assert!(matches!(error.map_err(Error::from), Err(Error::TimedOut { .. })));
            /// # Ok::<(), Error>(())
            /// ```
            pub fn run_timeout(
                &self,
                command: &mut Command,
                timeout: Duration,
            ) -> std::result::Result<RunOutput, RunError> {
                run::run(self, command, Some(timeout))
            }

            /// Runs a program to its end, with what it writes going to `sink` as it comes.
            ///
            /// # Errors
            ///
            /// As of `run`; those of `sink`, upon which the program's further writes fail, see
            /// `hang_up`. [`Error::Usage`](crate::Error::Usage) if its standard output or error is
            /// piped, which nobody would read; the program is killed then.
            ///
            /// ```
            /// use std::process::Command;
            ///
            /// use fifofs::Capture;
            ///
            /// let capture = Capture::new("copy.toml")?;
            /// let mut sink = Vec::new();
            /// let mut command = Command::new("cp");
            /// let status = capture.run_to(command.arg("Cargo.toml").arg(capture.path()), &mut sink)?;
            /// assert!(status.success() && sink.starts_with(b"[package]"));
            /// # Ok::<(), fifofs::Error>(())
            /// ```
            pub fn run_to(
                &self,
                command: &mut Command,
                sink: &mut dyn Write,
            ) -> std::result::Result<ExitStatus, RunError> {
                run::run_to(self, command, sink)
            }
        }

        impl Target for $target {
            fn path(&self) -> &Path {
                self.path()
            }

            fn reader_until_exit(&self, process: ProcessRef<'_>) -> Result<Reader> {
                self.reader_until_exit(process)
            }

            fn hang_up(&self) {
                self.hang_up();
            }

            fn writers(&self) -> Vec<Process> {
                self.writers()
            }

            fn spawn(&self, command: &mut Command) -> Result<Running> {
                self.spawn(command)
            }

            fn run(&self, command: &mut Command) -> std::result::Result<RunOutput, RunError> {
                self.run(command)
            }

            fn run_timeout(
                &self,
                command: &mut Command,
                timeout: Duration,
            ) -> std::result::Result<RunOutput, RunError> {
                self.run_timeout(command, timeout)
            }

            fn run_to(
                &self,
                command: &mut Command,
                sink: &mut dyn Write,
            ) -> std::result::Result<ExitStatus, RunError> {
                self.run_to(command, sink)
            }
        }
    };
}

runs_programs!(Capture);
runs_programs!(TemporaryPipe);

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
#[non_exhaustive]
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

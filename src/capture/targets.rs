//! The target that a program writes to, by FUSE or by a FIFO.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::running::{RunError, RunOutput, Running};
use super::{Capture, Process, ProcessRef, Reader, Target, TemporaryPipe, run};
use crate::error::Result;

/// Implements the methods that are the same for all targets, as methods of the type and of the trait.
macro_rules! runs_programs {
    ($target:ty) => {
        impl $target {
            /// Runs a program to its end. Returns its exit status and what it wrote to the path, and its
            /// standard output and error where those are [`Stdio::piped`](std::process::Stdio::piped). Its
            /// standard input, if it is piped, is at its end.
            ///
            /// # Errors
            ///
            /// Each with what came before it. [`Error::Io`](crate::Error::Io) if the program cannot be
            /// started; after it has ended, those of [`Reader`](crate::Reader): its output is not whole.
            /// But if the program itself was killed or its exit status is not 0,
            /// [`Error::Failed`](crate::Error::Failed) and [`Error::Missing`](crate::Error::Missing) are
            /// not errors here: check `status` before you trust `bytes`.
            ///
            /// Also [`Error::Io`](crate::Error::Io) if, once the program has ended, only this process has
            /// the file open for writing and keeps it open: `command` does, if the file was given to
            /// [`Command::stdout`] or the like.
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

            /// As `run`; but if the program has not ended after `timeout`, it is killed with its process
            /// group: with its descendants, unless those made a group of their own.
            ///
            /// For that, the program becomes the leader of a process group of its own
            /// ([`process_group(0)`](std::os::unix::process::CommandExt::process_group), which stays set in
            /// `command`): it cannot read from a terminal, and Ctrl-C there does not reach it.
            ///
            /// # Errors
            ///
            /// Those of `run`; [`Error::TimedOut`](crate::Error::TimedOut) if it was killed, with the bytes
            /// that it had written, unless the output is [`Settled`](crate::Way::Settled).
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

            /// Runs a program to its end, and passes its output on to `sink` as it comes.
            ///
            /// # Errors
            ///
            /// Those of `run`; those of `sink`, after which the program's further writes fail, see
            /// `hang_up`. [`Error::Usage`](crate::Error::Usage) if its standard output or error is piped,
            /// since nothing would read it; the program is killed then.
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

/// How a program's output is captured.
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
    /// With a [`Capture`]: a file of a FUSE mount, for any program.
    Fuse,
    /// With a [`TemporaryPipe`]: a FIFO, for programs that write from the first byte to the last, and for
    /// places without FUSE.
    Fifo,
}

impl Backend {
    /// Makes a target of this name, in a directory of its own.
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

//! The interface that all targets share.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::running::{RunError, RunOutput, Running};
use super::sealed::Sealed;
use super::{Process, ProcessRef, Reader};
use crate::error::Result;

/// A [`Capture`](crate::Capture) or a [`TemporaryPipe`](crate::TemporaryPipe): for `Box<dyn Target>`, which
/// [`Backend::target`](crate::Backend::target) makes, and for generic code. Both types have all of these as methods of
/// their own, documented there; calling those does not need the trait. No other type can implement it.
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
pub trait Target: Sealed + Send + Sync {
    /// The path to give to the program, absolute.
    ///
    /// ```
    /// use fifofs::Backend;
    ///
    /// let target = Backend::Fifo.target("out.txt")?;
    /// assert!(target.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    fn path(&self) -> &Path;

    /// See [`Capture::reader_until_exit`](crate::Capture::reader_until_exit).
    ///
    /// # Errors
    ///
    /// If the mount is gone; for a FIFO, if it has a reader already.
    ///
    /// ```
    /// use fifofs::{Backend, ProcessRef};
    ///
    /// let target = Backend::Fifo.target("out.txt")?;
    /// let mut child = std::process::Command::new("cp").arg("Cargo.toml").arg(target.path()).spawn()?;
    /// let mut reader = target.reader_until_exit(ProcessRef::from(&child))?;
    /// assert!(reader.read_all()?.starts_with(b"[package]"));
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn reader_until_exit(&self, process: ProcessRef<'_>) -> Result<Reader>;

    /// See [`Capture::hang_up`](crate::Capture::hang_up).
    fn hang_up(&self);

    /// See [`Capture::writers`](crate::Capture::writers). Always empty for a FIFO, whose writers cannot be found out.
    fn writers(&self) -> Vec<Process>;

    /// See [`Capture::spawn`](crate::Capture::spawn).
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if it cannot be started.
    fn spawn(&self, command: &mut Command) -> Result<Running>;

    /// See [`Capture::run`](crate::Capture::run).
    ///
    /// # Errors
    ///
    /// Those of [`Capture::run`](crate::Capture::run).
    fn run(&self, command: &mut Command) -> std::result::Result<RunOutput, RunError>;

    /// See [`Capture::run_timeout`](crate::Capture::run_timeout).
    ///
    /// # Errors
    ///
    /// Those of [`Capture::run_timeout`](crate::Capture::run_timeout).
    fn run_timeout(
        &self,
        command: &mut Command,
        timeout: Duration,
    ) -> std::result::Result<RunOutput, RunError>;

    /// See [`Capture::run_to`](crate::Capture::run_to).
    ///
    /// # Errors
    ///
    /// Those of [`Capture::run_to`](crate::Capture::run_to).
    fn run_to(
        &self,
        command: &mut Command,
        sink: &mut dyn Write,
    ) -> std::result::Result<ExitStatus, RunError>;
}

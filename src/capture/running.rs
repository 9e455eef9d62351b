//! A running program, and how it ended.

use std::fmt;
use std::io;
use std::process::{Child, ExitStatus};

use super::Reader;
use crate::error::Error;

/// A running program, and the reader of its output. Dropping it neither kills the program nor waits for it,
/// as with [`Child`]; for the reader see [`Reader`].
///
/// ```
/// use std::process::Command;
///
/// use fifofs::{Running, TemporaryPipe};
///
/// let pipe = TemporaryPipe::new()?;
/// let mut command = Command::new("cp");
/// let Running { mut child, mut reader, .. } =
///     pipe.spawn(command.arg("Cargo.toml").arg(pipe.path()))?;
/// assert!(reader.read_all()?.starts_with(b"[package]"));
/// assert!(child.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Running {
    /// The program.
    pub child: Child,
    /// Its output; ends with the program.
    pub reader: Reader,
}

/// How a program ended, and its output.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::Capture;
///
/// let capture = Capture::new("out.txt")?;
/// let output = capture.run(&mut Command::new("false"))?;
/// assert_eq!((output.status.code(), &output.bytes[..]), (Some(1), &b""[..]));
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOutput {
    /// Its exit status.
    pub status: ExitStatus,
    /// The contents of the file in the end. Empty if the program failed before it made one, or if a writer
    /// was killed and the file was [`Settled`](crate::Way::Settled).
    pub bytes: Vec<u8>,
    /// The program's standard output, if that is piped.
    pub stdout: Vec<u8>,
    /// The program's standard error, if that is piped.
    pub stderr: Vec<u8>,
}

/// Why a run gave no whole output, and what had come before that.
///
/// Converts into [`Error`] and into [`std::io::Error`], for callers that need only those.
///
/// ```
/// use std::process::Command;
/// use std::time::Duration;
///
/// use fifofs::{Capture, Error};
///
/// let capture = Capture::new("log.txt")?;
/// let mut command = Command::new("sh");
/// command.args(["-c", "echo started > $1; sleep 60", "sh"]).arg(capture.path());
/// let error = capture.run_timeout(&mut command, Duration::from_secs(1)).unwrap_err();
/// assert!(matches!(*error.source, Error::TimedOut { .. }));
/// assert_eq!(error.bytes, b"started\n");
/// assert_eq!(error.status.unwrap().code(), None, "it was killed");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct RunError {
    /// How the program ended; none if it could not be started or waited for.
    pub status: Option<ExitStatus>,
    /// The bytes delivered before the error. With [`Error::Rewritten`] they may not even be a beginning of
    /// the output. Empty for [`Target::run_to`](crate::Target::run_to), where the sink has them.
    pub bytes: Vec<u8>,
    /// The program's standard output, if that is piped.
    pub stdout: Vec<u8>,
    /// The program's standard error, if that is piped.
    pub stderr: Vec<u8>,
    /// What went wrong.
    pub source: Box<Error>,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        match self.status {
            Some(status) => write!(f, " (the program ended with {status})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<Error> for RunError {
    fn from(error: Error) -> RunError {
        RunError {
            status: None,
            bytes: Vec::new(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            source: Box::new(error),
        }
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Error {
        *error.source
    }
}

impl From<RunError> for io::Error {
    fn from(error: RunError) -> io::Error {
        Error::from(error).into()
    }
}

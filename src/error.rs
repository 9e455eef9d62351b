//! The one error type of the crate.
//!
//! Every error says what was attempted, on which path, why it failed, and, if possible, what to do
//! about it. It is printed once, by `main`.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, on which path, and what to do about it.
///
/// ```
/// use fifofs::Error;
///
/// let error = Error::io("mount", "/tmp/cap", std::io::Error::from_raw_os_error(20))
///     .with_remedy("give a directory");
/// assert_eq!(
///     error.to_string(),
///     "cannot mount /tmp/cap: Not a directory (os error 20); give a directory",
/// );
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system, or fifofs on its behalf, refused an operation.
    #[non_exhaustive]
    Io {
        /// What was attempted, as a verb phrase: `mount`, `open`.
        operation: String,
        /// The path it was attempted on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
        /// What to do about it, if that is known.
        remedy: Option<String>,
    },
    /// The program changed bytes that the reader had got already, so the reader's bytes differ from
    /// the file's.
    #[non_exhaustive]
    Rewritten {
        /// The file.
        path: PathBuf,
        /// The bytes that differ, if they are known.
        range: Option<Range<u64>>,
    },
    /// The bytes read, if any, are not whole, and no more will come: a writer was killed by a
    /// signal, or its exit status was not 0 where [`FailOn::Status`](crate::FailOn) counts that;
    /// bytes were lost because there was no space left; or the program did with a stream what no
    /// pipe can: it changed, cut or read back bytes that had been delivered, or put another file in
    /// its place.
    #[non_exhaustive]
    Failed {
        /// The file.
        path: PathBuf,
        /// The writer that crashed or failed, if that was the reason and it could be seen.
        writer: Option<FailedWriter>,
    },
    /// The program has ended and there is no file at the path, or it never opened the FIFO there; or
    /// no process has opened the path, and this process has no living child that could (see
    /// [`Capture::reader`](crate::Capture::reader)).
    #[non_exhaustive]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Nothing came within the timeout, or the program did not end within it.
    #[non_exhaustive]
    TimedOut {
        /// The file.
        path: PathBuf,
    },
    /// The wait was cancelled.
    #[non_exhaustive]
    Cancelled {
        /// The file.
        path: PathBuf,
    },
    /// An option or argument does not make sense.
    #[non_exhaustive]
    Usage {
        /// What is wrong with it, and what would be right.
        message: String,
    },
}

/// The process whose end made a file fail.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::{Capture, Error};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let capture = Capture::new("out.txt")?;
/// let script = "exec > $0; echo half; kill -TERM $$";
/// let mut command = Command::new("sh");
/// let mut running = capture.spawn(command.arg("-c").arg(script).arg(capture.path()))?;
/// let Err(Error::Failed { writer: Some(writer), .. }) = running.reader.read_all() else {
///     panic!("it was killed");
/// };
/// assert_eq!((writer.pid, writer.signal), (running.child.id(), Some(15)));
/// running.child.wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedWriter {
    /// Its process id, which may be another's by now; 0 if it cannot be seen.
    pub pid: u32,
    /// Its name as `ps` shows it, of at most 15 bytes.
    pub name: String,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its exit status, if it was not killed.
    pub status: Option<i32>,
}

impl fmt::Display for FailedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.pid)?;
        match (self.signal, self.status) {
            (Some(signal), _) => write!(f, ", which wrote it, was killed by signal {signal}"),
            (_, Some(status)) => write!(f, ", which wrote it, exited with status {status}"),
            _ => write!(f, ", which wrote it, came to a bad end"),
        }
    }
}

impl Error {
    /// An operation on `path` that failed with `source`; if `source` holds an error of this crate,
    /// as those of [`Reader`](crate::Reader) do, that error.
    ///
    /// ```
    /// let reason = std::io::Error::from_raw_os_error(2);
    /// let error = fifofs::Error::io("open", "/nowhere", reason);
    /// assert!(error.to_string().starts_with("cannot open /nowhere: No such file"));
    /// ```
    pub fn io(operation: impl Into<String>, path: impl AsRef<Path>, source: io::Error) -> Self {
        let source = match source.downcast::<Error>() {
            Ok(error) => return error,
            Err(source) => source,
        };
        Error::Io {
            operation: operation.into(),
            path: path.as_ref().to_owned(),
            remedy: higher_limit(&source).map(String::from),
            source,
        }
    }

    /// The output at `path` is not whole.
    ///
    /// ```
    /// let error = fifofs::Error::failed("out.txt");
    /// assert!(error.to_string().contains("is not whole"));
    /// ```
    pub fn failed(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Error::Failed { path, writer: None }
    }

    /// Bytes of `path` were changed after they had been read; the range is not known.
    ///
    /// ```
    /// let error = fifofs::Error::rewritten("out.txt");
    /// assert!(error.to_string().contains("rewrote"));
    /// ```
    pub fn rewritten(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Error::Rewritten { path, range: None }
    }

    /// A wait for `path` took longer than its timeout.
    ///
    /// ```
    /// let error = fifofs::Error::timed_out("out.txt");
    /// assert!(error.to_string().contains("timeout has passed"));
    /// ```
    pub fn timed_out(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Error::TimedOut { path }
    }

    /// A wait for `path` was cancelled.
    ///
    /// ```
    /// let error = fifofs::Error::cancelled("out.txt");
    /// assert!(error.to_string().contains("was cancelled"));
    /// ```
    pub fn cancelled(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Error::Cancelled { path }
    }

    /// The same error with another path: for callers that know the file by another name.
    ///
    /// ```
    /// let error = fifofs::Error::failed("/tmp/.fifofs-x/out.txt").with_path("out.txt");
    /// assert!(error.to_string().starts_with("out.txt: "));
    /// ```
    #[must_use]
    pub fn with_path(mut self, name: impl AsRef<Path>) -> Self {
        match &mut self {
            Error::Io { path, .. }
            | Error::Rewritten { path, .. }
            | Error::Failed { path, .. }
            | Error::Missing { path }
            | Error::TimedOut { path }
            | Error::Cancelled { path } => *path = name.as_ref().to_owned(),
            Error::Usage { .. } => {}
        }
        self
    }

    /// An option or argument that does not make sense.
    ///
    /// ```
    /// let error = fifofs::Error::usage("give a path");
    /// assert_eq!(error.to_string(), "give a path");
    /// ```
    pub fn usage(message: impl Into<String>) -> Self {
        Error::Usage {
            message: message.into(),
        }
    }

    /// The same error, with advice on what to do about it. Only [`Error::Io`] can carry advice;
    /// other errors stay as they are. If a limit of the process or its user was reached (`EMFILE`,
    /// `EAGAIN`), the advice is to raise it, whatever is given here.
    ///
    /// ```
    /// let reason = std::io::Error::from_raw_os_error(2);
    /// let error = fifofs::Error::io("open", "/nowhere", reason).with_remedy("make it");
    /// assert!(error.to_string().ends_with("; make it"));
    /// ```
    #[must_use]
    pub fn with_remedy(mut self, advice: impl Into<String>) -> Self {
        if let Error::Io { remedy, source, .. } = &mut self
            && higher_limit(source).is_none()
        {
            *remedy = Some(advice.into());
        }
        self
    }
}

/// Advice where a limit was reached: only raising it helps, whatever was attempted.
fn higher_limit(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some("allow this process more open files (`ulimit -n`)"),
        libc::EAGAIN => Some("allow this user more processes and threads (`ulimit -u`)"),
        _ => None,
    }
}

/// What the wait was for: events of a mount have no path.
fn awaited(path: &Path) -> String {
    match path.as_os_str().is_empty() {
        true => "the next event".into(),
        false => path.display().to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io {
                operation,
                path,
                source,
                remedy,
            } => {
                write!(f, "cannot {operation} {}: {source}", path.display())?;
                match remedy {
                    Some(remedy) => write!(f, "; {remedy}"),
                    None => Ok(()),
                }
            }
            Error::Rewritten { path, range } => {
                write!(f, "{}: the program rewrote ", path.display())?;
                match range {
                    Some(range) => write!(f, "bytes {} to {}", range.start, range.end)?,
                    None => write!(f, "bytes")?,
                }
                write!(f, " after they had been delivered; deliver it as settled")
            }
            Error::Failed {
                path,
                writer: Some(writer),
            } => write!(f, "{}: it is not whole: {writer}", path.display()),
            Error::Failed { path, writer: None } => write!(
                f,
                "{}: it is not whole: a process that wrote it was killed or failed, there was no \
                 space left, or it was a stream and was changed, read back or replaced after bytes \
                 had been delivered (deliver that as settled)",
                path.display()
            ),
            Error::Missing { path } => write!(
                f,
                "{}: no program that could write it is left, and there is no file",
                path.display()
            ),
            Error::TimedOut { path } => write!(
                f,
                "cannot wait for {} any longer: the timeout has passed; try again, or set a \
                 longer one",
                awaited(path)
            ),
            Error::Cancelled { path } => write!(
                f,
                "cannot wait for {} any longer: the wait was cancelled; take another reader to go on",
                awaited(path)
            ),
            Error::Usage { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// [`Error::Io`] keeps the kind of its source; the others have these:
///
/// | error | kind |
/// |---|---|
/// | [`Error::Rewritten`] | `StaleNetworkFileHandle` |
/// | [`Error::Failed`] | `UnexpectedEof` |
/// | [`Error::Missing`] | `NotFound` |
/// | [`Error::TimedOut`] | `TimedOut` |
/// | [`Error::Cancelled`] | `ConnectionAborted` |
/// | [`Error::Usage`] | `InvalidInput` |
///
/// [`Error::io`] gives the original error back.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::Rewritten { .. } => io::ErrorKind::StaleNetworkFileHandle,
            Error::Failed { .. } => io::ErrorKind::UnexpectedEof,
            Error::Missing { .. } => io::ErrorKind::NotFound,
            Error::TimedOut { .. } => io::ErrorKind::TimedOut,
            // Not `Interrupted`: callers would try again.
            Error::Cancelled { .. } => io::ErrorKind::ConnectionAborted,
            Error::Usage { .. } => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_limit_was_reached_the_advice_is_to_raise_it() {
        let of = |errno| {
            let error = Error::io("mount", "/m", io::Error::from_raw_os_error(errno));
            error.with_remedy("try elsewhere").to_string()
        };
        assert!(of(libc::EMFILE).ends_with("; allow this process more open files (`ulimit -n`)"));
        assert!(of(libc::EAGAIN).ends_with("more processes and threads (`ulimit -u`)"));
        assert!(of(libc::EACCES).ends_with("; try elsewhere"));
    }
}

//! The one error type of the crate.
//!
//! Every error knows what was attempted, on which path, why it failed, and,
//! where there is one, what to do about it. It is printed once, by `main`.

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
    /// The operating system, or fifofs in its name, refused an operation.
    Io {
        /// What was attempted, as a verb phrase: `mount`, `open`.
        operation: String,
        /// The path it was attempted on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
        /// What to do about it, where that is known.
        remedy: Option<String>,
    },
    /// The program rewrote bytes that the reader was already given, so that
    /// what it has is not what the file holds.
    Rewritten {
        /// The file.
        path: PathBuf,
        /// The bytes that differ, where they are known.
        range: Option<Range<u64>>,
    },
    /// What was read, if anything, is not whole, and no more will come: a writer was killed by a
    /// signal, or exited with another status than 0 where [`FailOn::Status`](crate::FailOn) counts
    /// that; bytes were lost, since there was no space left; or the program did what no pipe can
    /// with a stream: it changed, cut or read back bytes that had been delivered, or put another
    /// file in its place.
    Failed {
        /// The file.
        path: PathBuf,
    },
    /// The program has ended and nothing stands at the path, or it never opened the FIFO there.
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Nothing came in the time that was given.
    TimedOut {
        /// The file.
        path: PathBuf,
    },
    /// Somebody ended the wait.
    Cancelled {
        /// The file.
        path: PathBuf,
    },
    /// An option or argument does not make sense.
    Usage {
        /// What is wrong with it, and what would be right.
        message: String,
    },
}

impl Error {
    /// An operation on `path` that failed with `source`; if that holds an error
    /// of this crate, as those of [`Reader`](crate::Reader) do, it is that one.
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
            source,
            remedy: None,
        }
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

    /// The same error, with advice on what to do about it. Only [`Error::Io`] can have some of
    /// its own; the others stay as they are.
    ///
    /// ```
    /// let reason = std::io::Error::from_raw_os_error(2);
    /// let error = fifofs::Error::io("open", "/nowhere", reason).with_remedy("make it");
    /// assert!(error.to_string().ends_with("; make it"));
    /// ```
    #[must_use]
    pub fn with_remedy(mut self, advice: impl Into<String>) -> Self {
        if let Error::Io { remedy, .. } = &mut self {
            *remedy = Some(advice.into());
        }
        self
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
            Error::Failed { path } => write!(
                f,
                "{}: it is not whole: a process that wrote it was killed or failed, there was no \
                 space left, or it was a stream and was changed, read back or replaced after bytes \
                 had been delivered (deliver that as settled)",
                path.display()
            ),
            Error::Missing { path } => write!(
                f,
                "{}: the program has ended and wrote no file there",
                path.display()
            ),
            Error::TimedOut { path } => write!(
                f,
                "cannot wait longer for {}: nothing came in the time that was set; try again, or \
                 set a longer one",
                path.display()
            ),
            Error::Cancelled { path } => write!(
                f,
                "cannot wait longer for {}: the wait was cancelled; take another reader to go on",
                path.display()
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

/// The kind is that of the source of [`Error::Io`]; of the others:
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
/// [`Error::io`] gives the error itself back.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::Rewritten { .. } => io::ErrorKind::StaleNetworkFileHandle,
            Error::Failed { .. } => io::ErrorKind::UnexpectedEof,
            Error::Missing { .. } => io::ErrorKind::NotFound,
            Error::TimedOut { .. } => io::ErrorKind::TimedOut,
            // Not `Interrupted`, which would be tried again.
            Error::Cancelled { .. } => io::ErrorKind::ConnectionAborted,
            Error::Usage { .. } => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

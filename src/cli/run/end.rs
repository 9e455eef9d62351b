//! How the copy of an output to its destination ended.
//!
//! Knows nothing of the bytes or the destination.

use std::path::Path;

use fifofs::Error;

/// How copying ended.
#[derive(Debug)]
pub(super) enum End {
    /// The output is at its destination.
    Whole,
    /// The program failed, and its output is not passed on: the destination got nothing of it.
    Withheld,
    /// The destination program was ended, as its input was not to be whole.
    Aborted,
    /// The destination has no reader any more.
    Closed,
    /// Reading ended early: the bytes read are not the whole output.
    Unread(Error),
    /// The destination takes no more bytes.
    Unwritten(Error),
}

/// The error with the output's name on the command line: the path means nothing once its mount is
/// gone.
pub(super) fn named(error: Error, name: &Path) -> Error {
    match error {
        Error::Io { .. } => error,
        error => error.with_path(name),
    }
}

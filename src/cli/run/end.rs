//! How the way of an output to its destination ended.
//!
//! Knows nothing of what was on the way, or of where it went.

use std::path::Path;

use fifofs::Error;

/// How copying ended.
#[derive(Debug)]
pub(super) enum End {
    /// The output is at its destination.
    Whole,
    /// The program failed, and what it left is not passed on: nobody has had any of it.
    Withheld,
    /// The program that was to have it was ended, as it was not to be whole.
    Aborted,
    /// Nobody reads the destination any more.
    Closed,
    /// There is no more to read, and what was read is not the output.
    Unread(Error),
    /// The destination takes no more.
    Unwritten(Error),
}

/// The error with the name that the user gave to the output: the path says nothing to anybody once
/// its mount is gone.
pub(super) fn named(error: Error, name: &Path) -> Error {
    match error {
        Error::Io { .. } => error,
        error => error.with_path(name),
    }
}

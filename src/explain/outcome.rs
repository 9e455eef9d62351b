//! The results of a replay, for each output.

use std::ops::Range;
use std::time::Duration;

use crate::core::generation::Way;

/// The result for one output.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// The delivery mode, and the reason for it.
    pub(super) way: Option<(Way, String)>,
    /// Digest of the bytes that its reader got.
    pub(super) digest: Digest,
}

/// Length and hash of bytes, to be compared with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    pub(super) bytes: u64,
    pub(super) hash: u64,
}

/// The end of file or error that its reader got.
#[derive(Debug, Clone)]
pub(super) enum End {
    Whole,
    /// These bytes were changed after the reader had got them, at this time of the recording.
    Rewritten {
        range: Option<Range<u64>>,
        at: Duration,
    },
    /// The program's operation was refused.
    Refused(Refusal),
    /// Bytes were lost.
    Failed,
    /// There was no file.
    Missing,
}

/// An operation that was refused to the program.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) what: Refused,
    pub(super) offset: u64,
    pub(super) at: Duration,
}

/// The kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Open,
    Read,
    Write,
}

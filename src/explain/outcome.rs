//! How the outputs of a replay came out.

use std::ops::Range;
use std::time::Duration;

use crate::core::generation::Way;

/// How one output came out.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) end: End,
    /// How it was delivered, and why.
    pub(super) way: Option<(Way, String)>,
    /// Of what its reader got.
    pub(super) digest: Digest,
}

/// Bytes, to be compared with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest {
    pub(super) bytes: u64,
    pub(super) hash: u64,
}

/// What its reader was told in the end.
#[derive(Debug, Clone)]
pub(super) enum End {
    Whole,
    /// These bytes it had were rewritten, when the recording was so old.
    Rewritten {
        range: Option<Range<u64>>,
        at: Duration,
    },
    /// The program was refused something.
    Refused(Refusal),
    /// Bytes were lost.
    Failed,
    /// Nothing stood there.
    Missing,
}

/// Something that the program could not have.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) what: Refused,
    pub(super) offset: u64,
    pub(super) at: Duration,
}

/// What it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Open,
    Read,
    Write,
}

//! What has happened in a mount, in numbers: of what cannot be counted by looking.

/// Counters since the mount was made.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests handled.
    pub(super) requests: u64,
    /// Bytes written.
    pub(super) written: u64,
    /// Generations that ended well.
    pub(super) done: u64,
    /// Generations that failed.
    pub(super) failed: u64,
    /// Readers whose bytes were rewritten.
    pub(super) rewritten: u64,
}

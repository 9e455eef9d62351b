//! Numbers by which one part of the core names what another one owns.

/// A captured path's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CaptureId(pub(super) u64);

/// A reader's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ReaderId(pub(super) u64);

/// The number the kernel gave a request; it is answered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Unique(pub(crate) u64);

/// A virtual FIFO: the number of its first message, which `stat` says of each and of the reading end, so that they
/// are one file for whoever looks at the name and then opens it (`cp` refuses a file that is not).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FifoId(pub(super) u64);

impl FifoId {
    pub(super) fn st_ino(self) -> u64 {
        self.0
    }
}

//! Numbers by which one part of the core refers to objects that another part owns.

/// The number of a captured path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CaptureId(pub(super) u64);

/// The number of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ReaderId(pub(super) u64);

/// The number that the kernel gave a request. The answer carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Unique(pub(crate) u64);

/// A virtual FIFO: the inode number of its first message. `stat` shows it for all messages and for the reading
/// end, as programs compare the inode that they open with that of the name before (`cp` refuses a file that
/// changed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FifoId(pub(super) u64);

impl FifoId {
    pub(super) fn st_ino(self) -> u64 {
        self.0
    }
}

//! Effects: the actions that the core asks for. The router carries them out once its lock is dropped.

use std::ffi::OsString;
use std::sync::Arc;

use rustix::io::Errno;

use super::attributes::{Attributes, Found};
use super::clock::Monotonic;
use super::event::FileEvent;
use super::ids::CaptureId;
pub(crate) use super::ids::Unique;
use super::spool::Segments;
#[cfg(test)]
pub(crate) use super::tests::Answer;

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The request was carried out.
    Done,
    /// The inode that a name leads to.
    Found(Found),
    /// The attributes of an inode.
    Attributes(Attributes),
    /// A file was made and opened.
    Created {
        found: Found,
        handle: u64,
        transport: Transport,
    },
    /// A file was opened.
    Opened { handle: u64, transport: Transport },
    /// A handle that the kernel does not read through us: of a directory, a captured path, or events.
    Handle(u64),
    /// Entries of a directory.
    Listing(Vec<Listed>),
    /// Bytes of a file; empty at its end.
    Bytes(Segments),
    /// Bytes of a text made by the core; empty at its end.
    Text(Vec<u8>),
    /// Events in order, for a subscriber in this process.
    Events(Vec<Arc<FileEvent>>),
    /// So many bytes were accepted.
    Written(u32),
    /// The new position.
    Sought(u64),
    /// The `POLL*` bits that are set.
    Polled(u32),
    /// The path is captured.
    Captured(CaptureId),
    /// Whether the tree is frozen: no file changes any more.
    Frozen(bool),
    /// The request was refused.
    Refused(Errno),
}

/// What a handler makes of a request: the reply, or the error by which it is refused; `None` if the request
/// waits, and is answered by a later effect.
pub(crate) type Outcome = Result<Option<Reply>, Errno>;

/// An entry of a directory.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) ino: u64,
    /// Where a listing goes on after this entry.
    pub(crate) cookie: u64,
    pub(crate) mode: u32,
    pub(crate) name: OsString,
}

/// How the kernel is to treat an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Every read and write comes to us, one by one.
    Direct,
    /// The same, but without positions: it is read from the first byte to the last.
    Sequential,
    /// Through the page cache, written back later.
    Cached,
}

/// One action for the router.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Answer a request.
    Reply { unique: Unique, reply: Reply },
    /// Tell the kernel that a polled file may be ready now.
    PollAgain {
        /// The kernel's number for the polled open file.
        kernel_handle: u64,
    },
    /// Have the kernel drop its cached attributes of a file.
    ForgetAttributes { ino: u64, incarnation: u32 },
    /// Have the kernel forget something that is gone, which may block.
    Forget(Forget),
}

/// An order to the flusher about a file's dirty pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    pub(crate) ino: u64,
    /// Whether to keep writing them back, or to stop.
    pub(crate) on: bool,
}

/// Something that the kernel may still cache although it is gone.
#[derive(Debug)]
pub(crate) enum Forget {
    /// A name that fifofs itself removed, in this directory.
    Name { parent: u64, name: OsString },
    /// The pages of a file that was removed. The kernel keeps them as long as it
    /// remembers any name that led to the file, such as one in `wait/`.
    Pages { ino: u64, incarnation: u32 },
}

/// The effects of one operation, in order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// When the core wants to look at the clock again.
    pub(crate) next_alarm: Option<Monotonic>,
    /// Orders to the flusher, which must get them in the order of the operations.
    pub(crate) flushes: Vec<Flush>,
    in_order: Vec<Effect>,
}

impl Effects {
    /// Adds an effect after all others.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.in_order.push(effect);
    }

    /// Adds an effect before all others.
    pub(crate) fn push_first(&mut self, effect: Effect) {
        self.in_order.insert(0, effect);
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::vec::IntoIter<Effect>;

    fn into_iter(self) -> Self::IntoIter {
        self.in_order.into_iter()
    }
}

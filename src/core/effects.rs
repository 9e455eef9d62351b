//! What the core wants done: the router does it once its lock is dropped.

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
    /// It was done.
    Done,
    /// A name leads there, and maybe always will.
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
    /// Something that the kernel does not read through us was opened: a directory, a captured path.
    Handle(u64),
    /// Entries of a directory.
    Listing(Vec<Listed>),
    /// Bytes of a file; none is its end.
    Bytes(Segments),
    /// Text made for the request; none is the end.
    Text(Vec<u8>),
    /// What happened, in its order, for this process.
    Events(Vec<Arc<FileEvent>>),
    /// So many bytes were taken.
    Written(u32),
    /// The new position.
    Sought(u64),
    /// The `POLL*` bits that hold.
    Polled(u32),
    /// A path is captured.
    Captured(CaptureId),
    /// Whether nothing changes any more.
    Frozen(bool),
    /// It was not done.
    Refused(Errno),
}

/// An entry of a directory.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) ino: u64,
    /// Where a listing goes on after it.
    pub(crate) cookie: u64,
    pub(crate) mode: u32,
    pub(crate) name: OsString,
}

/// How the kernel is to treat an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Every read and write comes to us, one by one.
    Direct,
    /// The same, and it has no positions: it is read from the first byte to the
    /// last.
    Sequential,
    /// Through the page cache, written back later.
    Cached,
}

/// One thing to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Answer a request.
    Reply {
        /// Which.
        unique: Unique,
        /// How.
        reply: Reply,
    },
    /// Tell the kernel that a poll may have something now.
    PollAgain {
        /// The kernel's number for whoever polls.
        kernel_handle: u64,
    },
    /// The kernel must ask again for the attributes of a file.
    ForgetAttributes {
        /// The file.
        ino: u64,
    },
    /// The kernel must forget what is no more, for which it may have to wait.
    Forget(Forget),
}

/// Keep writing back the dirty pages of a file, or stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flush {
    /// The file.
    pub(crate) ino: u64,
    /// Whether to go on.
    pub(crate) on: bool,
}

/// Something that is gone without the kernel's doing, or more than it knows.
#[derive(Debug)]
pub(crate) enum Forget {
    /// A name that was removed behind its back, in this directory.
    Name { parent: u64, name: OsString },
    /// The pages of a file that was removed. The kernel keeps them as long as it
    /// remembers any name that led to the file, as one in `wait/`.
    Pages { ino: u64 },
}

/// What is to be done, in order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// When the core wants to look at the clock again.
    pub(crate) next_alarm: Option<Monotonic>,
    /// What the flusher is to be told, in an order that other requests must not mix up.
    pub(crate) flushes: Vec<Flush>,
    first: Vec<Effect>,
    others: Vec<Effect>,
}

impl Effects {
    /// One more, after all that there are.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.others.push(effect);
    }

    /// One more that comes before all that are pushed without being first.
    pub(crate) fn push_first(&mut self, effect: Effect) {
        self.first.push(effect);
    }

    /// A request is answered.
    pub(crate) fn reply(&mut self, unique: Unique, reply: Reply) {
        self.push(Effect::Reply { unique, reply });
    }

    /// A request is answered by an error.
    pub(crate) fn refuse(&mut self, unique: Unique, errno: Errno) {
        self.reply(unique, Reply::Refused(errno));
    }

    /// How a request was answered, if it was by now.
    pub(crate) fn reply_to(&self, request: Unique) -> Option<&Reply> {
        self.others.iter().find_map(|effect| match effect {
            Effect::Reply { unique, reply } if *unique == request => Some(reply),
            _ => None,
        })
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::iter::Chain<std::vec::IntoIter<Effect>, std::vec::IntoIter<Effect>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

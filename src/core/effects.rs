//! What the core wants done: the router does it once its lock is dropped.

use std::sync::Arc;

use rustix::io::Errno;

use super::attributes::Attributes;
use super::events::FileEvent;
use super::generation::Writer;
use super::spool::{Load, Segments};

/// The number the kernel gave a request; it is answered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Unique(pub(crate) u64);

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

/// Who asks to open a file that is being written: to be found out, which takes
/// longer than an answer may, before the core is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kin {
    /// The process and those above it, itself first.
    pub(crate) lineage: Vec<i32>,
    /// Whether one of them has the file open for writing, by whatever way the
    /// descriptor came to it.
    pub(crate) holds: bool,
    /// The process group that it is in.
    pub(crate) group: Option<i32>,
}

/// How a file is to be opened.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    /// As `open(2)` takes them.
    pub(crate) flags: i32,
    /// Who opens it, if for writing.
    pub(crate) writer: Option<Writer>,
    /// Who opens it, if that was found out.
    pub(crate) kin: &'a Kin,
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// From where, counted from the beginning of the file.
    pub(crate) offset: u64,
    /// How many bytes at most.
    pub(crate) length: u32,
    /// Whether the answer is `EAGAIN` where there is nothing yet.
    pub(crate) nonblocking: bool,
}

/// What is to be written.
#[derive(Debug)]
pub(crate) struct Bytes<'a> {
    /// Where, from the beginning of the file.
    pub(crate) offset: u64,
    /// What.
    pub(crate) data: Load<'a>,
    /// Whether the kernel writes back its cache; else a program waits for the
    /// answer.
    pub(crate) from_cache: bool,
    /// Whether the writer is one by whom a file loses what rights it gives to who runs it.
    pub(crate) kills_set_id: bool,
}

/// Who asks for something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The request to be answered.
    pub(crate) unique: Unique,
    /// The thread that asks, 0 if it lives in another pid namespace or is the
    /// kernel itself.
    pub(crate) thread: i32,
    /// Whether it is our own flusher, which neither reads nor waits.
    pub(crate) internal: bool,
    /// For which user; none is this process itself.
    pub(crate) user: Option<u32>,
}

/// One thing to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Answer an OPEN.
    Opened {
        /// The request.
        unique: Unique,
        /// The handle it made.
        handle: u64,
        /// What the kernel does with it.
        transport: Transport,
    },
    /// Answer a GETATTR.
    Attributes {
        /// The request.
        unique: Unique,
        /// What is shown.
        attributes: Attributes,
    },
    /// Answer a READ.
    Data {
        /// The request.
        unique: Unique,
        /// The bytes; none is the end of the file.
        bytes: Segments,
    },
    /// Answer a READ with text made for it.
    Text {
        /// The request.
        unique: Unique,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Answer a READ of this process with what happened.
    Events {
        /// The request.
        unique: Unique,
        /// In its order.
        events: Vec<Arc<FileEvent>>,
    },
    /// Answer a WRITE: all was taken.
    Written {
        /// The request.
        unique: Unique,
        /// How many bytes.
        length: u32,
    },
    /// Answer a LSEEK.
    Sought {
        /// The request.
        unique: Unique,
        /// The new position.
        offset: u64,
    },
    /// Answer a POLL.
    Polled {
        /// The request.
        unique: Unique,
        /// The `POLL*` bits that hold.
        events: u32,
    },
    /// Answer a request with an error.
    Refused {
        /// The request.
        unique: Unique,
        /// Why.
        errno: Errno,
    },
    /// Tell the kernel that a poll may have something now.
    PollAgain {
        /// The kernel's number for whoever polls.
        kernel_handle: u64,
    },
    /// Keep writing back the dirty pages of a file, or stop.
    Flush {
        /// The file.
        ino: u64,
        /// Whether to go on.
        on: bool,
    },
    /// The kernel must ask again for the attributes of a file.
    ForgetAttributes {
        /// The file.
        ino: u64,
    },
    /// The kernel must let go of the pages of a file that is no more.
    ForgetPages {
        /// The file.
        ino: u64,
    },
    /// The kernel must forget a name that we removed by ourselves.
    ForgetName {
        /// The directory.
        parent: u64,
        /// The name in it.
        name: std::ffi::OsString,
    },
}

/// What a request was answered, for tests.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Handle(u64, Transport),
    /// The inode number and the size of a GETATTR.
    Attributes(u64, u64),
    Bytes(Vec<u8>),
    Events(Vec<Arc<FileEvent>>),
    Written(u32),
    Sought(u64),
    Polled(u32),
    Error(Errno),
}

#[cfg(test)]
impl Effect {
    /// The request that this answers, and how; or the effect itself, if it answers none.
    pub(crate) fn answer(self) -> Result<(Unique, Answer), Effect> {
        Ok(match self {
            Effect::Opened {
                unique,
                handle,
                transport,
            } => (unique, Answer::Handle(handle, transport)),
            Effect::Attributes { unique, attributes } => {
                (unique, Answer::Attributes(attributes.ino, attributes.size))
            }
            Effect::Data { unique, bytes } => {
                let mut copy = Vec::new();
                bytes.copy_to(&mut copy).expect("bytes that can be read");
                (unique, Answer::Bytes(copy))
            }
            Effect::Text { unique, bytes } => (unique, Answer::Bytes(bytes)),
            Effect::Events { unique, events } => (unique, Answer::Events(events)),
            Effect::Written { unique, length } => (unique, Answer::Written(length)),
            Effect::Sought { unique, offset } => (unique, Answer::Sought(offset)),
            Effect::Polled { unique, events } => (unique, Answer::Polled(events)),
            Effect::Refused { unique, errno } => (unique, Answer::Error(errno)),
            Effect::PollAgain { .. }
            | Effect::Flush { .. }
            | Effect::ForgetAttributes { .. }
            | Effect::ForgetPages { .. }
            | Effect::ForgetName { .. } => return Err(self),
        })
    }
}

/// What is to be done, in order.
#[derive(Debug, Default)]
pub(crate) struct Effects {
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

    pub(crate) fn refuse(&mut self, unique: Unique, errno: Errno) {
        self.push(Effect::Refused { unique, errno });
    }

    /// Takes out what is to be done by the flusher.
    pub(crate) fn take_flushes(&mut self) -> Vec<Effect> {
        let is_flush = |effect: &mut Effect| matches!(effect, Effect::Flush { .. });
        self.others.extract_if(.., is_flush).collect()
    }
}

impl IntoIterator for Effects {
    type Item = Effect;
    type IntoIter = std::iter::Chain<std::vec::IntoIter<Effect>, std::vec::IntoIter<Effect>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.others)
    }
}

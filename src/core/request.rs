//! What the core can be asked for: everything that happens is one of these, as data.
//!
//! Knows what is asked and by whom; what comes of it is in the files that handle it. Only a write borrows
//! something, its bytes, so that requests can be copied and recorded. What one says of processes was found
//! out before it was made.

use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;

use rustix::io::Errno;

use super::attributes::Changes;
use super::doors::Target;
use super::generation::{Ending, Left, Writer};
use super::ids::{CaptureId, Unique};
use super::namespace::{Creator, Rename};
use super::patching::Reading;
use super::spool::Load;

/// A name in a directory.
pub(crate) type At = (u64, OsString);

/// A name in a directory.
pub(crate) fn at(parent: u64, name: impl Into<OsString>) -> At {
    (parent, name.into())
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
    /// The incarnation of the inode that the kernel asks about; none if it is not the kernel that asks.
    pub(crate) incarnation: Option<u32>,
}

impl Caller {
    /// This process itself, whoever of it asks.
    pub(crate) const SELF: Caller = Caller {
        unique: Unique(u64::MAX),
        thread: 0,
        internal: false,
        user: None,
        incarnation: None,
    };
}

/// Who opens a file for reading, as far as an OPEN of that file depends on it ([`Needed`]).
#[derive(Clone, Debug, Default)]
pub(crate) struct Opener {
    /// The process, and what it is called.
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// The process and those above it, itself first.
    pub(crate) lineage: Vec<i32>,
    /// Whether one of them has the file open for writing, by whatever way the
    /// descriptor came to it.
    pub(crate) holds: bool,
    /// The process group that it is in.
    pub(crate) group: Option<i32>,
}

impl From<Writer> for Opener {
    fn from(writer: Writer) -> Opener {
        Opener {
            pid: writer.pid,
            name: writer.name,
            ..Opener::default()
        }
    }
}

/// What must be known of whoever opens a file for reading, or asks for attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    Nothing,
    /// Which process it is.
    Name,
    /// And whether it is a writer's. To find that out takes longer than an answer may.
    Relations,
    /// Beside the name, which process the number in the door's name means. Nor may that take an answer's time.
    Process(i32),
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

/// What is to be written; the bytes themselves come with the request ([`Request::with`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    /// Where, from the beginning of the file.
    pub(crate) offset: u64,
    /// Whether the kernel writes back its cache; else a program waits for the
    /// answer.
    pub(crate) from_cache: bool,
    /// Whether the writer is one by whom a file loses what rights it gives to who runs it.
    pub(crate) kills_set_id: bool,
}

/// Whom a change by `fallocate` or `copy_file_range` is made for: the kernel does not say whether that
/// takes away rights which the file gives to who runs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Look a name up for the kernel, which holds a reference from then on.
    Lookup {
        at: At,
    },
    /// The kernel gives back references to an inode.
    Forget {
        ino: u64,
        lookups: u64,
    },
    /// Make a file and open it.
    Create {
        at: At,
        creator: Creator,
        flags: i32,
        writer: Writer,
    },
    /// Make a file, FIFO, socket or device without opening it.
    MakeNode {
        at: At,
        creator: Creator,
        kind: u32,
        rdev: u32,
    },
    MakeDirectory {
        at: At,
        creator: Creator,
    },
    MakeSymlink {
        at: At,
        creator: Creator,
        target: PathBuf,
    },
    /// Give a file another name.
    Link {
        ino: u64,
        at: At,
    },
    Unlink {
        at: At,
    },
    RemoveDirectory {
        at: At,
    },
    Rename {
        from: At,
        to: At,
        how: Rename,
    },
    OpenDirectory {
        ino: u64,
    },
    /// As many entries after a cookie as fit, each of which takes so many bytes with a name so long.
    List {
        ino: u64,
        handle: u64,
        after: u64,
        room: usize,
        entry_bytes: fn(usize) -> usize,
    },
    CloseDirectory {
        handle: u64,
    },

    /// What `stat` shows; by a handle the kernel asks so before it writes to its cache.
    Attributes {
        ino: u64,
        by_handle: bool,
        opener: Opener,
    },
    /// `chmod`, `chown`, `truncate`, `touch`.
    Change {
        ino: u64,
        changes: Changes,
    },
    /// `flags` as in `setxattr(2)`.
    SetXattr {
        ino: u64,
        name: OsString,
        value: Vec<u8>,
        flags: i32,
    },
    RemoveXattr {
        ino: u64,
        name: OsString,
    },

    /// Open a file, for writing if there is a writer.
    Open {
        ino: u64,
        flags: i32,
        writer: Option<Writer>,
        opener: Opener,
        /// Whether the writer is one by whom a file loses what rights it gives to who runs it.
        kills_set_id: bool,
    },
    Read {
        ino: u64,
        handle: u64,
        wanted: Wanted,
        /// Whether the kernel fills pages of its cache, for a mapping.
        fills_pages: bool,
    },
    Write {
        ino: u64,
        bytes: Bytes,
    },
    Release {
        handle: u64,
    },
    /// With a kernel handle, somebody is in the queue of the open file from now on.
    Poll {
        handle: u64,
        kernel_handle: Option<u64>,
    },
    /// `SEEK_DATA` or `SEEK_HOLE`.
    Seek {
        ino: u64,
        handle: u64,
        offset: u64,
        data: bool,
    },
    /// `fallocate(2)`, with its own mode bits.
    Allocate {
        ino: u64,
        offset: u64,
        length: u64,
        mode: i32,
        by: User,
    },
    /// `copy_file_range(2)`: from an inode, by a handle, at an offset, to an inode at an offset.
    Copy {
        from: (u64, u64, u64),
        to: (u64, u64),
        length: u64,
        by: User,
    },
    /// A request that waits is given up, because its caller has a signal to see to.
    Cancel {
        unique: Unique,
    },

    /// A process writes to a file that it did not open itself.
    AlsoWrites {
        ino: u64,
        writer: Writer,
    },
    /// The same, and its end will not be seen.
    CannotBeWatched {
        ino: u64,
        errno: Errno,
    },
    /// A process that is known to write the file closes it, maybe not for the last time.
    Closes {
        ino: u64,
        pid: i32,
    },
    /// A process dies that still has the file open for writing, and how, as far as that can be seen.
    DiesWriting {
        ino: u64,
        pid: i32,
        ending: Ending,
    },
    ProcessEnded {
        pid: i32,
        ending: Ending,
    },
    /// All processes of a group have exited.
    GroupEnded {
        group: i32,
    },
    /// Of those who might write a closed file again, only readers who wait for it are left.
    NobodyElseLeft {
        left: Left,
    },
    /// The process that a door of the control directory names, at this place.
    KnowProcess {
        ino: u64,
        target: Result<Target, Errno>,
    },
    /// It is time for what was put off until now.
    Tick,
    /// The flusher did not take a file in hand.
    NotFlushed {
        ino: u64,
    },
    /// The mount is going away: who waits is answered with an error, now and from now on.
    ShutDown,

    /// Capture what will stand at a path.
    Capture {
        path: Vec<OsString>,
    },
    /// Read it from this process.
    OpenCaptured {
        id: CaptureId,
        reading: Reading,
        opener: Opener,
    },
    /// Its end hangs on one more, or on one less.
    Hold {
        id: CaptureId,
        /// It is the one who held it last, once more: what stands there is its own.
        again: bool,
    },
    LetGo {
        id: CaptureId,
        /// Whether processes that it left behind may be about to open what nobody has opened yet.
        left_others: bool,
    },
    /// It hangs on one less, who has not ended.
    Abandon {
        id: CaptureId,
    },
    /// Of what every reader of it has no more than this is kept.
    KeepAtMost {
        id: CaptureId,
        bytes: u64,
    },
    /// A reader by position does not need these bytes any more, unless they change.
    ReleaseBytes {
        handle: u64,
        range: Range<u64>,
    },
    /// Nobody reads it any more.
    HangUp {
        id: CaptureId,
    },
    /// End the capture and remove what stands there, and a directory in the root with all in it.
    EndCapture {
        id: CaptureId,
        directory: Option<OsString>,
    },
    /// Make a directory in the root, in which this process captures.
    MakeOwnDirectory {
        name: OsString,
    },
    /// Remove what stands at a name in the root, with all that is in it.
    RemoveTree {
        name: OsString,
    },
    /// Read events of one path, or of all, from now on.
    OpenEvents {
        path: Option<PathBuf>,
    },
    /// From now on no file is changed, unless one is open for writing now.
    Freeze,
}

/// A request, and the bytes that it writes, which it borrows from whoever makes it.
#[derive(Debug)]
pub(crate) struct Loaded<'a> {
    pub(crate) request: Request,
    pub(crate) load: Load<'a>,
}

impl From<Request> for Loaded<'_> {
    fn from(request: Request) -> Self {
        request.with(Load::from(&[]))
    }
}

impl Request {
    /// The same, with what it writes.
    pub(crate) fn with(self, load: Load<'_>) -> Loaded<'_> {
        Loaded {
            request: self,
            load,
        }
    }

    /// Whether it is of those that programs make and that change something or can be refused.
    pub(crate) fn is_recorded(&self) -> bool {
        match self {
            Request::Change { changes, .. } => changes.size.is_some(),
            Request::Lookup { .. }
            | Request::Create { .. }
            | Request::MakeNode { .. }
            | Request::MakeDirectory { .. }
            | Request::MakeSymlink { .. }
            | Request::Link { .. }
            | Request::Unlink { .. }
            | Request::RemoveDirectory { .. }
            | Request::Rename { .. }
            | Request::Open { .. }
            | Request::Read { .. }
            | Request::Write { .. }
            | Request::Release { .. }
            | Request::Allocate { .. }
            | Request::AlsoWrites { .. }
            | Request::ProcessEnded { .. } => true,
            _ => false,
        }
    }

    /// Who makes it, where the answer may depend on that.
    pub(crate) fn opener_mut(&mut self) -> Option<&mut Opener> {
        match self {
            Request::Open { opener, .. } | Request::Attributes { opener, .. } => Some(opener),
            _ => None,
        }
    }

    /// The inodes that it names, of those that are recorded.
    pub(crate) fn inodes_mut(&mut self) -> [Option<&mut u64>; 2] {
        match self {
            Request::Lookup { at }
            | Request::Create { at, .. }
            | Request::MakeNode { at, .. }
            | Request::MakeDirectory { at, .. }
            | Request::MakeSymlink { at, .. }
            | Request::Unlink { at }
            | Request::RemoveDirectory { at } => [Some(&mut at.0), None],
            Request::Link { ino, at } => [Some(ino), Some(&mut at.0)],
            Request::Rename { from, to, .. } => [Some(&mut from.0), Some(&mut to.0)],
            Request::Change { ino, .. }
            | Request::Open { ino, .. }
            | Request::Read { ino, .. }
            | Request::Write { ino, .. }
            | Request::Allocate { ino, .. }
            | Request::AlsoWrites { ino, .. } => [Some(ino), None],
            _ => [None, None],
        }
    }

    /// The handle by which it is made, of those that are recorded.
    pub(crate) fn handle_mut(&mut self) -> Option<&mut u64> {
        match self {
            Request::Read { handle, .. } | Request::Release { handle } => Some(handle),
            _ => None,
        }
    }
}

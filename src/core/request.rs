//! Requests: everything that can happen to the core, as data.
//!
//! Knows what is requested and the caller; the handlers are in other files. Only the bytes of a write are
//! borrowed, and come beside the request, so that requests can be cloned and recorded. Facts about processes
//! are found out before the request is made.

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

/// The caller of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// The request to be answered.
    pub(crate) unique: Unique,
    /// The thread that asks, 0 if it lives in another pid namespace or is the
    /// kernel itself.
    pub(crate) thread: i32,
    /// Whether it is our own flusher, which neither reads nor waits.
    pub(crate) internal: bool,
    /// The user for whom it asks; `None` for this process itself.
    pub(crate) user: Option<u32>,
    /// The incarnation of the inode that the kernel asks about; none if it is not the kernel that asks.
    pub(crate) incarnation: Option<u32>,
}

impl Caller {
    /// This process itself, whichever thread asks.
    pub(crate) const SELF: Caller = Caller {
        unique: Unique(u64::MAX),
        thread: 0,
        internal: false,
        user: None,
        incarnation: None,
    };
}

/// Facts about the process that opens a file for reading, as far as the OPEN depends on them ([`Needed`]).
#[derive(Clone, Debug, Default)]
pub(crate) struct Opener {
    /// The process, and its name.
    pub(crate) pid: i32,
    pub(crate) name: String,
    /// The process and its ancestors, itself first.
    pub(crate) lineage: Vec<i32>,
    /// Whether one of them has the file open for writing, maybe by an inherited descriptor.
    pub(crate) holds: bool,
    /// Its process group.
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

/// The facts about its process that an OPEN for reading, or a GETATTR, needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    Nothing,
    /// Its id and name.
    Name,
    /// Also whether it is a writer or descends from one. Finding that out may take too long for the threads that
    /// answer the kernel.
    Relations,
    /// Beside the name, which process the number in the door's name means. That may take as long.
    Process(i32),
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) offset: u64,
    /// The most bytes of the answer.
    pub(crate) length: u32,
    /// Whether the answer is `EAGAIN` if there are no bytes yet.
    pub(crate) nonblocking: bool,
}

/// What to write; the bytes themselves come beside the request ([`Request::with`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub(crate) offset: u64,
    /// Whether the kernel writes back its cache; else a program waits for the
    /// answer.
    pub(crate) from_cache: bool,
    /// Whether the kernel wants the file's set-id bits and capabilities cleared.
    pub(crate) kills_set_id: bool,
}

/// The user that calls `fallocate` or `copy_file_range`: for these the kernel does not say whether the file's
/// set-id bits and capabilities must be cleared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Look a name up for the kernel, which holds a reference to the inode from then on.
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
    /// List the entries after a cookie, as many as fit into `room` bytes. `entry_bytes` gives an entry's size for
    /// the length of its name.
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

    /// What `stat` shows. By a handle the kernel asks for it before it writes to its cache.
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
        /// Whether the kernel wants the file's set-id bits and capabilities cleared.
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
    /// With a kernel handle, a poller waits on the open file from now on.
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
    /// Give up a request that waits, because its caller has a signal to handle.
    Cancel {
        unique: Unique,
    },

    /// A process writes to a file that it did not open itself.
    AlsoWrites {
        ino: u64,
        writer: Writer,
    },
    /// The same, but its end will not be seen.
    CannotBeWatched {
        ino: u64,
        errno: Errno,
    },
    /// A known writer of the file closes it, maybe not for the last time.
    Closes {
        ino: u64,
        pid: i32,
    },
    /// A process dies while it has the file open for writing.
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
    /// Of the processes that might write a closed file again, only readers that wait for it are left.
    NobodyElseLeft {
        left: Left,
    },
    /// The process that is named by a place in the control directory.
    KnowProcess {
        ino: u64,
        target: Result<Target, Errno>,
    },
    /// An alarm is due.
    Tick,
    /// The flusher refused a file.
    NotFlushed {
        ino: u64,
    },
    /// The mount is going away: requests that wait now, or would from now on, get an error.
    ShutDown,

    /// Capture a path at which no file stands yet.
    Capture {
        path: Vec<OsString>,
    },
    /// Open a captured path for this process.
    OpenCaptured {
        id: CaptureId,
        reading: Reading,
        opener: Opener,
    },
    /// Add a holder to a captured path, which is not done before that has ended.
    Hold {
        id: CaptureId,
        /// Whether it is the last holder once more, so that the present file is its own.
        again: bool,
    },
    /// A holder has ended.
    LetGo {
        id: CaptureId,
        /// Whether processes that it left behind may still be about to open the path for the first time.
        left_others: bool,
    },
    /// A holder is not waited for any more, though it has not ended.
    Abandon {
        id: CaptureId,
    },
    /// Keep at most so many bytes that every reader of the path has.
    KeepAtMost {
        id: CaptureId,
        bytes: u64,
    },
    /// A reader by position releases these bytes, unless they change.
    ReleaseBytes {
        handle: u64,
        range: Range<u64>,
    },
    /// The path will have no reader any more.
    HangUp {
        id: CaptureId,
    },
    /// End the capture and remove the file there, and a directory in the root with all that is in it.
    EndCapture {
        id: CaptureId,
        directory: Option<OsString>,
    },
    /// Make a directory in the root, in which this process captures.
    MakeOwnDirectory {
        name: OsString,
    },
    /// Remove a file or directory in the root, with all that is in it.
    RemoveTree {
        name: OsString,
    },
    /// Subscribe this process to the events of one path, or of all.
    OpenEvents {
        path: Option<PathBuf>,
    },
    /// Let no file be changed from now on, unless one is open for writing now.
    Freeze,
}

/// A request, and the bytes that it writes, borrowed from its maker.
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
    /// The same, with the bytes that it writes.
    pub(crate) fn with(self, load: Load<'_>) -> Loaded<'_> {
        Loaded {
            request: self,
            load,
        }
    }

    /// Whether it belongs in a recording: programs make it, and it changes something or can be refused.
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

    /// The opener, if the answer may depend on it.
    pub(crate) fn opener_mut(&mut self) -> Option<&mut Opener> {
        match self {
            Request::Open { opener, .. } | Request::Attributes { opener, .. } => Some(opener),
            _ => None,
        }
    }

    /// The inodes in it, if it is of a kind that is recorded.
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

    /// The handle in it, if it is of a kind that is recorded.
    pub(crate) fn handle_mut(&mut self) -> Option<&mut u64> {
        match self {
            Request::Read { handle, .. } | Request::Release { handle } => Some(handle),
            _ => None,
        }
    }
}

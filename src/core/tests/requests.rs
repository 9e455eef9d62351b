//! Requests as tests make them, and what they are answered.

use super::*;
use crate::core::attributes::Found;
use crate::core::effects::Reply;
use crate::core::event::FileEvent;
use crate::core::namespace::Rename;
use crate::core::request::{Opener, User, at};
use crate::core::{Attributes, CaptureId};

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Found(Found),
    Attributes(Attributes),
    /// A file was made: its number and the handle.
    Created(u64, u64),
    Handle(u64, Transport),
    Bytes(Vec<u8>),
    Events(Vec<Arc<FileEvent>>),
    Written(u32),
    Sought(u64),
    Polled(u32),
    Captured(CaptureId),
    Frozen(bool),
    Names(Vec<OsString>),
    Error(Errno),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        match reply {
            Reply::Done => Answer::Done,
            Reply::Found(found) => Answer::Found(found),
            Reply::Attributes(attributes) => Answer::Attributes(attributes),
            Reply::Created { found, handle, .. } => Answer::Created(found.attributes.ino, handle),
            Reply::Opened { handle, transport } => Answer::Handle(handle, transport),
            Reply::Handle(handle) => Answer::Handle(handle, Transport::Direct),
            Reply::Listing(entries) => {
                Answer::Names(entries.into_iter().map(|entry| entry.name).collect())
            }
            Reply::Bytes(bytes) => Answer::Bytes(bytes.to_vec().expect("bytes that can be read")),
            Reply::Text(bytes) => Answer::Bytes(bytes),
            Reply::Events(events) => Answer::Events(events),
            Reply::Written(length) => Answer::Written(length),
            Reply::Sought(offset) => Answer::Sought(offset),
            Reply::Polled(events) => Answer::Polled(events),
            Reply::Captured(id) => Answer::Captured(id),
            Reply::Frozen(is_frozen) => Answer::Frozen(is_frozen),
            Reply::Refused(errno) => Answer::Error(errno),
        }
    }
}

type Name<'a> = (u64, &'a OsStr);

impl World {
    /// Makes a request that is answered at once.
    pub(super) fn ask(&mut self, request: Request) -> Result<Answer, Errno> {
        let caller = self.caller(WRITER);
        self.handle_request(caller, request);
        match self.answers.get(&caller.unique) {
            Some(Answer::Error(errno)) => Err(*errno),
            Some(answer) => Ok(answer.clone()),
            None => panic!("not answered"),
        }
    }

    pub(super) fn create(&mut self, name: &str, flags: i32) -> (u64, u64) {
        self.try_to_create(name, flags).unwrap()
    }

    pub(super) fn try_to_create(&mut self, name: &str, flags: i32) -> Result<(u64, u64), Errno> {
        self.try_to_create_at((ROOT, OsStr::new(name)), flags)
    }

    pub(super) fn try_to_create_at(
        &mut self,
        name: Name<'_>,
        flags: i32,
    ) -> Result<(u64, u64), Errno> {
        let create = Request::Create {
            at: at(name.0, name.1),
            creator: OWNER,
            flags,
            writer: writer(WRITER),
        };
        match self.ask(create)? {
            Answer::Created(ino, handle) => Ok((ino, handle)),
            other => panic!("not created: {other:?}"),
        }
    }

    pub(super) fn try_to_look_up(&mut self, parent: u64, name: &str) -> Result<Found, Errno> {
        self.try_to_look_up_by(READER, parent, name)
    }

    /// The same by this thread.
    pub(super) fn try_to_look_up_by(
        &mut self,
        thread: i32,
        parent: u64,
        name: &str,
    ) -> Result<Found, Errno> {
        let caller = self.caller(thread);
        let at = at(parent, OsStr::new(name));
        self.handle_request(caller, Request::Lookup { at });
        match &self.answers[&caller.unique] {
            Answer::Found(found) => Ok(*found),
            Answer::Error(errno) => Err(*errno),
            other => panic!("a LOOKUP was answered {other:?}"),
        }
    }

    pub(super) fn look_up(&mut self, parent: u64, name: &str) -> u64 {
        self.try_to_look_up(parent, name).unwrap().attributes.ino
    }

    pub(super) fn try_to_make_directory(&mut self, name: &str) -> Result<u64, Errno> {
        let make = Request::MakeDirectory {
            at: at(ROOT, OsStr::new(name)),
            creator: OWNER,
        };
        match self.ask(make)? {
            Answer::Found(found) => Ok(found.attributes.ino),
            other => panic!("not made: {other:?}"),
        }
    }

    pub(super) fn try_to_rename(&mut self, from: &str, to: &str, how: Rename) -> Result<(), Errno> {
        let (from, to) = (at(ROOT, OsStr::new(from)), at(ROOT, OsStr::new(to)));
        self.ask(Request::Rename { from, to, how }).map(drop)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.try_to_rename(from, to, Rename::Replace).unwrap();
    }

    pub(super) fn try_to_unlink(&mut self, name: &str) -> Result<(), Errno> {
        let at = at(ROOT, OsStr::new(name));
        self.ask(Request::Unlink { at }).map(drop)
    }

    pub(super) fn unlink(&mut self, name: &str) {
        self.try_to_unlink(name).unwrap();
    }

    pub(super) fn try_to_link(&mut self, ino: u64, name: &str) -> Result<(), Errno> {
        let at = at(ROOT, OsStr::new(name));
        self.ask(Request::Link { ino, at }).map(drop)
    }

    pub(super) fn try_to_allocate(
        &mut self,
        ino: u64,
        (offset, length): (u64, u64),
        mode: i32,
    ) -> Result<(), Errno> {
        let allocate = Request::Allocate {
            ino,
            offset,
            length,
            mode,
            by: User { uid: 0, gid: 0 },
        };
        self.ask(allocate).map(drop)
    }

    pub(super) fn truncate(&mut self, ino: u64, length: u64) -> Result<(), Errno> {
        let changes = Changes {
            size: Some(length),
            ..Changes::default()
        };
        self.ask(Request::Change { ino, changes }).map(drop)
    }

    pub(super) fn capture(&mut self, name: &str) -> CaptureId {
        let path = vec![name.into()];
        match self.ask(Request::Capture { path }) {
            Ok(Answer::Captured(id)) => id,
            other => panic!("not captured: {other:?}"),
        }
    }

    pub(super) fn freeze(&mut self) -> bool {
        self.ask(Request::Freeze) == Ok(Answer::Frozen(true))
    }

    pub(super) fn cancel(&mut self, unique: Unique) {
        self.tell(Request::Cancel { unique });
    }

    pub(super) fn forget(&mut self, ino: u64, lookups: u64) {
        self.tell(Request::Forget { ino, lookups });
    }

    /// Opens a file for reading, as this caller.
    pub(super) fn open_by(&mut self, caller: Caller, ino: u64, opener: &Opener) -> Unique {
        self.open_for(caller, (ino, libc::O_RDONLY), None, opener)
    }

    pub(super) fn open_for(
        &mut self,
        caller: Caller,
        (ino, flags): (u64, i32),
        writer: Option<Writer>,
        opener: &Opener,
    ) -> Unique {
        let open = Request::Open {
            ino,
            flags,
            writer,
            opener: Opener {
                pid: caller.thread,
                name: format!("process-{}", caller.thread),
                ..opener.clone()
            },
            kills_set_id: false,
        };
        self.handle_request(caller, open);
        caller.unique
    }
}

//! Having the kernel look a path up again: who is sent back to do so, and why.
//!
//! An OPEN that is answered with `ESTALE` makes the kernel look the path up once more, asking us
//! for each name, and open what it finds then. It does so once for each open(2): a second `ESTALE`
//! is the program's. So threads that were sent back are remembered.
//!
//! One reason is that the reader has waited for what may be another inode by now. The other is that
//! the kernel may believe in a name that we have taken away already: it moves a name only when
//! whoever renamed or removed it runs again. An OPEN that comes in between is of the wrong file.

use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::clock::Monotonic;
use super::effects::Outcome;
use super::ids::FifoId;
use super::readers::reader::{Awaits, Reader};
use super::request::{Caller, Opener};
use super::timers::{RENAMING, SAME_CALL, SENT_BACK_EXPECTED};
use super::{File, Handle, Operation};

/// A thread that is to look its path up again.
#[derive(Debug)]
struct Sent {
    at: Monotonic,
    /// What it opened, or is to find.
    ino: u64,
    why: Why,
    /// What it has found since, if anything.
    found: Option<Found>,
    /// The name was not there: its call has ended with that, or goes on by what `found` says.
    found_nothing: bool,
    /// How often it has looked up what it waited for.
    looked: u32,
    /// Whether it has found the file for which it waited.
    found_file: bool,
}

/// So often the kernel may look a name up again for one call: twice, and once more for each other thread
/// that does so just then.
const LOOKS: u32 = 8;

/// What a name led to.
#[derive(Clone, Debug)]
struct Found {
    parent: u64,
    name: OsString,
    ino: u64,
}

/// Why it was sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It has waited until this file was done.
    HasWaited,
    /// The file had just lost a name.
    LostName,
    /// It reads a virtual FIFO.
    ReadingEnd(FifoId),
    /// It writes to one, and is to wait for its turn.
    Turn(FifoId),
    /// The kernel is to know the file by a new number.
    Reincarnated,
    /// The same when it asked for attributes, by stat(2) or in an open(2).
    OldAttributes,
}

/// The threads that were sent back. Invariant: at most one entry for each, and none that nobody asks for
/// any more stays when another is added.
#[derive(Debug, Default)]
pub(super) struct SentBack(HashMap<i32, Sent>);

impl SentBack {
    /// A thread is sent back.
    fn send(&mut self, now: Monotonic, thread: i32, ino: u64, why: Why) {
        self.0
            .retain(|_, sent| now.saturating_sub(sent.at) < SENT_BACK_EXPECTED);
        let sent = Sent {
            at: now,
            ino,
            why,
            found: None,
            found_nothing: false,
            looked: 0,
            found_file: false,
        };
        self.0.insert(thread, sent);
    }

    /// A thread is where it was sent, or will not come.
    pub(super) fn has_arrived(&mut self, thread: i32) {
        self.0.remove(&thread);
    }

    /// A thread has found something by a name, maybe since it was sent back.
    pub(super) fn has_found(&mut self, thread: i32, parent: u64, name: &OsStr, ino: u64) {
        if let Some(sent) = self.0.get_mut(&thread) {
            sent.found = Some(Found {
                parent,
                name: name.to_owned(),
                ino,
            });
        }
    }

    /// A thread has looked for a name in vain, maybe since it was sent back.
    pub(super) fn has_found_nothing(&mut self, thread: i32) {
        if let Some(sent) = self.0.get_mut(&thread) {
            sent.found_nothing = true;
        }
    }

    /// A thread is given the file itself behind `wait`: if it has waited for that, it has looked again, and the
    /// next wait is another call's.
    pub(super) fn has_found_file(&mut self, thread: i32, ino: u64) {
        if let Some(sent) = self.0.get_mut(&thread) {
            sent.found_file |= sent.why == Why::HasWaited && sent.ino == ino;
        }
    }

    /// A thread comes to wait at a door, behind which this stands. Forgets what it was sent back for, unless it
    /// has waited for that, or has not looked again yet. (A stat(2) that has waited has no end that is told.)
    pub(super) fn waits_at_door(&mut self, thread: i32, standing: Option<u64>) {
        let is_of_this = |sent: &Sent| {
            sent.why == Why::HasWaited && (!sent.found_file || Some(sent.ino) == standing)
        };
        if !self.0.get(&thread).is_some_and(is_of_this) {
            self.has_arrived(thread);
        }
    }

    /// Whether this thread is looking its path up again, and why.
    fn of(&self, now: Monotonic, thread: i32) -> Option<&Sent> {
        let sent = self.0.get(&thread)?;
        let age = now.saturating_sub(sent.at);
        // Nothing tells that a stat(2) is over: what comes later may well be another call.
        let expected = match sent.why {
            Why::OldAttributes => SAME_CALL,
            _ => SENT_BACK_EXPECTED,
        };
        (age < expected).then_some(sent)
    }

    /// Whether the kernel would not look again for this thread. Who cannot be told apart counts as
    /// one that was sent back.
    pub(super) fn knows(&self, now: Monotonic, thread: i32) -> bool {
        let sent = self.of(now, thread);
        thread == 0 || sent.is_some_and(|sent| !sent.found_file)
    }

    /// For which file this thread has waited, if it is looking its path up again to find that.
    pub(super) fn has_waited_for(&self, now: Monotonic, thread: i32) -> Option<u64> {
        let sent = self.of(now, thread)?;
        (sent.why == Why::HasWaited).then_some(sent.ino)
    }

    /// Whether this thread looks up again, in the very call in which it has waited, what it has
    /// waited for. It gets that, also if somebody has begun to write it once more, as the kernel
    /// would not look a third time.
    pub(super) fn is_back(&mut self, now: Monotonic, thread: i32, found: Option<u64>) -> bool {
        let Some(sent) = self.0.get_mut(&thread) else {
            return false;
        };
        let is_at_once = now.saturating_sub(sent.at) < SAME_CALL;
        sent.looked += 1;
        sent.why == Why::HasWaited && Some(sent.ino) == found && is_at_once && sent.looked <= LOOKS
    }

    /// Why this thread looks up the name of a virtual FIFO again, if it does in the very call in which
    /// it was told to. (How often it does in that depends on who else looks it up.)
    pub(super) fn comes_back_to(&self, now: Monotonic, thread: i32, id: FifoId) -> Option<Why> {
        let sent = self.0.get(&thread)?;
        let is_it = matches!(sent.why, Why::ReadingEnd(of) | Why::Turn(of) if of == id);
        let is_at_once = now.saturating_sub(sent.at) < SAME_CALL;
        (is_it && is_at_once).then_some(sent.why)
    }
}

impl Operation<'_> {
    /// Sees to an OPEN for reading of an inode that has just lost a name, by which the kernel may
    /// have found it. Says whether it waits for what stands there now; else it is of the right inode.
    pub(super) fn was_misled(
        &mut self,
        caller: Caller,
        ino: u64,
        flags: i32,
        opener: &Opener,
    ) -> Result<bool, Errno> {
        let inode = self.names.get(ino).ok().filter(|inode| inode.is_file());
        let Some((inode, lost_name_at)) = inode
            // Who opens a virtual FIFO finds it by its end for readers, which has its own way to look again.
            .filter(|inode| !caller.internal && inode.fifo.is_none())
            .and_then(|inode| Some((inode, inode.lost_name?)))
        else {
            return Ok(false);
        };
        let is_nameless = inode.nlink() == 0;
        let is_recent = self.now.saturating_sub(lost_name_at) < RENAMING;
        let sent = self.sent_back.of(self.now, caller.thread);
        // After a stat(2) it may have come by another name, which it did not have to look up.
        let sent = sent.filter(|sent| sent.why != Why::OldAttributes);
        if let Some(found) = sent.and_then(|sent| sent.found.clone())
            && found.ino == ino
        {
            // It may have lost the very name by which it was found, and the kernel will not look
            // again.
            return match self.names.find(found.parent, &found.name) == Ok(ino) {
                true => Ok(false),
                false => self.open_what_stands_at(caller, &found, flags, opener),
            };
        }
        match sent {
            // It was found by no name, but by a descriptor, as `/proc/PID/fd/N`: it is there for
            // those who have it open, as a removed file is on any file system.
            Some(sent) if sent.ino == ino => {
                if is_nameless && !self.is_held_open(ino) {
                    self.sent_back.has_arrived(caller.thread);
                    return Err(Errno::STALE);
                }
                Ok(false)
            }
            Some(sent) if !is_nameless && !sent.found_nothing => Ok(false),
            _ if is_nameless || is_recent => Err(self.send_back(caller.thread, ino, Why::LostName)),
            _ => Ok(false),
        }
    }

    /// Opens what stands now where another file was found before, as if the reader had come then
    /// and followed its path until now. Says whether it may, not being one that writes it.
    fn open_what_stands_at(
        &mut self,
        caller: Caller,
        before: &Found,
        flags: i32,
        opener: &Opener,
    ) -> Result<bool, Errno> {
        let awaits = Awaits::File(before.ino);
        let path = self.names.path_of(before.parent, &before.name);
        let found = path.as_ref().and_then(|path| self.awaited(awaits, path));
        let Some(found) = found else {
            self.sent_back.has_arrived(caller.thread);
            return Err(Errno::NOENT);
        };
        let is_active = self.files.get(&found).is_some_and(File::is_active);
        if is_active && !self.waits_for(found, caller, opener) {
            return Ok(false);
        }
        let origin = self.origin(caller, (flags, opener), path.as_deref());
        let reader = Reader::new(origin, awaits, path, Some(caller.unique));
        let _ = self.attach_reader(reader, Some(found));
        Ok(true)
    }

    /// A virtual FIFO was found by this thread, and is gone when it opens that: it gets what stands
    /// there now, and waits for that if nothing does.
    pub(super) fn open_what_came(
        &mut self,
        caller: Caller,
        (flags, opener): (i32, &Opener),
    ) -> Outcome {
        let sent = self.sent_back.of(self.now, caller.thread);
        let found = sent.and_then(|sent| sent.found.clone());
        match found {
            Some(found) if self.open_what_stands_at(caller, &found, flags, opener)? => Ok(None),
            _ => Err(Errno::STALE),
        }
    }

    /// Has the kernel look the path up once more for this thread, by the error that this gives.
    pub(super) fn send_back(&mut self, thread: i32, ino: u64, why: Why) -> Errno {
        self.core.sent_back.send(self.now, thread, ino, why);
        Errno::STALE
    }

    /// Whether somebody has this very file open. Readers that have gone on to what stands at its
    /// path now have not.
    fn is_held_open(&self, ino: u64) -> bool {
        self.handles.values().any(|handle| match handle {
            Handle::Writer { ino: opened, .. } | Handle::Plain { ino: opened, .. } => {
                *opened == ino
            }
            Handle::Reader(id) => {
                let reader = self.readers.get(*id);
                reader.is_some_and(|reader| reader.source() == Some(ino) && !reader.is_absent())
            }
            Handle::Text(_) | Handle::Events(_) => false,
        })
    }
}

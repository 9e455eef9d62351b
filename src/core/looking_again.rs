//! Threads that are *sent back*: their OPEN is answered with `ESTALE`, so that the kernel looks the path up
//! again.
//!
//! After an `ESTALE` the kernel asks us for each name of the path once more, and opens what it finds then. It
//! does so once for each open(2): the program gets a second `ESTALE`. So threads that were sent back are
//! remembered.
//!
//! The main reasons: a reader has waited, and its path may lead to another inode by now; or the kernel may still
//! use a name that we have moved or removed. It updates its own tree only when the thread that called rename(2)
//! or unlink(2) runs again, and an OPEN that comes in between is for the wrong file.

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

/// A thread that was sent back.
#[derive(Debug)]
struct Sent {
    at: Monotonic,
    /// The inode that it opened, or is to find.
    ino: u64,
    why: Why,
    /// The last name that it has found since, if any.
    found: Option<Found>,
    /// Whether a lookup found nothing since: its call has ended with that error, or goes on to what `found` says.
    found_nothing: bool,
    /// The number of its lookups behind a door since then.
    looked: u32,
    /// Whether it has found the file for which it waited.
    found_file: bool,
}

/// How often the kernel may look a name up for one call: twice, and once more for each other thread that looks
/// it up at that moment.
const LOOKS: u32 = 8;

/// A name, and the inode that it led to.
#[derive(Clone, Debug)]
struct Found {
    parent: u64,
    name: OsString,
    ino: u64,
}

/// Why a thread was sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It has waited until this file was done.
    HasWaited,
    /// The file had just lost a name.
    LostName,
    /// It reads a virtual FIFO.
    ReadingEnd(FifoId),
    /// It writes to a virtual FIFO, and must wait for its turn.
    Turn(FifoId),
    /// It uses an old incarnation of the file.
    Reincarnated,
    /// The same when it asked for attributes, by stat(2) or in an open(2).
    OldAttributes,
}

/// The threads that were sent back. Invariant: at most one entry for each thread; entries that have expired are
/// removed when another is added.
#[derive(Debug, Default)]
pub(super) struct SentBack(HashMap<i32, Sent>);

impl SentBack {
    /// Notes that a thread is sent back.
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

    /// A thread has come back, or will not.
    pub(super) fn has_arrived(&mut self, thread: i32) {
        self.0.remove(&thread);
    }

    /// A thread has found an inode by a name; it may have been sent back before.
    pub(super) fn has_found(&mut self, thread: i32, parent: u64, name: &OsStr, ino: u64) {
        if let Some(sent) = self.0.get_mut(&thread) {
            sent.found = Some(Found {
                parent,
                name: name.to_owned(),
                ino,
            });
        }
    }

    /// A thread has not found a name; it may have been sent back before.
    pub(super) fn has_found_nothing(&mut self, thread: i32) {
        if let Some(sent) = self.0.get_mut(&thread) {
            sent.found_nothing = true;
        }
    }

    /// A thread gets the file itself behind `wait`: if it has waited for that, it has looked it up again, and its
    /// next wait belongs to another call.
    pub(super) fn has_found_file(&mut self, thread: i32, ino: u64) {
        if let Some(sent) = self.0.get_mut(&thread) {
            sent.found_file |= sent.why == Why::HasWaited && sent.ino == ino;
        }
    }

    /// A thread begins to wait at a door behind which `standing` stands. Its entry is removed, unless the thread
    /// has waited for that file, or has not found yet what it waited for. (The end of a stat(2) that has waited is
    /// not reported.)
    pub(super) fn waits_at_door(&mut self, thread: i32, standing: Option<u64>) {
        let is_of_this = |sent: &Sent| {
            sent.why == Why::HasWaited && (!sent.found_file || Some(sent.ino) == standing)
        };
        if !self.0.get(&thread).is_some_and(is_of_this) {
            self.has_arrived(thread);
        }
    }

    /// The entry of this thread, if it is still expected to come back.
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

    /// Whether the kernel would not look up again for this thread. Threads that cannot be told apart (number 0)
    /// count as sent back.
    pub(super) fn knows(&self, now: Monotonic, thread: i32) -> bool {
        let sent = self.of(now, thread);
        thread == 0 || sent.is_some_and(|sent| !sent.found_file)
    }

    /// The file for which this thread has waited, if it was sent back to find that.
    pub(super) fn has_waited_for(&self, now: Monotonic, thread: i32) -> Option<u64> {
        let sent = self.of(now, thread)?;
        (sent.why == Why::HasWaited).then_some(sent.ino)
    }

    /// Whether this thread, still in the call in which it has waited, looks up the file for which it waited.
    /// It gets that file even if it is being written once more, as the kernel would not look a third time.
    pub(super) fn is_back(&mut self, now: Monotonic, thread: i32, found: Option<u64>) -> bool {
        let Some(sent) = self.0.get_mut(&thread) else {
            return false;
        };
        let is_at_once = now.saturating_sub(sent.at) < SAME_CALL;
        sent.looked += 1;
        sent.why == Why::HasWaited && Some(sent.ino) == found && is_at_once && sent.looked <= LOOKS
    }

    /// Why this thread was sent back to the name of a virtual FIFO, if it is still in the same call. (How often
    /// it looks the name up in that call depends on other threads that look it up.)
    pub(super) fn comes_back_to(&self, now: Monotonic, thread: i32, id: FifoId) -> Option<Why> {
        let sent = self.0.get(&thread)?;
        let is_to_fifo = matches!(sent.why, Why::ReadingEnd(of) | Why::Turn(of) if of == id);
        let is_at_once = now.saturating_sub(sent.at) < SAME_CALL;
        (is_to_fifo && is_at_once).then_some(sent.why)
    }
}

impl Operation<'_> {
    /// Handles an OPEN for reading of an inode that has just lost a name, if the kernel may have found the
    /// inode by that name. Returns whether the OPEN waits for the file that stands there now; else it is for the
    /// right inode.
    pub(super) fn was_misled(
        &mut self,
        caller: Caller,
        ino: u64,
        flags: i32,
        opener: &Opener,
    ) -> Result<bool, Errno> {
        let inode = self.names.get(ino).ok().filter(|inode| inode.is_file());
        let Some((inode, lost_name_at)) = inode
            // Readers of a virtual FIFO are sent back by its own rules.
            .filter(|inode| !caller.internal && inode.fifo.is_none())
            .and_then(|inode| Some((inode, inode.lost_name?)))
        else {
            return Ok(false);
        };
        let is_nameless = inode.nlink() == 0;
        let is_recent = self.now.saturating_sub(lost_name_at) < RENAMING;
        let sent = self.sent_back.of(self.now, caller.thread);
        // After a stat(2) it may have come by another name, which it did not have to look up.
        let is_same_call = sent.is_some_and(|sent| sent.why != Why::OldAttributes);
        if let Some(found) = sent.and_then(|sent| sent.found.clone())
            && found.ino == ino
        {
            if self.names.find(found.parent, &found.name) == Ok(ino) {
                return Ok(false);
            }
            // The thread's file has just lost the name by which it was found, and the kernel will not look again.
            if is_same_call {
                return self.open_what_stands_at(caller, &found, flags, opener);
            }
        }
        match sent.filter(|_| is_same_call) {
            // It was opened by no name, but by a descriptor (`/proc/PID/fd/N`): it exists as long
            // as a process has it open, like a removed file on any file system.
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

    /// Opens, for reading, the file that stands now at a name where another one was found before, like a
    /// reader that has followed the path since then; `ENOENT` if none does. Returns whether the OPEN was handled:
    /// not if the caller never waits for that file (it writes it, say).
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

    /// This thread has found a virtual FIFO that is gone when it opens it: it gets the file that stands at that
    /// name now, or `ENOENT`.
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

    /// Sends a thread back, by the error that this returns: the kernel looks the path up once more.
    pub(super) fn send_back(&mut self, thread: i32, ino: u64, why: Why) -> Errno {
        self.core.sent_back.send(self.now, thread, ino, why);
        Errno::STALE
    }

    /// Whether a process has this file open. Readers that have gone on to another file at its path do not
    /// count.
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

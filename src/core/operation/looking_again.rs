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

use super::Operation;
use crate::core::effects::Outcome;
use crate::core::readers::reader::{Awaits, Reader};
use crate::core::request::{Caller, Opener};
use crate::core::sent_back::{Found, Why};
use crate::core::timers::RENAMING;
use crate::core::{File, Handle};

impl Operation<'_> {
    /// Refuses an OPEN of an old incarnation, so that the kernel looks its path up again. If it would not look again, a
    /// reader gets that one, and reads past the cache.
    pub(super) fn refuse_outdated(
        &mut self,
        caller: Caller,
        ino: u64,
        is_writer: bool,
    ) -> Result<(), Errno> {
        if !self.names.is_outdated(ino, caller.incarnation) {
            return Ok(());
        }
        let (now, thread) = (self.now, caller.thread);
        let is_back =
            self.sent_back.knows(now, thread) || self.sent_back.is_back_for(now, thread, ino);
        if thread == 0 || !is_back {
            return Err(self.send_back(thread, ino, Why::Reincarnated));
        }
        // The kernel may have a wrong size: writes by that would spoil the file.
        match is_writer {
            true => Err(Errno::STALE),
            false => Ok(()),
        }
    }

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

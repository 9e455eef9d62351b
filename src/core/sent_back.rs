//! The threads that were sent back to look a path up again, and why ([`super::operation`] sends them).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::clock::Monotonic;
use super::ids::FifoId;
use super::timers::{SAME_CALL, SENT_BACK_EXPECTED};

/// A thread that was sent back.
#[derive(Debug)]
pub(super) struct Sent {
    at: Monotonic,
    /// The inode that it opened, or is to find.
    pub(super) ino: u64,
    pub(super) why: Why,
    /// The last name that it has found since, if any.
    pub(super) found: Option<Found>,
    /// Whether a lookup found nothing since: its call has ended with that error, or goes on to what `found` says.
    pub(super) found_nothing: bool,
    /// The number of its lookups behind a door since then.
    looked: u32,
    /// Whether it has found the file for which it waited.
    pub(super) found_file: bool,
}

/// How often the kernel may look a name up for one call: twice, and once more for each other thread that looks
/// it up at that moment.
const LOOKS: u32 = 8;

/// A name, and the inode that it led to.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) parent: u64,
    pub(super) name: OsString,
    pub(super) ino: u64,
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
    pub(super) fn send(&mut self, now: Monotonic, thread: i32, ino: u64, why: Why) {
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
    pub(super) fn of(&self, now: Monotonic, thread: i32) -> Option<&Sent> {
        let sent = self.0.get(&thread)?;
        let age = now.saturating_sub(sent.at);
        // Nothing tells that a stat(2) is over: what comes later may well be another call.
        let expected = match sent.why {
            Why::OldAttributes => SAME_CALL,
            _ => SENT_BACK_EXPECTED,
        };
        (age < expected).then_some(sent)
    }

    /// Whether this thread, still in the open(2) for which it was sent back, has found this inode, or is to find it.
    /// The kernel would not look again.
    pub(super) fn is_back_for(&self, now: Monotonic, thread: i32, ino: u64) -> bool {
        self.of(now, thread).is_some_and(|sent| {
            let is_at_once = now.saturating_sub(sent.at) < SAME_CALL;
            let has_found = sent.found.as_ref().is_some_and(|found| found.ino == ino);
            is_at_once && sent.why != Why::OldAttributes && (sent.ino == ino || has_found)
        })
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

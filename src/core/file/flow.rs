//! Writes that were taken, and are answered when the readers have come near enough.
//!
//! Knows the writes of one file in their order; how far the readers are, and what is near enough, is told.
//! Invariant: no write is answered before one that came earlier, but for one that is given up.

use std::collections::VecDeque;

use rustix::io::Errno;

use super::super::clock::Monotonic;
use super::super::effects::{Reply, Unique};

/// A write that was taken but is not answered yet.
#[derive(Debug)]
pub(in crate::core) struct HeldWrite {
    pub(in crate::core) unique: Unique,
    pub(in crate::core) length: u32,
    /// None: until there is room.
    pub(in crate::core) until: Option<Monotonic>,
}

/// The writes of a file that wait.
#[derive(Debug, Default)]
pub(in crate::core) struct Flow {
    held: VecDeque<HeldWrite>,
}

/// How it stands with those who read what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Room {
    /// Nobody will read it: writes fail.
    Broken,
    /// They are near enough.
    There,
    /// They are too far behind: only writes go on that have waited until now.
    Lacking { now: Monotonic },
}

impl Flow {
    pub(in crate::core) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A write waits from now on.
    pub(in crate::core) fn hold(&mut self, write: HeldWrite) {
        self.held.push_back(write);
    }

    /// The next write that need not wait any longer, and its answer.
    pub(in crate::core) fn next(&mut self, room: Room) -> Option<(Unique, Reply)> {
        let write = self.held.front()?;
        let reply = match room {
            Room::Broken => Reply::Refused(Errno::PIPE),
            Room::There => Reply::Written(write.length),
            Room::Lacking { now } if write.until.is_some_and(|until| until <= now) => {
                Reply::Written(write.length)
            }
            Room::Lacking { .. } => return None,
        };
        let write = self.held.pop_front()?;
        Some((write.unique, reply))
    }

    /// A write waits no longer, as its caller has a signal to see to. Its bytes were taken: saying that it
    /// was interrupted would have the program write them twice.
    pub(in crate::core) fn give_up(&mut self, unique: Unique) -> Option<Reply> {
        let at = self.held.iter().position(|write| write.unique == unique)?;
        let write = self.held.remove(at)?;
        Some(Reply::Written(write.length))
    }
}

//! Paths that this process itself captures: files whose bytes it reads without
//! going through the kernel, and whose end may hang on a child of its.
//!
//! ```text
//!         hold               the last holder has ended
//!  free ────────► held ─────────────────────────────────► released
//!                 │  ▲                                      │  ▲
//!       nobody    │  ├──────────────── hold ────────────────┘  │ it has ended
//!       waits for │  │ hold                                     │ (held and let
//!       the last  ▼  │                                          │  go once more)
//!               abandoned ──────────────────────────────────────┘
//! ```
//!
//! While a path is held, nothing that stands there is done, nobody but this
//! process waits for it, and its readers are told of no end. Once it is
//! released it is done as soon as nobody has it open for writing. A free one is
//! a file like any other, and so is one that is abandoned; but what stands there
//! may still be the work of those who held it.
//!
//! Owns what is known of each path. Invariants: each is found by its number and by its name; it is held
//! exactly while somebody holds it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::clock::Monotonic;
use super::ids::{CaptureId, ReaderId};
use super::namespace::Namespace;
use super::readers::reader::Seen;

/// Whether the end of what stands at a path hangs on somebody. Of several paths of one file the greatest
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    Free,
    Released,
    /// On some who have not ended, but nobody waits for that any more.
    Abandoned,
    Held,
}

#[derive(Debug)]
struct Captured {
    /// The name, in this directory.
    at: (u64, OsString),
    /// The same from the root, should the directory be made anew.
    path: Vec<OsString>,
    /// What those left who held it last, and those before them: it is not what the
    /// next ones leave.
    left: Option<Seen>,
    left_before: Option<Seen>,
    hold: Hold,
    /// How many hold it.
    holders: u32,
    /// When those of them are let go who have exited without having opened it, in order.
    leaving: Vec<Monotonic>,
    /// With follow, how much is kept of what every reader has, and how far a
    /// writer may be ahead at full speed. Everything, as far as it likes, unless
    /// set.
    keep_bytes: Option<u64>,
    /// Whether nobody will read it any more, whatever comes to stand there.
    hung_up: bool,
    /// Who reads it.
    readers: Vec<ReaderId>,
    /// Whether somebody has come to read it while it was held.
    was_read: bool,
}

/// All captured paths of a mount.
#[derive(Debug, Default)]
pub(super) struct Captures {
    by_id: HashMap<CaptureId, Captured>,
    by_name: HashMap<(u64, OsString), CaptureId>,
    next: u64,
    /// How many of them nobody reads any more.
    hung_up: usize,
}

impl Captures {
    /// A path that is no longer captured is released for good.
    pub(super) fn hold(&self, id: CaptureId) -> Hold {
        self.by_id
            .get(&id)
            .map_or(Hold::Released, |captured| captured.hold)
    }

    /// The same for whatever file stands there.
    pub(super) fn hold_of_file(&self, names: &Namespace, ino: u64) -> Hold {
        // A file with several names is done when none of them is held.
        let holds = self.of_file(names, ino).map(|captured| captured.hold);
        holds.max().unwrap_or(Hold::Free)
    }

    fn of_file<'a>(&'a self, names: &'a Namespace, ino: u64) -> impl Iterator<Item = &'a Captured> {
        // Most mounts have no captures, and need not look for names.
        let names = match self.by_id.is_empty() {
            true => &[],
            false => names.names_of(ino),
        };
        let ids = names.iter().filter_map(|at| self.by_name.get(at));
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// Whether somebody has read what stood there before, so that nobody reads it any more once
    /// its readers have gone.
    pub(super) fn was_read(&self, names: &Namespace, ino: u64) -> bool {
        let mut captured = self.of_file(names, ino);
        captured.any(|captured| {
            captured.was_read && matches!(captured.hold, Hold::Held | Hold::Abandoned)
        })
    }

    /// How much of a file that follows is kept once every reader has it.
    pub(super) fn keep_bytes(&self, names: &Namespace, ino: u64) -> Option<u64> {
        let mut captured = self.of_file(names, ino);
        captured.find_map(|captured| captured.keep_bytes)
    }

    /// Whether a file stands at a captured path.
    pub(super) fn include(&self, names: &Namespace, ino: u64) -> bool {
        let is_captured = |at| self.by_name.contains_key(at);
        !self.by_name.is_empty() && names.names_of(ino).iter().any(is_captured)
    }

    /// The number of what stands at the path.
    pub(super) fn file(&self, names: &Namespace, id: CaptureId) -> Option<u64> {
        let captured = self.by_id.get(&id)?;
        let found = names.find(captured.at.0, &captured.at.1).ok();
        found.or_else(|| names.resolve(&captured.path))
    }

    /// Has a path's end hang on one more, or on the one who held it last once more.
    pub(super) fn add_holder(&mut self, id: CaptureId, again: bool) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.holders += 1;
            captured.hold = Hold::Held;
            captured.was_read &= captured.holders > 1;
            if !again {
                captured.left_before = captured.left.take().or(captured.left_before);
            }
        }
    }

    /// Takes back one that has ended (`Released`), or that nobody waits for any more (`Abandoned`). If it
    /// was the last, gives the readers that may come to the end now.
    pub(super) fn remove_holder(&mut self, id: CaptureId, then: Hold) -> Option<&[ReaderId]> {
        let captured = self.by_id.get_mut(&id)?;
        captured.holders = captured.holders.saturating_sub(1);
        if captured.holders > 0 {
            return None;
        }
        captured.hold = then;
        Some(&captured.readers)
    }

    /// One of those who hold it is to be let go then.
    pub(super) fn add_leaving(&mut self, id: CaptureId, at: Monotonic) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.leaving.push(at);
        }
    }

    /// How many are to be let go by now.
    pub(super) fn take_leaving(&mut self, id: CaptureId, now: Monotonic) -> usize {
        let Some(captured) = self.by_id.get_mut(&id) else {
            return 0;
        };
        let before = captured.leaving.len();
        captured.leaving.retain(|at| *at > now);
        before - captured.leaving.len()
    }

    /// One more reads it.
    pub(super) fn add_reader(&mut self, id: CaptureId, reader: ReaderId) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.readers.push(reader);
            captured.was_read |= captured.hold == Hold::Held;
        }
    }

    /// One of those who read it is gone.
    pub(super) fn remove_reader(&mut self, id: CaptureId, reader: ReaderId) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.readers.retain(|other| *other != reader);
        }
    }

    /// With follow, keeps no more than `bytes` of what every reader of a captured
    /// path has, and slows down a writer that is further ahead of them than that.
    pub(super) fn keep_at_most(&mut self, id: CaptureId, bytes: u64) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.keep_bytes = Some(bytes);
        }
    }

    /// Remembers what was left at these names, if nobody holds them any more: the first that was done there,
    /// since what comes after it may already be the work of those who are about to hold it.
    pub(super) fn note_left(&mut self, at: &[(u64, OsString)], seen: Seen) {
        for at in at {
            if let Some(id) = self.by_name.get(at)
                && let Some(captured) = self.by_id.get_mut(id)
                && captured.hold == Hold::Released
            {
                captured.left.get_or_insert(seen);
            }
        }
    }

    /// Nobody reads it any more.
    pub(super) fn hang_up(&mut self, id: CaptureId) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            self.hung_up += usize::from(!captured.hung_up);
            captured.hung_up = true;
        }
    }

    /// The paths of this name that nobody reads any more.
    pub(super) fn hung_up_at(&self, name: &OsStr) -> Vec<CaptureId> {
        if self.hung_up == 0 {
            return Vec::new();
        }
        let hung_up = |(id, captured): (&CaptureId, &Captured)| {
            (captured.hung_up && captured.at.1 == name).then_some(*id)
        };
        self.by_id.iter().filter_map(hung_up).collect()
    }

    /// A path is captured.
    pub(super) fn add(&mut self, at: (u64, OsString), path: &[OsString]) -> CaptureId {
        let id = CaptureId(self.next);
        self.next += 1;
        self.by_name.insert(at.clone(), id);
        let captured = Captured {
            at,
            path: path.to_vec(),
            left: None,
            left_before: None,
            hold: Hold::Free,
            holders: 0,
            leaving: Vec::new(),
            keep_bytes: None,
            hung_up: false,
            readers: Vec::new(),
            was_read: false,
        };
        self.by_id.insert(id, captured);
        id
    }

    /// A path is captured no more. Gives the name, and who read it.
    pub(super) fn remove(&mut self, id: CaptureId) -> Option<((u64, OsString), Vec<ReaderId>)> {
        let captured = self.by_id.remove(&id)?;
        self.by_name.remove(&captured.at);
        self.hung_up -= usize::from(captured.hung_up);
        Some((captured.at, captured.readers))
    }

    /// Whether this name is captured.
    pub(super) fn have(&self, at: &(u64, OsString)) -> bool {
        self.by_name.contains_key(at)
    }

    /// A captured path, and what those left there who held it before those who do now.
    pub(super) fn path(&self, id: CaptureId) -> Option<(&[OsString], Option<Seen>)> {
        let captured = self.by_id.get(&id)?;
        Some((&captured.path, captured.left_before))
    }
}

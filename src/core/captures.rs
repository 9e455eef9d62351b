//! Captured paths: this process reads what is written there without going through the kernel. The end
//! of a file at such a path may depend on *holders*: processes, mostly children of this one, or guards in it.
//!
//! ```text
//!         hold               the last holder has ended
//!  free ────────► held ─────────────────────────────────► released
//!                 │  ▲                                      │  ▲
//!   the last      │  ├──────────────── hold ────────────────┘  │ it has ended
//!   holder is not │  │ hold                                     │ (held and
//!   waited for    ▼  │                                          │  released again)
//!               abandoned ──────────────────────────────────────┘
//! ```
//!
//! While a path is held, no file there is done, only this process waits for it, and its readers get no end
//! of file. Once it is released, the file is done as soon as no process has it open for writing. A file at
//! a free path is like any other, and so is one at an abandoned path; but its last holders may still write
//! the latter.
//!
//! Owns the state of each path. Invariants: each is found by its number and by its name; it is held
//! exactly while it has a holder.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::clock::Monotonic;
use super::ids::{CaptureId, ReaderId};
use super::namespace::Namespace;
use super::readers::reader::Seen;

/// Whether the end of the file at a path depends on holders. If one file has several captured paths, the
/// greatest value counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    #[default]
    Free,
    Released,
    /// Its last holder has not ended, but this process does not wait for that any more.
    Abandoned,
    Held,
}

#[derive(Debug, Default)]
struct Captured {
    /// The directory and the name in it.
    at: (u64, OsString),
    /// The same from the root, should the directory be made anew.
    path: Vec<OsString>,
    /// The generation that the last holders left here, and the one left by the holders before
    /// them: the next holders write another one.
    left: Option<Seen>,
    left_before: Option<Seen>,
    hold: Hold,
    /// The number of holders.
    holders: u32,
    /// Holders that have exited without having opened the path: when each is released, in order.
    leaving: Vec<Monotonic>,
    /// With follow, how many bytes that every reader has are kept, and how many bytes a writer may be
    /// ahead at full speed. Both are unlimited if it is not set.
    keep_bytes: Option<u64>,
    /// Whether it will have no reader any more, whatever file comes to stand there.
    hung_up: bool,
    readers: Vec<ReaderId>,
    /// Whether a reader has come while it was held.
    was_read: bool,
}

/// All captured paths of a mount.
#[derive(Debug, Default)]
pub(super) struct Captures {
    by_id: HashMap<CaptureId, Captured>,
    by_name: HashMap<(u64, OsString), CaptureId>,
    next: u64,
    /// The number of paths that have hung up.
    hung_up: usize,
}

impl Captures {
    /// Whether a path is held; one that is no longer captured is released for good.
    pub(super) fn hold(&self, id: CaptureId) -> Hold {
        self.by_id
            .get(&id)
            .map_or(Hold::Released, |captured| captured.hold)
    }

    /// The same for a file: the greatest of its captured paths.
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

    /// Whether a held path of the file has had a reader, so that no other will come once its readers
    /// have gone.
    pub(super) fn was_read(&self, names: &Namespace, ino: u64) -> bool {
        let mut captured = self.of_file(names, ino);
        captured.any(|captured| {
            captured.was_read && matches!(captured.hold, Hold::Held | Hold::Abandoned)
        })
    }

    /// How many bytes that every reader has are kept of a file that follows.
    pub(super) fn keep_bytes(&self, names: &Namespace, ino: u64) -> Option<u64> {
        let mut captured = self.of_file(names, ino);
        captured.find_map(|captured| captured.keep_bytes)
    }

    /// Whether a file stands at a captured path.
    pub(super) fn include(&self, names: &Namespace, ino: u64) -> bool {
        let is_captured = |at| self.by_name.contains_key(at);
        !self.by_name.is_empty() && names.names_of(ino).iter().any(is_captured)
    }

    /// The inode at the path.
    pub(super) fn file(&self, names: &Namespace, id: CaptureId) -> Option<u64> {
        let captured = self.by_id.get(&id)?;
        let found = names.find(captured.at.0, &captured.at.1).ok();
        found.or_else(|| names.resolve(&captured.path))
    }

    /// Adds a holder to a path; `again` if it was the last one, which goes on with what it left.
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

    /// Removes a holder that has ended (`Released`), or that is not waited for any more (`Abandoned`). If it
    /// was the last, returns the readers that may come to the end now.
    pub(super) fn remove_holder(&mut self, id: CaptureId, then: Hold) -> Option<&[ReaderId]> {
        let captured = self.by_id.get_mut(&id)?;
        captured.holders = captured.holders.saturating_sub(1);
        if captured.holders > 0 {
            return None;
        }
        captured.hold = then;
        Some(&captured.readers)
    }

    /// A holder is to be released at this time.
    pub(super) fn add_leaving(&mut self, id: CaptureId, at: Monotonic) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.leaving.push(at);
        }
    }

    /// The number of holders whose time to be released has come; they are taken off the list.
    pub(super) fn take_leaving(&mut self, id: CaptureId, now: Monotonic) -> usize {
        let Some(captured) = self.by_id.get_mut(&id) else {
            return 0;
        };
        let before = captured.leaving.len();
        captured.leaving.retain(|at| *at > now);
        before - captured.leaving.len()
    }

    /// Adds a reader.
    pub(super) fn add_reader(&mut self, id: CaptureId, reader: ReaderId) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.readers.push(reader);
            captured.was_read |= captured.hold == Hold::Held;
        }
    }

    /// Removes a reader.
    pub(super) fn remove_reader(&mut self, id: CaptureId, reader: ReaderId) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.readers.retain(|other| *other != reader);
        }
    }

    /// With follow, keeps at most `bytes` that every reader of the path has, and slows down a writer
    /// that is further ahead of its readers than that.
    pub(super) fn keep_at_most(&mut self, id: CaptureId, bytes: u64) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            captured.keep_bytes = Some(bytes);
        }
    }

    /// Remembers which generation was left at these names, if they are released: the first that was done
    /// there, since the next one may already be written by the next holders.
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

    /// The path will have no reader any more.
    pub(super) fn hang_up(&mut self, id: CaptureId) {
        if let Some(captured) = self.by_id.get_mut(&id) {
            self.hung_up += usize::from(!captured.hung_up);
            captured.hung_up = true;
        }
    }

    /// The paths of this name that have hung up.
    pub(super) fn hung_up_at(&self, name: &OsStr) -> Vec<CaptureId> {
        if self.hung_up == 0 {
            return Vec::new();
        }
        let hung_up = |(id, captured): (&CaptureId, &Captured)| {
            (captured.hung_up && captured.at.1 == name).then_some(*id)
        };
        self.by_id.iter().filter_map(hung_up).collect()
    }

    /// Captures a path.
    pub(super) fn add(&mut self, at: (u64, OsString), path: &[OsString]) -> CaptureId {
        let id = CaptureId(self.next);
        self.next += 1;
        self.by_name.insert(at.clone(), id);
        let captured = Captured {
            at,
            path: path.to_vec(),
            ..Captured::default()
        };
        self.by_id.insert(id, captured);
        id
    }

    /// Ends the capture of a path; returns its name and its readers.
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

    /// A captured path, and the generation that the holders before the present ones left there.
    pub(super) fn path(&self, id: CaptureId) -> Option<(&[OsString], Option<Seen>)> {
        let captured = self.by_id.get(&id)?;
        Some((&captured.path, captured.left_before))
    }
}

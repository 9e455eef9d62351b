//! Readers that wait for files and read them while they are written.
//!
//! Owns every reader, and knows the names in the path that each follows. Reader and file both know that the
//! one reads the other: this is changed in `operation::following` only. Invariant: a reader is found by exactly the
//! names of the path that it follows.
//!
//! ```text
//! reader     one reader: what it came with, what it was given, what it asks
//! prior      what a reader was given by another file than it reads now
//! pollers    notifications to processes that poll a reader's file
//! ```

pub(super) mod pollers;
pub(super) mod prior;
pub(super) mod reader;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::clock::Monotonic;
use super::file::File;
use super::generation::Way;
use super::ids::ReaderId;
use reader::Reader;

/// All readers of a mount.
#[derive(Debug, Default)]
pub(super) struct Readers {
    by_id: FxHashMap<ReaderId, Reader>,
    last: u64,
    /// By the components of the path they follow, so that a changed name concerns only readers that have it
    /// in their path.
    followers: HashMap<OsString, BTreeSet<ReaderId>>,
}

/// Why the slowest reader is looked for. A reader that waits for the whole file needs its bytes kept, but
/// does not slow its writer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Pace,
    Content,
}

impl Readers {
    pub(super) fn get(&self, id: ReaderId) -> Option<&Reader> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ReaderId) -> Option<&mut Reader> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = ReaderId> {
        self.by_id.keys().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Reader> {
        self.by_id.values()
    }

    /// The readers of a file.
    pub(super) fn of<'a>(&'a self, file: &'a File) -> impl Iterator<Item = &'a Reader> + Clone {
        file.readers().iter().filter_map(|id| self.by_id.get(id))
    }

    /// The inode that a reader reads.
    pub(super) fn source(&self, id: ReaderId) -> Option<u64> {
        self.by_id.get(&id)?.source()
    }

    /// Adds a reader, which follows its path from now on.
    pub(super) fn add(&mut self, reader: Reader) -> ReaderId {
        self.last += 1;
        let id = ReaderId(self.last);
        self.enter(id, reader.path());
        self.by_id.insert(id, reader);
        id
    }

    pub(super) fn remove(&mut self, id: ReaderId) -> Option<Reader> {
        self.stop_following(id);
        self.by_id.remove(&id)
    }

    /// Has a reader follow this path from now on.
    pub(super) fn follow(&mut self, id: ReaderId, path: Vec<OsString>) {
        self.stop_following(id);
        self.enter(id, Some(&path));
        if let Some(reader) = self.by_id.get_mut(&id) {
            reader.set_path(Some(path));
        }
    }

    /// Has a reader stay with its file, wherever its path may lead later.
    pub(super) fn stop_following(&mut self, id: ReaderId) {
        let reader = self.by_id.get_mut(&id);
        let path = reader.and_then(|reader| reader.set_path(None));
        for name in path.iter().flatten() {
            if let Some(ids) = self.followers.get_mut(name) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.followers.remove(name);
                }
            }
        }
    }

    fn enter(&mut self, id: ReaderId, path: Option<&[OsString]>) {
        for name in path.into_iter().flatten() {
            self.followers.entry(name.clone()).or_default().insert(id);
        }
    }

    /// The readers that have this name in their path.
    pub(super) fn following(&self, name: &OsStr) -> impl Iterator<Item = ReaderId> {
        self.followers.get(name).into_iter().flatten().copied()
    }

    /// All readers that follow a path.
    pub(super) fn all_following(&self) -> BTreeSet<ReaderId> {
        self.followers.values().flatten().copied().collect()
    }

    /// A process has ended. Returns the readers that wait no longer than it lives, with the inodes that they
    /// read.
    pub(super) fn process_ended(&mut self, pid: i32) -> Vec<(ReaderId, Option<u64>)> {
        let readers = self.by_id.iter_mut();
        let concerned = readers.filter_map(|(id, reader)| {
            let is_concerned = reader.process_ended(pid);
            is_concerned.then(|| (*id, reader.source()))
        });
        concerned.collect()
    }

    /// Whether a reader of a file got something within that time.
    pub(super) fn are_given_within(&self, time: Duration, now: Monotonic, file: &File) -> bool {
        let mut readers = self.of(file);
        readers.any(|reader| reader.was_given_within(time, now))
    }

    /// How a file is delivered: a reader by position, in this process, does not wait for the end.
    pub(super) fn way_in_effect(&self, file: &File) -> Option<Way> {
        match file.way() {
            None | Some(Way::Settled) if self.of(file).any(Reader::reads_by_position) => {
                Some(Way::Follow)
            }
            way => way,
        }
    }

    /// Whether a file has readers, and all of them wait until it is done.
    pub(super) fn want_all(&self, file: &File) -> bool {
        !file.readers().is_empty() && self.of(file).all(Reader::waits_for_whole)
    }

    /// The position of the slowest reader; or of any that has nothing of the kept bytes, as no reader can
    /// have less of them.
    pub(super) fn slowest(&self, file: &File, of: Of) -> u64 {
        let base = file.spool().base();
        let mut slowest = None;
        // Readers in lockstep are given bytes in ascending order, so that the slowest, the last of them, is
        // found first.
        for id in file.readers().iter().rev() {
            let Some(reader) = self.by_id.get(id) else {
                continue;
            };
            let is_apart = of == Of::Pace && reader.waits_for_whole();
            let has = match of {
                Of::Pace => reader.has_of_source(),
                Of::Content => reader.has_unchanged(),
            };
            let Some(position) = has.filter(|_| !is_apart) else {
                continue;
            };
            slowest = Some(slowest.map_or(position, |slowest: u64| slowest.min(position)));
            if position <= base {
                break;
            }
        }
        slowest.unwrap_or(base)
    }
}

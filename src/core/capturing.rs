//! Paths that this process itself captures: files whose bytes it reads without
//! going through the kernel, and whose end may hang on a child of its.
//!
//! ```text
//!         hold                    last hold goes
//!  free ────────► held ─────────────────────────► released
//!                  ▲                                 │
//!                  └───────────── hold ──────────────┘
//! ```
//!
//! While a path is held, nothing that stands there is done, nobody but this
//! process waits for it, and its readers are told of no end. Once it is
//! released it is done as soon as nobody has it open for writing. A free one is
//! a file like any other.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use super::effects::{Effect, Effects};
use super::generation::Way;
use super::ids::{CaptureId, ReaderId};
use super::namespace::{Namespace, ROOT};
use super::readers::reader::{Awaits, Reader, Seen};
use super::request::{Caller, Opener, at};
use super::rules::Linger;
use super::{Core, Env, File, Handle};
use crate::error::FailedWriter;

/// Whether the end of what stands at a path hangs on somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Free,
    Held,
    Released,
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
        let holds = self.of_file(names, ino).map(|captured| captured.hold);
        // A file with several names is done when none of them is held.
        holds.fold(Hold::Free, |known, hold| match (known, hold) {
            (Hold::Held, _) | (_, Hold::Held) => Hold::Held,
            (Hold::Released, _) | (_, Hold::Released) => Hold::Released,
            (Hold::Free, Hold::Free) => Hold::Free,
        })
    }
}

impl Captures {
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
        captured.any(|captured| captured.was_read && captured.hold == Hold::Held)
    }

    /// How much of a file that follows is kept once every reader has it.
    pub(super) fn keep_bytes(&self, names: &Namespace, ino: u64) -> Option<u64> {
        let mut captured = self.of_file(names, ino);
        captured.find_map(|captured| captured.keep_bytes)
    }
}

impl Core {
    /// Captures what will stand at a path from the root. Directories above it
    /// are made.
    ///
    /// # Errors
    ///
    /// `EXIST` if something stands there or it is captured, `NOTDIR` if
    /// something above it is no directory, `INVAL` if it is no path.
    pub(super) fn capture(&mut self, env: Env<'_>, path: &[OsString]) -> Result<CaptureId, Errno> {
        let (name, above) = path.split_last().ok_or(Errno::INVAL)?;
        let mut parent = ROOT;
        for component in above {
            parent = match self.names.find(parent, component) {
                Ok(ino) => ino,
                Err(Errno::NOENT) => self.make_own_directory(env, parent, component)?,
                Err(errno) => return Err(errno),
            };
        }
        self.refuse_control(parent, name)?;
        let at = (parent, name.clone());
        match self.names.find(parent, name) {
            Ok(_) => return Err(Errno::EXIST),
            Err(Errno::NOENT) if self.captures.by_name.contains_key(&at) => {
                return Err(Errno::EXIST);
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        self.names.pin(parent);
        let id = CaptureId(self.captures.next);
        self.captures.next += 1;
        self.captures.by_name.insert(at.clone(), id);
        let captured = Captured {
            at,
            path: path.to_vec(),
            left: None,
            left_before: None,
            hold: Hold::Free,
            holders: 0,
            keep_bytes: None,
            hung_up: false,
            readers: Vec::new(),
            was_read: false,
        };
        self.captures.by_id.insert(id, captured);
        Ok(id)
    }

    /// Makes a directory in which this process captures.
    ///
    /// # Errors
    ///
    /// `EXIST` if something stands there, and what making one may give.
    pub(super) fn make_own_directory(
        &mut self,
        env: Env<'_>,
        parent: u64,
        name: &OsStr,
    ) -> Result<u64, Errno> {
        self.make_directory(env, &at(parent, name), self.settings.owner)?;
        let made = self.names.find(parent, name)?;
        // The kernel was not told, and will not give it back.
        self.names.forget(made, 1);
        Ok(made)
    }

    /// Has the path's end hang on one more.
    pub(super) fn hold(&mut self, id: CaptureId) {
        if let Some(captured) = self.captures.by_id.get_mut(&id) {
            captured.holders += 1;
            captured.hold = Hold::Held;
            captured.was_read &= captured.holders > 1;
            captured.left_before = captured.left.take().or(captured.left_before);
        }
    }

    /// Gives back one `hold`.
    pub(super) fn let_go(&mut self, id: CaptureId) {
        let Some(captured) = self.captures.by_id.get_mut(&id) else {
            return;
        };
        captured.holders = captured.holders.saturating_sub(1);
        if captured.holders > 0 {
            return;
        }
        captured.hold = Hold::Released;
        for reader in &captured.readers {
            self.touched.readers.add(*reader);
        }
        if let Some(ino) = self.captured_file(id) {
            self.touched.generations.add(ino);
            self.note_left(ino);
        }
    }

    /// Remembers what was left at a path that nobody holds any more: the first
    /// that was done there, since what comes after it may already be the work of
    /// those who are about to hold it.
    pub(super) fn note_left(&mut self, ino: u64) {
        if self.captures.by_id.is_empty() || self.files.get(&ino).is_none_or(File::is_active) {
            return;
        }
        let seen = self.seen_file(ino);
        for at in self.names.names_of(ino) {
            if let Some(id) = self.captures.by_name.get(at)
                && let Some(captured) = self.captures.by_id.get_mut(id)
                && captured.hold == Hold::Released
                && captured.left.is_none()
            {
                captured.left = Some(seen);
            }
        }
    }

    /// The number of what stands at the path.
    pub(crate) fn captured_file(&self, id: CaptureId) -> Option<u64> {
        let captured = self.captures.by_id.get(&id)?;
        let found = self.names.find(captured.at.0, &captured.at.1).ok();
        found.or_else(|| self.names.resolve(&captured.path))
    }

    /// The mode of the file at the path, if one stands there, without set-id and sticky bits.
    pub(crate) fn captured_mode(&self, id: CaptureId) -> Option<u32> {
        let inode = self.names.get(self.captured_file(id)?).ok()?;
        inode.is_file().then_some(inode.mode & 0o777)
    }

    /// Whether, of those who held the path and are gone, one has still to let go of it, or what stands
    /// there is not done.
    pub(crate) fn is_left_undone(&self, id: CaptureId) -> bool {
        let file = self.captured_file(id).and_then(|ino| self.files.get(&ino));
        match self.captures.hold(id) {
            Hold::Free => false,
            Hold::Held => true,
            Hold::Released => file.is_some_and(File::is_active),
        }
    }

    /// Ends the capture of a path and removes what stands there, and a directory in the root with
    /// all that is in it. Those who read it go on with what they have.
    pub(super) fn end_capture(
        &mut self,
        env: Env<'_>,
        id: CaptureId,
        directory: Option<OsString>,
        effects: &mut Effects,
    ) {
        if let Some(captured) = self.captures.by_id.remove(&id) {
            self.forget_capture(env, captured, effects);
        }
        if let Some(name) = directory {
            self.remove_tree(env, (ROOT, &name), effects);
        }
    }

    fn forget_capture(&mut self, env: Env<'_>, captured: Captured, effects: &mut Effects) {
        for reader in &captured.readers {
            self.readers.stop_following(*reader);
        }
        self.captures.by_name.remove(&captured.at);
        self.captures.hung_up -= usize::from(captured.hung_up);
        let (parent, name) = captured.at;
        self.remove_tree(env, (parent, &name), effects);
        self.unpin(parent);
        for reader in captured.readers {
            self.touched.readers.add(reader);
        }
    }

    /// One of those who read it is gone.
    pub(super) fn remove_capture_reader(&mut self, id: CaptureId, reader: ReaderId) {
        if let Some(captured) = self.captures.by_id.get_mut(&id) {
            captured.readers.retain(|other| *other != reader);
        }
    }

    /// Removes whatever stands at a name, with all that is below it.
    pub(super) fn remove_tree(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
        effects: &mut Effects,
    ) {
        // Not by recursion: a program may make a tree deeper than our stack.
        let mut trees = vec![(parent, name.to_owned(), false)];
        while let Some((parent, name, is_emptied)) = trees.pop() {
            if !is_emptied
                && let Ok(ino) = self.names.find(parent, &name)
                && let Ok(entries) = self.names.list(ino, super::namespace::DOTS, u64::MAX)
            {
                let below: Vec<OsString> = entries.map(|(_, _, name)| name.to_owned()).collect();
                trees.push((parent, name, true));
                trees.extend(below.into_iter().map(|name| (ino, name, false)));
                continue;
            }
            let at = at(parent, &*name);
            let removed = match self.unlink(env, &at, effects) {
                Err(Errno::ISDIR) => self.remove_directory(env, &at),
                done => done,
            };
            if removed.is_ok() {
                effects.push(Effect::ForgetName { parent, name });
            }
        }
    }

    /// Opens a captured path for this process: whatever comes to stand there, or
    /// only what those leave who hold it or held it last. Never waits.
    pub(super) fn open_captured(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        (id, of_holders): (CaptureId, bool),
        opener: &Opener,
    ) -> Result<u64, Errno> {
        let captured = self.captures.by_id.get(&id).ok_or(Errno::NOENT)?;
        let path = captured.path.clone();
        let awaits = match captured.left_before.filter(|_| of_holders) {
            None => Awaits::Path,
            seen => Awaits::NextAfter(seen),
        };
        let source = self.awaited(awaits, &path);
        let mut origin = self.origin(env, caller, (0, opener), Some(&path));
        origin.capture = Some(id);
        let reader = self.attach_reader(Reader::new(origin, awaits, Some(path), None), source);
        if let Some(captured) = self.captures.by_id.get_mut(&id) {
            captured.readers.push(reader);
            captured.was_read |= captured.hold == Hold::Held;
        }
        Ok(self.add_handle(Handle::Reader(reader)))
    }

    /// With follow, keeps no more than `bytes` of what every reader of a captured
    /// path has, and slows down a writer that is further ahead of them than that.
    pub(super) fn keep_at_most(&mut self, id: CaptureId, bytes: u64) {
        if let Some(captured) = self.captures.by_id.get_mut(&id) {
            captured.keep_bytes = Some(bytes);
        }
    }

    /// How that is delivered which a reader of this process reads, once it is chosen.
    pub(crate) fn way_read(&self, handle: u64) -> Option<Way> {
        let Some(Handle::Reader(id)) = self.handles.get(&handle) else {
            return None;
        };
        let source = self.readers.source(*id)?;
        self.files.get(&source)?.way()
    }

    /// The bytes that a reader of this process was given and that are no longer
    /// so.
    pub(crate) fn rewritten_range(&self, handle: u64) -> Option<std::ops::Range<u64>> {
        let Some(Handle::Reader(id)) = self.handles.get(&handle) else {
            return None;
        };
        self.readers.get(*id)?.rewritten().cloned()
    }

    /// Who came to such an end that what a reader of this process reads has failed, if it was that.
    pub(crate) fn failed_writer(&self, handle: u64) -> Option<FailedWriter> {
        let Some(Handle::Reader(id)) = self.handles.get(&handle) else {
            return None;
        };
        let source = self.readers.source(*id)?;
        let culprit = self.generation(source)?.culprit(self.settings.fail_on)?;
        Some(culprit.as_failed())
    }

    /// Whether what a reader of this process waits for was never there, and nobody holds its path.
    pub(crate) fn waits_for_nobody(&self, handle: u64) -> bool {
        let Some(Handle::Reader(id)) = self.handles.get(&handle) else {
            return false;
        };
        self.readers.get(*id).is_some_and(|reader| {
            let held = reader.origin().capture.map(|id| self.captures.hold(id));
            reader.source().is_none() && held != Some(Hold::Held)
        })
    }

    /// Nobody reads a captured path any more: writes to it fail from now on, also
    /// to what comes to stand there later.
    pub(super) fn hang_up(&mut self, id: CaptureId, effects: &mut Effects) {
        if let Some(captured) = self.captures.by_id.get_mut(&id) {
            self.captures.hung_up += usize::from(!captured.hung_up);
            captured.hung_up = true;
            self.hang_up_file(id, effects);
        }
    }

    /// Something else may stand at the captured paths of this name.
    pub(super) fn hang_up_again(&mut self, name: &OsStr, effects: &mut Effects) {
        if self.captures.hung_up == 0 {
            return;
        }
        let hung_up = |(id, captured): (&CaptureId, &Captured)| {
            (captured.hung_up && captured.at.1 == name).then_some(*id)
        };
        let ids: Vec<CaptureId> = self.captures.by_id.iter().filter_map(hung_up).collect();
        for id in ids {
            self.hang_up_file(id, effects);
        }
    }

    fn hang_up_file(&mut self, id: CaptureId, effects: &mut Effects) {
        if let Some(ino) = self.captured_file(id)
            && self.files.get_mut(&ino).is_some_and(File::hang_up)
        {
            self.touched.room.add(ino);
            // See `Attributes::lasting`.
            effects.push(Effect::ForgetAttributes { ino });
        }
    }

    /// Whether a file stands at a captured path.
    pub(super) fn is_captured(&self, ino: u64) -> bool {
        let captured = |at| self.captures.by_name.contains_key(at);
        !self.captures.by_name.is_empty() && self.names.names_of(ino).iter().any(captured)
    }

    /// Whether writes to a file fail since nobody reads it any more.
    pub(crate) fn has_hung_up(&self, ino: u64) -> bool {
        self.files.get(&ino).is_some_and(File::has_hung_up)
    }

    /// The events of one path, or of all, from now on, to be read by this process.
    pub(super) fn open_events(&mut self, path: Option<PathBuf>) -> u64 {
        let subscriber = self.events.subscribe(path, true);
        self.add_handle(Handle::Events(subscriber))
    }

    /// How long what stands here lingers; nothing if it is held.
    pub(super) fn linger_of(&self, ino: u64) -> Option<Linger> {
        match self.captures.hold_of_file(&self.names, ino) {
            Hold::Free if self.is_forsaken(ino) || self.ends_at_close(ino) => {
                Some(Linger::After(Duration::ZERO))
            }
            Hold::Free => Some(self.settings.linger),
            Hold::Held => None,
            // Whoever was waited for has ended.
            Hold::Released => Some(Linger::After(Duration::ZERO)),
        }
    }
}

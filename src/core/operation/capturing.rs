//! Requests about captured paths, which this process reads without going through the kernel.
//!
//! Knows what follows from them for files and readers; the state of a captured path is in [`crate::core::captures`].

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use super::Operation;
use crate::core::captures::Hold;
use crate::core::effects::{Effect, Forget};
use crate::core::ids::CaptureId;
use crate::core::namespace::{DOTS, ROOT};
use crate::core::patching::Reading;
use crate::core::readers::reader::{Awaits, Reader};
use crate::core::request::{Caller, Opener, at};
use crate::core::rules::Linger;
use crate::core::timers::LEFT_BEHIND;
use crate::core::{Alarm, File, Handle};

impl Operation<'_> {
    /// Captures a path from the root, at which no file stands yet. Makes the directories above it.
    ///
    /// # Errors
    ///
    /// `EXIST` if something stands there or it is captured, `NOTDIR` if
    /// something above it is no directory, `INVAL` if it is no path.
    pub(super) fn capture(&mut self, path: &[OsString]) -> Result<CaptureId, Errno> {
        let (name, above) = path.split_last().ok_or(Errno::INVAL)?;
        let mut parent = ROOT;
        for component in above {
            parent = match self.names.find(parent, component) {
                Ok(ino) => ino,
                Err(Errno::NOENT) => self.make_own_directory(parent, component)?,
                Err(errno) => return Err(errno),
            };
        }
        self.refuse_control(parent, name)?;
        let at = (parent, name.clone());
        match self.names.find(parent, name) {
            Ok(_) => return Err(Errno::EXIST),
            Err(Errno::NOENT) if self.captures.have(&at) => {
                return Err(Errno::EXIST);
            }
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        self.names.pin(parent);
        Ok(self.captures.add(at, path))
    }

    /// Makes a directory in which this process captures.
    ///
    /// # Errors
    ///
    /// `EXIST` if something stands there, and what making one may give.
    pub(super) fn make_own_directory(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.make_directory(&at(parent, name), self.settings.owner)?;
        let made = self.names.find(parent, name)?;
        // The kernel was not told of this inode, and will not forget it.
        self.names.forget(made, 1);
        Ok(made)
    }

    /// Removes a holder that has ended (`Released`), or that is not waited for any more (`Abandoned`).
    pub(super) fn let_go(&mut self, id: CaptureId, then: Hold) {
        let Some(readers) = self.core.captures.remove_holder(id, then) else {
            return;
        };
        for reader in readers {
            self.core.touched.readers.add(*reader);
        }
        if let Some(ino) = self.captured_file(id) {
            self.touched.generations.add(ino);
            self.note_left(ino);
        }
    }

    /// Releases a holder later: the processes that it left behind have some time to open the path.
    pub(super) fn let_go_later(&mut self, id: CaptureId) {
        let at = self.now + LEFT_BEHIND;
        self.captures.add_leaving(id, at);
        self.wake_at(at, Alarm::LetGo(id));
    }

    /// Remembers which generation is left at a released path.
    pub(super) fn note_left(&mut self, ino: u64) {
        if !self.is_captured(ino) || self.files.get(&ino).is_none_or(File::is_active) {
            return;
        }
        let seen = self.seen_file(ino);
        let core = &mut *self.core;
        core.captures.note_left(core.names.names_of(ino), seen);
    }

    /// Ends the capture of a path and removes the file there, and a directory in the root with
    /// all that is in it. The path's readers go on with the file that they have.
    pub(super) fn end_capture(&mut self, id: CaptureId, directory: Option<OsString>) {
        if let Some(((parent, name), readers)) = self.captures.remove(id) {
            for reader in &readers {
                self.readers.stop_following(*reader);
            }
            self.remove_tree((parent, &name));
            self.unpin(parent);
            for reader in readers {
                self.touched.readers.add(reader);
            }
        }
        if let Some(name) = directory {
            self.remove_tree((ROOT, &name));
        }
    }

    /// Removes the file or directory at a name, with all that is below it.
    pub(super) fn remove_tree(&mut self, (parent, name): (u64, &OsStr)) {
        // Not by recursion: a program may make a tree deeper than our stack.
        let mut trees = vec![(parent, name.to_owned(), false)];
        while let Some((parent, name, is_emptied)) = trees.pop() {
            if !is_emptied
                && let Ok(ino) = self.names.find(parent, &name)
                && let Ok(entries) = self.names.list(ino, DOTS, u64::MAX)
            {
                let below: Vec<OsString> = entries.map(|(_, _, name)| name.to_owned()).collect();
                trees.push((parent, name, true));
                trees.extend(below.into_iter().map(|name| (ino, name, false)));
                continue;
            }
            let at = at(parent, &*name);
            let removed = match self.unlink(&at) {
                Err(Errno::ISDIR) => self.remove_directory(&at),
                done => done,
            };
            if removed.is_ok() {
                self.effects
                    .push(Effect::Forget(Forget::Name { parent, name }));
            }
        }
    }

    /// Opens a captured path for this process, for any file that comes to stand there, or only for
    /// the one that its present or last holders write. Never waits.
    pub(super) fn open_captured(
        &mut self,
        caller: Caller,
        (id, reading): (CaptureId, Reading),
        opener: &Opener,
    ) -> Result<u64, Errno> {
        let (path, left_before) = self.captures.path(id).ok_or(Errno::NOENT)?;
        let path = path.to_vec();
        let awaits = match left_before.filter(|_| reading.of_holders) {
            None => Awaits::Path,
            seen => Awaits::NextAfter(seen),
        };
        let source = self.awaited(awaits, &path);
        let mut origin = self.origin(caller, (0, opener), Some(&path));
        origin.capture = Some(id);
        let reader = Reader::new(origin, awaits, Some(path), None);
        let reader = match reading.by_position {
            true => reader.by_position(),
            false => reader,
        };
        let reader = self.attach_reader(reader, source);
        self.captures.add_reader(id, reader);
        Ok(self.add_handle(Handle::Reader(reader)))
    }

    /// A captured path has no reader any more: writes to it fail from now on, also to a file
    /// that comes to stand there later.
    pub(super) fn hang_up(&mut self, id: CaptureId) {
        self.captures.hang_up(id);
        self.hang_up_file(id);
    }

    /// Another file may stand at the captured paths of this name: those that hung up do so again.
    pub(super) fn hang_up_again(&mut self, name: &OsStr) {
        for id in self.captures.hung_up_at(name) {
            self.hang_up_file(id);
        }
    }

    fn hang_up_file(&mut self, id: CaptureId) {
        if let Some(ino) = self.captured_file(id)
            && self.files.get_mut(&ino).is_some_and(File::hang_up)
        {
            self.touched.room.add(ino);
            // See `Attributes::cacheable`.
            self.forget_attributes(ino);
        }
    }

    /// Whether a file stands at a captured path.
    pub(super) fn is_captured(&self, ino: u64) -> bool {
        self.captures.include(&self.names, ino)
    }

    /// Subscribes this process to the events of one path, or of all.
    pub(super) fn open_events(&mut self, path: Option<PathBuf>) -> u64 {
        let subscriber = self.events.subscribe(path, true);
        self.add_handle(Handle::Events(subscriber))
    }

    /// How long a file lingers; `None` if it is held.
    pub(super) fn linger_of(&self, ino: u64) -> Option<Linger> {
        match self.captures.hold_of_file(&self.names, ino) {
            Hold::Held => None,
            // Every holder has ended.
            Hold::Released => Some(Linger::After(Duration::ZERO)),
            Hold::Free | Hold::Abandoned => Some(self.linger_of_free(ino)),
        }
    }

    fn linger_of_free(&self, ino: u64) -> Linger {
        if self.is_being_made(ino) {
            Linger::Exit
        } else if self.is_forsaken(ino) || self.ends_at_close(ino) {
            Linger::After(Duration::ZERO)
        } else {
            self.settings.linger
        }
    }

    /// Whether a reader waits for the file only until a certain process ends, and that has ended: no
    /// process is expected to open the file again.
    fn is_forsaken(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.is_some_and(|file| self.readers.of(file).any(Reader::is_over))
    }
}

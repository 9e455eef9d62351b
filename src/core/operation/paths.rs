//! Names that appear, disappear and move, and the readers that follow them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;

use super::Operation;
use crate::core::attributes::Found;
use crate::core::effects::{Effect, Forget, Listed, Reply};
use crate::core::event::Event;
use crate::core::generation::Writer;
use crate::core::ids::ReaderId;
use crate::core::namespace::{Creator, Inode, Kind, Rename};
use crate::core::readers::reader::Awaits;
use crate::core::request::{At, Caller, at};
use crate::core::{File, Handle};

impl Operation<'_> {
    /// Looks a name up for the kernel, which holds a reference to the inode from then on.
    pub(super) fn lookup(&mut self, caller: Caller, at: &At) -> Result<Found, Errno> {
        let (parent, name) = (at.0, &*at.1);
        let thread = caller.thread;
        if self.control_is_at(parent, name) {
            return self.look_up_place(caller, (parent, name));
        }
        let ino = match name.as_bytes() {
            // The kernel asks for these only to open a file handle whose inode it has forgotten.
            b"." => parent,
            b".." => self.names.parent(parent)?,
            _ => {
                let found = self.names.find(parent, name);
                let ino = found.inspect_err(|_| self.sent_back.has_found_nothing(thread))?;
                self.names.used_name(ino, parent, name);
                self.sent_back.has_found(thread, parent, name, ino);
                if !caller.internal
                    && let Some(found) = self.find_fifo(thread, (name, ino))
                {
                    return found;
                }
                ino
            }
        };
        self.found_by(thread, ino, true)
    }

    /// Makes a file and opens it.
    pub(super) fn create(
        &mut self,
        at: &At,
        creator: Creator,
        (flags, writer): (i32, Writer),
    ) -> Result<Reply, Errno> {
        let user = Some(creator.uid);
        self.check_room_to_open(user)?;
        self.note_unseen(&writer)?;
        let ino = match self.names.find(at.0, &at.1) {
            // This is a virtual FIFO whose writer was told that the name does not exist.
            Ok(ino) if self.is_to_make(writer.pid, &at.1, ino) => ino,
            _ => self.make_file(at, creator)?,
        };
        // For writing, even if it is opened for reading only: a program that creates a file so has it
        // written next (after locking it, say). Readers that wait for the name are marked
        // when the generation has begun: before, the file would look empty and done.
        let (handle, transport) = self.open_for_writing(ino, flags, (writer, user))?;
        Ok(Reply::Created {
            found: self.found(ino, true)?,
            handle,
            transport,
        })
    }

    pub(super) fn make_file(&mut self, at: &At, creator: Creator) -> Result<u64, Errno> {
        let (parent, name) = (at.0, &*at.1);
        self.may_change(parent, name)?;
        self.refuse_if_taken(parent, name)?;
        self.refuse_in_place_of_a_stream((parent, name), None)?;
        let ino = self.make(at, Kind::File, creator, 0)?;
        let pool = self.pool.of(creator.uid);
        self.files.insert(ino, File::new(&pool));
        Ok(ino)
    }

    /// Makes a file, FIFO, socket or device without opening it.
    pub(super) fn make_node(
        &mut self,
        at: &At,
        creator: Creator,
        (kind, rdev): (u32, u32),
    ) -> Result<Reply, Errno> {
        let (parent, name) = (at.0, &*at.1);
        if kind == libc::S_IFIFO && self.makes_virtual(parent, name) {
            return self.make_fifo(at, creator);
        }
        let ino = if kind == libc::S_IFREG || kind == 0 {
            self.make_file(at, creator)?
        } else {
            self.make(at, Kind::Special(kind), creator, rdev)?
        };
        self.touched.names.add(name.to_owned());
        self.made(ino)
    }

    /// Makes a directory.
    pub(super) fn make_directory(&mut self, at: &At, creator: Creator) -> Result<Reply, Errno> {
        let ino = self.make(at, Kind::directory(at.0), creator, 0)?;
        self.touched.all_paths = true;
        self.made(ino)
    }

    /// Makes a symbolic link.
    pub(super) fn make_symlink(
        &mut self,
        at: &At,
        creator: Creator,
        target: &Path,
    ) -> Result<Reply, Errno> {
        let ino = self.make(at, Kind::Symlink(target.to_owned()), creator, 0)?;
        self.touched.names.add(at.1.clone());
        self.made(ino)
    }

    fn make(&mut self, at: &At, kind: Kind, creator: Creator, rdev: u32) -> Result<u64, Errno> {
        let (parent, name) = (at.0, &*at.1);
        self.may_change(parent, name)?;
        let now = self.wall;
        self.names.make(parent, name, kind, creator, rdev, now)
    }

    /// Answers with the inode that was made; the kernel holds a reference to it from now on.
    fn made(&mut self, ino: u64) -> Result<Reply, Errno> {
        self.found(ino, true).map(Reply::Found)
    }

    /// Answers with the inode that a name leads to; the kernel holds a reference to it from now on. A virtual
    /// FIFO's name is never cacheable, as it leads to the next message a moment later.
    pub(super) fn found(&mut self, ino: u64, cacheable: bool) -> Result<Found, Errno> {
        self.names.looked_up(ino);
        let mut attributes = self.attributes(ino)?;
        // Its size may grow at any moment.
        attributes.cacheable &= !self.names.is_seen_unfinished(ino);
        Ok(Found {
            attributes,
            incarnation: self.names.incarnation(ino),
            cacheable: cacheable && self.fifo_of(ino).is_none(),
        })
    }

    /// The same for a thread that may not be the file's writer. While a file is open for writing, a lookup by another
    /// thread is noted: the kernel then knows it unfinished. (A writer gets the answer before it writes more.)
    pub(super) fn found_by(
        &mut self,
        thread: i32,
        ino: u64,
        cacheable: bool,
    ) -> Result<Found, Errno> {
        let is_written_by_others = |file: &File| {
            file.generation().is_open() && file.writers().iter().all(|writer| writer.pid != thread)
        };
        if self.files.get(&ino).is_some_and(is_written_by_others) {
            self.names.note_seen_unfinished(ino);
        }
        self.found(ino, cacheable)
    }

    /// Checked before [`Self::refuse_in_place_of_a_stream`]: a request that is refused anyway must not fail a
    /// stream.
    fn refuse_if_taken(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        match self.names.find(parent, name) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => Ok(()),
        }
    }

    /// Gives a file another name.
    pub(super) fn link(&mut self, caller: Caller, ino: u64, at: &At) -> Result<Reply, Errno> {
        let (parent, name) = (at.0, &*at.1);
        let user = caller.user.unwrap_or(self.settings.owner.uid);
        self.may_change(parent, name)?;
        self.refuse_if_taken(parent, name)?;
        self.refuse_in_place_of_a_stream((parent, name), Some(ino))?;
        self.core.names.link(ino, (parent, name), user, self.wall)?;
        self.touched.names.add(name.to_owned());
        self.made(ino)
    }

    /// Removes a name of a file.
    pub(super) fn unlink(&mut self, at: &At) -> Result<Reply, Errno> {
        let (parent, name) = (at.0, &*at.1);
        self.may_change(parent, name)?;
        let ino = self.names.find(parent, name)?;
        let path = self.path_of(ino);
        self.core.names.unlink(parent, name, self.wall)?;
        self.lost_name(ino);
        self.publish_as(&path, || Event::Removed);
        self.touched.names.add(name.to_owned());
        // A capture of this name may have held it.
        self.touched.generations.add(ino);
        self.reap(ino);
        Ok(Reply::Done)
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, at: &At) -> Result<Reply, Errno> {
        let (parent, name) = (at.0, &*at.1);
        self.may_change(parent, name)?;
        let ino = self.core.names.remove_directory(parent, name, self.wall)?;
        self.touched.names.add(name.to_owned());
        self.reap(ino);
        Ok(Reply::Done)
    }

    /// Moves a name.
    pub(super) fn rename(&mut self, from: &At, to: &At, how: Rename) -> Result<Reply, Errno> {
        let (from, to) = ((from.0, &*from.1), (to.0, &*to.1));
        self.may_change(from.0, from.1)?;
        self.may_change(to.0, to.1)?;
        let ino = self.names.find(from.0, from.1)?;
        let exchanged = match how {
            Rename::Exchange => Some(self.names.find(to.0, to.1)?),
            Rename::KeepTarget => self.refuse_if_taken(to.0, to.1).map(|()| None)?,
            Rename::Replace => None,
        };
        self.refuse_in_place_of_a_stream(to, Some(ino))?;
        if exchanged.is_some() {
            self.refuse_in_place_of_a_stream(from, exchanged)?;
        }
        let before = self.path_of(ino);
        let replaced = self.core.names.rename(from, to, how, self.wall)?;
        self.lost_name(ino);
        if let Some(other) = replaced.or(exchanged) {
            self.lost_name(other);
        }
        let is_file = self.names.get(ino)?.is_file();
        self.publish(ino, || Event::Renamed { from: before });
        if is_file && how != Rename::Exchange {
            self.touched.names.add(from.1.to_owned());
            self.touched.names.add(to.1.to_owned());
        } else {
            self.touched.all_paths = true;
        }
        self.touched.generations.add(ino);
        if let Some(exchanged) = exchanged {
            self.touched.generations.add(exchanged);
        }
        if let Some(replaced) = replaced {
            self.touched.generations.add(replaced);
            self.reap(replaced);
        }
        Ok(Reply::Done)
    }

    /// Opens a directory to be listed; returns the handle.
    pub(super) fn open_directory(&mut self, ino: u64) -> Result<u64, Errno> {
        match self.is_control(ino) {
            true => Ok(0),
            false => self.names.open_directory(ino),
        }
    }

    /// The entries of a directory after a cookie, as many as fit.
    pub(super) fn list(
        &mut self,
        ino: u64,
        (handle, after): (u64, u64),
        room: usize,
        entry_bytes: fn(usize) -> usize,
    ) -> Result<Reply, Errno> {
        let mut listed = Vec::new();
        if self.is_control(ino) {
            return Ok(Reply::Listing(listed));
        }
        let end = self.names.listing_end(ino, handle, after)?;
        let mut left = room;
        for (ino, cookie, name) in self.names.list(ino, after, end)? {
            let Some(rest) = left.checked_sub(entry_bytes(name.len())) else {
                break;
            };
            left = rest;
            let inode = self.names.get(ino);
            listed.push(Listed {
                ino: inode.as_ref().map_or(ino, |inode| inode.st_ino(ino)),
                cookie,
                mode: inode.map_or(0, Inode::st_mode),
                name: name.to_owned(),
            });
        }
        Ok(Reply::Listing(listed))
    }

    /// A file has lost a name, by which the kernel may just have found it.
    fn lost_name(&mut self, ino: u64) {
        if let Ok(inode) = self.core.names.get_mut(ino) {
            inode.lost_name = Some(self.now);
        }
        self.changed_by_name(ino);
    }

    /// Attributes were changed by a name. The kernel may have seen that happen to another incarnation.
    pub(super) fn changed_by_name(&mut self, ino: u64) {
        if self.names.incarnation(ino) > 0 {
            self.forget_attributes(ino);
        }
    }

    /// Removes a file that was read to its end, by the name used last.
    pub(super) fn consume(&mut self, ino: u64) {
        let Some(mut path) = self.names.path(ino) else {
            return;
        };
        let Some(name) = path.pop() else {
            return;
        };
        let Some(parent) = self.names.resolve(&path) else {
            return;
        };
        if self.unlink(&at(parent, &*name)).is_ok() {
            self.effects
                .push(Effect::Forget(Forget::Name { parent, name }));
        }
    }

    /// Another file may stand at this name now, in any directory.
    pub(super) fn name_changed(&mut self, name: &OsStr) {
        self.hang_up_again(name);
        let following: Vec<ReaderId> = self.readers.following(name).collect();
        for id in following {
            self.find_again(id);
        }
        if self.names.has_symlinks() {
            // Any path may lead through a link of this name.
            self.touched.all_paths = true;
        }
    }

    /// A directory or link was made, removed or moved: every path may lead elsewhere.
    pub(super) fn all_paths_changed(&mut self) {
        for id in self.readers.all_following() {
            self.find_again(id);
        }
    }

    /// A file began a new generation, for which readers may wait at its names.
    pub(super) fn path_changed(&mut self, ino: u64) {
        for mut path in self.names.paths(ino) {
            if let Some(name) = path.pop() {
                self.touched.names.add(name);
            }
        }
    }

    /// The file at a path, if it is one that a reader waits for.
    pub(super) fn awaited(&self, awaits: Awaits, path: &[OsString]) -> Option<u64> {
        let ino = self.names.resolve(path)?;
        let file = self.files.get(&ino)?;
        if let Awaits::NextAfter(Some(seen)) = awaits
            && seen.ino == ino
        {
            let openings = file.generation().openings();
            let reopened = seen.openings.is_some_and(|before| openings > before);
            if file.generation().number() == seen.number && !reopened {
                return None;
            }
        }
        match awaits {
            Awaits::Since(process) => process.precedes(file.generation()).then_some(ino),
            _ => Some(ino),
        }
    }

    /// A reader looks its path up again.
    fn find_again(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.get(id) else {
            return;
        };
        let (Some(path), false) = (reader.path(), reader.is_finished()) else {
            return;
        };
        let (before, position) = (reader.source(), reader.position());
        let fifo = reader.origin().fifo;
        let streams = self.has_streamed(reader);
        let is_stream = before
            .and_then(|ino| self.files.get(&ino))
            .is_some_and(File::is_stream);
        let is_of_group = reader.origin().group.is_some();
        let found = self.awaited(reader.awaits(), path);
        if fifo.is_some() && found.is_none_or(|ino| self.fifo_of(ino) == fifo) {
            // A reader stays with its FIFO even if that loses its name.
            return;
        }
        let follows_file = matches!(reader.awaits(), Awaits::File(_));
        // The file has lost one of several names: the reader follows another one that the file had when
        // it was opened. (Names that the file got later do not count.)
        let is_still_there = |path: &&Vec<OsString>| self.names.resolve(path) == before;
        let other = reader
            .origin()
            .other_paths
            .iter()
            .find(is_still_there)
            .cloned();
        if let (None, true, Some(other)) = (found, follows_file, other) {
            self.readers.follow(id, other);
            self.set_absent(id, false);
            return self.touched.readers.add(id);
        }
        match found {
            Some(ino) if before == Some(ino) => self.set_absent(id, false),
            Some(_) if streams => {
                // Not every replacement can be refused: a directory above was moved, say.
                self.readers.stop_following(id);
                if let Some(before) = before {
                    self.lose(before, "cannot be replaced", 0, Errno::SPIPE);
                }
            }
            Some(ino) => {
                self.set_absent(id, false);
                if position > 0 {
                    self.keep_prior(id);
                }
                self.set_source(id, Some(ino));
            }
            None if follows_file || position > 0 || is_stream => self.set_absent(id, true),
            None => self.set_source(id, None),
        }
        if let Some(before) = before {
            self.touched.room.add(before);
        }
        if let (Some(ino), true) = (before, is_of_group) {
            // Other readers may have waited for this one, as a step.
            self.touched.generations.add(ino);
        }
        self.touched.readers.add(id);
    }

    fn set_absent(&mut self, id: ReaderId, absent: bool) {
        if let Some(reader) = self.readers.get_mut(id) {
            reader.set_absent(absent);
        }
    }

    /// Freezes the tree, unless a file is open for writing now: from then on opening for writing, making,
    /// renaming, removing and truncating files gives `EROFS`. Returns whether the tree is frozen.
    pub(super) fn freeze(&mut self) -> bool {
        let writes = |handle: &Handle| matches!(handle, Handle::Writer { .. });
        self.is_frozen = self.is_frozen || !self.handles.values().any(writes);
        self.is_frozen
    }

    /// Checks that files may be changed.
    pub(super) fn refuse_frozen(&self) -> Result<(), Errno> {
        match self.is_frozen {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }

    /// Checks that a name may be made, changed or removed.
    pub(super) fn may_change(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.refuse_control(parent, name)?;
        self.refuse_frozen()
    }
}

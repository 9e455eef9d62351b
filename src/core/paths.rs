//! Names that come, go and move, and what that does to those who follow them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::effects::{Effect, Effects, Transport};
use super::events::Event;
use super::generation::Writer;
use super::namespace::{Creator, Kind, Rename};
use super::reader::{Awaits, ReaderId};
use super::recording::{Deed, at as noted};
use super::{Attributes, Core, Env, File};

impl Core {
    /// Makes a file and opens it.
    pub(crate) fn create(
        &mut self,
        env: Env<'_>,
        at: (u64, &OsStr),
        creator: Creator,
        flags: i32,
        writer: Writer,
        effects: &mut Effects,
    ) -> Result<(Attributes, u64, Transport), Errno> {
        let user = Some(creator.uid);
        self.check_room_to_open(user)?;
        self.note_unseen(&writer)?;
        let ino = self.make_file(env, at, creator, effects)?;
        let opener = writer.clone();
        // Also if it is opened for reading only: who makes a file so has it written
        // next, with a lock on it, say. Those who wait for the name hear of it when
        // the generation has begun: before, it would look like a file that is empty
        // and done.
        let (handle, transport) =
            self.open_for_writing(env, ino, flags, (writer, user), effects)?;
        self.record(env, || Deed::Create {
            at: noted(at),
            ino,
            handle,
            flags,
            writer: opener,
        });
        self.names.looked_up(ino);
        Ok((self.attributes(ino)?, handle, transport))
    }

    fn make_file(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
        creator: Creator,
        effects: &mut Effects,
    ) -> Result<u64, Errno> {
        self.may_change(parent, name)?;
        self.refuse_if_taken(parent, name)?;
        self.refuse_in_place_of_a_stream(env, (parent, name), None, effects)?;
        let ino = self
            .names
            .make(parent, name, Kind::File, creator, 0, env.now.wall)?;
        let pool = self.pool.of(creator.uid);
        self.files.insert(ino, File::new(&pool));
        Ok(ino)
    }

    /// Makes a file, FIFO, socket or device without opening it.
    pub(crate) fn make_node(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
        creator: Creator,
        kind: u32,
        rdev: u32,
        effects: &mut Effects,
    ) -> Result<Attributes, Errno> {
        let mode = kind;
        let ino = if kind == libc::S_IFREG || kind == 0 {
            let ino = self.make_file(env, (parent, name), creator, effects)?;
            self.touched.names.add(name.to_owned());
            ino
        } else {
            self.may_change(parent, name)?;
            let kind = Kind::Special(kind);
            self.names
                .make(parent, name, kind, creator, rdev, env.now.wall)?
        };
        self.record(env, || Deed::MakeNode {
            at: noted((parent, name)),
            ino,
            kind: mode,
        });
        self.names.looked_up(ino);
        self.attributes(ino)
    }

    /// Makes a directory.
    pub(crate) fn make_directory(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
        creator: Creator,
    ) -> Result<Attributes, Errno> {
        self.may_change(parent, name)?;
        let ino = self
            .names
            .make_directory(parent, name, creator, env.now.wall)?;
        self.record(env, || Deed::MakeDirectory {
            at: noted((parent, name)),
            ino,
        });
        self.touched.all_paths = true;
        self.names.looked_up(ino);
        self.attributes(ino)
    }

    /// Makes a symbolic link.
    pub(crate) fn make_symlink(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
        creator: Creator,
        target: &Path,
    ) -> Result<Attributes, Errno> {
        self.may_change(parent, name)?;
        let kind = Kind::Symlink(target.to_owned());
        let ino = self
            .names
            .make(parent, name, kind, creator, 0, env.now.wall)?;
        self.record(env, || Deed::MakeSymlink {
            at: noted((parent, name)),
            ino,
            target: target.to_owned(),
        });
        self.touched.names.add(name.to_owned());
        self.names.looked_up(ino);
        self.attributes(ino)
    }

    /// Where a symbolic link points.
    pub(crate) fn read_link(&self, ino: u64) -> Result<PathBuf, Errno> {
        if let Some(target) = self.control_link(ino) {
            return Ok(target);
        }
        match &self.names.get(ino)?.kind {
            Kind::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        }
    }

    /// What would not be done anyway puts nothing in the place of a stream.
    fn refuse_if_taken(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        match self.names.find(parent, name) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => Ok(()),
        }
    }

    /// Gives a file another name, for this user.
    pub(crate) fn link(
        &mut self,
        env: Env<'_>,
        ino: u64,
        (parent, name): (u64, &OsStr),
        user: u32,
        effects: &mut Effects,
    ) -> Result<Attributes, Errno> {
        self.may_change(parent, name)?;
        self.refuse_if_taken(parent, name)?;
        self.refuse_in_place_of_a_stream(env, (parent, name), Some(ino), effects)?;
        self.names.link(ino, (parent, name), user, env.now.wall)?;
        self.record(env, || Deed::Link {
            at: noted((parent, name)),
            ino,
        });
        self.touched.names.add(name.to_owned());
        self.names.looked_up(ino);
        self.attributes(ino)
    }

    /// Removes a name of a file.
    pub(crate) fn unlink(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        self.may_change(parent, name)?;
        let ino = self.names.find(parent, name)?;
        let path = self.path_of(ino);
        self.names.unlink(parent, name, env.now.wall)?;
        self.lost_name(env, ino);
        self.record(env, || Deed::Unlink {
            at: noted((parent, name)),
        });
        self.publish_as(env, &path, effects, || Event::Removed);
        self.touched.names.add(name.to_owned());
        // It may have been held by this name.
        self.touched.generations.add(ino);
        self.reap(ino);
        Ok(())
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(
        &mut self,
        env: Env<'_>,
        (parent, name): (u64, &OsStr),
    ) -> Result<(), Errno> {
        self.may_change(parent, name)?;
        let ino = self.names.remove_directory(parent, name, env.now.wall)?;
        self.record(env, || Deed::RemoveDirectory {
            at: noted((parent, name)),
        });
        self.touched.names.add(name.to_owned());
        self.reap(ino);
        Ok(())
    }

    /// Moves a name.
    pub(crate) fn rename(
        &mut self,
        env: Env<'_>,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        how: Rename,
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        self.may_change(from.0, from.1)?;
        self.may_change(to.0, to.1)?;
        let ino = self.names.find(from.0, from.1)?;
        let exchanged = match how {
            Rename::Exchange => Some(self.names.find(to.0, to.1)?),
            Rename::KeepTarget => self.refuse_if_taken(to.0, to.1).map(|()| None)?,
            Rename::Replace => None,
        };
        self.refuse_in_place_of_a_stream(env, to, Some(ino), effects)?;
        if exchanged.is_some() {
            self.refuse_in_place_of_a_stream(env, from, exchanged, effects)?;
        }
        let before = self.path_of(ino);
        let replaced = self.names.rename(from, to, how, env.now.wall)?;
        self.lost_name(env, ino);
        if let Some(other) = replaced.or(exchanged) {
            self.lost_name(env, other);
        }
        self.record(env, || Deed::Rename {
            from: noted(from),
            to: noted(to),
            how,
        });
        let is_file = self.names.get(ino)?.is_file();
        self.publish(env, ino, effects, || Event::Renamed { from: before });
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
        Ok(())
    }

    /// A file has one name less, but the kernel may just have found it by that.
    fn lost_name(&mut self, env: Env<'_>, ino: u64) {
        if let Ok(inode) = self.names.get_mut(ino) {
            inode.lost_name = Some(env.now.monotonic);
        }
    }

    /// Removes a file that was read to its end.
    pub(super) fn consume(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(mut path) = self.names.path(ino) else {
            return;
        };
        let Some(name) = path.pop() else {
            return;
        };
        let Some(parent) = self.names.resolve(&path) else {
            return;
        };
        if self.unlink(env, (parent, &name), effects).is_ok() {
            effects.push(Effect::ForgetName { parent, name });
        }
    }

    /// What stands at this name, in whatever directory, may be another now.
    pub(super) fn name_changed(&mut self, env: Env<'_>, name: &OsStr, effects: &mut Effects) {
        self.hang_up_again(name, effects);
        if let Some(ids) = self.followers.get(name) {
            for id in ids.clone() {
                self.find_again(env, id, effects);
            }
        }
        if self.names.has_symlinks() {
            // Any path may lead through one, under whatever name.
            self.touched.all_paths = true;
        }
    }

    /// A directory or a link came, went or moved: every path may lead elsewhere.
    pub(super) fn all_paths_changed(&mut self, env: Env<'_>, effects: &mut Effects) {
        let all: BTreeSet<ReaderId> = self.followers.values().flatten().copied().collect();
        for id in all {
            self.find_again(env, id, effects);
        }
    }

    /// A file began a new generation, which somebody may wait for by its name.
    pub(super) fn path_changed(&mut self, ino: u64) {
        for mut path in self.names.paths(ino) {
            if let Some(name) = path.pop() {
                self.touched.names.add(name);
            }
        }
    }

    /// What a reader waits for, if it stands at its path.
    pub(super) fn awaited(&self, awaits: Awaits, path: &[OsString]) -> Option<u64> {
        let ino = self.names.resolve(path)?;
        let file = self.files.get(&ino)?;
        if let Awaits::NextAfter(Some(seen)) = awaits
            && seen.ino == ino
        {
            let generation = file.generation.as_ref();
            let reopened = seen.openings.is_some_and(|openings| {
                generation.is_some_and(|generation| generation.openings > openings)
            });
            if generation.map_or(0, |g| g.number) == seen.number && !reopened {
                return None;
            }
        }
        if let Awaits::Since(process) = awaits {
            let generation = file.generation.as_ref();
            return generation
                .is_some_and(|generation| process.precedes(generation))
                .then_some(ino);
        }
        Some(ino)
    }

    /// A reader looks its path up again.
    fn find_again(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) {
        let Some(reader) = self.readers.get(&id) else {
            return;
        };
        let (Some(path), false) = (&reader.path, reader.finished) else {
            return;
        };
        let (before, position) = (reader.source, reader.position);
        let streams = self.has_streamed(reader);
        let is_stream = before
            .and_then(|ino| self.files.get(&ino))
            .is_some_and(File::is_stream);
        let accompanies = reader.group.is_some();
        let found = self.awaited(reader.awaits, path);
        let follows_file = matches!(reader.awaits, Awaits::File(_));
        // One name of several is gone: it was another that was opened, or may as
        // well have been. (A name that the file got since does not count.)
        let is_still_there = |path: &&Vec<OsString>| self.names.resolve(path) == before;
        let other = reader.other_paths.iter().find(is_still_there).cloned();
        if let (None, true, Some(other)) = (found, follows_file, other) {
            self.follow(id, Some(other));
            self.set_absent(id, false);
            return self.touched.readers.add(id);
        }
        match found {
            Some(ino) if before == Some(ino) => self.set_absent(id, false),
            Some(_) if streams => {
                // By another directory, say, which could not be refused.
                self.stop_following(id);
                if let Some(before) = before {
                    self.lose(env, before, "cannot be replaced", 0, Errno::SPIPE, effects);
                }
            }
            Some(ino) => {
                self.set_absent(id, false);
                if position > 0 {
                    self.keep_prior(env, id, effects);
                }
                self.set_source(id, Some(ino));
            }
            None if follows_file || position > 0 || is_stream => self.set_absent(id, true),
            None => self.set_source(id, None),
        }
        if let Some(before) = before {
            self.touched.room.add(before);
        }
        if let (Some(ino), true) = (before, accompanies) {
            // It may have been what others waited for.
            self.touched.generations.add(ino);
        }
        self.touched.readers.add(id);
    }

    fn set_absent(&mut self, id: ReaderId, absent: bool) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.absent = absent;
        }
    }

    /// Keeps what a reader was given, to be compared with what it gets next.
    pub(super) fn keep_prior(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) {
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        let Some(file) = reader.source.and_then(|ino| self.files.get(&ino)) else {
            return;
        };
        if reader.prior.is_some() {
            return;
        }
        if file.spool.base() > 0 || file.is_stream() {
            let all = 0..reader.position;
            self.mark_rewritten(env, id, all, effects);
        } else {
            reader.prior = Some(file.spool.snapshot(reader.position));
        }
    }
}

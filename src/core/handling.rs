//! The one way in: a request is handled, and what follows from it is done.
//!
//! Knows which handler is whose. Each changes the state and marks what it touched; the settle pass
//! ([`super::settling`]) does the rest. The invariant: every request of somebody who waits for an answer
//! is answered once, by an effect, now or later: also those that are given up, and all of them when the
//! mount goes away.

use rustix::io::Errno;

use super::effects::{Effects, Reply, Unique};
use super::namespace::ROOT;
use super::request::{Caller, Loaded, Request};
use super::{Core, Env, Waiting};

impl Core {
    /// Handles a request, with all that follows from it.
    pub(crate) fn handle<'a>(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        loaded: impl Into<Loaded<'a>>,
    ) -> Effects {
        let loaded = loaded.into();
        let mut effects = Effects::default();
        self.tally.requests += 1;
        let recording = self.recording.as_mut().filter(|_| !caller.internal);
        let recorded = recording.and_then(|it| it.begin(env.now.monotonic, &loaded));
        let reply = match self.perform(env, caller, loaded, &mut effects) {
            Ok(reply) => reply,
            Err(errno) => Some(Reply::Refused(errno)),
        };
        if let (Some(recorded), Some(recording)) = (recorded, &mut self.recording) {
            let reply = reply.as_ref().or_else(|| effects.reply_to(caller.unique));
            recording.finish(recorded, reply);
        }
        self.settle(env, &mut effects);
        // Those whom it concerns first: what is told of a name comes before the word that it is gone.
        if let Some(reply) = reply {
            effects.reply(caller.unique, reply);
        }
        effects.gathers = self.readers.are_gathering();
        effects.next_alarm = self.next_alarm();
        effects
    }

    /// Does what is asked for. Gives the reply, unless that comes with the effects, or later, or nobody
    /// waits for one.
    fn perform(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        Loaded { request, load }: Loaded<'_>,
        effects: &mut Effects,
    ) -> Result<Option<Reply>, Errno> {
        let mut reply = None;
        let mut answer = |with: Reply| reply = Some(with);
        match request {
            Request::Lookup { at } => answer(Reply::Found(self.lookup(env, caller, &at)?)),
            Request::Forget { ino, lookups } => self.forget(ino, lookups),
            Request::Create {
                at,
                creator,
                flags,
                writer,
            } => answer(self.create(env, &at, creator, (flags, writer), effects)?),
            Request::MakeNode {
                at,
                creator,
                kind,
                rdev,
            } => answer(self.make_node(env, &at, creator, (kind, rdev), effects)?),
            Request::MakeDirectory { at, creator } => {
                answer(self.make_directory(env, &at, creator)?);
            }
            Request::MakeSymlink {
                at,
                creator,
                target,
            } => answer(self.make_symlink(env, &at, creator, &target)?),
            Request::Link { ino, at } => answer(self.link(env, caller, ino, &at, effects)?),
            Request::Unlink { at } => {
                answer(match self.is_made_again(env, caller.thread, &at, effects) {
                    true => Reply::Done,
                    false => self.unlink(env, &at, effects)?,
                })
            }
            Request::RemoveDirectory { at } => answer(self.remove_directory(env, &at)?),
            Request::Rename { from, to, how } => {
                answer(self.rename(env, &from, &to, how, effects)?)
            }
            Request::OpenDirectory { ino } => answer(Reply::Handle(self.open_directory(ino)?)),
            Request::List {
                ino,
                handle,
                after,
                room,
                entry_bytes,
            } => answer(self.list(ino, (handle, after), room, entry_bytes)?),
            Request::CloseDirectory { handle } => {
                self.names.close_directory(handle);
                answer(Reply::Done);
            }
            Request::Attributes {
                ino,
                by_handle,
                opener,
            } => self.get_attributes(env, caller, (ino, by_handle), &opener, effects),
            Request::Change { ino, changes } => {
                answer(Reply::Attributes(self.change(env, ino, changes, effects)?));
            }
            Request::SetXattr {
                ino,
                name,
                value,
                flags,
            } => answer(self.set_xattr(env, caller, ino, (&name, value), flags)?),
            Request::RemoveXattr { ino, name } => answer(self.remove_xattr(env, ino, &name)?),
            Request::Open {
                ino,
                flags,
                writer,
                opener,
                kills_set_id,
            } => {
                if kills_set_id {
                    self.drop_privileges(env, ino, effects);
                }
                self.open(env, caller, (ino, flags), writer, &opener, effects);
            }
            Request::Read {
                ino,
                handle,
                wanted,
                fills_pages,
            } => match fills_pages {
                true => self.fill_pages(env, caller, (ino, handle), wanted, effects),
                false => self.read(env, caller, handle, wanted, effects),
            },
            Request::Write { ino, bytes } => self.write(env, caller, ino, (bytes, load), effects),
            Request::Release { handle } => {
                self.release(env, handle, effects);
                answer(Reply::Done);
            }
            Request::Poll {
                handle,
                kernel_handle,
            } => self.poll(env, caller, handle, kernel_handle, effects),
            Request::Seek {
                ino,
                handle,
                offset,
                data,
            } => self.seek(caller, (ino, handle), offset, data, effects),
            Request::Allocate {
                ino,
                offset,
                length,
                mode,
                by,
            } => {
                self.allocate(env, ino, (offset, length), mode, effects)?;
                self.changed_by(env, ino, by, effects);
                answer(Reply::Done);
            }
            Request::Copy {
                from,
                to,
                length,
                by,
            } => {
                let copied = self.copy_range(env, from, to, length, effects)?;
                self.changed_by(env, to.0, by, effects);
                answer(Reply::Written(copied));
            }
            Request::Cancel { unique } => self.give_up(env, unique, Errno::INTR, effects),
            Request::AlsoWrites { ino, writer } => {
                if let Some(generation) = self.generation_mut(ino) {
                    generation.add_writer(writer);
                }
            }
            Request::CannotBeWatched { ino, errno } => {
                self.warn_of_unwatched(env, ino, errno, effects);
            }
            Request::Closes { ino, pid } => {
                if let Some(generation) = self.generation_mut(ino) {
                    generation.closed_by(pid);
                }
            }
            Request::DiesWriting { ino, pid, ending } => {
                if let Some(generation) = self.generation_mut(ino) {
                    generation.died_writing(pid, ending);
                }
            }
            Request::ProcessEnded { pid, ending } => self.process_ended(pid, ending),
            Request::GroupEnded { group } => self.group_ended(group),
            Request::KnowProcess { ino, target } => self.control.know_process(ino, target),
            Request::Tick => self.tick(env),
            Request::EndBatch => self.end_gathering(),
            Request::NotFlushed { ino } => self.not_flushed(env, ino, effects),
            Request::ShutDown => self.shut_down(env, effects),
            Request::Capture { path } => answer(Reply::Captured(self.capture(env, &path)?)),
            Request::OpenCaptured {
                id,
                reading,
                opener,
            } => {
                let handle = self.open_captured(env, caller, (id, reading), &opener)?;
                answer(Reply::Handle(handle));
            }
            Request::Hold { id } => self.captures.add_holder(id),
            Request::LetGo { id } => self.let_go(id),
            Request::KeepAtMost { id, bytes } => self.captures.keep_at_most(id, bytes),
            Request::HangUp { id } => self.hang_up(id, effects),
            Request::EndCapture { id, directory } => {
                self.end_capture(env, id, directory, effects);
            }
            Request::MakeOwnDirectory { name } => {
                self.make_own_directory(env, ROOT, &name)?;
                answer(Reply::Done);
            }
            Request::RemoveTree { name } => self.remove_tree(env, (ROOT, &name), effects),
            Request::OpenEvents { path } => answer(Reply::Handle(self.open_events(path))),
            Request::Freeze => answer(Reply::Frozen(self.freeze())),
        }
        Ok(reply)
    }

    /// Gives up a request that waits.
    pub(super) fn give_up(
        &mut self,
        env: Env<'_>,
        unique: Unique,
        errno: Errno,
        effects: &mut Effects,
    ) {
        let Some((kept, _)) = self.waiting.remove(&unique) else {
            return;
        };
        let mut reply = Reply::Refused(errno);
        match kept {
            Waiting::Open(id) => self.drop_reader(env, id, effects),
            Waiting::Read(id) => {
                if let Some(reader) = self.readers.get_mut(id) {
                    reader.give_up_read(unique);
                }
            }
            Waiting::Write(ino) => {
                let file = self.files.get_mut(&ino);
                if let Some(written) = file.and_then(|file| file.give_up_write(unique)) {
                    reply = written;
                }
            }
            Waiting::Events(id) => self.events.cancel(id, unique),
            Waiting::FifoOpen(id) => self.leaves_queue(id, unique),
        }
        effects.reply(unique, reply);
    }

    /// The mount is going away: who waits is answered with an error, now and from now on.
    pub(super) fn shut_down(&mut self, env: Env<'_>, effects: &mut Effects) {
        if !std::mem::replace(&mut self.is_shut_down, true) {
            self.refuse_all(env, effects);
            self.notify_all_pollers(env, effects);
        }
    }

    pub(super) fn refuse_all(&mut self, env: Env<'_>, effects: &mut Effects) {
        let waiting: Vec<Unique> = self.waiting.keys().copied().collect();
        for unique in waiting {
            self.give_up(env, unique, Errno::NOTCONN, effects);
        }
    }
}

//! The one way in: [`Core::handle`] handles a request and everything that follows from it.
//!
//! Knows the handler of each request. A handler changes the state and marks what it touched; the settle pass
//! ([`super::settling`]) does the rest. The invariant: every request whose caller waits is answered once, by an
//! effect, now or later, also if it is given up or the mount goes away.

use rustix::io::Errno;

use super::Operation;
use crate::core::captures::Hold;
use crate::core::effects::{Effects, Outcome, Reply};
use crate::core::ids::Unique;
use crate::core::namespace::ROOT;
use crate::core::request::{Caller, Loaded, Request};
use crate::core::{Alarm, Core, Env, Waiting};

impl Core {
    /// Handles a request and everything that follows from it.
    pub(crate) fn handle<'a>(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        loaded: impl Into<Loaded<'a>>,
    ) -> Effects {
        let loaded = loaded.into();
        self.tally.requests += 1;
        let recording = self.recording.as_mut().filter(|_| !caller.internal);
        let recorded = recording.and_then(|it| it.begin(env.now.monotonic, &loaded));
        let mut operation = Operation::new(self, env);
        if operation.pool.is_stuck() {
            // The request may need memory, and would be refused.
            operation.make_room();
        }
        let reply = match operation.perform(caller, loaded) {
            Ok(reply) => reply,
            Err(errno) => Some(Reply::Refused(errno)),
        };
        if let (Some(recorded), Some(recording)) = (recorded, &mut operation.core.recording) {
            recording.finish(recorded, reply.as_ref());
        }
        operation.settle();
        // The caller's reply comes last: what others get because of a name is sent before the caller learns that
        // it is gone.
        if let Some(reply) = reply {
            operation.reply(caller.unique, Ok(reply));
        }
        let mut effects = operation.effects;
        effects.next_alarm = self.next_alarm();
        effects
    }
}

impl Operation<'_> {
    /// Calls the request's handler. Returns the reply, unless it comes later, or the caller waits for none.
    fn perform(&mut self, caller: Caller, Loaded { request, load }: Loaded<'_>) -> Outcome {
        let mut reply = None;
        let mut answer = |with: Reply| reply = Some(with);
        match request {
            Request::Lookup { at } => answer(Reply::Found(self.lookup(caller, &at)?)),
            Request::Forget { ino, lookups } => self.forget(ino, lookups),
            Request::Create {
                at,
                creator,
                flags,
                writer,
            } => answer(self.create(&at, creator, (flags, writer))?),
            Request::MakeNode {
                at,
                creator,
                kind,
                rdev,
            } => answer(self.make_node(&at, creator, (kind, rdev))?),
            Request::MakeDirectory { at, creator } => {
                answer(self.make_directory(&at, creator)?);
            }
            Request::MakeSymlink {
                at,
                creator,
                target,
            } => answer(self.make_symlink(&at, creator, &target)?),
            Request::Link { ino, at } => answer(self.link(caller, ino, &at)?),
            Request::Unlink { at } => answer(match self.is_made_again(caller.thread, &at) {
                true => Reply::Done,
                false => self.unlink(&at)?,
            }),
            Request::RemoveDirectory { at } => answer(self.remove_directory(&at)?),
            Request::Rename { from, to, how } => answer(self.rename(&from, &to, how)?),
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
            } => return self.get_attributes(caller, (ino, by_handle), &opener),
            // The kernel uses an old incarnation; after this error it looks up the present one.
            Request::Change { ino, .. } if self.names.is_outdated(ino, caller.incarnation) => {
                return Err(Errno::STALE);
            }
            Request::Change { ino, changes } => {
                answer(Reply::Attributes(self.change(ino, changes)?));
            }
            Request::SetXattr {
                ino,
                name,
                value,
                flags,
            } => answer(self.set_xattr(caller, ino, (&name, value), flags)?),
            Request::RemoveXattr { ino, name } => answer(self.remove_xattr(ino, &name)?),
            Request::Open {
                ino,
                flags,
                writer,
                opener,
                kills_set_id,
            } => {
                if kills_set_id {
                    self.drop_privileges(ino, false);
                }
                return self.open(caller, (ino, flags), writer, &opener);
            }
            Request::Read {
                ino,
                handle,
                wanted,
                fills_pages,
            } => {
                return match fills_pages {
                    true => self.fill_pages(caller, (ino, handle), wanted),
                    false => self.read(caller, handle, wanted),
                };
            }
            Request::Write { ino, bytes } => self.write(caller, ino, (bytes, load))?,
            Request::Release { handle } => {
                self.release(handle);
                answer(Reply::Done);
            }
            Request::Poll {
                handle,
                kernel_handle,
            } => answer(self.poll(handle, kernel_handle)),
            Request::Seek {
                ino,
                handle,
                offset,
                data,
            } => answer(self.seek((ino, handle), offset, data)?),
            Request::Allocate {
                ino,
                offset,
                length,
                mode,
                by,
            } => {
                self.allocate(ino, (offset, length), mode)?;
                self.changed_by(ino, by);
                answer(Reply::Done);
            }
            Request::Copy {
                from,
                to,
                length,
                by,
            } => {
                let copied = self.copy_range(from, to, length)?;
                self.changed_by(to.0, by);
                answer(Reply::Written(copied));
            }
            Request::Cancel { unique } => self.give_up(unique, Errno::INTR),
            Request::AlsoWrites { ino, writer } => {
                if let Some(generation) = self.generation_mut(ino) {
                    generation.add_writer(writer);
                }
            }
            Request::CannotBeWatched { ino, errno } => {
                self.warn_of_unwatched(ino, errno);
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
            Request::NobodyElseLeft { left } => self.nobody_else_left(&left),
            Request::KnowProcess { ino, target } => self.control.know_process(ino, target),
            Request::Tick => self.tick(),
            Request::NotFlushed { ino } => self.not_flushed(ino),
            Request::ShutDown => self.shut_down(),
            Request::Capture { path } => answer(Reply::Captured(self.capture(&path)?)),
            Request::OpenCaptured {
                id,
                reading,
                opener,
            } => {
                let handle = self.open_captured(caller, (id, reading), &opener)?;
                answer(Reply::Handle(handle));
            }
            Request::Hold { id, again } => self.captures.add_holder(id, again),
            Request::LetGo { id, left_others } => match left_others && self.is_unopened(id) {
                true => self.let_go_later(id),
                false => self.let_go(id, Hold::Released),
            },
            Request::Abandon { id } => self.let_go(id, Hold::Abandoned),
            Request::KeepAtMost { id, bytes } => self.captures.keep_at_most(id, bytes),
            Request::ReleaseBytes { handle, range } => self.release_bytes(handle, range),
            Request::HangUp { id } => self.hang_up(id),
            Request::EndCapture { id, directory } => {
                self.end_capture(id, directory);
            }
            Request::MakeOwnDirectory { name } => {
                self.make_own_directory(ROOT, &name)?;
                answer(Reply::Done);
            }
            Request::RemoveTree { name } => self.remove_tree((ROOT, &name)),
            Request::OpenEvents { path } => answer(Reply::Handle(self.open_events(path))),
            Request::Freeze => answer(Reply::Frozen(self.freeze())),
        }
        Ok(reply)
    }

    /// Marks everything whose alarm is due.
    pub(super) fn tick(&mut self) {
        while let Some(&(at, alarm)) = self.alarms.first() {
            if at > self.now {
                break;
            }
            self.alarms.pop_first();
            match alarm {
                Alarm::File(ino) => {
                    self.touched.generations.add(ino);
                    self.touched.room.add(ino);
                }
                Alarm::Flush(ino) => self.touched.writeback.add(ino),
                Alarm::Reader(id) => self.touched.readers.add(id),
                Alarm::LetGo(id) => {
                    for _ in 0..self.captures.take_leaving(id, at) {
                        self.let_go(id, Hold::Released);
                    }
                }
            }
        }
    }

    /// Gives up a request that waits.
    pub(super) fn give_up(&mut self, unique: Unique, errno: Errno) {
        let Some((kept, _)) = self.waiting.remove(&unique) else {
            return;
        };
        let mut reply = Err(errno);
        match kept {
            Waiting::Open(id) => self.drop_reader(id),
            Waiting::Read(id) => {
                if let Some(reader) = self.readers.get_mut(id) {
                    reader.give_up_read(unique);
                }
            }
            Waiting::Write(ino) => {
                let file = self.files.get_mut(&ino);
                if let Some(written) = file.and_then(|file| file.give_up_write(unique)) {
                    reply = Ok(Reply::Written(written));
                }
            }
            Waiting::Events(id) => self.events.cancel(id, unique),
            Waiting::FifoOpen(id) => self.leaves_queue(id, unique),
        }
        self.reply(unique, reply);
    }

    /// The mount is going away: requests that wait now, or would from now on, get an error.
    pub(super) fn shut_down(&mut self) {
        if !std::mem::replace(&mut self.is_shut_down, true) {
            self.refuse_all();
            self.notify_all_pollers();
        }
    }

    pub(super) fn refuse_all(&mut self) {
        let waiting: Vec<Unique> = self.waiting.keys().copied().collect();
        for unique in waiting {
            self.give_up(unique, Errno::NOTCONN);
        }
    }
}

//! Opening for writing, and writing: what writers do to a file, and what that
//! does to those who read it.

use std::ops::Range;
use std::path::PathBuf;

use rustix::io::Errno;

use super::clock::Timestamp;
use super::effects::{Effect, Effects, Reply, Transport};
use super::events::Event;
use super::generation::{Ending, Generation, Way, Writer};
use super::notices::Notice;
use super::request::{Bytes, Caller};
use super::room::OPEN_BYTES;
use super::rules::Deliver;
use super::settling::TakenWrite;
use super::spool::{self, Load};
use super::{Alarm, Core, Env, File, Handle, HeldWrite, Waiting, format};

impl Core {
    /// A file is opened for writing: by an open or by being made.
    pub(super) fn open_for_writing(
        &mut self,
        env: Env<'_>,
        ino: u64,
        flags: i32,
        (writer, user): (Writer, Option<u32>),
        effects: &mut Effects,
    ) -> Result<(u64, Transport), Errno> {
        self.refuse_frozen()?;
        self.note_unseen(&writer)?;
        let path = self.names.path(ino);
        self.file(ino)?;
        let is_new = self.begin_generation(env, ino, path.as_deref(), effects)?;
        let now = env.now.monotonic;
        let (pid, name) = (writer.pid.cast_unsigned(), writer.name.clone());
        let records = self.recording.is_some();
        let file = self.file_mut(ino)?;
        let is_message = file.fifo.is_some();
        let length = file.spool.len();
        let Some(generation) = file.generation.as_mut() else {
            return Err(Errno::IO);
        };
        let stranger = generation.handles > 0
            && !generation.writers.iter().any(|known| {
                known.pid == writer.pid || (known.group.is_some() && known.group == writer.group)
            });
        let number = generation.number;
        // Whoever waits for the next writing by name may have it now.
        let may_be_next = is_new || generation.handles == 0;
        generation.opened(now);
        // Whoever makes a file by O_EXCL to write it only, as cp and tar do, writes it now.
        let writes_now = flags & libc::O_TRUNC != 0
            || flags & libc::O_EXCL != 0 && flags & libc::O_ACCMODE == libc::O_WRONLY;
        generation.is_placeholder |= !writes_now;
        generation.add_writer(writer);
        if !generation.written {
            if flags & libc::O_ACCMODE == libc::O_RDWR {
                generation.choose(Way::Settled, "opened for reading and writing", true);
            } else if flags & libc::O_APPEND != 0 {
                generation.choose(Way::Follow, "opened for appending", true);
            }
            if length > 0 && flags & libc::O_TRUNC == 0 {
                generation.first_byte.get_or_insert(now);
            }
        }
        let transport = match generation.way {
            Some(Way::Stream) => Transport::Direct,
            // So that a write waits, or fails, when it is made.
            _ if is_message && flags & libc::O_ACCMODE != libc::O_RDWR => Transport::Direct,
            _ if records => Transport::Direct,
            _ => Transport::Cached,
        };
        let cached = transport == Transport::Cached;
        file.cached_writers += u32::from(cached);
        self.publish(env, ino, effects, || Event::Opened {
            pid,
            name: name.clone(),
            generation: number,
        });
        if stranger {
            let message = format!("{name} ({pid}) writes to it while others do");
            self.warn(env, ino, message, effects);
        }
        if flags & libc::O_TRUNC != 0
            && let Err(errno) = self.truncate_by_open(env, ino, effects)
        {
            self.names.pin(ino);
            let _kept = self.pool_of(user).keep_anyway(OPEN_BYTES / 2);
            let handle = self.add_handle(Handle::Writer { ino, cached, _kept });
            self.release(env, handle, effects);
            return Err(errno);
        }
        if may_be_next {
            self.path_changed(ino);
        }
        self.touched.contents.add(ino);
        self.touched.writeback.add(ino);
        self.names.pin(ino);
        let _kept = self.pool_of(user).keep_anyway(OPEN_BYTES / 2);
        let handle = self.add_handle(Handle::Writer { ino, cached, _kept });
        Ok((handle, transport))
    }

    /// Says, or refuses, that somebody writes who cannot be seen.
    pub(super) fn note_unseen(&mut self, writer: &Writer) -> Result<(), Errno> {
        match (writer.pid, self.settings.require_visible) {
            (0, true) => {
                self.notices.say(Notice::RefusedWriter);
                Err(Errno::PERM)
            }
            (0, false) => {
                self.notices.say(Notice::UnseenWriter);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Makes a new generation if the last one is over; says whether it did.
    fn begin_generation(
        &mut self,
        env: Env<'_>,
        ino: u64,
        path: Option<&[std::ffi::OsString]>,
        effects: &mut Effects,
    ) -> Result<bool, Errno> {
        let has_reader = self.settings.readers_wait || self.is_captured(ino);
        let was_read = self.captures.was_read(&self.names, ino);
        let file = self.files.get_mut(&ino).ok_or(Errno::NOENT)?;
        let (number, told_done, lost) = match &file.generation {
            Some(last) if last.is_active() => return Ok(false),
            Some(last) => (last.number + 1, last.told_done, last.lost),
            None => (1, false, false),
        };
        // What an earlier generation left as gaps are zeros, for good.
        file.spool.fill_gaps();
        file.format = None;
        let mut generation = Generation::new(number);
        // Until the file is emptied.
        generation.lost = lost;
        let path: PathBuf = path.unwrap_or_default().iter().collect();
        let rule = self.settings.rules.choose(&path);
        if let Some((deliver, rule)) = rule {
            let way = match deliver {
                Deliver::Auto => None,
                // Where nobody comes to read, whoever writes would wait for ever: a
                // temporary file, say, that is to be renamed when it is whole.
                Deliver::Stream if !has_reader => Some(Way::Follow),
                Deliver::Stream => Some(Way::Stream),
                Deliver::Follow => Some(Way::Follow),
                Deliver::Settled => Some(Way::Settled),
            };
            if let Some(way) = way {
                generation.choose(way, format!("--deliver {rule}"), false);
            }
        }
        generation.had_reader = was_read;
        // Readers that have not had all of the last one go on with this one.
        let readers = file.readers.iter().filter_map(|id| self.readers.get(id));
        let unfinished = readers.filter(|reader| {
            !reader.finished && reader.prior.is_none() && reader.rewritten.is_none()
        });
        for reader in unfinished {
            generation.had_reader = true;
            generation.delivered = generation.delivered.max(reader.position);
        }
        file.generation = Some(generation);
        if told_done {
            let message = "it is written again after readers were told that it was done; \
                           --linger exit waits until those who write have exited"
                .to_owned();
            self.warn(env, ino, message, effects);
        }
        Ok(true)
    }

    /// A process turned out to write that did not open the file itself.
    pub(super) fn also_writes(&mut self, ino: u64, writer: Writer) {
        if let Some(generation) = self.generation_mut(ino) {
            generation.add_writer(writer);
        }
    }

    /// A process dies that still has a file open for writing, and how, as far as that can be seen.
    pub(super) fn died_writing(&mut self, ino: u64, pid: i32, ending: Ending) {
        if let Some(generation) = self.generation_mut(ino) {
            generation.died_writing(pid, ending);
        }
    }

    /// A process that is known to write a file has closed it.
    pub(crate) fn closed_by(&mut self, ino: u64, pid: i32) {
        if let Some(generation) = self.generation_mut(ino) {
            generation.closed_by(pid);
        }
    }

    /// Whether a process is known to write a file, and runs.
    pub(crate) fn is_writer(&self, ino: u64, pid: i32) -> bool {
        self.writer(ino, pid).is_some()
    }

    /// Whether it is, and has never closed the file.
    pub(crate) fn keeps_open(&self, ino: u64, pid: i32) -> bool {
        self.writer(ino, pid).is_some_and(|w| !w.has_closed)
    }

    fn writer(&self, ino: u64, pid: i32) -> Option<&Writer> {
        let is_it = |w: &&Writer| w.pid == pid && w.ending == Ending::Running && !w.let_go;
        self.generation(ino)?.writers.iter().find(is_it)
    }

    /// Whether a process is known to write to the file behind a handle that may
    /// write, and has not let go of it; nothing if the handle may not.
    pub(crate) fn knows_writer(&self, handle: u64, pid: i32) -> Option<(u64, bool)> {
        let Some(Handle::Writer { ino, .. }) = self.handles.get(&handle) else {
            return None;
        };
        self.generation(*ino)?;
        // One who has ended was another process with the same id.
        Some((*ino, self.is_writer(*ino, pid)))
    }

    /// Takes the bytes of a write and answers it, now or when the readers have
    /// come near enough.
    pub(super) fn write(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        ino: u64,
        bytes: Bytes<'_>,
        effects: &mut Effects,
    ) {
        let Bytes {
            offset,
            mut data,
            from_cache,
            kills_set_id,
        } = bytes;
        if kills_set_id {
            self.drop_privileges(env, ino, effects);
        }
        let unique = caller.unique;
        let length = data.len() as u32;
        let is_busy = self.is_busy(env, ino);
        let taken = self.take(env, ino, (offset, from_cache), &mut data, effects);
        if let Err(errno) = taken {
            // Of what the kernel's cache held the program was told long ago that it was
            // written.
            if from_cache {
                self.lose(env, ino, "could not be kept", offset, errno, effects);
            }
            return effects.refuse(unique, errno);
        }
        if !from_cache {
            self.stamp_write(env.now.wall, ino);
        }
        self.touched.writes.push_back(TakenWrite {
            unique,
            thread: caller.thread,
            ino,
            length,
            end: offset + u64::from(length),
            from_cache,
            comes_first: is_busy,
            may_gather: self.settings.gathers && !from_cache,
        });
    }

    /// Answers a write, unless it must wait until the readers have come nearer.
    pub(super) fn answer_write(&mut self, env: Env<'_>, write: TakenWrite, effects: &mut Effects) {
        let TakenWrite {
            unique,
            ino,
            length,
            ..
        } = write;
        let Some(patience) = self.must_hold(ino, write.end, write.from_cache) else {
            let reply = Reply::Written(length);
            match write.comes_first {
                true => effects.push_first(Effect::Reply { unique, reply }),
                false => effects.reply(unique, reply),
            }
            return;
        };
        let until = env.now.monotonic.checked_add(patience);
        if let Some(file) = self.files.get_mut(&ino) {
            file.held_writes.push_back(HeldWrite {
                unique,
                length,
                until,
            });
        }
        self.waiting
            .insert(unique, (Waiting::Write(ino), write.thread));
        if let Some(until) = until {
            self.wake_at(until, Alarm::File(ino));
        }
    }

    /// Puts bytes into the file, at an offset, from the kernel's cache or not.
    pub(super) fn take(
        &mut self,
        env: Env<'_>,
        ino: u64,
        (offset, from_cache): (u64, bool),
        data: &mut Load<'_>,
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len() as u64;
        spool::end_of(offset, length)?;
        data.align(offset);
        match self.generation_mut(ino) {
            // Two threads of the kernel that write its cache back may overtake each other: what was
            // written first may still be on its way.
            Some(generation) if from_cache && offset > 0 && generation.is_undecided() => {
                generation.first_byte.get_or_insert(env.now.monotonic);
            }
            _ => self.note_first_write(env, ino, offset, data.beginning(), effects)?,
        }
        self.file_mut(ino)?.refuse_if_broken()?;
        self.refuse_what_was_passed_on(env, ino, offset, effects)?;
        let file = self.file_mut(ino)?;
        let changed = file.delivered_difference(offset, data)?;
        file.put(offset, data)?;
        self.tally.written += length;
        if let Some(range) = changed {
            self.rewritten(env, ino, range, effects);
        }
        self.publish(env, ino, effects, || Event::Wrote {
            offset,
            bytes: length,
        });
        self.touched.contents.add(ino);
        Ok(())
    }

    /// A file is closed: all that was in the kernel's cache has come, and nothing at its beginning.
    pub(super) fn note_no_first_write(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let is_late = |g: &Generation| g.is_undecided() && g.first_byte.is_some();
        if self.generation(ino).is_some_and(is_late) {
            // Cannot fail: the file is there.
            let _ = self.note_first_write(env, ino, 1, &[], effects);
        }
    }

    /// Chooses the way by the first write, if nothing chose it before.
    fn note_first_write(
        &mut self,
        env: Env<'_>,
        ino: u64,
        offset: u64,
        data: &[u8],
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        let file = self.files.get_mut(&ino).ok_or(Errno::NOENT)?;
        let Some(generation) = file.generation.as_mut().filter(|g| !g.written) else {
            return Ok(());
        };
        generation.written = true;
        generation.first_byte.get_or_insert(env.now.monotonic);
        let name = self.names.path(ino).and_then(|mut path| path.pop());
        let by_name = name.as_deref().and_then(format::by_extension);
        let by_content = || format::by_content(data).filter(|_| offset == 0);
        if let Some(way) = generation.way {
            file.format = by_name.or_else(by_content);
            let reason = generation.reason.clone();
            self.publish(env, ino, effects, || Event::Chosen { way, reason });
            return Ok(());
        }
        let by_content = by_content();
        file.format = by_name.or(by_content);
        let (way, reason) = if offset > 0 {
            (
                Way::Settled,
                "first written beyond its beginning".to_owned(),
            )
        } else if file.fifo.is_some() && by_name.or(by_content).is_none() {
            (
                Way::Follow,
                "bytes of no known kind, written to a FIFO".to_owned(),
            )
        } else {
            format::choose(by_name, by_content, name.as_deref(), data)
        };
        generation.choose(way, reason.clone(), true);
        self.publish(env, ino, effects, || Event::Chosen { way, reason });
        // Who waits for what is settled needs nothing written back.
        self.touched.writeback.add(ino);
        Ok(())
    }

    /// The file was changed in a way that the kernel leaves to us to stamp.
    pub(super) fn stamp_write(&mut self, now: Timestamp, ino: u64) {
        if let Ok(inode) = self.names.get_mut(ino) {
            inode.mtime = now;
            inode.ctime = now;
        }
    }
}

impl File {
    /// Puts bytes into it; if that fails nothing has changed.
    pub(super) fn put(&mut self, offset: u64, data: &mut Load<'_>) -> Result<(), Errno> {
        // Where its bytes end that are not zero, if that matters.
        let ends_in_zeros = self.format.is_some_and(|format| format.trailing_zeros);
        let last = ends_in_zeros.then(|| data.last_nonzero()).flatten();
        self.spool.take(offset, data)?;
        if let Some(last) = last {
            self.zeros_from = self.zeros_from.max(offset + last as u64 + 1);
        }
        Ok(())
    }

    /// Which of the bytes about to be written differ from what readers have.
    fn delivered_difference(
        &self,
        offset: u64,
        data: &Load<'_>,
    ) -> Result<Option<Range<u64>>, Errno> {
        let delivered = self.generation.as_ref().map_or(0, |g| g.delivered);
        if offset >= delivered {
            return Ok(None);
        }
        let mut differs: Option<Range<u64>> = None;
        let mut failed = false;
        data.each(|at, bytes| {
            let at = offset + at as u64;
            let length = bytes.len().min(delivered.saturating_sub(at) as usize);
            match self.spool.difference(at, &bytes[..length]) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let start = differs.as_ref().map_or(found.start, |before| before.start);
                    differs = Some(start..found.end);
                }
                Err(_) => failed = true,
            }
        });
        if failed { Err(Errno::IO) } else { Ok(differs) }
    }
}

/// A writer of whom nothing can be known, as in another pid namespace.
pub(crate) fn unseen_writer() -> Writer {
    Writer {
        pid: 0,
        name: "unseen".into(),
        group: None,
        ending: Ending::Running,
        let_go: false,
        died_writing: false,
        has_closed: false,
    }
}

//! Opening for writing, writing, closing: what writers do to a file, and what
//! that does to those who read it.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::PathBuf;

use rustix::io::Errno;

use super::effects::{Bytes, Caller, Effect, Effects, Transport, Unique};
use super::events::Event;
use super::generation::{Ending, Generation, Phase, Processes, Way, Writer};
use super::rules::Deliver;
use super::{Alarm, Core, Env, File, Handle, HeldWrite, Waiting, format};

/// How much one `copy_file_range` moves: the kernel asks again for the rest.
const COPY_BYTES: u64 = 16 << 20;
/// How much of it is in hand at once.
const COPY_STEP_BYTES: usize = 1 << 20;

impl Core {
    /// A file is opened for writing: by an open or by being made.
    pub(super) fn open_for_writing(
        &mut self,
        env: Env<'_>,
        ino: u64,
        flags: i32,
        writer: Writer,
        effects: &mut Effects,
    ) -> Result<(u64, Transport), Errno> {
        let path = self.names.path(ino);
        self.file(ino)?;
        let is_new = self.begin_generation(env, ino, path.as_deref(), effects)?;
        let now = env.now.monotonic;
        let (pid, name) = (writer.pid, writer.name.clone());
        let file = self.file_mut(ino)?;
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
        generation.opened();
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
            _ => Transport::Cached,
        };
        let cached = transport == Transport::Cached;
        file.cached_writers += u32::from(cached);
        self.publish(env, ino, effects, || Event::Opened {
            pid,
            name: &name,
            generation: number,
        });
        if stranger {
            let message = format!("{name} ({pid}) writes to it while others do");
            self.warn(env, ino, message, effects);
        }
        if flags & libc::O_TRUNC != 0 {
            self.truncate_by_open(env, ino, effects)?;
        }
        if may_be_next {
            self.path_changed(env, ino, effects);
        }
        self.update_flushing(ino, effects);
        self.names.pin(ino);
        Ok((self.add_handle(Handle::Writer { ino, cached }), transport))
    }

    /// Makes a new generation if the last one is over; says whether it did.
    fn begin_generation(
        &mut self,
        env: Env<'_>,
        ino: u64,
        path: Option<&[std::ffi::OsString]>,
        effects: &mut Effects,
    ) -> Result<bool, Errno> {
        let file = self.files.get_mut(&ino).ok_or(Errno::NOENT)?;
        let (number, told_done) = match &file.generation {
            Some(generation) if generation.is_active() => return Ok(false),
            Some(generation) => (generation.number + 1, generation.told_done),
            None => (1, false),
        };
        // What an earlier generation left as gaps are zeros, for good.
        file.spool.fill_gaps();
        file.format = None;
        let mut generation = Generation::new(number);
        let path: PathBuf = path.unwrap_or_default().iter().collect();
        let rule = self.settings.rules.choose(&path);
        if let Some((deliver, rule)) = rule {
            let way = match deliver {
                Deliver::Auto => None,
                Deliver::Stream => Some(Way::Stream),
                Deliver::Follow => Some(Way::Follow),
                Deliver::Settled => Some(Way::Settled),
            };
            if let Some(way) = way {
                generation.choose(way, format!("--deliver {rule}"), false);
            }
        }
        // Readers that have not had all of the last one go on with this one.
        let readers = file.readers.iter().filter_map(|id| self.readers.get(id));
        let unfinished = readers.filter(|reader| !reader.finished && reader.prior.is_none());
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
    pub(crate) fn wrote_too(&mut self, ino: u64, writer: Writer) {
        if let Some(generation) = self
            .files
            .get_mut(&ino)
            .and_then(|file| file.generation.as_mut())
        {
            generation.add_writer(writer);
        }
    }

    /// Whether a process is known to write to the file behind a handle that may
    /// write; nothing if the handle may not.
    pub(crate) fn knows_writer(&self, handle: u64, pid: i32) -> Option<(u64, bool)> {
        let Some(Handle::Writer { ino, .. }) = self.handles.get(&handle) else {
            return None;
        };
        let generation = self.files.get(ino)?.generation.as_ref()?;
        Some((*ino, generation.writers.iter().any(|w| w.pid == pid)))
    }

    /// Takes the bytes of a write and answers it, now or when the readers have
    /// come near enough.
    pub(crate) fn write(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        ino: u64,
        bytes: Bytes<'_>,
        effects: &mut Effects,
    ) {
        let Bytes {
            offset,
            data,
            from_cache,
        } = bytes;
        let unique = caller.unique;
        let length = data.len() as u32;
        if let Err(errno) = self.take(env, ino, offset, data, effects) {
            // The program was told long ago that this was written, and may hear
            // otherwise only when it closes the file.
            let generation = self.files.get_mut(&ino).and_then(|f| f.generation.as_mut());
            if let (true, Some(generation)) = (from_cache, generation) {
                generation.lost = true;
                let message = format!("bytes from {offset} on could not be kept: {errno}");
                self.warn(env, ino, message, effects);
            }
            return effects.refuse(unique, errno);
        }
        if from_cache {
            return effects.push(Effect::Written { unique, length });
        }
        self.stamp_write(env, ino);
        match self.must_hold(ino, offset + data.len() as u64) {
            Some(true) => {
                let until = env.now.monotonic.saturating_add(self.settings.patience);
                if let Some(file) = self.files.get_mut(&ino) {
                    file.held_writes.push_back(HeldWrite {
                        unique,
                        length,
                        until,
                    });
                }
                self.waiting
                    .insert(unique, (Waiting::Write(ino), caller.thread));
                self.wake_at(until, Alarm::File(ino));
            }
            _ => effects.push(Effect::Written { unique, length }),
        }
    }

    /// Puts bytes into the file and wakes whoever waits for them.
    fn take(
        &mut self,
        env: Env<'_>,
        ino: u64,
        offset: u64,
        data: &[u8],
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::FBIG)?;
        if end > i64::MAX as u64 {
            return Err(Errno::FBIG);
        }
        self.note_first_write(env, ino, offset, data, effects)?;
        let file = self.file_mut(ino)?;
        if file.is_broken() {
            return Err(Errno::PIPE);
        }
        if offset < file.spool.base() {
            return Err(Errno::SPIPE);
        }
        let changed = file.delivered_difference(offset, data)?;
        file.spool.write(offset, data)?;
        if file.format.is_some_and(|format| format.trailing_zeros)
            && let Some(last) = data.iter().rposition(|byte| *byte != 0)
        {
            file.zeros_from = file.zeros_from.max(offset + last as u64 + 1);
        }
        if let Some(range) = changed {
            self.rewritten(env, ino, range, effects);
        }
        self.publish(env, ino, effects, || Event::Wrote {
            offset,
            bytes: data.len() as u64,
        });
        self.progress_all(env, ino, effects);
        Ok(())
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
        let by_content = format::by_content(data).filter(|_| offset == 0);
        file.format = by_name.or(by_content);
        if generation.way.is_some() {
            let (way, reason) = (generation.way, generation.reason.clone());
            self.publish(env, ino, effects, || Event::Chosen {
                way: way.map_or("", Way::as_str),
                reason: &reason,
            });
            return Ok(());
        }
        let (way, reason) = if offset > 0 {
            (
                Way::Settled,
                "first written beyond its beginning".to_owned(),
            )
        } else {
            choose_by_format(by_name, by_content, name.as_deref())
        };
        generation.choose(way, reason.clone(), true);
        self.publish(env, ino, effects, || Event::Chosen {
            way: way.as_str(),
            reason: &reason,
        });
        Ok(())
    }

    /// The file was changed by a write that the kernel leaves to us to stamp.
    fn stamp_write(&mut self, env: Env<'_>, ino: u64) {
        if let Ok(inode) = self.names.get_mut(ino) {
            inode.mtime = env.now.wall;
            inode.ctime = env.now.wall;
        }
    }

    /// Bytes that readers were given are no longer so.
    pub(super) fn rewritten(
        &mut self,
        env: Env<'_>,
        ino: u64,
        range: Range<u64>,
        effects: &mut Effects,
    ) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        for id in file.readers.clone() {
            let Some(reader) = self.readers.get_mut(&id) else {
                continue;
            };
            let concerned =
                !reader.finished && reader.prior.is_none() && reader.position > range.start;
            if !concerned || reader.rewritten.is_some() {
                continue;
            }
            let range = range.start..range.end.min(reader.position);
            reader.rewritten = Some(range.clone());
            let (pid, name) = (reader.pid, reader.name.clone());
            let message = format!(
                "bytes {} to {} were rewritten after {name} ({pid}) had them; \
                 --deliver settled waits for the finished file",
                range.start, range.end
            );
            self.publish(env, ino, effects, || Event::Rewritten {
                pid,
                name: &name,
                from: range.start,
                to: range.end,
            });
            self.warn(env, ino, message, effects);
            self.progress(env, id, effects);
        }
    }

    /// The file is set to a length other than by an open.
    pub(super) fn truncate(
        &mut self,
        env: Env<'_>,
        ino: u64,
        length: u64,
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        let file = self.file_mut(ino)?;
        if length > i64::MAX as u64 {
            return Err(Errno::FBIG);
        }
        let before = file.spool.len();
        let mut given = None;
        if let Some(generation) = file.generation.as_mut().filter(|g| g.is_active())
            && !generation.written
            && length > 0
            && length != before
        {
            generation.choose(Way::Settled, "set to a length before it was written", true);
        }
        if let Some(generation) = &file.generation {
            given = (length < generation.delivered).then_some(length..generation.delivered);
        }
        file.spool.truncate(length)?;
        file.zeros_from = file.zeros_from.min(length);
        if let Some(range) = given {
            self.rewritten(env, ino, range, effects);
        }
        if length != before {
            self.publish(env, ino, effects, || Event::Truncated { length });
        }
        self.progress_all(env, ino, effects);
        Ok(())
    }

    /// The file is emptied to be written anew: readers who have some of it go
    /// on if the new content begins with that.
    fn truncate_by_open(
        &mut self,
        env: Env<'_>,
        ino: u64,
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        let file = self.files.get_mut(&ino).ok_or(Errno::NOENT)?;
        for id in &file.readers {
            if let Some(reader) = self.readers.get_mut(id)
                && reader.position > 0
                && !reader.finished
                && reader.prior.is_none()
            {
                if file.spool.base() > 0 {
                    reader.rewritten = Some(0..reader.position);
                } else {
                    reader.prior = Some(file.spool.snapshot(reader.position));
                }
            }
        }
        if let Some(generation) = file.generation.as_mut() {
            generation.delivered = 0;
            generation.lost = false;
        }
        self.truncate(env, ino, 0, effects)?;
        if let Ok(inode) = self.names.get_mut(ino) {
            inode.mtime = env.now.wall;
            inode.ctime = env.now.wall;
        }
        Ok(())
    }

    /// `fallocate(2)`, with its own mode bits.
    pub(crate) fn allocate(
        &mut self,
        env: Env<'_>,
        ino: u64,
        offset: u64,
        length: u64,
        mode: i32,
        effects: &mut Effects,
    ) -> Result<(), Errno> {
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
        if end > i64::MAX as u64 {
            return Err(Errno::FBIG);
        }
        let file = self.file_mut(ino)?;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => {
                if let Some(generation) = file.generation.as_mut().filter(|g| !g.written) {
                    generation.choose(Way::Settled, "preallocated before it was written", true);
                }
                file.spool.allocate(offset, length, keep_size)?;
            }
            libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE => {
                let changed = file.delivered_nonzero(offset..end)?;
                file.spool.punch(offset, length)?;
                if mode & libc::FALLOC_FL_ZERO_RANGE != 0 && !keep_size && end > file.spool.len() {
                    file.spool.truncate(end)?;
                }
                if let Some(range) = changed {
                    self.rewritten(env, ino, range, effects);
                }
            }
            _ => return Err(Errno::OPNOTSUPP),
        }
        if let Ok(inode) = self.names.get_mut(ino) {
            inode.mtime = env.now.wall;
            inode.ctime = env.now.wall;
        }
        self.progress_all(env, ino, effects);
        Ok(())
    }

    /// `copy_file_range(2)` between two files of the mount; says how much was
    /// copied. What waits must be read and written in the ordinary way: then
    /// the answer is `EXDEV`, and the kernel does so.
    pub(crate) fn copy_range(
        &mut self,
        env: Env<'_>,
        from: (u64, u64, u64),
        to: (u64, u64),
        length: u64,
        effects: &mut Effects,
    ) -> Result<u32, Errno> {
        let (from_ino, from_handle, mut from_offset) = from;
        let (to_ino, mut to_offset) = to;
        let reads_as_is = matches!(
            self.handles.get(&from_handle),
            Some(Handle::Plain { .. } | Handle::Writer { .. })
        );
        let is_stream = |file: &File| {
            file.spool.base() > 0
                || file.generation.as_ref().and_then(|g| g.way) == Some(Way::Stream)
        };
        if !reads_as_is || is_stream(self.file(from_ino)?) || is_stream(self.file(to_ino)?) {
            return Err(Errno::XDEV);
        }
        let mut left = length.min(COPY_BYTES);
        let mut buffer = Vec::new();
        let mut copied = 0;
        while left > 0 {
            let step = left.min(COPY_STEP_BYTES as u64) as usize;
            buffer.clear();
            let bytes = self.file(from_ino)?.spool.read(from_offset, step);
            bytes.copy_to(&mut buffer).map_err(|_| Errno::IO)?;
            if buffer.is_empty() {
                break;
            }
            match self.take(env, to_ino, to_offset, &buffer, effects) {
                Ok(()) => {}
                Err(_) if copied > 0 => break,
                Err(errno) => return Err(errno),
            }
            let step = buffer.len() as u64;
            from_offset += step;
            to_offset += step;
            left -= step;
            copied += step as u32;
        }
        if copied > 0 {
            self.stamp_write(env, to_ino);
        }
        Ok(copied)
    }

    /// A handle is closed for good.
    pub(crate) fn release(&mut self, env: Env<'_>, handle: u64, effects: &mut Effects) {
        match self.handles.remove(&handle) {
            Some(Handle::Writer { ino, cached }) => {
                if let Some(file) = self.files.get_mut(&ino) {
                    file.cached_writers -= u32::from(cached);
                    if let Some(generation) = file.generation.as_mut() {
                        generation.closed(env.now.monotonic);
                        if generation.handles == 0 {
                            self.publish(env, ino, effects, || Event::Closed);
                        }
                    }
                }
                self.update_flushing(ino, effects);
                self.evaluate(env, ino, effects);
                self.unpin(ino);
            }
            Some(Handle::Plain { ino }) => self.unpin(ino),
            Some(Handle::Reader(id)) => self.drop_reader(env, id, effects),
            Some(Handle::Events(id)) => self.events.unsubscribe(id),
            Some(Handle::Text(_)) | None => {}
        }
    }

    /// Sees whether a closed generation is done, and whether writes that wait
    /// may go on.
    pub(super) fn evaluate(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let now = env.now.monotonic;
        let (linger, fail_on) = (self.settings.linger, self.settings.fail_on);
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        if let Some(generation) = file.generation.as_mut().filter(|g| g.is_active()) {
            let again = generation.settle(linger, fail_on, now, env.processes);
            let over = !generation.is_active();
            if let Some(at) = again {
                self.wake_at(at, Alarm::File(ino));
            }
            if over {
                self.generation_over(env, ino, effects);
            }
        }
        self.release_writes(env, ino, effects);
        self.answer_seeks(ino, false, effects);
    }

    fn generation_over(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        let Some(generation) = file.generation.as_ref() else {
            return;
        };
        let bytes = file.spool.len();
        if generation.phase == Phase::Failed {
            let culprit = generation
                .writers
                .iter()
                .find(|w| {
                    !matches!(
                        w.ending,
                        Ending::Status(0) | Ending::Running | Ending::Unknown
                    )
                })
                .cloned();
            if let Some(Writer {
                pid, name, ending, ..
            }) = culprit
            {
                let (signal, status) = match ending {
                    Ending::Signal(signal) => (Some(signal), None),
                    Ending::Status(status) => (None, Some(status)),
                    Ending::Running | Ending::Unknown => (None, None),
                };
                self.publish(env, ino, effects, || Event::Failed {
                    pid,
                    name: &name,
                    signal,
                    status,
                });
            }
        } else {
            self.publish(env, ino, effects, || Event::Done { bytes });
        }
        self.update_flushing(ino, effects);
        self.latch_readers(ino);
        self.progress_all(env, ino, effects);
    }

    /// What stands at the path when the generation is done is what its readers
    /// get: whatever happens to the name afterwards is no concern of theirs.
    fn latch_readers(&mut self, ino: u64) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        for id in file.readers.clone() {
            if let Some(reader) = self.readers.get(&id)
                && reader.open.is_none()
                && !reader.absent
            {
                self.stop_following(id);
            }
        }
    }

    /// Whether a write that reaches to `end` must wait for the readers.
    fn must_hold(&self, ino: u64, end: u64) -> Option<bool> {
        let file = self.files.get(&ino)?;
        let generation = file.generation.as_ref()?;
        if generation.way != Some(Way::Stream) || !generation.is_active() {
            return None;
        }
        let frontier = file.spool.frontier();
        // Bytes beyond a gap cannot be delivered, so nobody could end the wait.
        if end > frontier {
            return None;
        }
        let limit = self
            .slowest(file)
            .saturating_add(self.settings.window_bytes);
        Some(frontier > limit)
    }

    /// The position of the reader that has least.
    pub(super) fn slowest(&self, file: &File) -> u64 {
        file.readers
            .iter()
            .filter_map(|id| self.readers.get(id))
            .filter(|reader| !reader.finished && reader.rewritten.is_none())
            .map(|reader| reader.position)
            .min()
            .unwrap_or(file.spool.base())
    }

    /// With stream: drops what every reader has, and lets the writes go on for
    /// which there is room now.
    pub(super) fn release_writes(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        let Some(generation) = file.generation.as_ref() else {
            return;
        };
        if generation.way != Some(Way::Stream) {
            return;
        }
        let has_readers = !file.readers.is_empty();
        let slowest = self.slowest(file);
        let window = self.settings.window_bytes;
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        if has_readers {
            file.spool.drop_before(slowest);
        }
        let broken = file.is_broken();
        let room = file.spool.frontier() <= slowest.saturating_add(window);
        while let Some(write) = file.held_writes.front() {
            let HeldWrite {
                unique,
                length,
                until,
            } = *write;
            if broken {
                effects.refuse(unique, Errno::PIPE);
            } else if room || until <= env.now.monotonic {
                effects.push(Effect::Written { unique, length });
            } else {
                break;
            }
            file.held_writes.pop_front();
            self.waiting.remove(&unique);
        }
    }

    /// `SEEK_DATA` and `SEEK_HOLE`. While the kernel holds pages that were not
    /// written back, the answer waits until they are.
    pub(crate) fn seek(
        &mut self,
        caller: Caller,
        (ino, handle): (u64, u64),
        offset: u64,
        data: bool,
        effects: &mut Effects,
    ) {
        // A reader that waits reads on from where it is: a program that looked
        // for holes in what is there so far would take its end for the end.
        let waits = matches!(self.handles.get(&handle), Some(Handle::Reader(_)));
        let Some(file) = self.files.get_mut(&ino).filter(|_| !waits) else {
            return effects.refuse(caller.unique, Errno::INVAL);
        };
        if file.cached_writers == 0 || self.flusher_gone {
            return file.answer_seek(caller.unique, offset, data, effects);
        }
        if file.seeks.is_empty() {
            effects.push(Effect::FlushOnce { ino });
        }
        file.seeks.push((caller.unique, offset, data));
        self.waiting
            .insert(caller.unique, (Waiting::Seek(ino), caller.thread));
    }

    /// The dirty pages of a file were written back, or could not be.
    pub(crate) fn flushed(&mut self, ino: u64, effects: &mut Effects) {
        self.answer_seeks(ino, true, effects);
    }

    /// Nothing will be written back by request any more.
    pub(crate) fn flusher_gone(&mut self, effects: &mut Effects) {
        self.flusher_gone = true;
        let files: Vec<u64> = self.files.keys().copied().collect();
        for ino in files {
            self.answer_seeks(ino, true, effects);
        }
    }

    fn answer_seeks(&mut self, ino: u64, flushed: bool, effects: &mut Effects) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        if !flushed && file.cached_writers > 0 {
            return;
        }
        for (unique, offset, data) in std::mem::take(&mut file.seeks) {
            file.answer_seek(unique, offset, data, effects);
            self.waiting.remove(&unique);
        }
    }
}

impl File {
    fn answer_seek(&self, unique: Unique, offset: u64, data: bool, effects: &mut Effects) {
        let found = if data {
            self.spool.seek_data(offset)
        } else {
            self.spool.seek_hole(offset)
        };
        match found {
            Some(offset) => effects.push(Effect::Sought { unique, offset }),
            None => effects.refuse(unique, Errno::NXIO),
        }
    }

    /// With stream: whether there were readers and none is left.
    fn is_broken(&self) -> bool {
        self.generation.as_ref().is_some_and(|generation| {
            generation.way == Some(Way::Stream)
                && generation.is_active()
                && generation.had_reader
                && self.readers.is_empty()
        })
    }

    /// Which of the bytes about to be written differ from what readers have.
    fn delivered_difference(&self, offset: u64, data: &[u8]) -> Result<Option<Range<u64>>, Errno> {
        let delivered = self.generation.as_ref().map_or(0, |g| g.delivered);
        if offset >= delivered {
            return Ok(None);
        }
        let length = data.len().min((delivered - offset) as usize);
        self.spool
            .first_difference(offset, &data[..length])
            .map_err(|_| Errno::IO)
    }

    /// Which of the bytes about to become zero were not, and readers have them.
    fn delivered_nonzero(&self, range: Range<u64>) -> Result<Option<Range<u64>>, Errno> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let delivered = self.generation.as_ref().map_or(0, |g| g.delivered);
        let mut at = range.start;
        let end = range.end.min(delivered);
        while at < end {
            let length = ZEROS.len().min((end - at) as usize);
            let found = self
                .spool
                .first_difference(at, &ZEROS[..length])
                .map_err(|_| Errno::IO)?;
            if let Some(found) = found {
                return Ok(Some(found.start..end));
            }
            at += length as u64;
        }
        Ok(None)
    }
}

/// What auto makes of name and content.
fn choose_by_format(
    by_name: Option<&'static format::Format>,
    by_content: Option<&'static format::Format>,
    name: Option<&OsStr>,
) -> (Way, String) {
    if let Some(format) = by_content.filter(|format| format.patched) {
        return (
            Way::Settled,
            format!("begins like {}, which gets patched", format.name),
        );
    }
    match (by_name, by_content) {
        (Some(format), _) => {
            let extension =
                name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            if format.patched {
                (
                    Way::Settled,
                    format!("named {extension}: {} gets patched", format.name),
                )
            } else {
                (
                    Way::Follow,
                    format!("named {extension}: {} is only appended to", format.name),
                )
            }
        }
        (None, Some(format)) => (
            Way::Follow,
            format!("begins like {}, which is only appended to", format.name),
        ),
        (None, None) => (Way::Settled, "bytes of no known kind".to_owned()),
    }
}

/// A writer of whom nothing can be known, as in another pid namespace.
pub(crate) fn unseen_writer() -> Writer {
    Writer {
        pid: 0,
        name: "unseen".into(),
        group: None,
        ending: Ending::Running,
    }
}

/// A writer as the process table has it.
pub(crate) fn seen_writer(pid: i32, group: Option<i32>, processes: &dyn Processes) -> Writer {
    Writer {
        pid,
        name: processes.name(pid),
        group,
        ending: Ending::Running,
    }
}

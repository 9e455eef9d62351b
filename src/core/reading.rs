//! Opening for reading, reading, waiting: what a reader gets, and when.
//!
//! Everything that may change what a reader can have ends in `progress`, which
//! looks at the reader and its file and answers what can be answered now. It
//! decides from the state alone, so that calling it once too often is harmless.

use std::time::Duration;

use rustix::io::Errno;

use super::effects::{Caller, Effect, Effects, Kin, Transport};
use super::generation::{Ending, Generation, Phase, Way};
use super::reader::{Awaits, PendingRead, Reader, ReaderId};
use super::spool::Segments;
use super::{Alarm, Core, Env, Handle, SentBack, Waiting};

/// How long a read that could be answered in part waits for the rest: each
/// answer has the kernel write back the pages it covers, so that many small
/// ones make a fast writer slow.
const GATHER: Duration = Duration::from_millis(3);

/// How much is compared at once when a reader moves to another inode.
const COMPARE_BYTES: u64 = 1 << 20;

/// What a file has for readers who wait.
#[derive(Clone, Copy, Debug)]
struct View {
    /// Bytes below are gone.
    base: u64,
    /// Bytes below may be given.
    limit: u64,
    /// Whether that is all there will be.
    end: bool,
    /// Whether nobody who wrote is left, who might put something in its place.
    abandoned: bool,
    /// Whether a writer came to a bad end.
    failed: bool,
    /// How it is delivered, once chosen.
    way: Option<Way>,
}

/// What becomes of an OPEN.
enum OpenAnswer {
    Wait,
    /// An ordinary open file: there is nothing to wait for.
    Ordinary,
    /// A handle whose reads wait.
    Waiting,
    Refuse(Errno),
}

/// What becomes of a READ.
enum ReadAnswer {
    Wait,
    /// There is something, but not all that was asked for.
    WaitForMore,
    Bytes(Segments),
    End,
    Refuse(Errno),
}

impl Core {
    /// An inode is opened for reading only.
    pub(super) fn open_for_reading(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        ino: u64,
        flags: i32,
        kin: &Kin,
        effects: &mut Effects,
    ) {
        let Some(file) = self.files.get(&ino) else {
            return effects.refuse(caller.unique, Errno::NOENT);
        };
        let dropped = file.spool.base() > 0;
        let stream = file.generation.as_ref().and_then(|g| g.way) == Some(Way::Stream);
        // To be removed when it was read, a file must be read through us.
        let consumes = self.settings.consume && file.generation.is_some();
        let waits =
            (file.is_active() || consumes) && !caller.internal && !self.never_waits(ino, kin);
        if !waits {
            // If it was sent back, it has arrived.
            self.sent_back.remove(&caller.thread);
            if dropped && !caller.internal {
                return effects.refuse(caller.unique, Errno::STALE);
            }
            let transport = if stream && !caller.internal {
                Transport::Direct
            } else {
                Transport::Cached
            };
            return self.opened_plain(caller, ino, transport, effects);
        }
        let path = self.names.path(ino);
        let reader = self.new_reader(env, caller, flags, Awaits::File(ino), path);
        self.attach_reader(env, reader, Some(ino), effects);
    }

    fn opened_plain(
        &mut self,
        caller: Caller,
        ino: u64,
        transport: Transport,
        effects: &mut Effects,
    ) {
        self.names.pin(ino);
        let handle = self.add_handle(Handle::Plain { ino });
        effects.push(Effect::Opened {
            unique: caller.unique,
            handle,
            transport,
        });
    }

    /// Whether the caller, or a process above it, writes this file: such a one
    /// would wait for itself.
    fn never_waits(&self, ino: u64, kin: &Kin) -> bool {
        let Some(generation) = self.files.get(&ino).and_then(|f| f.generation.as_ref()) else {
            return false;
        };
        let writes = |pid: &i32| {
            generation
                .writers
                .iter()
                .any(|w| w.pid == *pid && w.ending == Ending::Running)
        };
        kin.holds || kin.lineage.iter().any(writes)
    }

    pub(super) fn new_reader(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        flags: i32,
        awaits: Awaits,
        path: Option<Vec<std::ffi::OsString>>,
    ) -> Reader {
        let pid = env.processes.process_of(caller.thread);
        if caller.thread == 0 {
            log::warn!(
                "a reader in another pid namespace waits: its wait cannot be interrupted by signals"
            );
        }
        Reader {
            awaits,
            pid,
            name: env.processes.name(pid),
            thread: caller.thread,
            path,
            source: None,
            absent: false,
            nonblocking: flags & libc::O_NONBLOCK != 0,
            open: Some(caller.unique),
            reads: Vec::new(),
            position: 0,
            prior: None,
            rewritten: None,
            finished: false,
            poll: None,
        }
    }

    /// A reader comes into being: its OPEN is answered or waits from here on.
    pub(super) fn attach_reader(
        &mut self,
        env: Env<'_>,
        reader: Reader,
        source: Option<u64>,
        effects: &mut Effects,
    ) {
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        if let Some(unique) = reader.open {
            self.waiting
                .insert(unique, (Waiting::Open(id), reader.thread));
        }
        let path = reader.path.clone();
        self.readers.insert(id, reader);
        self.follow(id, path);
        self.set_source(id, source, effects);
        self.progress(env, id, effects);
    }

    /// A reader reads another inode from now on.
    pub(super) fn set_source(&mut self, id: ReaderId, source: Option<u64>, effects: &mut Effects) {
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut reader.source, source);
        if before == source {
            return;
        }
        if let Some(ino) = source {
            self.names.pin(ino);
            if let Some(file) = self.files.get_mut(&ino) {
                file.readers.push(id);
                if let Some(generation) = file.generation.as_mut() {
                    generation.had_reader = true;
                }
            }
            self.update_flushing(ino, effects);
        }
        if let Some(ino) = before {
            if let Some(file) = self.files.get_mut(&ino) {
                file.readers.retain(|other| *other != id);
            }
            self.update_flushing(ino, effects);
            self.unpin(ino);
        }
    }

    /// A reader is gone.
    pub(super) fn drop_reader(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) {
        let Some(source) = self.readers.get(&id).map(|reader| reader.source) else {
            return;
        };
        if let Some(ino) = source {
            self.names.pin(ino);
        }
        self.set_source(id, None, effects);
        self.stop_following(id);
        let Some(reader) = self.readers.remove(&id) else {
            return;
        };
        for read in &reader.reads {
            self.waiting.remove(&read.unique);
            effects.refuse(read.unique, Errno::INTR);
        }
        if let Some(unique) = reader.open {
            self.waiting.remove(&unique);
        }
        if let Some(ino) = source {
            self.release_writes(env, ino, effects);
            self.unpin(ino);
        }
    }

    /// A reader follows this path from now on.
    pub(super) fn follow(&mut self, id: ReaderId, path: Option<Vec<std::ffi::OsString>>) {
        self.stop_following(id);
        if let Some(name) = path.as_ref().and_then(|path| path.last()) {
            self.followers.entry(name.clone()).or_default().push(id);
        }
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.path = path;
        }
    }

    /// A reader stays with what it has, whatever becomes of its path.
    pub(super) fn stop_following(&mut self, id: ReaderId) {
        let path = self.readers.get_mut(&id).and_then(|r| r.path.take());
        if let Some(name) = path.as_ref().and_then(|path| path.last())
            && let Some(ids) = self.followers.get_mut(name)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.followers.remove(name);
            }
        }
    }

    /// Keeps the flusher at work where somebody waits for what the kernel may
    /// still hold.
    pub(super) fn update_flushing(&mut self, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        let way = file
            .generation
            .as_ref()
            .and_then(|generation| generation.way);
        let wanted = file.cached_writers > 0
            && file.is_active()
            && way != Some(Way::Settled)
            && file
                .readers
                .iter()
                .filter_map(|id| self.readers.get(id))
                .any(|reader| !reader.finished);
        if wanted != file.flushing {
            effects.push(Effect::Flush { ino, on: wanted });
            if let Some(file) = self.files.get_mut(&ino) {
                file.flushing = wanted;
            }
        }
    }

    /// A READ, from whatever kind of handle.
    pub(crate) fn read(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        handle: u64,
        offset: u64,
        length: u32,
        effects: &mut Effects,
    ) {
        let unique = caller.unique;
        match self.handles.get(&handle) {
            Some(Handle::Plain { ino } | Handle::Writer { ino, .. }) => {
                let ino = *ino;
                self.read_as_is(caller, ino, offset, length, effects);
            }
            Some(Handle::Reader(id)) => {
                let id = *id;
                let Some(reader) = self.readers.get_mut(&id) else {
                    return effects.refuse(unique, Errno::BADF);
                };
                if let (true, Some(ino)) = (reader.finished, reader.source) {
                    let failed = self.files.get(&ino).is_some_and(|file| {
                        offset >= file.spool.len()
                            && matches!(&file.generation, Some(g) if g.phase == Phase::Failed)
                    });
                    if failed {
                        return effects.refuse(unique, Errno::IO);
                    }
                    return self.read_as_is(caller, ino, offset, length, effects);
                }
                reader.reads.push(PendingRead {
                    unique,
                    offset,
                    length,
                    since: None,
                });
                self.waiting
                    .insert(unique, (Waiting::Read(id), caller.thread));
                self.progress(env, id, effects);
            }
            Some(Handle::Text(text)) => {
                let start = (offset as usize).min(text.len());
                let end = start.saturating_add(length as usize).min(text.len());
                let bytes = text[start..end].to_vec();
                effects.push(Effect::Text { unique, bytes });
            }
            Some(Handle::Events(id)) => {
                let id = *id;
                match self.events.read(id, unique, length) {
                    Some(bytes) => effects.push(Effect::Text { unique, bytes }),
                    None => {
                        self.waiting
                            .insert(unique, (Waiting::Events(id), caller.thread));
                    }
                }
            }
            None => effects.refuse(unique, Errno::BADF),
        }
    }

    fn read_as_is(
        &self,
        caller: Caller,
        ino: u64,
        offset: u64,
        length: u32,
        effects: &mut Effects,
    ) {
        let unique = caller.unique;
        match self.files.get(&ino) {
            Some(file) if offset < file.spool.base() => effects.refuse(unique, Errno::STALE),
            Some(file) => effects.push(Effect::Data {
                unique,
                bytes: file.spool.read(offset, length as usize),
            }),
            None => effects.refuse(unique, Errno::BADF),
        }
    }

    /// A POLL: what holds now, and whom to wake when it may change.
    pub(crate) fn poll(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        handle: u64,
        kernel_handle: Option<u64>,
        effects: &mut Effects,
    ) {
        let ready = (libc::POLLIN | libc::POLLOUT | libc::POLLRDNORM | libc::POLLWRNORM) as u32;
        let mut events = ready;
        if let Some(Handle::Reader(id)) = self.handles.get(&handle) {
            let id = *id;
            events = match self.readers.get(&id) {
                Some(reader) if !reader.finished => {
                    let position = reader.position;
                    let probe = PendingRead {
                        unique: caller.unique,
                        offset: position,
                        length: 1,
                        since: None,
                    };
                    match self.answer_read(env, id, probe, true) {
                        ReadAnswer::Refuse(Errno::AGAIN) | ReadAnswer::Wait => 0,
                        _ => (libc::POLLIN | libc::POLLRDNORM) as u32,
                    }
                }
                _ => (libc::POLLIN | libc::POLLRDNORM) as u32,
            };
            if events == 0
                && let (Some(reader), Some(_)) = (self.readers.get_mut(&id), kernel_handle)
            {
                reader.poll = kernel_handle;
            }
        }
        effects.push(Effect::Polled {
            unique: caller.unique,
            events,
        });
    }

    /// Everybody who waits for a file looks at it again.
    pub(super) fn progress_all(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino).filter(|f| !f.readers.is_empty()) else {
            return;
        };
        for id in file.readers.clone() {
            self.progress(env, id, effects);
        }
    }

    /// Answers what of a reader's requests can be answered now.
    pub(super) fn progress(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) {
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        if let Some(kernel_handle) = reader.poll.take() {
            effects.push(Effect::PollAgain { kernel_handle });
        }
        if reader.open.is_some() && !self.progress_open(env, id, effects) {
            return;
        }
        let reads = match self.readers.get_mut(&id) {
            Some(reader) if !reader.reads.is_empty() => std::mem::take(&mut reader.reads),
            _ => return,
        };
        let mut answered = false;
        let mut waiting = Vec::new();
        for mut read in reads {
            let nonblocking = self.readers.get(&id).is_some_and(|r| r.nonblocking);
            match self.answer_read(env, id, read, nonblocking) {
                ReadAnswer::Wait => {
                    waiting.push(read);
                    continue;
                }
                ReadAnswer::WaitForMore => {
                    let since = *read.since.get_or_insert(env.now.monotonic);
                    self.wake_at(since + GATHER, Alarm::Reader(id));
                    waiting.push(read);
                    continue;
                }
                ReadAnswer::Bytes(bytes) => {
                    self.note_delivered(id, read.offset + bytes.len() as u64);
                    effects.push(Effect::Data {
                        unique: read.unique,
                        bytes,
                    });
                }
                ReadAnswer::End => {
                    self.finish(env, id, effects);
                    effects.push(Effect::Text {
                        unique: read.unique,
                        bytes: Vec::new(),
                    });
                }
                ReadAnswer::Refuse(errno) => effects.refuse(read.unique, errno),
            }
            self.waiting.remove(&read.unique);
            answered = true;
        }
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.reads = waiting;
            if answered && let Some(ino) = reader.source {
                self.release_writes(env, ino, effects);
            }
        }
    }

    /// Answers a reader's OPEN if it can be; says whether the reader is open.
    fn progress_open(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) -> bool {
        let answer = self.answer_open(env, id);
        let Some(reader) = self.readers.get_mut(&id) else {
            return false;
        };
        let (Some(unique), thread) = (reader.open, reader.thread) else {
            return true;
        };
        match answer {
            OpenAnswer::Wait => return false,
            OpenAnswer::Waiting => {
                reader.open = None;
                let handle = self.add_handle(Handle::Reader(id));
                effects.push(Effect::Opened {
                    unique,
                    handle,
                    transport: Transport::Direct,
                });
                self.waiting.remove(&unique);
                return true;
            }
            OpenAnswer::Ordinary => {
                let Some(ino) = reader.source else {
                    return false;
                };
                if let Some(generation) = self.generation_mut(ino) {
                    generation.told_done = true;
                }
                let caller = Caller {
                    unique,
                    thread,
                    internal: false,
                };
                self.opened_plain(caller, ino, Transport::Cached, effects);
            }
            OpenAnswer::Refuse(errno) => {
                if let (Errno::STALE, Some(ino)) = (errno, reader.source) {
                    let at = env.now.monotonic;
                    self.sent_back
                        .retain(|_, sent| at.saturating_sub(sent.at) < SENT_BACK_MEMORY);
                    self.sent_back.insert(thread, SentBack { at, ino });
                }
                effects.refuse(unique, errno);
            }
        }
        self.drop_reader(env, id, effects);
        false
    }

    fn generation_mut(&mut self, ino: u64) -> Option<&mut Generation> {
        self.files.get_mut(&ino)?.generation.as_mut()
    }

    fn answer_open(&mut self, env: Env<'_>, id: ReaderId) -> OpenAnswer {
        let Some(reader) = self.readers.get(&id) else {
            return OpenAnswer::Wait;
        };
        let (awaits, absent) = (reader.awaits, reader.absent);
        if reader.nonblocking {
            return OpenAnswer::Waiting;
        }
        let thread = reader.thread;
        let Some(source) = reader.source else {
            return OpenAnswer::Wait;
        };
        let view = self.view(env, id, source);
        if absent {
            return match awaits {
                Awaits::File(_) if view.abandoned => OpenAnswer::Refuse(Errno::NOENT),
                _ => OpenAnswer::Wait,
            };
        }
        if view.base > 0 {
            return OpenAnswer::Refuse(Errno::STALE);
        }
        if !view.end {
            return match view.way {
                None | Some(Way::Settled) => OpenAnswer::Wait,
                Some(Way::Follow | Way::Stream) => OpenAnswer::Waiting,
            };
        }
        if view.failed || self.settings.consume {
            return OpenAnswer::Waiting;
        }
        match awaits {
            Awaits::File(ino) if ino == source => OpenAnswer::Ordinary,
            // The kernel looks the path up once more, and finds what is there
            // now: then everything about the file is true, its size as well.
            _ if thread != 0 && !self.sent_back.contains_key(&thread) => {
                OpenAnswer::Refuse(Errno::STALE)
            }
            _ => {
                self.sent_back.remove(&thread);
                OpenAnswer::Waiting
            }
        }
    }

    fn answer_read(
        &mut self,
        env: Env<'_>,
        id: ReaderId,
        read: PendingRead,
        nonblocking: bool,
    ) -> ReadAnswer {
        let wait = || {
            if nonblocking {
                ReadAnswer::Refuse(Errno::AGAIN)
            } else {
                ReadAnswer::Wait
            }
        };
        let Some(source) = self.readers.get(&id).and_then(|reader| reader.source) else {
            return wait();
        };
        let view = self.view(env, id, source);
        if let Err(answer) = self.compare_prior(id, source, view) {
            return answer.unwrap_or_else(wait);
        }
        let (Some(reader), Some(file)) = (self.readers.get(&id), self.files.get(&source)) else {
            return wait();
        };
        if reader.rewritten.is_some() || read.offset < view.base {
            return ReadAnswer::Refuse(Errno::STALE);
        }
        if read.offset < view.limit {
            let available = view.limit - read.offset;
            let length = available.min(u64::from(read.length));
            let waited = read
                .since
                .is_some_and(|since| env.now.monotonic >= since + GATHER);
            let enough = length == u64::from(read.length)
                || view.end
                || nonblocking
                || waited
                || view.way == Some(Way::Stream);
            if !enough {
                return ReadAnswer::WaitForMore;
            }
            return ReadAnswer::Bytes(file.spool.read(read.offset, length as usize));
        }
        if !view.end {
            return wait();
        }
        match reader.awaits {
            Awaits::File(_) if reader.absent && view.abandoned => ReadAnswer::Refuse(Errno::NOENT),
            _ if reader.absent => wait(),
            _ if view.failed => ReadAnswer::Refuse(Errno::IO),
            _ => ReadAnswer::End,
        }
    }

    /// Sees whether the file a reader was moved to begins with what it was
    /// given. An error is the answer to its reads, or none if it must wait.
    fn compare_prior(
        &mut self,
        id: ReaderId,
        source: u64,
        view: View,
    ) -> Result<(), Option<ReadAnswer>> {
        let (Some(reader), Some(file)) = (self.readers.get_mut(&id), self.files.get_mut(&source))
        else {
            return Err(None);
        };
        let Some(prior) = &reader.prior else {
            return Ok(());
        };
        let common = reader.position.min(view.limit);
        if common < reader.position && !view.end {
            return Err(None);
        }
        let mut differs = (common < reader.position).then_some(common);
        let mut at = 0;
        while at < common {
            let length = COMPARE_BYTES.min(common - at) as usize;
            let old = prior.read(at, length);
            match old.differs_from(&file.spool.read(at, length)) {
                Ok(None) => at += length as u64,
                Ok(Some(offset)) => {
                    differs = Some(at + offset as u64);
                    break;
                }
                Err(_) => return Err(Some(ReadAnswer::Refuse(Errno::IO))),
            }
        }
        reader.prior = None;
        match differs {
            Some(offset) => reader.rewritten = Some(offset..reader.position),
            None => {
                if let Some(generation) = file.generation.as_mut() {
                    generation.delivered = generation.delivered.max(reader.position);
                }
            }
        }
        Ok(())
    }

    /// What a file has for a reader just now; arranges to be called again where
    /// the clock alone will change it.
    fn view(&mut self, env: Env<'_>, id: ReaderId, ino: u64) -> View {
        let mut again = None;
        let view = match self.files.get_mut(&ino) {
            None => View {
                base: 0,
                limit: 0,
                end: true,
                abandoned: true,
                failed: false,
                way: None,
            },
            Some(file) => {
                let (base, length) = (file.spool.base(), file.spool.len());
                let frontier = file.spool.frontier();
                match file.generation.as_mut().filter(|g| g.is_active()) {
                    None => View {
                        base,
                        limit: length,
                        end: true,
                        abandoned: file
                            .generation
                            .as_ref()
                            .is_none_or(Generation::is_abandoned),
                        failed: file
                            .generation
                            .as_ref()
                            .is_some_and(|g| g.phase == Phase::Failed),
                        way: file.generation.as_ref().and_then(|g| g.way),
                    },
                    Some(generation) => {
                        let limit = match generation.way {
                            None | Some(Way::Settled) => 0,
                            Some(Way::Stream) => frontier,
                            Some(Way::Follow) => {
                                match generation.may_hand_out(frontier, env.now.monotonic) {
                                    Ok(()) if file.format.is_some_and(|f| f.trailing_zeros) => {
                                        // tar's blocks: what may be its end mark
                                        // may also be written over.
                                        file.zeros_from.next_multiple_of(512).min(frontier)
                                    }
                                    Ok(()) => frontier,
                                    Err(at) => {
                                        again = at;
                                        0
                                    }
                                }
                            }
                        };
                        View {
                            base,
                            limit,
                            end: false,
                            abandoned: false,
                            failed: false,
                            way: generation.way,
                        }
                    }
                }
            }
        };
        if let Some(at) = again {
            self.wake_at(at, Alarm::Reader(id));
        }
        view
    }

    fn note_delivered(&mut self, id: ReaderId, position: u64) {
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        reader.position = reader.position.max(position);
        if let Some(ino) = reader.source
            && let Some(generation) = self.generation_mut(ino)
        {
            generation.delivered = generation.delivered.max(position);
        }
    }

    /// A reader was told that it has everything.
    fn finish(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) {
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        reader.finished = true;
        let Some(ino) = reader.source else {
            return;
        };
        if let Some(generation) = self.generation_mut(ino) {
            generation.told_done = true;
        }
        self.update_flushing(ino, effects);
        if self.settings.consume {
            self.consume(env, ino, effects);
        }
    }
}

/// For how long a thread that was sent back is expected to come again.
const SENT_BACK_MEMORY: Duration = Duration::from_secs(5);

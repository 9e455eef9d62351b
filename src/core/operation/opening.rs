//! Opening for reading: which callers wait, for what, and how their wait ends.

use std::ffi::OsString;

use rustix::io::Errno;

use super::Operation;
use crate::core::attributes::Attributes;
use crate::core::captures::Hold;
use crate::core::control::Place;
use crate::core::doors::Gives;
use crate::core::effects::{Outcome, Reply, Transport};
use crate::core::file::Step;
use crate::core::generation::{Ending, Phase, Way, Writer};
use crate::core::ids::ReaderId;
use crate::core::namespace::{Inode, Leads};
use crate::core::notices::Notice;
use crate::core::readers::reader::{Awaits, Origin, Reader};
use crate::core::request::{Caller, Opener};
use crate::core::sent_back::Why;
use crate::core::{File, Handle};

/// Memory of a waiting reader at most, beside its path, in bytes; other open files take less.
pub(super) const OPEN_BYTES: u64 = 1024;

/// How an OPEN is answered.
pub(super) enum OpenAnswer {
    Wait,
    /// As an ordinary file, which is done.
    Ordinary,
    /// As an ordinary file, as it is now.
    AsItIs,
    /// As a handle whose reads wait.
    Waiting,
    /// By `ESTALE`: the kernel looks the path up once more.
    SendBack,
    Refuse(Errno),
}

impl Operation<'_> {
    /// An OPEN of a file or place: for writing if `writer` is given, else for reading by `opener`.
    pub(super) fn open(
        &mut self,
        caller: Caller,
        (ino, flags): (u64, i32),
        writer: Option<Writer>,
        opener: &Opener,
    ) -> Outcome {
        if let Some(place) = self.control.place(ino).cloned() {
            // In `wait/` the file itself is opened once it is done, so writing is not refused there.
            let waits = matches!(&place, Place::File { door, .. } if door.gives == Gives::File);
            if writer.is_some() && !waits {
                return Err(Errno::ACCESS);
            }
            let opener = writer.map_or_else(|| opener.clone(), Opener::from);
            return self.open_control(caller, (ino, place), (flags, &opener));
        }
        // The flusher must reach written bytes even if there is no memory left.
        if !caller.internal {
            self.check_room_to_open(caller.user)?;
        }
        if writer.is_none() && self.was_misled(caller, ino, flags, opener)? {
            return Ok(None);
        }
        if let Some(id) = self.fifo_of(ino) {
            let waits = match &writer {
                Some(writer) => self.opens_later(caller, (ino, id), (flags, writer))?,
                None => self.opens_reading_end(caller, (ino, id), (flags, opener))?,
            };
            if waits {
                return Ok(None);
            }
        }
        // Its content was freed with its last name, but the kernel has still found it by that: it must look
        // the path up again.
        if self.names.get(ino).is_ok_and(Inode::is_file) && !self.files.contains_key(&ino) {
            return Err(Errno::STALE);
        }
        self.refuse_outdated(caller, ino, writer.is_some())?;
        match writer {
            Some(writer) => self.write_to(caller, ino, flags, writer).map(Some),
            None => self.open_for_reading(caller, ino, flags, opener),
        }
    }

    /// Opens a file for writing.
    pub(super) fn write_to(
        &mut self,
        caller: Caller,
        ino: u64,
        flags: i32,
        writer: Writer,
    ) -> Result<Reply, Errno> {
        let (handle, transport) = self.open_for_writing(ino, flags, (writer, caller.user))?;
        self.sent_back.has_arrived(caller.thread);
        Ok(Reply::Opened { handle, transport })
    }

    /// Checks that there is memory for one more open file of this user.
    pub(super) fn check_room_to_open(&self, user: Option<u32>) -> Result<(), Errno> {
        match self.pool.for_user(user).has_room(OPEN_BYTES) {
            true => Ok(()),
            false => Err(Errno::NOMEM),
        }
    }

    /// The transport to use instead of `wanted`: if requests are recorded, each read and write must reach us
    /// as the program made it.
    pub(super) fn transport(&self, wanted: Transport) -> Transport {
        match &self.recording {
            Some(_) => Transport::Direct,
            None => wanted,
        }
    }

    /// Opens a file for reading only.
    pub(super) fn open_for_reading(
        &mut self,
        caller: Caller,
        ino: u64,
        flags: i32,
        opener: &Opener,
    ) -> Outcome {
        let file = self.file(ino)?;
        let dropped = file.spool().dropped_bytes() > 0;
        let lost = !file.is_active() && file.generation().is_lost();
        let stream = file.is_stream();
        let waits = self.waits_for(ino, caller, opener);
        let group = opener
            .group
            .filter(|_| self.may_be_step(ino, caller) && !self.writes(ino, opener));
        if !waits {
            // It may have been sent back, and is no longer expected then.
            self.sent_back.has_arrived(caller.thread);
            if dropped && !caller.internal {
                if self.is_of_writers(ino, self.is_step(ino, group)) {
                    return Err(self.refuse_reading_back(ino, 0));
                }
                return Err(Errno::STALE);
            }
            // Lost bytes would look like zeros, or like the end.
            if lost && !caller.internal {
                return Err(Errno::IO);
            }
            let transport = if stream && !caller.internal {
                Transport::Direct
            } else {
                self.transport(Transport::Cached)
            };
            let step = Step {
                pid: opener.pid,
                name: opener.name.clone(),
            };
            let reply = self.opened_plain(caller, ino, transport, (group, step));
            return Ok(Some(reply));
        }
        let comes_from_wait = self.sent_back.has_waited_for(self.now, caller.thread) == Some(ino);
        let mut paths = self.names.paths(ino).into_iter();
        let path = paths.next();
        let mut origin = self.origin(caller, (flags, opener), path.as_deref());
        origin.inode = Some(ino);
        origin.incarnation = caller.incarnation;
        origin.other_paths = paths.collect();
        origin.group = group;
        if comes_from_wait {
            origin.door = Some((Gives::File, ino));
        }
        let awaits = Awaits::File(ino);
        let reader = Reader::new(origin, awaits, path, Some(caller.unique));
        let _ = self.attach_reader(reader, Some(ino));
        Ok(None)
    }

    /// Whether the caller must become a waiting reader of this file.
    pub(super) fn waits_for(&self, ino: u64, caller: Caller, opener: &Opener) -> bool {
        // A file that is removed once it was read must be read through us. A failed one is not removed.
        let consumes = |file: &File| match file.phase() {
            Phase::Done => self.settings.consume,
            _ => file.is_active(),
        };
        self.files.get(&ino).is_some_and(consumes)
            && !caller.internal
            && self.settings.readers_wait
            && self.captures.hold_of_file(&self.names, ino) != Hold::Held
            && !self.never_waits(ino, opener)
            && !self.may_be_unseen_writer(ino, caller)
    }

    /// Whether the caller cannot be seen, and one of the file's writers cannot either: the caller may be that
    /// writer, or a descendant of it.
    fn may_be_unseen_writer(&self, ino: u64, caller: Caller) -> bool {
        let file = self.files.get(&ino).filter(|file| file.is_active());
        caller.thread == 0 && file.is_some_and(|f| f.writers().iter().any(|w| w.pid == 0))
    }

    fn opened_plain(
        &mut self,
        caller: Caller,
        ino: u64,
        transport: Transport,
        (group, step): (Option<i32>, Step),
    ) -> Reply {
        self.names.pin(ino);
        let incarnation = caller.incarnation;
        let transport = match self.names.is_outdated(ino, incarnation) {
            true => Transport::Direct,
            false => transport,
        };
        let generation = self.generation_mut(ino);
        let step = generation.and_then(|generation| generation.open_as_step(group, step));
        let _kept = self.pool.for_user(caller.user).keep_anyway(OPEN_BYTES / 4);
        let handle = self.add_handle(Handle::Plain {
            ino,
            incarnation,
            step,
            _kept,
        });
        Reply::Opened { handle, transport }
    }

    /// Whether a member of a writer's process group can count as a step of its script here: not if only
    /// this process waits for the file, nor if the file is removed once it was read.
    fn may_be_step(&self, ino: u64, caller: Caller) -> bool {
        self.settings.readers_wait
            && !self.settings.consume
            && !caller.internal
            && matches!(
                self.captures.hold_of_file(&self.names, ino),
                Hold::Free | Hold::Abandoned
            )
    }

    /// Whether the caller itself is a writer of this file, and so no step of its script.
    pub(super) fn writes(&self, ino: u64, opener: &Opener) -> bool {
        let is_caller = |w: &Writer| Some(&w.pid) == opener.lineage.first();
        let file = self.files.get(&ino);
        file.is_some_and(|file| file.writers().iter().any(is_caller))
    }

    /// Whether the caller, or an ancestor of it, writes this file: it would wait for itself.
    fn never_waits(&self, ino: u64, opener: &Opener) -> bool {
        let writers = self.files.get(&ino).map_or(&[][..], File::writers);
        let is_above = |w: &Writer| w.ending == Ending::Running && opener.lineage.contains(&w.pid);
        !writers.is_empty() && (opener.holds || writers.iter().any(is_above))
    }

    /// Whether a reader opened, by its path, a file of a format that programs read from its end, so that it must
    /// get the finished file. Readers in this process and readers by a door do not need that.
    fn needs_its_end(&self, id: ReaderId, ino: u64) -> bool {
        let comes_by_path = |reader: &Reader| {
            let origin = reader.origin();
            origin.door.is_none() && origin.capture.is_none()
        };
        self.files.get(&ino).is_some_and(File::is_read_from_end)
            && self.readers.get(id).is_some_and(comes_by_path)
    }

    /// The origin of a reader: the facts about its OPEN.
    pub(super) fn origin(
        &mut self,
        caller: Caller,
        (flags, opener): (i32, &Opener),
        path: Option<&[OsString]>,
    ) -> Origin {
        // The kernel gives number 0 for every process that it cannot show us.
        if caller.thread == 0 {
            self.notices.say(Notice::UnseenReader);
        }
        let was_sent_back = self.sent_back.knows(self.now, caller.thread);
        self.sent_back.has_arrived(caller.thread);
        // The path is stored twice: with the reader, and in the table of readers that follow paths.
        let components = path.into_iter().flatten();
        let path_bytes: u64 = components.map(|name| 48 + name.len() as u64).sum();
        let pool = self.pool.for_user(caller.user);
        Origin {
            user: caller.user,
            _kept: pool.keep_anyway(OPEN_BYTES + 2 * path_bytes),
            pid: opener.pid,
            name: opener.name.clone(),
            thread: caller.thread,
            inode: None,
            incarnation: None,
            other_paths: Vec::new(),
            group: None,
            capture: None,
            nonblocking: flags & libc::O_NONBLOCK != 0,
            door: None,
            fifo: None,
            lineage: Vec::new(),
            asks_attributes: false,
            was_sent_back,
        }
    }

    /// Answers a reader's OPEN if possible; returns whether the reader is open.
    pub(super) fn progress_open(&mut self, id: ReaderId) -> bool {
        let answer = self.answer_open(id);
        let Some(reader) = self.readers.get_mut(id) else {
            return false;
        };
        let Some(unique) = reader.open() else {
            return true;
        };
        let origin = reader.origin();
        let caller = Caller {
            unique,
            thread: origin.thread,
            internal: false,
            user: origin.user,
            incarnation: origin.incarnation,
        };
        let source = reader.source();
        let reply = match answer {
            OpenAnswer::Wait => return false,
            OpenAnswer::Waiting if origin.asks_attributes => {
                // The kernel does not look the path up again: it gets the attributes of the file here.
                let shown = source.ok_or(Errno::STALE);
                let shown = shown.and_then(|ino| self.attributes(ino));
                shown.map(|attributes| {
                    Reply::Attributes(Attributes {
                        cacheable: false,
                        ..attributes
                    })
                })
            }
            OpenAnswer::Waiting => {
                let door = origin.door;
                let absent = reader.is_absent();
                reader.opened();
                if let Some((_, place)) = door {
                    self.control.was_opened(place);
                }
                let is_unfinished = |file: &File| file.is_active() || file.is_empty_fifo();
                let is_over = |ino: u64| !self.files.get(&ino).is_some_and(is_unfinished);
                if !absent && source.is_some_and(is_over) {
                    // The file is done, and the reader keeps it whatever happens to the path.
                    self.readers.stop_following(id);
                }
                if let Some(ino) = source {
                    // With a reader that is open its blocks are counted differently.
                    self.forget_attributes(ino);
                }
                let handle = self.add_handle(Handle::Reader(id));
                let transport = Transport::Sequential;
                self.reply(unique, Ok(Reply::Opened { handle, transport }));
                return true;
            }
            OpenAnswer::AsItIs | OpenAnswer::Ordinary => {
                let Some(ino) = source else {
                    return false;
                };
                let step = Step {
                    pid: origin.pid,
                    name: origin.name.clone(),
                };
                let mut transport = Transport::Direct;
                let mut group = None;
                if let OpenAnswer::Ordinary = answer {
                    group = origin.group;
                    let generation = self.generation_mut(ino).map(|generation| {
                        generation.note_told();
                        generation.is_active() && generation.goes(Way::Stream)
                    });
                    if generation != Some(true) {
                        transport = Transport::Cached;
                    }
                }
                Ok(self.opened_plain(caller, ino, transport, (group, step)))
            }
            OpenAnswer::SendBack => {
                if let Some(generation) = source.and_then(|ino| self.generation_mut(ino)) {
                    generation.note_told();
                }
                Err(match source {
                    Some(ino) => self.send_back(caller.thread, ino, Why::HasWaited),
                    None => Errno::STALE,
                })
            }
            OpenAnswer::Refuse(errno) => {
                let is_step = source.is_some_and(|ino| self.waits_as_step(id, ino));
                // Dropped first: refusing to read back fails the generation for all readers that are left.
                self.drop_reader(id);
                Err(match source.filter(|_| is_step && errno == Errno::STALE) {
                    Some(ino) => self.refuse_reading_back(ino, 0),
                    None => errno,
                })
            }
        };
        self.reply(unique, reply);
        self.drop_reader(id);
        false
    }

    /// The reason why a reader's file can never appear, if it cannot. At a captured path anything may appear
    /// until its holders have ended.
    pub(super) fn nothing_can_come(&self, reader: &Reader) -> Option<Errno> {
        let path = reader
            .path()
            .filter(|_| reader.origin().capture.is_none())?;
        match self.names.leads(path) {
            Leads::Nowhere(errno) => Some(errno),
            // When the kernel looks it up again, it gets a link to that path.
            Leads::Out(_) => Some(Errno::STALE),
            Leads::To(ino) => match self.names.get(ino).ok()?.st_mode() & libc::S_IFMT {
                libc::S_IFREG => None,
                libc::S_IFDIR => Some(Errno::ISDIR),
                _ => Some(Errno::STALE),
            },
            Leads::ToNothing => None,
        }
    }

    fn answer_open(&mut self, id: ReaderId) -> OpenAnswer {
        if let Some(answer) = self.answer_fifo_open(id) {
            return answer;
        }
        let Some(reader) = self.readers.get(id) else {
            return OpenAnswer::Wait;
        };
        let (awaits, absent) = (reader.awaits(), reader.is_absent());
        let origin = reader.origin();
        let gives = origin.door.map(|(gives, _)| gives);
        let asks_attributes = origin.asks_attributes;
        let is_place = origin.door.is_some_and(|(_, ino)| self.is_control(ino));
        let nonblocking = origin.nonblocking && gives != Some(Gives::File);
        // Threads that cannot be told apart may be sent back each time.
        let may_send_back = !origin.was_sent_back || origin.thread == 0 && gives.is_some();
        let is_over = reader.is_over();
        let Some(source) = reader.source() else {
            if let Some(errno) = self.nothing_can_come(reader) {
                return OpenAnswer::Refuse(errno);
            }
            if is_over {
                return OpenAnswer::Refuse(Errno::NOENT);
            }
            return match nonblocking {
                true => OpenAnswer::Waiting,
                false => OpenAnswer::Wait,
            };
        };
        let view = self.view(id, source);
        let file = self.files.get(&source);
        let lacks_some = file.is_some_and(|file| file.spool().dropped_bytes() > 0);
        if nonblocking && (absent || !lacks_some) {
            return OpenAnswer::Waiting;
        }
        if absent {
            return match awaits {
                Awaits::File(_) if view.abandoned => OpenAnswer::Refuse(Errno::NOENT),
                _ if is_over && view.end => OpenAnswer::Refuse(Errno::NOENT),
                _ => OpenAnswer::Wait,
            };
        }
        if lacks_some {
            return OpenAnswer::Refuse(Errno::STALE);
        }
        // The reader has no bytes yet, so the OPEN can fail. Many programs ask for the size first and
        // would never see an error at the end. (In `pipe/` a reader first gets all bytes of a file that follows.)
        let fails_at_end = gives == Some(Gives::Pipe) && !view.is_refused();
        if view.end && view.failed && !fails_at_end {
            return OpenAnswer::Refuse(Errno::IO);
        }
        if !view.end {
            return match view.way {
                _ if self.needs_its_end(id, source) => OpenAnswer::Wait,
                // The next step of a script may seek in the file and rewrite it.
                _ if self.waits_as_step(id, source) && self.is_closed(source) => OpenAnswer::Wait,
                Some(Way::Follow | Way::Stream) if gives != Some(Gives::File) => {
                    OpenAnswer::Waiting
                }
                _ => OpenAnswer::Wait,
            };
        }
        // The name of a FIFO leads to another file by now.
        let is_message = self.fifo_of(source).is_some();
        // To be removed when it was read, a file is read through us; to tell its size is not to read it.
        let consumes = self.settings.consume && !asks_attributes;
        if consumes || gives == Some(Gives::Pipe) || is_message {
            return OpenAnswer::Waiting;
        }
        match awaits {
            Awaits::File(ino) if ino == source => OpenAnswer::Ordinary,
            // The kernel looks the path up once more and opens the file that it finds now, with its true
            // size.
            _ if may_send_back => OpenAnswer::SendBack,
            // The kernel would use the size that it has for the place.
            _ if is_place && gives == Some(Gives::File) => OpenAnswer::Refuse(Errno::STALE),
            _ => OpenAnswer::Waiting,
        }
    }
}

//! Reading, and waiting for more: what a reader gets, and when.
//!
//! The settle pass calls `progress` for each reader that may get more. It examines the reader and its
//! file and answers the requests that can be answered now. It decides from the state alone, so that
//! calling it too often is harmless.

use rustix::io::Errno;
use std::ops::Range;

use super::Operation;
use crate::core::captures::Hold;
use crate::core::control::Place;
use crate::core::effects::{Outcome, Reply};
use crate::core::file::{View, Viewer};
use crate::core::generation::{Phase, Way};
use crate::core::ids::ReaderId;
use crate::core::readers::prior::Compared;
use crate::core::readers::reader::{Awaits, PendingRead, Reader};
use crate::core::request::{Caller, Wanted};
use crate::core::spool::Segments;
use crate::core::timers::{READ_FILL, READER_BUSY, READER_RECENT};
use crate::core::{Alarm, Handle, Waiting};

/// The answer to a search for holes while the kernel may have data that we do not know: that such searches are
/// not supported. Programs then read the whole file.
const UNKNOWN: Errno = Errno::INVAL;

/// What there is for a reader at an offset.
pub(super) enum Available {
    Nothing,
    Bytes(View),
    /// The offset is beyond the end, and the reader has not got all bytes before the end.
    NoBytes,
    End,
    Error(Errno),
}

impl Operation<'_> {
    /// A READ by any kind of handle.
    pub(super) fn read(&mut self, caller: Caller, handle: u64, wanted: Wanted) -> Outcome {
        let unique = caller.unique;
        let Wanted {
            offset,
            length,
            nonblocking,
        } = wanted;
        match self.handles.get(&handle) {
            Some(handle @ (Handle::Plain { ino, .. } | Handle::Writer { ino, .. })) => {
                let ino = *ino;
                let file = self.files.get(&ino);
                let range = offset..offset.saturating_add(length.into());
                let is_gone = file.is_some_and(|file| match handle {
                    Handle::Plain { step, .. } => {
                        file.spool().lacks(&range) && self.is_of_writers(ino, step.is_some())
                    }
                    _ => file.has_passed_on(&range),
                });
                if is_gone {
                    return Err(self.refuse_reading_back(ino, offset));
                }
                self.read_as_is(ino, offset, length).map(Some)
            }
            Some(Handle::Reader(id)) => {
                let id = *id;
                let reader = self.core.readers.get_mut(id).ok_or(Errno::BADF)?;
                let is_over = reader.is_finished() && !reader.reads_by_position();
                if let (true, Some(ino)) = (is_over, reader.source()) {
                    let failed = self.core.files.get(&ino).is_some_and(|file| {
                        offset >= file.spool().len() && file.phase() == Phase::Failed
                    });
                    if failed {
                        return Err(Errno::IO);
                    }
                    return self.read_as_is(ino, offset, length).map(Some);
                }
                if reader.origin().capture.is_none() && offset < reader.position() {
                    // This reader cannot seek. For io_uring the kernel repeats a READ that it takes for short:
                    // the program would get the same bytes twice.
                    return Err(Errno::SPIPE);
                }
                let source = reader.source();
                reader.add_read(PendingRead {
                    unique,
                    offset,
                    length,
                    since: None,
                    nonblocking,
                });
                self.waiting
                    .insert(unique, (Waiting::Read(id), caller.thread));
                self.touched.readers.add(id);
                if let Some(ino) = source.filter(|ino| self.is_closed(*ino)) {
                    // Now that this reader waits, there may be only waiting readers left.
                    self.touched.generations.add(ino);
                }
                Ok(None)
            }
            Some(Handle::Text(text)) => {
                let start = (offset as usize).min(text.len());
                let end = start.saturating_add(length as usize).min(text.len());
                Ok(Some(Reply::Text(text[start..end].to_vec())))
            }
            Some(Handle::Events(id)) => {
                let id = *id;
                match self.events.read(id, unique, length, nonblocking) {
                    Some(reply) => Ok(Some(reply)),
                    None if self.is_shut_down => Err(Errno::NOTCONN),
                    None if nonblocking => Err(Errno::AGAIN),
                    None => {
                        self.waiting
                            .insert(unique, (Waiting::Events(id), caller.thread));
                        Ok(None)
                    }
                }
            }
            None => Err(Errno::BADF),
        }
    }

    /// A READ by which the kernel fills pages of its cache, for a mapping. The pages belong to the inode, for all
    /// processes, its writers too, and are locked meanwhile. So it is answered at once, with the content of this
    /// file, even if its reader has gone on to another one. In the control directory it is the content of the
    /// file that the reader reads; a pipe has no pages, so that splice(2) reads it instead.
    pub(super) fn fill_pages(
        &mut self,
        caller: Caller,
        (ino, handle): (u64, u64),
        wanted: Wanted,
    ) -> Outcome {
        if self.control.place(ino).is_some_and(Place::has_no_size) {
            return Err(Errno::INVAL);
        }
        if let Some(Handle::Reader(id)) = self.handles.get(&handle) {
            let source = self.readers.source(*id);
            let ino = match self.is_control(ino) {
                true => source.unwrap_or(ino),
                false => ino,
            };
            return self.read_as_is(ino, wanted.offset, wanted.length).map(Some);
        }
        self.read(caller, handle, wanted)
    }

    fn read_as_is(&self, ino: u64, offset: u64, length: u32) -> Result<Reply, Errno> {
        let spool = self.files.get(&ino).ok_or(Errno::BADF)?.spool();
        match spool.lacks(&(offset..offset.saturating_add(length.into()))) {
            true => Err(Errno::STALE),
            false => Ok(Reply::Bytes(spool.read(offset, length as usize))),
        }
    }

    /// `SEEK_DATA` and `SEEK_HOLE`. They have an answer only while no process writes through the kernel's cache,
    /// so that it has no pages that were not written back.
    pub(super) fn seek(
        &self,
        (ino, handle): (u64, u64),
        offset: u64,
        data: bool,
    ) -> Result<Reply, Errno> {
        // lseek(2) was given a negative number.
        if i64::try_from(offset).is_err() {
            return Err(Errno::NXIO);
        }
        // A waiting reader must read on from its position: a program that searched for holes would take the
        // end of the bytes so far for the end of the file.
        let waits = matches!(self.handles.get(&handle), Some(Handle::Reader(_)));
        let file = self.files.get(&ino).filter(|_| !waits);
        let Some(file) = file.filter(|file| !file.writeback().may_hold_more()) else {
            return Err(UNKNOWN);
        };
        let found = match data {
            true => file.spool().seek_data(offset),
            false => file.spool().seek_hole(offset),
        };
        found.map(Reply::Sought).ok_or(Errno::NXIO)
    }

    /// Answers those of a reader's requests that can be answered now.
    pub(super) fn progress(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.get(id) else {
            return;
        };
        if reader.open().is_some() && !self.progress_open(id) {
            return;
        }
        self.notify_pollers(id);
        let Some(reader) = self.readers.get_mut(id) else {
            return;
        };
        let mut reads = reader.take_reads();
        reads.retain_mut(|read| {
            let answer = self.answer_read(id, read).transpose();
            let waits = answer.is_none();
            if let Some(reply) = answer {
                self.reply(read.unique, reply);
            }
            waits
        });
        if let Some(reader) = self.readers.get_mut(id) {
            reader.keep_reads(reads);
        }
    }

    /// Whether a member of this process group is a step of the script that writes a file.
    pub(super) fn is_step(&self, ino: u64, group: Option<i32>) -> bool {
        let generation = self.generation(ino);
        generation.is_some_and(|generation| generation.is_step(group))
    }

    /// Whether a reader waits for a file as a step of its writers' script.
    pub(super) fn waits_as_step(&self, id: ReaderId, ino: u64) -> bool {
        let group = self.readers.get(id).and_then(Reader::group_here);
        self.is_step(ino, group)
    }

    /// Whether a reader of a file got bytes a moment ago.
    pub(super) fn is_busy(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.is_some_and(|file| self.readers.are_given_within(READER_RECENT, self.now, file))
    }

    fn answer_read(&mut self, id: ReaderId, read: &mut PendingRead) -> Outcome {
        let nonblocking = read.nonblocking;
        let view = match self.available(id, read.offset) {
            Available::Bytes(view) => view,
            Available::Nothing if nonblocking => return Err(Errno::AGAIN),
            Available::Nothing => return Ok(None),
            Available::NoBytes => return Ok(Some(Reply::Bytes(Segments::default()))),
            Available::End => {
                self.finish(id);
                return Ok(Some(Reply::Text(Vec::new())));
            }
            Available::Error(errno) => {
                if errno == Errno::IO {
                    self.takes_message(id);
                }
                return Err(errno);
            }
        };
        let Some(reader) = self.readers.get(id) else {
            return Ok(None);
        };
        let Some(file) = reader.source().and_then(|ino| self.files.get(&ino)) else {
            return Ok(None);
        };
        let now = self.now;
        let available = view.limit.min(file.spool().held_until(read.offset)) - read.offset;
        let length = available.min(u64::from(read.length));
        let waited = read.since.is_some_and(|since| now >= since + READ_FILL);
        let enough = length == u64::from(read.length)
            || view.end
            || nonblocking
            || waited
            || !reader.was_given_within(READER_BUSY, now)
            // Waiting makes writeback cheaper, which reads in this process do not cause.
            || reader.origin().capture.is_some()
            || view.way == Some(Way::Stream);
        if !enough {
            let since = *read.since.get_or_insert(now);
            self.wake_at(since + READ_FILL, Alarm::Reader(id));
            return Ok(None);
        }
        let bytes = file.spool().read(read.offset, length as usize);
        // An empty answer may be one to a READ beyond the end.
        if bytes.len() > 0 {
            self.note_delivered(id, read.offset..read.offset + bytes.len() as u64);
        }
        Ok(Some(Reply::Bytes(bytes)))
    }

    /// What there is for a reader from an offset on.
    pub(super) fn available(&mut self, id: ReaderId, offset: u64) -> Available {
        match self.available_while_served(id, offset) {
            Available::Nothing if self.is_shut_down => Available::Error(Errno::NOTCONN),
            available => available,
        }
    }

    fn available_while_served(&mut self, id: ReaderId, offset: u64) -> Available {
        let Some(reader) = self.readers.get(id) else {
            return Available::Nothing;
        };
        let capture = reader.origin().capture;
        // All holders of the path, or the process that a door names, have ended: no more bytes will come.
        let forsaken =
            capture.is_some_and(|id| self.captures.hold(id) == Hold::Released) || reader.is_over();
        let Some(source) = reader.source() else {
            return match (forsaken, self.nothing_can_come(reader)) {
                (true, _) => Available::Error(Errno::NOENT),
                (false, Some(errno)) => Available::Error(errno),
                (false, None) => Available::Nothing,
            };
        };
        let view = self.view(id, source);
        let (Some(reader), Some(file)) = (
            self.core.readers.get_mut(id),
            self.core.files.get_mut(&source),
        ) else {
            return Available::Nothing;
        };
        let is_gone = file.spool().held_until(offset) <= offset;
        if reader.prior().is_some() {
            match reader.compare_prior(file, view) {
                Compared::Same => file.generation_mut().note_delivered(reader.position()),
                Compared::NotYet => return Available::Nothing,
                Compared::Differs(range) => self.mark_rewritten(id, range),
                Compared::Unreadable => return Available::Error(Errno::IO),
            }
        }
        let Some(reader) = self.readers.get(id) else {
            return Available::Nothing;
        };
        if reader.rewritten().is_some() || is_gone {
            return Available::Error(Errno::STALE);
        }
        if view.is_refused() {
            return Available::Error(Errno::IO);
        }
        if offset < view.limit {
            return Available::Bytes(view);
        }
        if !view.end {
            return Available::Nothing;
        }
        // As with a pipe, readers that have begun do not need the name any more.
        let absent = reader.is_absent() && !self.has_streamed(reader) && !reader.has_taken();
        match reader.awaits() {
            Awaits::File(_) if absent && view.abandoned => Available::Error(Errno::NOENT),
            _ if absent && forsaken => Available::Error(Errno::NOENT),
            _ if absent => Available::Nothing,
            _ if view.failed => Available::Error(Errno::IO),
            _ if reader.position() < view.limit && !reader.reads_by_position() => {
                Available::NoBytes
            }
            _ => Available::End,
        }
    }

    /// What a file has for a reader now. If that will change by time alone, sets an alarm for the reader.
    pub(in crate::core) fn view(&mut self, id: ReaderId, ino: u64) -> View {
        let reader = self.readers.get(id);
        let capture = reader.and_then(|reader| reader.origin().capture);
        let viewer = Viewer {
            is_held: capture.is_some_and(|capture| self.captures.hold(capture) == Hold::Held),
            by_position: reader.is_some_and(Reader::reads_by_position),
            may_get_more: reader.is_some_and(|reader| reader.awaited_process().is_some()),
            group: reader.and_then(Reader::group_here),
            lingers: !self.is_captured(ino),
            fail_on: self.settings.fail_on,
        };
        let Some(file) = self.core.files.get_mut(&ino) else {
            return View::GONE;
        };
        let (view, again) = file.view(viewer, self.now);
        if let Some(at) = again {
            self.wake_at(at, Alarm::Reader(id));
        }
        view
    }

    fn note_delivered(&mut self, id: ReaderId, range: Range<u64>) {
        let Some(reader) = self.core.readers.get_mut(id) else {
            return;
        };
        let position = range.end;
        reader.give(range, self.now);
        if let Some(ino) = reader.source()
            && let Some(file) = self.core.files.get_mut(&ino)
        {
            file.generation_mut().note_delivered(position);
            self.touched.room.add(ino);
            self.takes_message(id);
        }
    }

    /// A reader got the end of the file.
    fn finish(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.get_mut(id) else {
            return;
        };
        reader.finish();
        let Some(ino) = reader.source() else {
            return;
        };
        self.takes_message(id);
        if let Some(generation) = self.generation_mut(ino) {
            generation.note_told();
        }
        self.touched.writeback.add(ino);
        self.touched.room.add(ino);
        if self.settings.consume {
            self.consume(ino);
        }
    }
}

//! Reading a virtual FIFO: which readers take a message, and when it flows.

use std::collections::BTreeSet;

use rustix::io::Errno;

use crate::core::File;
use crate::core::effects::Outcome;
use crate::core::fifos::Fifo;
use crate::core::fifos::programs::{makes_one_message, reads_before_writing};
use crate::core::generation::{Phase, Way};
use crate::core::ids::{FifoId, ReaderId};
use crate::core::notices::Notice;
use crate::core::operation::Operation;
use crate::core::operation::opening::OpenAnswer;
use crate::core::readers::reader::{Awaits, Reader};
use crate::core::request::{Caller, Opener};
use crate::core::sent_back::Why;

impl Reader {
    /// Whether it has opened this FIFO, and has got no message yet.
    fn waits_at(&self, id: FifoId) -> bool {
        self.origin().fifo == Some(id) && !self.has_taken()
    }
}

impl Operation<'_> {
    /// Handles an OPEN for reading by a FIFO's own path; false if it opens the message like a file.
    pub(in crate::core::operation) fn opens_reading_end(
        &mut self,
        caller: Caller,
        (ino, id): (u64, FifoId),
        (flags, opener): (i32, &Opener),
    ) -> Result<bool, Errno> {
        // A child may be the reader of its parent: only the writer itself reads its own output back.
        let reads_own = self.writes(ino, opener)
            && match self.files.get(&ino).map(File::phase) {
                Some(Phase::Writing) => true,
                Some(Phase::Closed { .. }) => makes_one_message(&opener.name),
                _ => false,
            };
        if caller.internal || !self.settings.readers_wait || reads_own {
            return Ok(false);
        }
        if caller.thread != 0 {
            return Err(self.send_back(caller.thread, ino, Why::ReadingEnd(id)));
        }
        // Its next LOOKUP could not be told from those of other threads.
        self.open_reading_end(caller, id, (flags, opener))?;
        Ok(true)
    }

    /// An OPEN of the reading end.
    pub(in crate::core::operation) fn open_reading_end(
        &mut self,
        caller: Caller,
        id: FifoId,
        (flags, opener): (i32, &Opener),
    ) -> Outcome {
        self.check_room_to_open(caller.user)?;
        let is_there = |fifo: &&Fifo| !self.names.names_of(fifo.current).is_empty();
        let Some(fifo) = self.fifos.by_id.get(&id).filter(is_there) else {
            // The FIFO has lost its name meanwhile.
            return self.open_what_came(caller, (flags, opener));
        };
        let (ino, taken) = (fifo.current, fifo.taken);
        let path = self.names.path(ino);
        let mut origin = self.origin(caller, (flags, opener), path.as_deref());
        origin.fifo = Some(id);
        origin.lineage.clone_from(&opener.lineage);
        let reader = Reader::new(origin, Awaits::File(ino), path, Some(caller.unique));
        let _ = self.attach_reader(reader, (!taken).then_some(ino));
        // A reader that waits already may be its child: see `is_future_writer`.
        let waiting = self.files.get(&ino).map(|file| file.readers().clone());
        for reader in waiting.into_iter().flatten() {
            self.touched.readers.add(reader);
        }
        Ok(None)
    }

    /// Whether the process that opens this unwritten FIFO for reading is its future writer, which only
    /// inspects the existing file first: a program known for that, or a process that another waiting reader
    /// has started.
    fn is_future_writer(&self, id: ReaderId, ino: u64) -> bool {
        let (Some(reader), Some(file)) = (self.readers.get(id), self.files.get(&ino)) else {
            return false;
        };
        let reader = reader.origin();
        let above = reader.lineage.get(1..).unwrap_or_default();
        let others = self.readers.of(file).map(Reader::origin);
        let mut others =
            others.filter(|other| other.fifo == reader.fifo && other.pid != reader.pid);
        let is_started = others.any(|other| above.contains(&other.pid));
        !file.generation().has_begun() && (reads_before_writing(&reader.name) || is_started)
    }

    /// The answer to an OPEN of the reading end; `None` if its reader has gone on to another file.
    pub(in crate::core::operation) fn answer_fifo_open(
        &mut self,
        reader: ReaderId,
    ) -> Option<OpenAnswer> {
        let (id, nonblocking, source) = {
            let reader = self.readers.get(reader)?;
            (
                reader.origin().fifo?,
                reader.origin().nonblocking,
                reader.source(),
            )
        };
        let empty = if nonblocking {
            OpenAnswer::Waiting
        } else {
            OpenAnswer::Wait
        };
        let Some(source) = source else {
            return Some(empty);
        };
        if self.fifo_of(source) != Some(id) {
            return None;
        }
        if self.is_future_writer(reader, source) {
            return Some(OpenAnswer::AsItIs);
        }
        let view = self.view(reader, source);
        if view.end {
            self.take_message(source);
            return Some(match view.is_refused() {
                true => OpenAnswer::Refuse(Errno::IO),
                false => OpenAnswer::Waiting,
            });
        }
        match view.way {
            Some(Way::Follow | Way::Stream) => {
                self.take_message(source);
                Some(OpenAnswer::Waiting)
            }
            // An OPEN of a FIFO ends once a writer has it open: a program may write to one of its two FIFOs
            // only after its reader has opened both.
            None if self.is_being_written(source) => Some(OpenAnswer::Waiting),
            None | Some(Way::Settled) => Some(empty),
        }
    }

    /// Whether it is open for writing now.
    fn is_being_written(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.map(File::phase) == Some(Phase::Writing)
    }

    /// A reader has got something of its file, maybe the end or an error: if that is a message, it is taken.
    pub(in crate::core::operation) fn takes_message(&mut self, reader: ReaderId) {
        let reader = self.readers.get(reader);
        let at_fifo = reader.filter(|reader| reader.origin().fifo.is_some());
        if let Some(ino) = at_fifo.and_then(Reader::source) {
            self.take_message(ino);
        }
    }

    /// Gives a message to all readers that wait for it; no later reader gets it.
    pub(in crate::core::operation) fn take_message(&mut self, ino: u64) {
        let file = self.files.get(&ino);
        let Some(file) = file.filter(|file| file.generation().has_begun()) else {
            return;
        };
        let Some(id) = file.fifo() else {
            return;
        };
        let readers = file.readers().clone();
        let Some(fifo) = self.fifos.by_id.get_mut(&id) else {
            return;
        };
        if fifo.current != ino || std::mem::replace(&mut fifo.taken, true) {
            return;
        }
        let mut processes = BTreeSet::new();
        for reader in readers {
            if self.readers.get(reader).is_some_and(|r| r.waits_at(id)) {
                self.readers.stop_following(reader);
                if let Some(reader) = self.readers.get_mut(reader) {
                    reader.take();
                    processes.insert(reader.origin().pid);
                }
            }
        }
        if processes.len() > 1 {
            self.notices.say(Notice::SharedMessage);
        }
        self.touched.fifos.add(id);
    }

    /// Whether a message flows: it is taken or has no readers but the FIFO's, so no later reader gets it from
    /// the beginning. Without readers it flows, too, up to its window. All other messages are kept whole.
    pub(in crate::core::operation) fn flows(&self, ino: u64) -> bool {
        self.message(ino).is_some_and(|(file, fifo)| {
            let mut readers = self.readers.of(file);
            fifo.current == ino && (fifo.taken || readers.all(|r| r.origin().fifo.is_some()))
        })
    }

    /// A reader has closed a FIFO. If it was the last reader of a message that is still being written, the
    /// writer gets EPIPE. A settled message that was not taken stays for the next reader.
    pub(in crate::core::operation) fn left_message(&mut self, ino: u64, has_taken: bool) {
        let Some(file) = self.files.get(&ino).filter(|file| file.is_active()) else {
            return;
        };
        let has_readers = (self.readers.of(file)).any(|other| other.origin().fifo.is_some());
        if has_readers || file.way() == Some(Way::Settled) && !has_taken {
            return;
        }
        self.take_message(ino);
        if let Some(file) = self.core.files.get_mut(&ino) {
            file.hang_up();
        }
        self.touched.room.add(ino);
        // It has no reader left that would have to wait for more.
        self.touched.generations.add(ino);
        self.forget_attributes(ino);
    }

    /// Readers that came after a message was taken wait for the next one.
    pub(super) fn move_waiting_readers(&mut self, id: FifoId, (old, next): (u64, u64)) {
        let readers = &self.readers;
        let waits = |reader: &ReaderId| readers.get(*reader).is_some_and(|r| r.waits_at(id));
        for id in readers.ids().filter(waits).collect::<Vec<ReaderId>>() {
            let Some(reader) = self.readers.get_mut(id) else {
                continue;
            };
            if reader.source().is_some_and(|source| source != old) {
                // It reads the file that was put in the FIFO's place.
                continue;
            }
            let before = reader.await_file(next);
            self.names.pin(next);
            self.set_source(id, Some(next));
            if let Awaits::File(before) = before {
                self.unpin(before);
            }
            self.touched.readers.add(id);
        }
    }
}

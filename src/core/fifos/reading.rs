//! Reading a virtual FIFO: who takes a message, and when it flows.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::super::generation::{Phase, Way};
use super::super::ids::{FifoId, ReaderId};
use super::super::looking_again::Why;
use super::super::notices::Notice;
use super::super::opening::OpenAnswer;
use super::super::readers::reader::{Awaits, Reader};
use super::super::request::{Caller, Opener};
use super::super::{File, Operation};
use super::Fifo;
use super::programs::{is_to_write, makes_one_message};

impl Reader {
    /// Whether it has come for a message of this FIFO, and has none yet.
    fn waits_at(&self, id: FifoId) -> bool {
        self.origin().fifo == Some(id) && !self.has_taken()
    }
}

impl Operation<'_> {
    /// Sees to an OPEN for reading by a FIFO's own path; says whether it is dealt with.
    pub(in crate::core) fn opens_reading_end(
        &mut self,
        caller: Caller,
        (ino, id): (u64, FifoId),
        (flags, opener): (i32, &Opener),
    ) -> bool {
        // A child may read what its parent writes: only who writes itself looks back.
        let reads_own = self.writes(ino, opener)
            && match self.files.get(&ino).and_then(File::phase) {
                Some(Phase::Writing) => true,
                Some(Phase::Closed { .. }) => makes_one_message(&opener.name),
                _ => false,
            };
        if caller.internal || !self.settings.readers_wait || reads_own {
            return false;
        }
        if caller.thread == 0 {
            // It could not be told from others when it comes again.
            self.open_reading_end(caller, id, (flags, opener));
        } else {
            self.send_back(caller, ino, Why::ReadingEnd(id));
        }
        true
    }

    /// An OPEN of the reading end.
    pub(in crate::core) fn open_reading_end(
        &mut self,
        caller: Caller,
        id: FifoId,
        (flags, opener): (i32, &Opener),
    ) {
        if let Err(errno) = self.check_room_to_open(caller.user) {
            return self.effects.refuse(caller.unique, errno);
        }
        let is_there = |fifo: &&Fifo| !self.names.names_of(fifo.current).is_empty();
        let Some(fifo) = self.fifos.by_id.get(&id).filter(is_there) else {
            // It has lost its name meanwhile.
            return self.open_what_came(caller, (flags, opener));
        };
        let (ino, taken) = (fifo.current, fifo.taken);
        let path = self.names.path(ino);
        let mut origin = self.origin(caller, (flags, opener), path.as_deref());
        origin.fifo = Some(id);
        origin.lineage.clone_from(&opener.lineage);
        let reader = Reader::new(origin, Awaits::File(ino), path, Some(caller.unique));
        let _ = self.attach_reader(reader, (!taken).then_some(ino));
        // Of those who wait already one may be its child.
        let waiting = self.files.get(&ino).map(|file| file.readers().clone());
        for reader in waiting.into_iter().flatten() {
            self.touched.readers.add(reader);
        }
    }

    /// Whether who opens a FIFO to which nobody has written is the one that will, and has a look at
    /// what is there before: one that is known for that, or a process that one of the others who wait
    /// has started.
    fn only_looks(&self, id: ReaderId, ino: u64) -> bool {
        let (Some(reader), Some(file)) = (self.readers.get(id), self.files.get(&ino)) else {
            return false;
        };
        let reader = reader.origin();
        let above = reader.lineage.get(1..).unwrap_or_default();
        let others = self.readers.of(file).map(Reader::origin);
        let mut others =
            others.filter(|other| other.fifo == reader.fifo && other.pid != reader.pid);
        let is_started = others.any(|other| above.contains(&other.pid));
        file.generation().is_none() && (is_to_write(&reader.name) || is_started)
    }

    /// What becomes of an OPEN of the reading end; nothing if its reader has gone on to another file.
    pub(in crate::core) fn answer_fifo_open(&mut self, reader: ReaderId) -> Option<OpenAnswer> {
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
        if self.only_looks(reader, source) {
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
            // As a FIFO is open once its writer has it open: who opens two of them at the same program may
            // have to open the other before that writes.
            None if self.is_being_written(source) => Some(OpenAnswer::Waiting),
            None | Some(Way::Settled) => Some(empty),
        }
    }

    /// Whether somebody has it open for writing just now.
    fn is_being_written(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.and_then(File::phase) == Some(Phase::Writing)
    }

    /// A reader has got something of its file, be it the end or an error: of a message, nobody else will.
    pub(in crate::core) fn takes_message(&mut self, reader: ReaderId) {
        let reader = self.readers.get(reader);
        let at_fifo = reader.filter(|reader| reader.origin().fifo.is_some());
        if let Some(ino) = at_fifo.and_then(Reader::source) {
            self.take_message(ino);
        }
    }

    /// Those who wait for a message have it now, and nobody else will.
    pub(in crate::core) fn take_message(&mut self, ino: u64) {
        let Some(file) = self
            .files
            .get(&ino)
            .filter(|file| file.generation().is_some())
        else {
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

    /// Whether a message may flow: its readers are there, and nobody else will want it from the
    /// beginning; or whether it may fill its window, as nobody has come yet. Else all is kept for
    /// those who do.
    pub(in crate::core) fn flows(&self, ino: u64) -> bool {
        self.message(ino).is_some_and(|(file, fifo)| {
            let mut readers = self.readers.of(file);
            fifo.current == ino && (fifo.taken || readers.all(|r| r.origin().fifo.is_some()))
        })
    }

    /// A reader that has a FIFO open has left. If it was the last of those who have a message that is still
    /// written, its writer gets EPIPE. One that is settled stays for the next reader, unless it was taken.
    pub(in crate::core) fn left_message(&mut self, ino: u64, has_taken: bool) {
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
        // Nobody is left for whom it could go on.
        self.touched.generations.add(ino);
        self.forget_attributes(ino);
    }

    /// Readers that came when a message was taken wait for the one after it.
    pub(super) fn move_waiting_readers(&mut self, id: FifoId, (old, next): (u64, u64)) {
        let readers = &self.readers;
        let waits = |reader: &ReaderId| readers.get(*reader).is_some_and(|r| r.waits_at(id));
        for id in readers.ids().filter(waits).collect::<Vec<ReaderId>>() {
            let Some(reader) = self.readers.get_mut(id) else {
                continue;
            };
            if reader.source().is_some_and(|source| source != old) {
                // What was put in the FIFO's place.
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

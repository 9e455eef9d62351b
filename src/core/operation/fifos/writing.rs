//! Writing to a virtual FIFO: one message after the other.

use rustix::io::Errno;

use crate::core::fifos::programs::{is_semaphore, makes_one_message};
use crate::core::fifos::{HeldOpen, Queued};
use crate::core::generation::{Ending, Way, Writer};
use crate::core::ids::{FifoId, Unique};
use crate::core::notices::Notice;
use crate::core::operation::Operation;
use crate::core::request::Caller;
use crate::core::sent_back::Why;
use crate::core::{File, Waiting};

impl Operation<'_> {
    /// Handles an OPEN for writing of a FIFO's message; false if the message can be opened at once.
    pub(in crate::core::operation) fn opens_later(
        &mut self,
        caller: Caller,
        (ino, id): (u64, FifoId),
        (flags, writer): (i32, &Writer),
    ) -> Result<bool, Errno> {
        if is_semaphore(&writer.name, flags) {
            self.notices.say(Notice::Semaphore);
        }
        let fifo = self.core.fifos.by_id.get_mut(&id);
        let own = fifo.and_then(|fifo| fifo.queue.iter_mut().find(|queued| queued.ino == ino));
        if let Some(queued) = own {
            self.core
                .waiting
                .insert(caller.unique, (Waiting::FifoOpen(id), caller.thread));
            queued.open = Some(HeldOpen {
                caller,
                flags,
                writer: writer.clone(),
            });
            self.sent_back.has_arrived(caller.thread);
            self.touched.fifos.add(id);
            // A closed message is over as soon as the next one has a writer.
            if let Some(current) = self.fifos.present(id) {
                self.touched.generations.add(current);
            }
            return Ok(true);
        }
        match self.may_write_now(id, ino, flags, writer) {
            true => Ok(false),
            false => Err(self.send_back(caller.thread, ino, Why::Turn(id))),
        }
    }

    /// Whether a writer may open the message that it looked up, which may be the present one no more.
    fn may_write_now(&self, id: FifoId, ino: u64, flags: i32, writer: &Writer) -> bool {
        let fifo = self.fifos.by_id.get(&id).filter(|fifo| fifo.current == ino);
        let (Some(fifo), Some(file)) = (fifo, self.files.get(&ino)) else {
            return false;
        };
        let generation = file.generation();
        if !generation.has_begun() {
            return !fifo.has_next_writer();
        }
        let is_same = generation.writers().iter().any(|w| w.pid == writer.pid);
        let is_near = is_same
            || generation
                .writers()
                .iter()
                .any(|w| w.group.is_some() && w.group == writer.group);
        match generation.is_open() {
            false if file.spool().len() == 0 && !fifo.taken => is_near,
            false if !fifo.taken && makes_one_message(&writer.name) => is_same,
            false => is_same && flags & libc::O_TRUNC == 0,
            // A child that was given the path may write, too.
            true => is_same || is_near && flags & libc::O_TRUNC == 0,
        }
    }

    /// The message that a writer which came too early will write, made at its first lookup.
    pub(super) fn own_message(&mut self, id: FifoId, thread: i32) -> Result<u64, Errno> {
        let fifo = self.fifos.by_id.get(&id).ok_or(Errno::NOENT)?;
        let mut queue = fifo.queue.iter();
        let own = queue.find(|queued| queued.thread == thread && queued.open.is_none());
        if let Some(queued) = own {
            return Ok(queued.ino);
        }
        let ino = self.make_message(id, fifo.current)?;
        // Kept until its writer has it open.
        self.names.pin(ino);
        if let Some(fifo) = self.core.fifos.by_id.get_mut(&id) {
            fifo.queue.push(Queued {
                ino,
                thread,
                open: None,
                found: self.now,
            });
        }
        Ok(ino)
    }

    /// A signal ends the wait of a writer for its turn.
    pub(in crate::core::operation) fn leaves_queue(&mut self, id: FifoId, unique: Unique) {
        let Some(fifo) = self.fifos.by_id.get_mut(&id) else {
            return;
        };
        let is_interrupted = |queued: &Queued| {
            let open = queued.open.as_ref();
            open.is_some_and(|open| open.caller.unique == unique)
        };
        if let Some(at) = fifo.queue.iter().position(is_interrupted) {
            let queued = fifo.queue.remove(at);
            self.unpin(queued.ino);
        }
    }

    /// Whether a message is over once it is closed: it flows already, no writer is left that could continue
    /// it, or an OPEN waits to write the next. A program that appends usually opens it again for each line:
    /// while it runs and the FIFO has a reader, the message lingers as any file does.
    pub(in crate::core::operation) fn ends_at_close(&self, ino: u64) -> bool {
        let Some(file) = self
            .files
            .get(&ino)
            .filter(|file| self.is_read_as_fifo(file))
        else {
            return false;
        };
        let may_continue =
            |w: &Writer| w.pid == 0 || self.processes.ending(w.pid) == Ending::Running;
        let writers_run = file.writers().iter().any(may_continue);
        let is_whole = file.spool().len() > 0 && !writers_run;
        let flows = file.fifo().is_some() && matches!(file.way(), Some(Way::Follow | Way::Stream));
        let goes_on = writers_run
            && file.generation().is_appended()
            && self
                .readers
                .of(file)
                .any(|reader| reader.origin().fifo.is_some());
        let message = self.message(ino);
        let is_followed = message.is_some_and(|(_, fifo)| fifo.has_next_writer());
        flows && !goes_on || is_whole || is_followed
    }

    /// Whether a file is a FIFO's message, or was put in the place of a FIFO for its readers.
    fn is_read_as_fifo(&self, file: &File) -> bool {
        let mut readers = self.readers.of(file);
        let has_readers = !file.readers().is_empty();
        file.fifo().is_some() || has_readers && readers.all(|reader| reader.origin().fifo.is_some())
    }
}

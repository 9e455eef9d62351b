//! Readers and the files they read: how the two are brought together and parted.

use rustix::io::Errno;

use super::Operation;
use crate::core::effects::Flush;
use crate::core::file::Order;
use crate::core::ids::ReaderId;
use crate::core::notices::Notice;
use crate::core::readers::reader::{Awaits, Reader};
use crate::core::{Alarm, Waiting};

impl Operation<'_> {
    /// Adds a reader: from here on its OPEN is answered or waits. The inode that it opened stays until the
    /// reader is removed.
    pub(super) fn attach_reader(&mut self, reader: Reader, source: Option<u64>) -> ReaderId {
        if let Awaits::File(ino) = reader.awaits() {
            // Its mappings show this inode, wherever its path may lead.
            self.names.pin(ino);
        }
        let (open, thread) = (reader.open(), reader.origin().thread);
        let id = self.readers.add(reader);
        if let Some(unique) = open {
            self.waiting.insert(unique, (Waiting::Open(id), thread));
        }
        self.set_source(id, source);
        self.touched.readers.add(id);
        id
    }

    /// A reader reads another inode from now on.
    pub(super) fn set_source(&mut self, id: ReaderId, source: Option<u64>) {
        let Some(reader) = self.readers.get_mut(id) else {
            return;
        };
        let before = reader.set_source(source);
        if before == source {
            return;
        }
        if let Some(ino) = source {
            self.names.pin(ino);
            if let Some(file) = self.files.get_mut(&ino) {
                file.add_reader(id);
            }
            self.touched.writeback.add(ino);
            // The generation may be done now; and whether an empty one waits for its content depends on its
            // readers.
            self.touched.generations.add(ino);
        }
        if let Some(ino) = before {
            if let Some(file) = self.files.get_mut(&ino) {
                file.remove_reader(id);
            }
            self.touched.writeback.add(ino);
            self.touched.room.add(ino);
            self.unpin(ino);
        }
    }

    /// Removes a reader.
    pub(super) fn drop_reader(&mut self, id: ReaderId) {
        let Some(source) = self.readers.get(id).map(Reader::source) else {
            return;
        };
        let was_step = source.is_some_and(|ino| self.waits_as_step(id, ino));
        self.set_source(id, None);
        let Some(mut reader) = self.readers.remove(id) else {
            return;
        };
        let had_fifo_open = reader.origin().fifo.is_some() && reader.open().is_none();
        if let (true, Some(ino)) = (had_fifo_open, source) {
            self.left_message(ino, reader.has_taken());
        }
        if reader.never_read() {
            self.notices.say(Notice::NeverRead);
        }
        if let Some(capture) = reader.origin().capture {
            self.captures.remove_reader(capture, id);
        }
        for read in reader.take_reads() {
            self.reply(read.unique, Err(Errno::INTR));
        }
        if let (true, Some(ino)) = (was_step, source)
            && let Some(generation) = self.core.generation_mut(ino)
        {
            generation.step_left(self.now);
            self.touched.generations.add(ino);
        }
        if let Awaits::File(ino) = reader.awaits() {
            self.unpin(ino);
        }
        if let Some(ino) = reader.origin().inode {
            self.was_closed(ino);
        }
    }

    /// Has the flusher work on a file while a reader waits for bytes that the kernel may still hold.
    pub(super) fn update_flushing(&mut self, ino: u64) {
        let Some(file) = self.core.files.get_mut(&ino) else {
            return;
        };
        let way = file.way();
        let is_waiting = |reader: &Reader| reader.wants_bytes_of(way);
        let is_awaited = file.writeback().may_hold_more()
            && file.is_active()
            && self.core.readers.of(file).any(is_waiting);
        match file.writeback_mut().update(is_awaited, self.now) {
            Order::Nothing => {}
            Order::LookAt(at) => self.wake_at(at, Alarm::Flush(ino)),
            Order::Tell(on) => self.effects.flushes.push(Flush { ino, on }),
        }
    }

    /// The flusher refused a file.
    pub(super) fn not_flushed(&mut self, ino: u64) {
        let file = self.core.files.get_mut(&ino);
        let Some(at) = file.and_then(|file| file.writeback_mut().refused(self.now)) else {
            return;
        };
        self.wake_at(at, Alarm::Flush(ino));
        // The refusal may answer an earlier message; the flusher may have accepted the last one.
        self.effects.flushes.push(Flush { ino, on: false });
        if !std::mem::replace(&mut self.warned_of_refusal, true) {
            log::warn!(
                "{} and maybe others are not flushed just now, as many are waited for: their \
                 readers get what is written when the kernel writes it back by itself",
                self.path_of(ino).display()
            );
        }
    }
}

//! Readers and the files they read: how the two are brought together and parted.

use rustix::io::Errno;

use super::effects::{Effect, Effects};
use super::file::Order;
use super::generation::Way;
use super::ids::ReaderId;
use super::reader::{Awaits, Reader};
use super::{Alarm, Core, Env, Waiting};

impl Core {
    /// A reader comes into being: its OPEN is answered or waits from here on.
    pub(super) fn attach_reader(&mut self, reader: Reader, source: Option<u64>) -> ReaderId {
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        if let Some(unique) = reader.open {
            self.waiting
                .insert(unique, (Waiting::Open(id), reader.thread));
        }
        let path = reader.path.clone();
        self.readers.insert(id, reader);
        self.follow(id, path);
        self.set_source(id, source);
        self.touched.readers.add(id);
        id
    }

    /// A reader reads another inode from now on.
    pub(super) fn set_source(&mut self, id: ReaderId, source: Option<u64>) {
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
                file.add_reader(id);
                if file.spool().len() == 0 {
                    // Whose content is waited for depends on who waits.
                    self.touched.generations.add(ino);
                }
            }
            self.touched.writeback.add(ino);
            // If nobody is to come any more, it may be done.
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

    /// A reader is gone.
    pub(super) fn drop_reader(&mut self, env: Env<'_>, id: ReaderId, effects: &mut Effects) {
        let Some(source) = self.readers.get(&id).map(|reader| reader.source) else {
            return;
        };
        if let Some(ino) = source {
            self.names.pin(ino);
        }
        let was_step = source.is_some_and(|ino| self.waits_as_step(id, ino));
        self.set_source(id, None);
        self.stop_following(id);
        let took = self.readers.get(&id).is_some_and(|reader| reader.took);
        if let (true, Some(ino)) = (took, source) {
            self.left_message(ino, effects);
        }
        let Some(reader) = self.readers.remove(&id) else {
            return;
        };
        if let Some(capture) = reader.capture {
            self.remove_capture_reader(capture, id);
        }
        for read in &reader.reads {
            self.waiting.remove(&read.unique);
            effects.refuse(read.unique, Errno::INTR);
        }
        if let Some(unique) = reader.open {
            self.waiting.remove(&unique);
        }
        if let Some(ino) = source {
            if let (true, Some(file)) = (was_step, self.files.get_mut(&ino)) {
                file.step_left(env.now.monotonic);
                self.touched.generations.add(ino);
            }
            self.unpin(ino);
        }
        if let Awaits::File(ino) = reader.awaits {
            self.unpin(ino);
        }
    }

    /// A reader follows this path from now on.
    pub(super) fn follow(&mut self, id: ReaderId, path: Option<Vec<std::ffi::OsString>>) {
        self.stop_following(id);
        for name in path.iter().flatten() {
            self.followers.entry(name.clone()).or_default().insert(id);
        }
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.path = path;
        }
    }

    /// A reader stays with what it has, whatever becomes of its path.
    pub(super) fn stop_following(&mut self, id: ReaderId) {
        let path = self.readers.get_mut(&id).and_then(|r| r.path.take());
        for name in path.iter().flatten() {
            if let Some(ids) = self.followers.get_mut(name) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.followers.remove(name);
                }
            }
        }
    }

    /// Keeps the flusher at work where somebody waits for what the kernel may
    /// still hold.
    pub(super) fn update_flushing(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        let mut readers = file.readers().iter().filter_map(|id| self.readers.get(id));
        let is_awaited = file.writeback().may_hold_more()
            && file.is_active()
            && file.way() != Some(Way::Settled)
            && readers.any(|reader| !reader.finished && !reader.waits_for_whole());
        match file.writeback_mut().update(is_awaited, env.now.monotonic) {
            Order::Nothing => {}
            Order::LookAt(at) => self.wake_at(at, Alarm::Flush(ino)),
            Order::Tell(on) => effects.push(Effect::Flush { ino, on }),
        }
    }

    /// The flusher did not take a file in hand.
    pub(super) fn not_flushed(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let file = self.files.get_mut(&ino);
        let Some(at) = file.and_then(|file| file.writeback_mut().refused(env.now.monotonic)) else {
            return;
        };
        self.wake_at(at, Alarm::Flush(ino));
        // The answer may be to an earlier request, and the last one heard.
        effects.push(Effect::Flush { ino, on: false });
        if !std::mem::replace(&mut self.told_of_refusal, true) {
            log::warn!(
                "{} and maybe others are not flushed just now, as many are waited for: their \
                 readers get what is written when the kernel writes it back by itself",
                self.path_of(ino).display()
            );
        }
    }
}

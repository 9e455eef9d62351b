//! Closing a file, and the end of a generation.

use super::Operation;
use crate::core::clock::Monotonic;
use crate::core::event::Event;
use crate::core::generation::{Ending, Left, Phase, Writer};
use crate::core::ids::Unique;
use crate::core::notices::Notice;
use crate::core::readers::reader::Reader;
use crate::core::rules::Linger;
use crate::core::{Alarm, Core, Handle};
use crate::error::FailedWriter;

impl Operation<'_> {
    /// A writer has ended, or the process that a door names: files may be done now.
    pub(super) fn process_ended(&mut self, pid: i32, ending: Ending) {
        for (id, source) in self.readers.process_ended(pid) {
            self.touched.readers.add(id);
            if let Some(ino) = source {
                self.touched.generations.add(ino);
            }
        }
        let has_unknown_end = |w: &Writer| w.pid == pid && !w.let_go && !w.died_writing;
        for (ino, file) in &mut self.core.files {
            if ending == Ending::Unknown && file.writers().iter().any(has_unknown_end) {
                self.core.notices.say(Notice::UnknownEnd);
            }
            if file.generation_mut().note_ending(pid, ending) {
                self.core.touched.generations.add(*ino);
                self.core.touched.contents.add(*ino);
            }
        }
    }

    /// All processes of a group have exited: the files that they wrote may be done now.
    pub(super) fn group_ended(&mut self, group: i32) {
        for (ino, file) in &mut self.core.files {
            if file.generation_mut().group_ended(group) {
                self.core.touched.generations.add(*ino);
            }
        }
    }

    /// A handle is closed for good.
    pub(super) fn release(&mut self, handle: u64) {
        match self.handles.remove(&handle) {
            Some(Handle::Writer { ino, cached, .. }) => {
                let Core { files, names, .. } = &mut *self.core;
                if let Some(file) = files.get_mut(&ino)
                    && file.close_for_writing(self.now, cached)
                {
                    let name = || names.path(ino)?.pop();
                    let chosen = file.note_no_first_write(self.now, name);
                    self.publish_chosen(ino, chosen);
                    self.publish(ino, || Event::Closed);
                    // A closed message of a virtual FIFO is no longer held back.
                    self.touched.contents.add(ino);
                }
                self.touched.writeback.add(ino);
                self.touched.generations.add(ino);
                self.unpin(ino);
                self.was_closed(ino);
            }
            Some(Handle::Plain { ino, step, .. }) => {
                if let (Some(step), Some(generation)) = (step, self.core.generation_mut(ino))
                    && generation.close_as_step(step, self.now)
                {
                    self.touched.generations.add(ino);
                }
                self.unpin(ino);
                self.was_closed(ino);
            }
            Some(Handle::Reader(id)) => self.drop_reader(id),
            Some(Handle::Events(id)) => self.events.unsubscribe(id),
            Some(Handle::Text(_)) | None => {}
        }
    }

    /// A process has closed an inode. If it was the last one, the kernel may drop the inode, and must not reuse
    /// what it knew of it.
    pub(super) fn was_closed(&mut self, ino: u64) {
        if self.names.is_seen_unfinished(ino) && !self.is_open_in_kernel(ino, |_| true) {
            // The kernel must ask for those of the old incarnation, to be refused then and look again.
            self.forget_attributes(ino);
            self.names.reincarnate(ino);
        }
    }

    /// Ends a closed generation if it is done.
    pub(super) fn evaluate(&mut self, ino: u64) {
        let now = self.now;
        let (linger, fail_on) = (self.linger_of(ino), self.settings.fail_on);
        let Some(file) = self.core.files.get_mut(&ino) else {
            return;
        };
        let is_step = |reader: &&Reader| file.generation().is_step(reader.group_here());
        let waiting_steps = self.core.readers.of(file).filter(is_step).count();
        let awaits = linger == Some(Linger::Auto) && {
            let readers = self.core.readers.of(file).map(|reader| reader.origin().pid);
            file.awaits_content(self.processes, &readers.collect::<Vec<i32>>())
        };
        let generation = file.generation_mut();
        if let (true, Some(linger)) = (generation.is_active(), linger) {
            let admitted = generation.admits_steps();
            let again =
                generation.settle(linger, fail_on, now, self.processes, waiting_steps, awaits);
            let over = !generation.is_active();
            let admits = !over && generation.admits_steps() && !admitted;
            let again = [again, self.look_for_others(linger, ino)];
            for at in again.into_iter().flatten() {
                self.wake_at(at, Alarm::File(ino));
            }
            if over {
                self.generation_over(ino);
            } else if admits {
                self.touched.contents.add(ino);
            }
        }
        self.touched.room.add(ino);
    }

    /// Has the router find out whether, of the processes that might write a closed file again, only some that
    /// wait for it are left. Returns when to look again.
    fn look_for_others(&self, linger: Linger, ino: u64) -> Option<Monotonic> {
        // With these two, a writer of the file that waits for its end would otherwise wait for itself for ever.
        let looks = matches!(linger, Linger::Auto | Linger::Exit);
        let file = self.files.get(&ino).filter(|_| looks)?;
        let waits = |reader: &Reader| {
            let origin = reader.origin();
            let request = reader
                .open()
                .or_else(|| reader.reads().first().map(|read| read.unique))?;
            (origin.pid != 0 && origin.capture.is_none()).then_some((origin.pid, request))
        };
        let waiting = self.readers.of(file).filter_map(waits).collect();
        let (left, again) = file.generation().left(ino, waiting, self.now)?;
        self.processes.look_for_others(left);
        Some(again)
    }

    /// Only processes that wait for a closed file are left: no process will write it again before they have it.
    pub(super) fn nobody_else_left(&mut self, left: &Left) {
        let still_wait = |(_, request): &(i32, Unique)| self.waiting.contains_key(request);
        let all_wait = left.waiting.iter().all(still_wait);
        let fail_on = self.settings.fail_on;
        let Some(file) = self.core.files.get_mut(&left.ino) else {
            return;
        };
        let is_step = |reader: &Reader| file.generation().is_step(reader.group_here());
        let are_steps = self.core.readers.of(file).any(is_step);
        let since = Phase::Closed { since: left.since };
        let generation = file.generation_mut();
        if !all_wait || generation.phase() != since {
            return;
        }
        generation.nobody_else_is_left(are_steps, fail_on, self.now, self.processes);
        match generation.is_active() {
            true => self.touched.contents.add(left.ino),
            false => self.generation_over(left.ino),
        }
    }

    fn generation_over(&mut self, ino: u64) {
        let Some(file) = self.core.files.get(&ino) else {
            return;
        };
        let generation = file.generation();
        let (bytes, had_reader) = (file.spool().len(), generation.had_reader());
        if generation.phase() == Phase::Failed {
            self.core.tally.failed += 1;
            // If bytes were lost and no writer failed, the last writer stands for it.
            let culprit = generation.culprit(self.core.settings.fail_on);
            if let Some(writer) = culprit.or(generation.writers().last()) {
                let FailedWriter {
                    pid,
                    name,
                    signal,
                    status,
                } = writer.as_failed();
                self.publish(ino, || Event::Failed {
                    pid,
                    name,
                    signal,
                    status,
                });
            }
        } else {
            self.core.tally.done += 1;
            self.publish(ino, || Event::Done { bytes });
        }
        if had_reader {
            self.forget_attributes(ino);
        }
        if let Some(id) = self.fifo_of(ino) {
            self.touched.fifos.add(id);
        }
        self.note_left(ino);
        self.touched.writeback.add(ino);
        self.latch_readers(ino);
        self.touched.contents.add(ino);
    }

    /// Readers get the file that stands at their path when its generation is done: they do not follow
    /// the path from then on.
    fn latch_readers(&mut self, ino: u64) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        for id in file.readers().clone() {
            if let Some(reader) = self.readers.get(id)
                && reader.open().is_none()
                && !reader.is_absent()
            {
                self.readers.stop_following(id);
            }
        }
    }
}

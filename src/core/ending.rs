//! Closing a file, and how a generation comes to its end.

use super::effects::{Effect, Effects};
use super::events::Event;
use super::generation::Phase;
use super::readers::reader::Reader;
use super::rules::Linger;
use super::{Alarm, Core, Env, Handle};
use crate::error::FailedWriter;

impl Core {
    /// A handle is closed for good.
    pub(super) fn release(&mut self, env: Env<'_>, handle: u64, effects: &mut Effects) {
        match self.handles.remove(&handle) {
            Some(Handle::Writer { ino, cached, .. }) => {
                let Core { files, names, .. } = &mut *self;
                if let Some(file) = files.get_mut(&ino)
                    && file.close_for_writing(env.now.monotonic, cached)
                {
                    let name = || names.path(ino)?.pop();
                    let chosen = file.note_no_first_write(env.now.monotonic, name);
                    self.publish_chosen(env, ino, chosen, effects);
                    self.publish(env, ino, effects, || Event::Closed);
                }
                self.touched.writeback.add(ino);
                self.touched.generations.add(ino);
                self.unpin(ino);
            }
            Some(Handle::Plain { ino, step, .. }) => {
                if let (Some(step), Some(generation)) = (step, self.generation_mut(ino))
                    && generation.close_as_step(step, env.now.monotonic)
                {
                    self.touched.generations.add(ino);
                }
                self.unpin(ino);
            }
            Some(Handle::Reader(id)) => self.drop_reader(env, id, effects),
            Some(Handle::Events(id)) => self.events.unsubscribe(id),
            Some(Handle::Text(_)) | None => {}
        }
    }

    /// Sees whether a closed generation is done.
    pub(super) fn evaluate(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let now = env.now.monotonic;
        let (linger, fail_on) = (self.linger_of(env, ino), self.settings.fail_on);
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        let is_step = |reader: &&Reader| file.is_step(reader.group_here());
        let waiting_steps = self.readers.of(file).filter(is_step).count();
        let awaits = linger == Some(Linger::Auto) && file.spool().len() == 0 && {
            let readers = self.readers.of(file).map(|reader| reader.origin().pid);
            file.awaits_content(env.processes, &readers.collect::<Vec<i32>>())
        };
        if let (Some(generation), Some(linger)) =
            (file.generation_mut().filter(|g| g.is_active()), linger)
        {
            let admitted = generation.admits_steps();
            let again =
                generation.settle(linger, fail_on, now, env.processes, waiting_steps, awaits);
            let over = !generation.is_active();
            let admits = !over && generation.admits_steps() && !admitted;
            if let Some(at) = again {
                self.wake_at(at, Alarm::File(ino));
            }
            if over {
                self.generation_over(env, ino, effects);
            } else if admits {
                self.touched.contents.add(ino);
            }
        }
        self.touched.room.add(ino);
    }

    fn generation_over(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        let Some(generation) = file.generation() else {
            return;
        };
        let bytes = file.spool().len();
        if generation.had_reader() {
            effects.push(Effect::ForgetAttributes { ino });
        }
        if generation.phase() == Phase::Failed {
            self.tally.failed += 1;
            // If bytes were lost, whoever wrote them.
            let culprit = generation.culprit(self.settings.fail_on);
            if let Some(writer) = culprit.or(generation.writers().last()) {
                let FailedWriter {
                    pid,
                    name,
                    signal,
                    status,
                } = writer.as_failed();
                self.publish(env, ino, effects, || Event::Failed {
                    pid,
                    name,
                    signal,
                    status,
                });
            }
        } else {
            self.tally.done += 1;
            self.publish(env, ino, effects, || Event::Done { bytes });
        }
        if let Some(id) = self.fifo_of(ino) {
            self.touched.fifos.add(id);
        }
        self.note_left(ino);
        self.touched.writeback.add(ino);
        self.latch_readers(ino);
        self.touched.contents.add(ino);
    }

    /// What stands at the path when the generation is done is what its readers
    /// get: whatever happens to the name afterwards is no concern of theirs.
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

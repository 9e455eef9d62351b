//! Closing a file, and how a generation comes to its end.

use super::effects::{Effect, Effects};
use super::events::Event;
use super::generation::{Ending, Phase, Writer};
use super::rules::Linger;
use super::{Alarm, Core, Env, Handle};
use crate::error::FailedWriter;

impl Core {
    /// A handle is closed for good.
    pub(super) fn release(&mut self, env: Env<'_>, handle: u64, effects: &mut Effects) {
        match self.handles.remove(&handle) {
            Some(Handle::Writer { ino, cached, .. }) => {
                if let Some(file) = self.files.get_mut(&ino) {
                    file.cached_writers -= u32::from(cached);
                    if let Some(generation) = file.generation.as_mut() {
                        generation.closed(env.now.monotonic);
                        if generation.handles == 0 {
                            self.note_no_first_write(env, ino, effects);
                            self.publish(env, ino, effects, || Event::Closed);
                        }
                    }
                }
                self.touched.writeback.add(ino);
                self.touched.generations.add(ino);
                self.unpin(ino);
            }
            Some(Handle::Plain { ino, visit, .. }) => {
                if let Some(visit) = visit {
                    self.end_visit(env, ino, visit);
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
        let (linger, fail_on) = (self.linger_of(ino), self.settings.fail_on);
        let companions = self.companions(ino);
        let awaits = linger == Some(Linger::Auto) && self.awaits_content(env, ino);
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        let active = file.generation.as_mut().filter(|g| g.is_active());
        if let (Some(generation), Some(linger)) = (active, linger) {
            let rested = generation.rests;
            let again = generation.settle(linger, fail_on, now, env.processes, companions, awaits);
            let over = !generation.is_active();
            let comes_to_rest = !over && generation.rests.is_some() && rested.is_none();
            if let Some(at) = again {
                self.wake_at(at, Alarm::File(ino));
            }
            if over {
                self.generation_over(env, ino, effects);
            } else if comes_to_rest {
                self.touched.contents.add(ino);
            }
        }
        self.touched.room.add(ino);
    }

    /// Whether an empty file may get its content yet. Many a program makes its output when it begins
    /// and writes it when it ends, and scripts make it with touch(1). Nobody waits so for himself: for
    /// a process of which he is, or of whose script he is a step.
    fn awaits_content(&self, env: Env<'_>, ino: u64) -> bool {
        let Some(file) = self.files.get(&ino).filter(|file| file.spool.len() == 0) else {
            return false;
        };
        let Some(generation) = file.generation.as_ref().filter(|g| g.is_active()) else {
            return false;
        };
        let processes = env.processes;
        let readers = || file.readers.iter().filter_map(|id| self.readers.get(id));
        let is_maker = |w: &&Writer| w.pid != 0 && w.ending == Ending::Running && !w.let_go;
        let may_write = |w: &Writer| {
            processes.ending(w.pid) == Ending::Running
                && !readers().any(|reader| processes.descends_from(reader.pid, w.pid))
        };
        if generation.writers.iter().filter(is_maker).any(may_write) {
            return true;
        }
        let is_step = |group| readers().any(|r| processes.group_of(r.pid) == Some(group));
        generation.is_placeholder
            && generation
                .groups()
                .any(|group| !processes.group_is_empty(group) && !is_step(group))
    }

    fn generation_over(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        let Some(generation) = file.generation.as_ref() else {
            return;
        };
        let bytes = file.spool.len();
        if generation.had_reader {
            effects.push(Effect::ForgetAttributes { ino });
        }
        if generation.phase == Phase::Failed {
            self.tally.failed += 1;
            // If bytes were lost, whoever wrote them.
            let culprit = generation.culprit(self.settings.fail_on);
            if let Some(writer) = culprit.or(generation.writers.last()) {
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
        for id in file.readers.clone() {
            if let Some(reader) = self.readers.get(&id)
                && reader.open.is_none()
                && !reader.absent
            {
                self.stop_following(id);
            }
        }
    }
}

//! Stream delivery: how far a writer may be ahead of its readers, and what is
//! dropped when all of them have it.

use rustix::io::Errno;

use super::effects::{Effect, Effects};
use super::generation::Way;
use super::{Core, Env, File, HeldWrite};

impl Core {
    /// Whether a write that reaches to `end` must wait for the readers.
    pub(super) fn must_hold(&self, ino: u64, end: u64) -> Option<bool> {
        let file = self.files.get(&ino)?;
        let generation = file.generation.as_ref()?;
        if generation.way != Some(Way::Stream) || !generation.is_active() {
            return None;
        }
        let frontier = file.spool.frontier();
        // Bytes beyond a gap cannot be delivered, so nobody could end the wait.
        if end > frontier {
            return None;
        }
        let limit = self
            .slowest(file)
            .saturating_add(self.settings.window_bytes);
        Some(frontier > limit)
    }

    /// The position of the reader that has least.
    fn slowest(&self, file: &File) -> u64 {
        file.readers
            .iter()
            .filter_map(|id| self.readers.get(id))
            .filter(|reader| !reader.finished && reader.rewritten.is_none())
            .map(|reader| reader.position)
            .min()
            .unwrap_or(file.spool.base())
    }

    /// With stream: drops what every reader has, and lets the writes go on for
    /// which there is room now.
    pub(super) fn release_writes(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        let Some(generation) = file.generation.as_ref() else {
            return;
        };
        if generation.way != Some(Way::Stream) {
            return;
        }
        let has_readers = !file.readers.is_empty();
        let slowest = self.slowest(file);
        let window = self.settings.window_bytes;
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        if has_readers {
            file.spool.drop_before(slowest);
        }
        let broken = file.is_broken();
        let room = file.spool.frontier() <= slowest.saturating_add(window);
        while let Some(write) = file.held_writes.front() {
            let HeldWrite {
                unique,
                length,
                until,
            } = *write;
            if broken {
                effects.refuse(unique, Errno::PIPE);
            } else if room || until <= env.now.monotonic {
                effects.push(Effect::Written { unique, length });
            } else {
                break;
            }
            file.held_writes.pop_front();
            self.waiting.remove(&unique);
        }
    }
}

impl File {
    /// Whether writes fail: with stream, if there were readers and none is left.
    pub(super) fn is_broken(&self) -> bool {
        let left = self.generation.as_ref().is_some_and(|generation| {
            generation.way == Some(Way::Stream)
                && generation.is_active()
                && generation.had_reader
                && self.readers.is_empty()
        });
        left || self.hung_up
    }
}

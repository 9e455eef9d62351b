//! When what readers have is not what the program left, or will not be: which of
//! them are told, and how.

use std::ops::Range;

use rustix::io::Errno;

use super::effects::Effects;
use super::events::Event;
use super::reader::ReaderId;
use super::{Core, Env};

impl Core {
    /// A generation is not what its program believes: it will have failed.
    pub(super) fn lose(
        &mut self,
        env: Env<'_>,
        ino: u64,
        what: &str,
        offset: u64,
        errno: Errno,
        effects: &mut Effects,
    ) {
        let Some(generation) = self.generation_mut(ino) else {
            return;
        };
        // Once is enough: the kernel goes on with all that it holds.
        if !std::mem::replace(&mut generation.lost, true) {
            let message = format!("bytes from {offset} on {what}: {errno}");
            self.warn(env, ino, message, effects);
        }
    }

    /// Bytes that readers were given are no longer so.
    pub(super) fn rewritten(
        &mut self,
        env: Env<'_>,
        ino: u64,
        range: Range<u64>,
        effects: &mut Effects,
    ) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        for id in file.readers.clone() {
            let Some(reader) = self.readers.get(&id) else {
                continue;
            };
            let concerned =
                !reader.finished && reader.prior.is_none() && reader.position > range.start;
            if concerned {
                let range = range.start..range.end.min(reader.position);
                self.mark_rewritten(env, id, range, effects);
                self.progress(env, id, effects);
            }
        }
    }

    /// What a reader was given is no longer so, for good.
    pub(super) fn mark_rewritten(
        &mut self,
        env: Env<'_>,
        id: ReaderId,
        range: Range<u64>,
        effects: &mut Effects,
    ) {
        let Some(reader) = self.readers.get_mut(&id) else {
            return;
        };
        if reader.rewritten.is_some() {
            return;
        }
        reader.rewritten = Some(range.clone());
        let (pid, name) = (reader.pid, reader.name.clone());
        let Some(ino) = reader.source else {
            return;
        };
        let message = format!(
            "bytes {} to {} were rewritten after {name} ({pid}) had them; \
             deliver it as settled to have readers wait for the finished file",
            range.start, range.end
        );
        self.publish(env, ino, effects, || Event::Rewritten {
            pid,
            name,
            from: range.start,
            to: range.end,
        });
        self.warn(env, ino, message, effects);
    }
}

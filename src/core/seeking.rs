//! `SEEK_DATA` and `SEEK_HOLE`, for which the kernel's dirty pages must be here
//! first.

use std::time::Duration;

use rustix::io::Errno;

use super::effects::{Caller, Effect, Effects, Unique};
use super::{Alarm, Core, Env, File, Handle, HeldSeek, Waiting};

/// How long a seek waits. The kernel holds the file's lock meanwhile, and with a
/// rename waiting for that, maybe the lock of the directory that the flusher has
/// to pass.
const PATIENCE: Duration = Duration::from_millis(300);

impl Core {
    /// `SEEK_DATA` and `SEEK_HOLE`. While the kernel holds pages that were not
    /// written back, the answer waits until they are.
    pub(crate) fn seek(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        (ino, handle): (u64, u64),
        offset: u64,
        data: bool,
        effects: &mut Effects,
    ) {
        // A reader that waits reads on from where it is: a program that looked
        // for holes in what is there so far would take its end for the end.
        let waits = matches!(self.handles.get(&handle), Some(Handle::Reader(_)));
        let Some(file) = self.files.get_mut(&ino).filter(|_| !waits) else {
            return effects.refuse(caller.unique, UNKNOWN);
        };
        if file.cached_writers > 0 && self.flusher_gone {
            return effects.refuse(caller.unique, UNKNOWN);
        }
        if file.cached_writers == 0 {
            return file.answer_seek(caller.unique, offset, data, effects);
        }
        if file.seeks.is_empty() {
            file.flushes += 1;
            effects.push(Effect::FlushOnce { ino });
        }
        let until = env.now.monotonic.saturating_add(PATIENCE);
        file.seeks.push(HeldSeek {
            unique: caller.unique,
            offset,
            data,
            until,
        });
        self.waiting
            .insert(caller.unique, (Waiting::Seek(ino), caller.thread));
        self.wake_at(until, Alarm::File(ino));
    }

    /// The dirty pages of a file were written back, or could not be.
    pub(crate) fn flushed(&mut self, ino: u64, done: bool, effects: &mut Effects) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        file.flushes = file.flushes.saturating_sub(1);
        // One that was asked for before the last may have begun too early.
        if file.flushes == 0 {
            self.answer_seeks(ino, done, effects);
        }
    }

    /// Answers the seeks that wait for a file.
    pub(super) fn answer_seeks(&mut self, ino: u64, done: bool, effects: &mut Effects) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        for seek in std::mem::take(&mut file.seeks) {
            if done || file.cached_writers == 0 {
                file.answer_seek(seek.unique, seek.offset, seek.data, effects);
            } else {
                effects.refuse(seek.unique, UNKNOWN);
            }
            self.waiting.remove(&seek.unique);
        }
    }

    /// Gives up on seeks that have waited long enough.
    pub(super) fn refuse_late_seeks(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        let waiting = &mut self.waiting;
        file.seeks.retain(|seek| {
            let in_time = env.now.monotonic < seek.until;
            if !in_time {
                effects.refuse(seek.unique, UNKNOWN);
                waiting.remove(&seek.unique);
            }
            in_time
        });
    }

    /// Nothing will be written back by request any more.
    pub(crate) fn flusher_gone(&mut self, effects: &mut Effects) {
        self.flusher_gone = true;
        let files: Vec<u64> = self.files.keys().copied().collect();
        for ino in files {
            self.answer_seeks(ino, false, effects);
        }
    }
}

/// The answer where the kernel may know of data that we do not: that there is no
/// such search. Programs then read the whole file.
const UNKNOWN: Errno = Errno::INVAL;

impl File {
    fn answer_seek(&self, unique: Unique, offset: u64, data: bool, effects: &mut Effects) {
        let found = if data {
            self.spool.seek_data(offset)
        } else {
            self.spool.seek_hole(offset)
        };
        match found {
            Some(offset) => effects.push(Effect::Sought { unique, offset }),
            None => effects.refuse(unique, Errno::NXIO),
        }
    }
}

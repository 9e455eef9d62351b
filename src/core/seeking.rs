//! `SEEK_DATA` and `SEEK_HOLE`, for which the kernel's dirty pages must be here
//! first.

use rustix::io::Errno;

use super::effects::{Caller, Effect, Effects, Unique};
use super::{Core, File, Handle, Waiting};

impl Core {
    /// `SEEK_DATA` and `SEEK_HOLE`. While the kernel holds pages that were not
    /// written back, the answer waits until they are.
    pub(crate) fn seek(
        &mut self,
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
            effects.push(Effect::FlushOnce { ino });
        }
        file.seeks.push((caller.unique, offset, data));
        self.waiting
            .insert(caller.unique, (Waiting::Seek(ino), caller.thread));
    }

    /// The dirty pages of a file were written back, or could not be.
    pub(crate) fn flushed(&mut self, ino: u64, done: bool, effects: &mut Effects) {
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        for (unique, offset, data) in std::mem::take(&mut file.seeks) {
            if done || file.cached_writers == 0 {
                file.answer_seek(unique, offset, data, effects);
            } else {
                effects.refuse(unique, UNKNOWN);
            }
            self.waiting.remove(&unique);
        }
    }

    /// Nothing will be written back by request any more.
    pub(crate) fn flusher_gone(&mut self, effects: &mut Effects) {
        self.flusher_gone = true;
        let files: Vec<u64> = self.files.keys().copied().collect();
        for ino in files {
            self.flushed(ino, false, effects);
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

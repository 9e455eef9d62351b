//! Backpressure: writers that are too far ahead of their readers wait. This concerns streams, FIFOs, captured
//! files that follow and are not kept whole, and files that are read by position when there is no room for more.
//!
//! Knows which files have a pace; what a pace means for one file is in [`crate::core::file`].

use std::time::Duration;

use super::Operation;
use crate::core::effects::{Effect, Reply};
use crate::core::file::Pace;
use crate::core::generation::Way;
use crate::core::readers::Of;
use crate::core::touched::TakenWrite;
use crate::core::{Alarm, Waiting};

impl Operation<'_> {
    fn pace(&self, ino: u64) -> Option<Pace> {
        let file = self.files.get(&ino)?;
        if self.is_tight(file) {
            return Some(Pace::of_reader());
        }
        let window = self.settings.window_bytes;
        match self.readers.way_in_effect(file)? {
            // No process reads it now, and none can come.
            Way::Stream
                if file.readers().is_empty()
                    && !self.settings.readers_wait
                    && !self.is_captured(ino) =>
            {
                None
            }
            // Its readers want the whole file: it is kept, and none of them reads before it is done.
            Way::Stream if self.readers.want_all(file) => None,
            Way::Stream => Some(Pace::of_pipe(window, self.settings.patience)),
            Way::Follow if file.fifo().is_some() => {
                let pace = Pace::of_pipe(window, Duration::MAX);
                self.flows(ino).then_some(pace)
            }
            Way::Follow => {
                let keep = self.captures.keep_bytes(&self.names, ino)?;
                Some(Pace::throttled(keep))
            }
            Way::Settled => None,
        }
    }

    /// Answers a write, unless it must wait until the readers have caught up.
    pub(super) fn answer_write(&mut self, write: TakenWrite) {
        let TakenWrite {
            unique,
            ino,
            length,
            ..
        } = write;
        let pace = self.pace(ino);
        let file = self.core.files.get_mut(&ino);
        if let (Some(file), Some(pace)) = (file, pace) {
            let slowest = self.core.readers.slowest(file, Of::Pace);
            let what = (write.end, write.from_cache);
            if let Some(patience) = file.must_hold(pace, slowest, what) {
                let until = self.now.checked_add(patience);
                file.hold_write(unique, length, until);
                let waiting = (Waiting::Write(ino), write.thread);
                self.waiting.insert(unique, waiting);
                if let Some(until) = until {
                    self.wake_at(until, Alarm::File(ino));
                }
                return;
            }
        }
        let reply = Reply::Written(length);
        match write.comes_first {
            true => self.effects.push_first(Effect::Reply { unique, reply }),
            false => self.reply(unique, Ok(reply)),
        }
    }

    /// Drops bytes that every reader has and no later reader will get, and answers the waiting
    /// writes for which there is room now: all of them if the file has no pace any more.
    pub(super) fn release_writes(&mut self, ino: u64) {
        let pace = self.pace(ino);
        let Some(file) = self.core.files.get_mut(&ino) else {
            return;
        };
        if let Some(pace) = pace {
            file.drop_delivered(pace, self.core.readers.slowest(file, Of::Content));
        }
        if !file.has_held_writes() {
            return;
        }
        let slowest = self.core.readers.slowest(file, Of::Pace);
        let next = || file.next_answered(pace, slowest, self.now);
        let answered: Vec<_> = std::iter::from_fn(next).collect();
        for (unique, written) in answered {
            if written.is_err() {
                // As in `take`: readers of a stream get the error.
                self.touched.contents.add(ino);
            }
            self.reply(unique, written.map(Reply::Written));
        }
    }
}

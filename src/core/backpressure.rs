//! How far a writer may be ahead of its readers, and what is dropped when all of
//! them have it: with stream, and with a captured file that follows and is not to
//! be kept whole.

use std::time::Duration;

use super::effects::Effects;
use super::file::Room;
use super::generation::Way;
use super::readers::Of;
use super::{Core, Env};

/// By how much a write to a captured file that follows is slowed down. It is the
/// kernel's, not the program's, which notices once it may not dirty more memory.
const BRAKE: Duration = Duration::from_millis(200);

/// What keeps a writer near its readers.
#[derive(Clone, Copy)]
struct Pace {
    /// How far it may be ahead.
    ahead: u64,
    /// How much is kept of what every reader has.
    keep: u64,
    /// How long a write waits at most.
    patience: Duration,
}

impl Core {
    fn pace(&self, ino: u64) -> Option<Pace> {
        let file = self.files.get(&ino)?;
        match file.way()? {
            // Nobody reads it, or ever will.
            Way::Stream
                if file.readers().is_empty()
                    && !self.settings.readers_wait
                    && !self.is_captured(ino) =>
            {
                None
            }
            // All of it is kept for those who want it whole, and nobody takes it before.
            Way::Stream if self.readers.want_all(file) => None,
            Way::Stream => Some(Pace {
                ahead: self.settings.window_bytes,
                keep: 0,
                patience: self.settings.patience,
            }),
            Way::Follow if file.fifo().is_some() => self.flows(ino).then_some(Pace {
                ahead: self.settings.window_bytes,
                keep: 0,
                patience: Duration::MAX,
            }),
            Way::Follow => {
                let keep = self.captures.keep_bytes(&self.names, ino)?;
                Some(Pace {
                    ahead: keep,
                    keep,
                    patience: BRAKE,
                })
            }
            Way::Settled => None,
        }
    }

    /// For how long a write that reaches to `end` is to wait for the readers at
    /// most, if it is.
    pub(super) fn must_hold(&self, ino: u64, end: u64, from_cache: bool) -> Option<Duration> {
        let file = self.files.get(&ino)?;
        if !file.is_active() {
            return None;
        }
        let pace = self.pace(ino)?;
        if from_cache && pace.patience != BRAKE {
            // Of a stream these are mapped pages, which the kernel cannot hold back
            // for long.
            return None;
        }
        let frontier = file.spool().frontier();
        // Bytes beyond a gap cannot be delivered, so nobody could end the wait.
        let is_ahead = frontier
            > self
                .readers
                .slowest(file, Of::Pace)
                .saturating_add(pace.ahead);
        (end <= frontier && is_ahead).then_some(pace.patience)
    }

    /// Drops what every reader has and nobody is to have again, and lets the writes
    /// go on for which there is room now, or all if nothing keeps the writer near its
    /// readers any more.
    pub(super) fn release_writes(&mut self, env: Env<'_>, ino: u64, effects: &mut Effects) {
        let pace = self.pace(ino);
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        if pace.is_none() && !file.has_held_writes() {
            return;
        }
        let has_readers = !file.readers().is_empty();
        let (slowest, keeps) = (
            self.readers.slowest(file, Of::Pace),
            self.readers.slowest(file, Of::Content),
        );
        let Some(file) = self.files.get_mut(&ino) else {
            return;
        };
        if let (Some(pace), true) = (&pace, has_readers) {
            file.drop_before(keeps.saturating_sub(pace.keep));
        }
        if !file.has_held_writes() {
            return;
        }
        let is_near = |pace: Pace| file.spool().frontier() <= slowest.saturating_add(pace.ahead);
        let room = if pace.is_none_or(is_near) {
            Room::There
        } else {
            Room::Lacking {
                now: env.now.monotonic,
            }
        };
        let room = file.refuse_if_broken().map_or(Room::Broken, |()| room);
        while let Some((unique, reply)) = file.flow().next(room) {
            effects.reply(unique, reply);
            self.waiting.remove(&unique);
        }
    }
}

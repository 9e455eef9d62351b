//! Backpressure: how far a writer may be ahead of the readers, and what is dropped when all of them have
//! it.
//!
//! ```text
//!   dropped │  kept_bytes   │      ahead_bytes      │
//!  ─────────┼───────────────┼───────────────────────┼──────► beyond this writes wait
//!          base          slowest               frontier
//! ```
//!
//! Knows the writes of one file that were taken and not answered; where the slowest reader is, is told.
//! Invariant: no write is answered before one that came earlier, but for one that is given up.

use std::collections::VecDeque;
use std::time::Duration;

use rustix::io::Errno;

use super::super::clock::Monotonic;
use super::super::ids::Unique;
use super::super::timers::THROTTLE;
use super::File;

/// What keeps a writer near its readers.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Pace {
    /// How far it may be ahead.
    ahead_bytes: u64,
    /// How much is kept of what every reader has.
    kept_bytes: u64,
    /// How long a write waits at most.
    patience: Duration,
    /// Whether those of the kernel's cache wait, too. Of a stream these are mapped pages, which the kernel
    /// cannot hold back for long.
    of_cache: bool,
    /// Whether bytes beyond a gap wait, too, until all that is before it was read.
    beyond_gaps: bool,
}

impl Pace {
    /// That of a pipe, for so long.
    pub(in crate::core) fn of_pipe(window_bytes: u64, patience: Duration) -> Pace {
        Pace {
            ahead_bytes: window_bytes,
            kept_bytes: 0,
            patience,
            of_cache: false,
            beyond_gaps: false,
        }
    }

    /// That of a file for which there is no room until its reader has got more.
    pub(in crate::core) fn of_reader() -> Pace {
        Pace {
            ahead_bytes: 0,
            kept_bytes: u64::MAX,
            patience: Duration::MAX,
            of_cache: true,
            beyond_gaps: true,
        }
    }

    /// That of a file of which no more than this is kept.
    pub(in crate::core) fn throttled(bytes: u64) -> Pace {
        Pace {
            ahead_bytes: bytes,
            kept_bytes: bytes,
            patience: THROTTLE,
            of_cache: true,
            beyond_gaps: false,
        }
    }
}

/// A write that was taken but is not answered yet.
#[derive(Debug)]
struct HeldWrite {
    unique: Unique,
    length: u32,
    /// None: until there is room.
    until: Option<Monotonic>,
}

/// The writes of a file that wait.
#[derive(Debug, Default)]
pub(super) struct Flow {
    held: VecDeque<HeldWrite>,
}

impl File {
    /// For how long a write that reaches to `end` is to wait for the slowest reader at most, if it is.
    pub(in crate::core) fn must_hold(
        &self,
        pace: Pace,
        slowest: u64,
        (end, from_cache): (u64, bool),
    ) -> Option<Duration> {
        // Bytes beyond a gap cannot be delivered, so nobody could end the wait.
        let is_deliverable = pace.beyond_gaps || end <= self.spool.frontier();
        let is_deliverable = is_deliverable && self.is_active();
        let is_held = is_deliverable && (!from_cache || pace.of_cache);
        (is_held && !self.has_room(pace, slowest)).then_some(pace.patience)
    }

    /// A write waits for its answer, until then at most.
    pub(in crate::core) fn hold_write(
        &mut self,
        unique: Unique,
        length: u32,
        until: Option<Monotonic>,
    ) {
        self.flow.held.push_back(HeldWrite {
            unique,
            length,
            until,
        });
    }

    /// Whether writes wait for their answers.
    pub(in crate::core) fn has_held_writes(&self) -> bool {
        !self.flow.held.is_empty()
    }

    /// The next write that need not wait any longer, and how many bytes it wrote. Without a pace none does.
    pub(in crate::core) fn next_answered(
        &mut self,
        pace: Option<Pace>,
        slowest: u64,
        now: Monotonic,
    ) -> Option<(Unique, Result<u32, Errno>)> {
        let write = self.flow.held.front()?;
        let (unique, length) = (write.unique, write.length);
        let is_over = write.until.is_some_and(|until| until <= now);
        let written = self.refuse_if_broken().map(|()| length);
        let goes_on = is_over || pace.is_none_or(|pace| self.has_room(pace, slowest));
        if written.is_ok() && !goes_on {
            return None;
        }
        self.flow.held.pop_front();
        Some((unique, written))
    }

    /// A write waits no longer, as its caller has a signal to see to. Its bytes were taken, so many: saying that
    /// it was interrupted would have the program write them twice.
    pub(in crate::core) fn give_up_write(&mut self, unique: Unique) -> Option<u32> {
        let held = &mut self.flow.held;
        let at = held.iter().position(|write| write.unique == unique)?;
        Some(held.remove(at)?.length)
    }

    /// Drops what every reader has and nobody is to have again; `slowest` is the reader that has least.
    pub(in crate::core) fn drop_delivered(&mut self, pace: Pace, slowest: u64) {
        if !self.readers.is_empty() {
            self.spool
                .drop_range(0..slowest.saturating_sub(pace.kept_bytes));
        }
    }

    fn has_room(&self, pace: Pace, slowest: u64) -> bool {
        self.spool.frontier() <= slowest.saturating_add(pace.ahead_bytes)
    }
}

//! Backpressure: how far a writer may be ahead of the readers, and which delivered bytes are dropped.
//!
//! ```text
//!   dropped │  kept_bytes   │      ahead_bytes      │
//!  ─────────┼───────────────┼───────────────────────┼──────► beyond this writes wait
//!          base          slowest               frontier
//! ```
//!
//! Knows the writes of one file that were accepted and not answered; callers pass the position of the slowest
//! reader. Invariant: writes are answered in order, except those given up at an interrupt.

use std::collections::VecDeque;
use std::time::Duration;

use rustix::io::Errno;

use super::super::clock::Monotonic;
use super::super::ids::Unique;
use super::super::timers::THROTTLE;
use super::File;

/// Limits that keep a writer near its readers.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Pace {
    /// Distance from the slowest reader to the frontier beyond which writes wait.
    ahead_bytes: u64,
    /// Bytes kept behind the slowest reader.
    kept_bytes: u64,
    /// How long a write waits at most.
    patience: Duration,
    /// Whether writes from the kernel's cache wait, too. Of a stream these are mapped pages, which the kernel
    /// cannot hold back for long.
    of_cache: bool,
    /// Whether bytes beyond a gap wait, too, until all bytes before it were read.
    beyond_gaps: bool,
}

impl Pace {
    /// The pace of a pipe, where a write waits this long at most.
    pub(in crate::core) fn of_pipe(window_bytes: u64, patience: Duration) -> Pace {
        Pace {
            ahead_bytes: window_bytes,
            kept_bytes: 0,
            patience,
            of_cache: false,
            beyond_gaps: false,
        }
    }

    /// The pace of a file for which there is no room until its reader has got more.
    pub(in crate::core) fn of_reader() -> Pace {
        Pace {
            ahead_bytes: 0,
            kept_bytes: u64::MAX,
            patience: Duration::MAX,
            of_cache: true,
            beyond_gaps: true,
        }
    }

    /// The pace of a file of which no more than this is kept.
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

/// A write that was accepted but is not answered yet.
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
    /// How long a write up to `end` must wait for the slowest reader at most; `None` if it need not wait.
    pub(in crate::core) fn must_hold(
        &self,
        pace: Pace,
        slowest: u64,
        (end, from_cache): (u64, bool),
    ) -> Option<Duration> {
        // Bytes beyond a gap cannot be delivered, so no reader could end the wait.
        let is_deliverable = pace.beyond_gaps || end <= self.spool.frontier();
        let is_deliverable = is_deliverable && self.is_active();
        let is_held = is_deliverable && (!from_cache || pace.of_cache);
        (is_held && !self.has_room(pace, slowest)).then_some(pace.patience)
    }

    /// Keeps a write's answer back, until then at most.
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

    pub(in crate::core) fn has_held_writes(&self) -> bool {
        !self.flow.held.is_empty()
    }

    /// Takes the next write that can be answered, and its result. Without a pace none waits.
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

    /// A signal ends the wait of a write. Returns its length, as its bytes were accepted: after EINTR the
    /// program would write them twice.
    pub(in crate::core) fn give_up_write(&mut self, unique: Unique) -> Option<u32> {
        let held = &mut self.flow.held;
        let at = held.iter().position(|write| write.unique == unique)?;
        Some(held.remove(at)?.length)
    }

    /// Drops bytes that every reader has and that need not be kept; `slowest` is the lowest position of a
    /// reader.
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

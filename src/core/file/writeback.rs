//! Whether the kernel is made to write back what it holds of a file.
//!
//! ```text
//!        somebody waits               FLUSH_AFTER
//!   No ──────────────────► From(when) ───────────► Now
//!    ▲                      │      ▲                │
//!    └──────────────────────┘      └─ refused ──────┤
//!    └── nobody does ───────────────────────────────┘
//! ```
//!
//! Knows who writes through the kernel's cache, by number; whether somebody waits is told. Invariant: the
//! flusher was told to go on exactly while the state is `Now`.

use std::time::Duration;

use super::super::clock::Monotonic;

/// How long after somebody came to wait for a file that is being written the flusher takes it in
/// hand: many a small one is done by then.
const FLUSH_AFTER: Duration = Duration::from_millis(2);

/// How long after the flusher has refused a file it is asked again: it takes so many at a time only.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Whether the flusher has a file in hand.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core) enum Flushing {
    #[default]
    No,
    /// Not before this moment.
    From(Monotonic),
    Now,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Order {
    Nothing,
    /// The flusher is to take it in hand, or to leave it.
    Tell(bool),
    /// It is to be seen to again at this moment.
    LookAt(Monotonic),
}

/// The kernel's cache of a file.
#[derive(Debug, Default)]
pub(in crate::core) struct Writeback {
    /// Handles that write through the page cache: while there are any, the
    /// kernel knows more of the file than we do.
    writers: u32,
    flushing: Flushing,
}

impl Writeback {
    pub(super) fn opened(&mut self) {
        self.writers += 1;
    }

    pub(super) fn closed(&mut self) {
        self.writers -= 1;
    }

    /// Whether the kernel may know more of the file than we do.
    pub(in crate::core) fn may_hold_more(&self) -> bool {
        self.writers > 0
    }

    /// Somebody waits for what the kernel may hold, or nobody does.
    pub(in crate::core) fn update(&mut self, is_awaited: bool, now: Monotonic) -> Order {
        let (flushing, order) = match (is_awaited, self.flushing) {
            (true, Flushing::No) => {
                let at = now + FLUSH_AFTER;
                (Flushing::From(at), Order::LookAt(at))
            }
            (true, Flushing::From(at)) if at <= now => (Flushing::Now, Order::Tell(true)),
            (false, Flushing::From(_)) => (Flushing::No, Order::Nothing),
            (false, Flushing::Now) => (Flushing::No, Order::Tell(false)),
            (true, Flushing::From(_) | Flushing::Now) | (false, Flushing::No) => {
                return Order::Nothing;
            }
        };
        self.flushing = flushing;
        order
    }

    /// The flusher did not take it in hand. Gives when it is asked again, if it was to take it.
    pub(in crate::core) fn refused(&mut self, now: Monotonic) -> Option<Monotonic> {
        let Flushing::Now = self.flushing else {
            return None;
        };
        let at = now + ASK_AGAIN;
        self.flushing = Flushing::From(at);
        Some(at)
    }

    #[cfg(test)]
    pub(in crate::core) fn flushing(&self) -> Flushing {
        self.flushing
    }
}

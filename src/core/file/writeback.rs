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

use super::super::clock::Monotonic;
use super::super::timers::{FLUSH_AFTER, FLUSHER_ASKED_AGAIN};

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
    /// Whoever has just opened the file writes through the kernel's cache.
    pub(in crate::core) fn opened(&mut self) {
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
        let at = now + FLUSHER_ASKED_AGAIN;
        self.flushing = Flushing::From(at);
        Some(at)
    }

    #[cfg(test)]
    pub(in crate::core) fn flushing(&self) -> Flushing {
        self.flushing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic::from_secs(1);
    const DUE: Monotonic = NOW.saturating_add(FLUSH_AFTER);

    /// Somebody waits from `NOW` on, and for so long that the flusher has it in hand.
    fn flushed() -> Writeback {
        let mut writeback = Writeback::default();
        assert_eq!(writeback.update(true, NOW), Order::LookAt(DUE));
        assert_eq!(writeback.update(true, DUE), Order::Tell(true));
        writeback
    }

    #[test]
    fn the_flusher_takes_a_file_in_hand_when_somebody_has_waited_a_moment() {
        let mut writeback = Writeback::default();
        assert_eq!(writeback.update(false, NOW), Order::Nothing);
        assert_eq!(writeback.update(true, NOW), Order::LookAt(DUE));
        let before = DUE.saturating_sub(Monotonic::from_nanos(1));
        assert_eq!(writeback.update(true, before), Order::Nothing);
        assert_eq!(writeback.update(true, DUE), Order::Tell(true));
        assert_eq!(writeback.update(true, DUE), Order::Nothing);
        assert_eq!(writeback.update(false, DUE), Order::Tell(false));
        assert_eq!(writeback.update(false, DUE), Order::Nothing);
    }

    #[test]
    fn who_goes_before_that_is_forgotten_and_the_next_waits_as_long() {
        let mut writeback = Writeback::default();
        writeback.update(true, NOW);
        assert_eq!(writeback.update(false, DUE), Order::Nothing);
        let again = writeback.update(true, DUE);
        assert_eq!(again, Order::LookAt(DUE + FLUSH_AFTER));
    }

    #[test]
    fn a_flusher_that_refuses_is_asked_again_later_and_only_what_it_has_can_it_refuse() {
        let mut writeback = Writeback::default();
        assert_eq!(writeback.refused(NOW), None);
        writeback.update(true, NOW);
        assert_eq!(writeback.refused(NOW), None, "it was not asked yet");
        let mut writeback = flushed();
        let again = DUE + FLUSHER_ASKED_AGAIN;
        assert_eq!(writeback.refused(DUE), Some(again));
        assert_eq!(writeback.update(true, DUE), Order::Nothing);
        assert_eq!(writeback.update(true, again), Order::Tell(true));
    }

    #[test]
    fn the_kernel_may_hold_more_while_anybody_writes_through_its_cache() {
        let mut writeback = Writeback::default();
        assert!(!writeback.may_hold_more());
        writeback.opened();
        writeback.opened();
        writeback.closed();
        assert!(writeback.may_hold_more());
        writeback.closed();
        assert!(!writeback.may_hold_more());
    }
}

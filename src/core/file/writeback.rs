//! Whether the kernel is made to write a file's cached pages back.
//!
//! ```text
//!        a reader waits               FLUSH_AFTER
//!   No ──────────────────► From(when) ───────────► Now
//!    ▲                      │      ▲                │
//!    └──────────────────────┘      └─ refused ──────┤
//!    └── no reader waits ───────────────────────────┘
//! ```
//!
//! Knows how many handles write through the kernel's cache; callers know whether a reader waits. Invariant:
//! the flusher has the order to flush exactly while the state is `Now`.

use super::super::clock::Monotonic;
use super::super::timers::{FLUSH_AFTER, FLUSHER_ASKED_AGAIN};

/// Whether the flusher flushes a file.
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
    /// Tell the flusher to flush it, or to stop.
    Tell(bool),
    /// Look at it again at this moment.
    LookAt(Monotonic),
}

/// The kernel's cache of a file.
#[derive(Debug, Default)]
pub(in crate::core) struct Writeback {
    /// Handles that write through the page cache: while there are any, the kernel may have newer bytes than
    /// the daemon.
    writers: u32,
    flushing: Flushing,
}

impl Writeback {
    /// A handle was opened that writes through the kernel's cache.
    pub(in crate::core) fn opened(&mut self) {
        self.writers += 1;
    }

    pub(super) fn closed(&mut self) {
        self.writers -= 1;
    }

    /// Whether the kernel may have newer bytes of the file than the daemon.
    pub(in crate::core) fn may_hold_more(&self) -> bool {
        self.writers > 0
    }

    /// Notes whether a reader waits for bytes that the kernel may hold.
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

    /// The flusher refused the file. Returns when to ask again, if it is still to be flushed.
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

    /// A file that a reader has awaited from `NOW` on, for so long that it is flushed.
    fn flushed() -> Writeback {
        let mut writeback = Writeback::default();
        assert_eq!(writeback.update(true, NOW), Order::LookAt(DUE));
        assert_eq!(writeback.update(true, DUE), Order::Tell(true));
        writeback
    }

    #[test]
    fn the_flusher_flushes_a_file_when_a_reader_has_waited_a_moment() {
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
    fn a_reader_that_leaves_before_that_is_forgotten_and_the_next_waits_as_long() {
        let mut writeback = Writeback::default();
        writeback.update(true, NOW);
        assert_eq!(writeback.update(false, DUE), Order::Nothing);
        let again = writeback.update(true, DUE);
        assert_eq!(again, Order::LookAt(DUE + FLUSH_AFTER));
    }

    #[test]
    fn a_flusher_that_refuses_is_asked_again_later_and_it_can_only_refuse_a_file_that_it_has() {
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
    fn the_kernel_may_hold_more_while_a_handle_writes_through_its_cache() {
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

//! How many bytes of a buffer count, and which thread may append.
//!
//! Knows numbers, not bytes. The invariant: bytes below [`Claims::filled`] are not written any more, and
//! bytes beyond are written only by the one thread that has claimed them.

use std::sync::atomic::Ordering;

use crate::sync::modelled::AtomicUsize;

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// How many bytes from the first on count. Never decreases below bytes that were handed out.
    filled: AtomicUsize,
    /// End of the bytes that a thread is writing, or `filled`.
    claimed: AtomicUsize,
}

impl Claims {
    /// Claims of a buffer with so many bytes.
    pub(super) fn new(filled: usize) -> Claims {
        Claims {
            filled: AtomicUsize::new(filled),
            claimed: AtomicUsize::new(filled),
        }
    }

    /// How many bytes count; they can be read.
    pub(super) fn filled(&self) -> usize {
        self.filled.load(Ordering::Acquire)
    }

    /// Claims the bytes from `filled`, as loaded a moment ago, to `end`. If this returns true the caller
    /// alone may write them, and must then [`publish`](Self::publish) them.
    pub(super) fn claim(&self, filled: usize, end: usize) -> bool {
        let exchanged =
            self.claimed
                .compare_exchange(filled, end, Ordering::Acquire, Ordering::Relaxed);
        exchanged.is_ok()
    }

    /// The claimed bytes up to `end` are written.
    pub(super) fn publish(&self, end: usize) {
        self.filled.store(end, Ordering::Release);
    }
}

#[cfg(all(test, modelled))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A buffer of two bytes. Loom fails if one is read or written while it is written.
    #[derive(Default)]
    struct Shared {
        claims: Claims,
        cells: [UnsafeCell<u8>; 2],
    }

    // SAFETY: loom checks it.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn append(&self, byte: u8) {
            let at = self.claims.filled();
            if at < self.cells.len() && self.claims.claim(at, at + 1) {
                // SAFETY: it is claimed.
                self.cells[at].with_mut(|cell| unsafe { *cell = byte });
                self.claims.publish(at + 1);
            }
        }

        fn read(&self) {
            for cell in &self.cells[..self.claims.filled()] {
                // SAFETY: it counts.
                cell.with(|cell| assert_ne!(unsafe { *cell }, 0, "it counts, and is not written"));
            }
        }
    }

    #[test]
    fn model_of_threads_that_append_and_read() {
        loom::model(|| {
            let shared = Arc::new(Shared::default());
            let others = [1, 2].map(|byte| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.append(byte);
                    shared.append(byte);
                })
            });
            shared.read();
            for other in others {
                other.join().unwrap();
            }
            shared.read();
            assert!(shared.claims.filled() >= 1, "of two, one appends");
        });
    }
}

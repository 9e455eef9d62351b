//! How many bytes of a buffer count, and whose turn it is to add some.
//!
//! Knows numbers, not bytes. The invariant: bytes below [`Claims::filled`] are not written any more, and
//! what is written beyond is written by one thread, which has claimed it.

use std::sync::atomic::Ordering;

use crate::sync::modelled::AtomicUsize;

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// How many bytes from the first on count. Never below what was handed out.
    filled: AtomicUsize,
    /// Up to where somebody is filling it, or `filled`.
    claimed: AtomicUsize,
}

impl Claims {
    /// With so many bytes.
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

    /// Claims the bytes from `filled`, which it was a moment ago, to `end`; says whether they are the
    /// caller's to write, and then to [`publish`](Self::publish).
    pub(super) fn claim(&self, filled: usize, end: usize) -> bool {
        let exchanged =
            self.claimed
                .compare_exchange(filled, end, Ordering::Acquire, Ordering::Relaxed);
        exchanged.is_ok()
    }

    /// What was claimed up to `end` is written.
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

    /// A buffer of two bytes. Loom says so if one is read or written while it is written.
    #[derive(Default)]
    struct Shared {
        claims: Claims,
        cells: [UnsafeCell<u8>; 2],
    }

    // SAFETY: loom sees to it.
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

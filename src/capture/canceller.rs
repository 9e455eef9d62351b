//! Ends the waits of a reader from another thread.

use crate::fifo;
use crate::forked::Owner;
use crate::router::LocalCanceller;

/// Ends the waits of one [`Reader`](crate::Reader). `Clone`, `Send` and `Sync`.
///
/// ```
/// let capture = fifofs::Capture::new("never-written")?;
/// let reader = capture.reader()?;
/// let canceller = reader.canceller();
/// // In a signal handler's thread, for instance:
/// std::thread::spawn(move || canceller.cancel());
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Clone)]
pub struct Canceller {
    cancels: Cancels,
    owner: Owner,
}

#[derive(Clone)]
pub(super) enum Cancels {
    Capture(LocalCanceller),
    Pipe(fifo::Canceller),
}

impl Canceller {
    pub(super) fn new(cancels: Cancels, owner: Owner) -> Canceller {
        Canceller { cancels, owner }
    }

    /// Makes the read that waits now, and every later one that would have to wait for bytes, fail
    /// with [`Error::Cancelled`](crate::Error::Cancelled).
    ///
    /// ```
    /// use fifofs::{Capture, Error};
    ///
    /// let capture = Capture::new("never-written")?;
    /// let mut reader = capture.reader()?;
    /// reader.canceller().cancel();
    /// assert!(matches!(reader.read_all(), Err(Error::Cancelled { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn cancel(&self) {
        if !self.owner.is_this() {
            return;
        }
        match &self.cancels {
            Cancels::Capture(canceller) => canceller.cancel(),
            Cancels::Pipe(canceller) => canceller.cancel(),
        }
    }
}

impl std::fmt::Debug for Canceller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Canceller").finish()
    }
}

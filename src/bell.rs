//! A file descriptor that wakes pollers, built on eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};

use crate::forked::Owner;

/// A descriptor that is readable from `ring` until `silence`.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Bell(eventfd(0, flags)?))
    }

    pub(crate) fn ring(&self) {
        // A full counter is readable already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Returns whether it had rung.
    pub(crate) fn silence(&self) -> bool {
        // EAGAIN: it has not.
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// A bell for pollers, made when its descriptor is first asked for. Dropping it rings, for pollers that still have
/// a copy of the descriptor.
#[derive(Debug, Default)]
pub(crate) struct Polled(Option<Asked>);

#[derive(Debug)]
struct Asked {
    bell: Arc<Bell>,
    waker: Waker,
    /// In a forked child dropping it does not ring.
    owner: Owner,
}

impl Polled {
    /// The descriptor to poll. It stays the same.
    pub(crate) fn descriptor(&mut self) -> io::Result<BorrowedFd<'_>> {
        let asked = match &mut self.0 {
            Some(asked) => asked,
            none => {
                let bell = Arc::new(Bell::new()?);
                none.insert(Asked {
                    waker: Waker::from(Arc::clone(&bell)),
                    bell,
                    owner: Owner::this(),
                })
            }
        };
        Ok(asked.bell.as_fd())
    }

    /// The waker that rings it.
    pub(crate) fn waker(&self) -> Waker {
        let asked = self.0.as_ref();
        asked.map_or(Waker::noop(), |asked| &asked.waker).clone()
    }

    /// Call this when nothing was there; then look again, as it may have rung in between.
    pub(crate) fn silence(&self) {
        if let Some(asked) = &self.0 {
            asked.bell.silence();
        }
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if let Some(asked) = &self.0
            && asked.owner.is_this()
        {
            asked.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poller_of_a_copy_is_woken_by_each_ring_and_by_the_end() {
        let mut polled = Polled::default();
        polled.waker().wake();
        let copy = Bell(polled.descriptor().unwrap().try_clone_to_owned().unwrap());
        assert!(!copy.silence(), "there was no poller yet");
        polled.waker().wake();
        assert!(copy.silence() && !copy.silence());
        drop(polled);
        assert!(copy.silence(), "it is over");
    }
}

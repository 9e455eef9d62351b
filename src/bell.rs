//! A descriptor by which whoever polls is told that something is worth looking at.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};

use crate::forked::Owner;

/// A descriptor that is readable from when it rings until it is silenced.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Bell(eventfd(0, flags)?))
    }

    pub(crate) fn ring(&self) {
        // A counter that is full has rung already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Says whether it had rung.
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

/// A bell for who polls something, made once it is asked for. Who still polls a copy of its descriptor when this is
/// dropped is told, too.
#[derive(Debug, Default)]
pub(crate) struct Polled(Option<Asked>);

#[derive(Debug)]
struct Asked {
    bell: Arc<Bell>,
    waker: Waker,
    /// A fork drops it without a sound.
    owner: Owner,
}

impl Polled {
    /// What is polled. It stays the same.
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

    /// What is to be woken.
    pub(crate) fn waker(&self) -> Waker {
        let asked = self.0.as_ref();
        asked.map_or(Waker::noop(), |asked| &asked.waker).clone()
    }

    /// To be called when there was nothing; then it is to be looked again, as it may have rung in between.
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
    fn who_polls_a_copy_is_told_of_what_comes_and_of_the_end() {
        let mut polled = Polled::default();
        polled.waker().wake();
        let copy = Bell(polled.descriptor().unwrap().try_clone_to_owned().unwrap());
        assert!(!copy.silence(), "nobody was asked for yet");
        polled.waker().wake();
        assert!(copy.silence() && !copy.silence());
        drop(polled);
        assert!(copy.silence(), "it is over");
    }
}

//! Pollers of an open file, and when the kernel is notified that there is something new for them.
//!
//! The kernel keeps a wait queue for each open file. A notification wakes all pollers in it, and each sends a
//! POLL to see what is there; epoll keeps the file on its ready list until then. Edge-triggered pollers (Go
//! and tokio poll every pollable file so) ask when they are woken and at no other time, so that new bytes
//! need a notification even if the file was readable before.
//!
//! ```text
//!            POLL, caller in the queue
//!  none   ───────────────────────────────► waiting ◄──┐
//!                                             │       │ POLL
//!                         more bytes, the end │       │
//!                                             ▼       │
//!                                           notified ─┘
//! ```
//!
//! Invariant: every poller in the queue has been notified since its last POLL, or will be of the next byte,
//! the end and an error. So one notification for each POLL is enough, and writes that come faster than POLLs
//! cost none. A notification to exclusive pollers wakes only one of them, which may die before it asks: so
//! the end and errors are notified again even without a POLL in between.

use super::super::effects::{Effect, Effects};

/// What an open file has for its pollers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    /// Whether a read would not wait.
    pub(crate) ready: bool,
    /// Offset up to which it could be read; a greater one is news.
    pub(crate) limit: u64,
    /// Whether nothing more will come: it is at its end, or reading it fails.
    pub(crate) over: bool,
}

impl Readiness {
    /// A read would not wait, and no more will come.
    pub(crate) const OVER: Readiness = Readiness {
        ready: true,
        limit: 0,
        over: true,
    };

    fn is_news_after(self, seen: Readiness) -> bool {
        self.ready && (self.limit > seen.limit || self.over && !seen.over)
    }
}

/// The pollers of one open file.
#[derive(Debug, Default)]
pub(crate) struct Pollers {
    /// The kernel's number of the open file, once its queue had a poller.
    kernel_handle: Option<u64>,
    /// Whether a POLL came since the last notification.
    are_waiting: bool,
    /// What the last POLL, or a later check, found.
    seen: Readiness,
}

impl Pollers {
    /// Whether the queue never had a poller.
    pub(in crate::core) fn are_none(&self) -> bool {
        self.kernel_handle.is_none()
    }

    /// A POLL was answered with this. Without a kernel handle its caller is not in the queue.
    pub(crate) fn asked(&mut self, kernel_handle: Option<u64>, readiness: Readiness) {
        if kernel_handle.is_some() {
            self.kernel_handle = kernel_handle;
            self.are_waiting = true;
            self.seen = readiness;
        }
    }

    /// Notifies the pollers if there is something new for them.
    pub(crate) fn notify(&mut self, readiness: Readiness, effects: &mut Effects) {
        let seen = std::mem::replace(&mut self.seen, readiness);
        let is_wanted = self.are_waiting || readiness.over;
        if is_wanted
            && readiness.is_news_after(seen)
            && let Some(kernel_handle) = self.kernel_handle
        {
            self.are_waiting = false;
            effects.push(Effect::PollAgain { kernel_handle });
        }
    }
}

//! Those who poll an open file, and when the kernel is told that there is something new for them.
//!
//! The kernel keeps a wait queue for each open file. A notification wakes everybody in it, and each
//! of them sends a POLL before it believes anything; epoll keeps the file on its ready list until
//! then. Edge-triggered pollers (Go and tokio make one of every file that can be polled) ask when
//! they are woken and at no other time, so that also what comes where there was something already
//! needs a notification.
//!
//! ```text
//!            POLL, somebody in the queue
//!  nobody ───────────────────────────────► waiting ◄──┐
//!                                             │       │ POLL
//!                         more bytes, the end │       │
//!                                             ▼       │
//!                                           notified ─┘
//! ```
//!
//! Invariant: everybody in the queue has been notified since their last POLL, or will be of the next
//! byte, the end and an error. So one notification for each POLL is enough, and writes that come
//! faster than pollers ask cost none. A notification to exclusive pollers wakes but one of them, who
//! may die before it asks: the end and errors are told again to whoever has been notified.

use super::super::effects::{Effect, Effects};

/// What an open file has for whoever polls it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    /// Whether a read would not wait.
    pub(crate) ready: bool,
    /// How far it could be read: more is something new.
    pub(crate) limit: u64,
    /// Whether nothing more will come: it is at its end, or reading it fails.
    pub(crate) over: bool,
}

impl Readiness {
    /// Nothing is waited for.
    pub(crate) const OVER: Readiness = Readiness {
        ready: true,
        limit: 0,
        over: true,
    };

    fn is_news_after(self, seen: Readiness) -> bool {
        self.ready && (self.limit > seen.limit || self.over && !seen.over)
    }
}

/// Those who poll one open file.
#[derive(Debug, Default)]
pub(crate) struct Pollers {
    /// The kernel's number of the open file, once somebody was in its queue.
    kernel_handle: Option<u64>,
    /// Whether somebody has polled since the last notification.
    are_waiting: bool,
    /// What there was when somebody polled, or later.
    seen: Readiness,
}

impl Pollers {
    /// Whether nobody has ever been in the queue.
    pub(super) fn are_none(&self) -> bool {
        self.kernel_handle.is_none()
    }

    /// A POLL was answered with this. Without a kernel handle nobody is in the queue.
    pub(crate) fn asked(&mut self, kernel_handle: Option<u64>, readiness: Readiness) {
        if kernel_handle.is_some() {
            self.kernel_handle = kernel_handle;
            self.are_waiting = true;
            self.seen = readiness;
        }
    }

    /// What there is may have changed.
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

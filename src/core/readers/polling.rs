//! Pollers: what a POLL is answered, and when the kernel is told that there is something new.
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

use super::super::effects::{Effect, Effects, Reply};
use super::super::ids::ReaderId;
use super::super::reading::Available;
use super::super::request::Caller;
use super::super::{Handle, Operation};

const READABLE: u32 = (libc::POLLIN | libc::POLLRDNORM) as u32;
const WRITABLE: u32 = (libc::POLLOUT | libc::POLLWRNORM) as u32;

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

impl Operation<'_> {
    /// A POLL: what holds now, and whom to wake when it changes.
    pub(in crate::core) fn poll(
        &mut self,
        caller: Caller,
        handle: u64,
        kernel_handle: Option<u64>,
    ) {
        let events = match self.handles.get(&handle) {
            Some(&Handle::Reader(id)) => {
                self.look_at_writers(id);
                let readiness = self.readiness(id);
                if let Some(reader) = self.readers.get_mut(id) {
                    reader.pollers().asked(kernel_handle, readiness);
                }
                readable_if(readiness.ready)
            }
            Some(&Handle::Events(id)) => readable_if(self.events.poll(id, kernel_handle).ready),
            // Never waits.
            _ => READABLE | WRITABLE,
        };
        self.effects.reply(caller.unique, Reply::Polled(events));
    }

    /// Whoever polls a FIFO may have reaped its writer already: there is no more than what can be read
    /// now, and that is all.
    fn look_at_writers(&mut self, id: ReaderId) {
        let reader = self
            .readers
            .get(id)
            .filter(|reader| reader.origin().fifo.is_some());
        if let Some(ino) = reader.and_then(|reader| reader.source()) {
            self.evaluate(ino);
        }
    }

    /// What a reader could have may have changed: whoever polls it is told.
    pub(in crate::core) fn notify_pollers(&mut self, id: ReaderId) {
        let reader = self.readers.get_mut(id);
        if reader.is_none_or(|reader| reader.pollers().kernel_handle.is_none()) {
            return;
        }
        let readiness = self.readiness(id);
        if let Some(reader) = self.core.readers.get_mut(id) {
            reader.pollers().notify(readiness, &mut self.effects);
        }
    }

    /// The same of every open file.
    pub(in crate::core) fn notify_all_pollers(&mut self) {
        let readers: Vec<ReaderId> = self.readers.ids().collect();
        for id in readers {
            self.notify_pollers(id);
        }
        self.core.events.shut_down(&mut self.effects);
    }

    fn readiness(&mut self, id: ReaderId) -> Readiness {
        let Some(reader) = self.readers.get(id).filter(|reader| !reader.is_finished()) else {
            return Readiness::OVER;
        };
        match self.available(id, reader.position()) {
            Available::Nothing => Readiness::default(),
            Available::Bytes(view) => Readiness {
                ready: true,
                limit: view.limit,
                over: view.end,
            },
            Available::NoBytes | Available::End | Available::Error(_) => Readiness::OVER,
        }
    }
}

fn readable_if(ready: bool) -> u32 {
    if ready { READABLE } else { 0 }
}

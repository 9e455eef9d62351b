//! Readers of a stream who wait for more though there is something for them: they are woken once for
//! several writes.
//!
//! Knows since when there are any, and ends it in time: when no request comes, when other requests
//! take long, and in any case before whoever reads the requests sleeps or goes away. Who gathers is
//! the core's to decide.

use std::time::Duration;

use crate::core::clock::Monotonic;
use crate::core::request::Request;
use crate::fuse::timers::{BATCH_LONGEST, BATCH_PAUSE};
use crate::router::Router;

/// Whether readers gather. Ends it when dropped.
pub(super) struct Gathering<'a> {
    router: &'a Router,
    since: Option<Monotonic>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(router: &'a Router) -> Self {
        Gathering {
            router,
            since: None,
        }
    }

    /// A write was handled; `gathers` says whether somebody gathers what it brought, as of when.
    pub(super) fn note(&mut self, gathers: Option<Monotonic>) {
        match gathers {
            Some(now) => {
                self.since.get_or_insert(now);
                self.end_in_time(now);
            }
            None => self.since = None,
        }
    }

    /// No request has come for so long.
    pub(super) fn pause(&mut self, waited: Duration) {
        if waited >= BATCH_PAUSE {
            self.end();
        }
    }

    /// Another request was handled, or a write of which nothing was decided.
    pub(super) fn go_on(&mut self) {
        if self.since.is_some() {
            self.end_in_time(self.router.monotonic());
        }
    }

    fn end_in_time(&mut self, now: Monotonic) {
        if self
            .since
            .is_some_and(|since| now.saturating_sub(since) >= BATCH_LONGEST)
        {
            self.end();
        }
    }

    /// Whoever gathers gets what there is.
    pub(super) fn end(&mut self) {
        if self.since.take().is_some() {
            self.router.tell(Request::EndBatch);
        }
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

//! Readers of a stream who wait for more though there is something for them: they are woken once for
//! several writes.
//!
//! Knows since when there are any, and ends it in time: when no request comes, when other requests
//! take long, and in any case before whoever reads the requests sleeps or goes away. Who gathers is
//! the core's to decide.

use std::time::{Duration, Instant};

use crate::router::Router;

/// A writer that has not gone on for so long is not about to.
const PAUSE: Duration = Duration::from_micros(20);

/// The longest that readers gather while there are requests.
const LONGEST: Duration = Duration::from_micros(50);

/// Whether readers gather. Ends it when dropped.
pub(super) struct Gathering<'a> {
    router: &'a Router,
    since: Option<Instant>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(router: &'a Router) -> Self {
        Gathering {
            router,
            since: None,
        }
    }

    /// A write was handled; says whether somebody gathers what it brought.
    pub(super) fn note(&mut self, gathers: bool) {
        if gathers {
            self.since.get_or_insert_with(Instant::now);
        } else {
            self.since = None;
        }
    }

    /// No request has come for so long.
    pub(super) fn pause(&mut self, waited: Duration) {
        if waited >= PAUSE {
            self.end();
        }
    }

    /// A request was handled.
    pub(super) fn go_on(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= LONGEST) {
            self.end();
        }
    }

    /// Whoever gathers gets what there is.
    pub(super) fn end(&mut self) {
        if self.since.take().is_some() {
            self.router
                .run(|core, env, effects| core.end_gathering(env, effects));
        }
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

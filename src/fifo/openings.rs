//! Whether any program has had a FIFO open to write.
//!
//! Knows one FIFO and what inotify(7) tells of it; does not know who opened it. One that nobody
//! opened and one to which nothing was written look the same to who reads them, but the first is
//! no output.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Enough for some dozens of events, none of which has a name.
const EVENT_BYTES: usize = 1024;

/// Tells of each close of what was open to write.
#[derive(Debug)]
pub(super) struct Openings {
    /// None if there can be no watch: a user has 128 of them by default
    /// (`fs.inotify.max_user_instances`).
    watch: Option<OwnedFd>,
    seen: AtomicBool,
}

impl Openings {
    /// Of the FIFO at `path`, from now on.
    pub(super) fn of(path: &Path) -> Openings {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).and_then(|watch| {
            inotify::add_watch(&watch, path, WatchFlags::CLOSE_WRITE)?;
            Ok(watch)
        });
        if let Err(errno) = &watch {
            log::debug!("cannot see whether {} is opened: {errno}", path.display());
        }
        Openings {
            seen: AtomicBool::new(watch.is_err()),
            watch: watch.ok(),
        }
    }

    /// There was one: something was written.
    pub(super) fn note(&self) {
        self.seen.store(true, Ordering::Release);
    }

    /// From now on only later ones count.
    pub(super) fn reset(&self) {
        self.has_events();
        self.seen.store(self.watch.is_none(), Ordering::Release);
    }

    /// Whether there was any that is closed by now, as far as can be seen; if not, there was none.
    pub(super) fn any(&self) -> bool {
        if self.has_events() {
            self.note();
        }
        self.seen.load(Ordering::Acquire)
    }

    /// Drops a writing end of our own, which is not to count.
    pub(super) fn without(&self, write_end: OwnedFd) {
        self.any();
        drop(write_end);
        self.has_events();
    }

    /// Whether something was told since the last look.
    fn has_events(&self) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut events = Reader::new(watch, &mut buffer);
        let mut found = false;
        while events.next().is_ok() {
            found = true;
        }
        found
    }
}

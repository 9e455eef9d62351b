//! Finds out whether any program has had a FIFO open for writing.
//!
//! Knows one FIFO and the events of inotify(7); does not know which process opened it. To a reader
//! a FIFO that was never opened looks the same as one to which nothing was written, but the former
//! is a missing output.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::forked::Owner;

/// Room for some dozens of events, none of which has a name.
const EVENT_BYTES: usize = 1024;

/// inotify instances that watch nothing, kept for the next FIFOs: closing an instance takes some 15
/// ms (`fsnotify_wait_marks_destroyed`), several times as long as all else about a FIFO.
static IDLE: Mutex<Vec<(Owner, OwnedFd)>> = Mutex::new(Vec::new());

/// How many are kept. A user may have 128 by default (`fs.inotify.max_user_instances`).
const IDLE_AT_MOST: usize = 8;

/// Notices each close of a descriptor for writing.
#[derive(Debug)]
pub(super) struct Openings {
    /// None if there can be no watch: each user has a limit.
    watch: Option<Watch>,
    seen: AtomicBool,
}

/// An inotify instance that watches one file.
#[derive(Debug)]
struct Watch {
    /// A fork shares the instance, and would take events from the process that made it.
    owner: Owner,
    instance: OwnedFd,
    number: i32,
}

impl Watch {
    fn of(path: &Path) -> Result<Watch, Errno> {
        let owner = Owner::this();
        let instance = match idle_instance() {
            Some(instance) => instance,
            None => inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
        };
        let number = inotify::add_watch(&instance, path, WatchFlags::CLOSE_WRITE)?;
        Ok(Watch {
            owner,
            instance,
            number,
        })
    }

    /// Keeps the instance for another FIFO, if there is room.
    fn end(self) {
        if !self.owner.is_this() {
            return;
        }
        // The watch is gone already if the file is.
        let _ = inotify::remove_watch(&self.instance, self.number);
        has_events(&self.instance);
        // A fork may have copied the lock while it was held: then it stays locked for ever.
        if let Ok(mut idle) = IDLE.try_lock()
            && idle.len() < IDLE_AT_MOST
        {
            idle.push((self.owner, self.instance));
        }
    }
}

fn idle_instance() -> Option<OwnedFd> {
    let mut idle = IDLE.try_lock().ok()?;
    idle.retain(|(owner, _)| owner.is_this());
    idle.pop().map(|(_, instance)| instance)
}

/// Whether there were events since the last call.
fn has_events(instance: &OwnedFd) -> bool {
    let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
    let mut events = Reader::new(instance, &mut buffer);
    let mut found = false;
    while events.next().is_ok() {
        found = true;
    }
    found
}

impl Openings {
    /// Watches the FIFO at `path` from now on.
    pub(super) fn of(path: &Path) -> Openings {
        let watch = Watch::of(path);
        if let Err(errno) = &watch {
            log::debug!("cannot see whether {} is opened: {errno}", path.display());
        }
        Openings {
            seen: AtomicBool::new(watch.is_err()),
            watch: watch.ok(),
        }
    }

    /// Notes that there was an opening, as bytes were written.
    pub(super) fn note(&self) {
        self.seen.store(true, Ordering::Release);
    }

    /// Forgets earlier openings.
    pub(super) fn reset(&self) {
        self.has_events();
        self.seen.store(self.watch.is_none(), Ordering::Release);
    }

    /// Whether any opening was seen that is closed by now. If not, there was none, as far as can be
    /// seen.
    pub(super) fn any(&self) -> bool {
        if self.has_events() {
            self.note();
        }
        self.seen.load(Ordering::Acquire)
    }

    /// Drops a write end of this process, which must not count.
    pub(super) fn without(&self, write_end: OwnedFd) {
        self.any();
        drop(write_end);
        self.has_events();
    }

    fn has_events(&self) -> bool {
        let watch = self.watch.as_ref();
        watch.is_some_and(|watch| has_events(&watch.instance))
    }
}

impl Drop for Openings {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_instance_that_watched_another_file_reports_nothing_of_it() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name| place.path().join(name);
        for round in 0..20 {
            let (one, other) = (path("one"), path("other"));
            let keep = File::create(&one).expect("made");
            File::create(&other).expect("made");
            let openings = Openings::of(&one);
            assert!(!openings.any(), "{round}");
            if round % 2 == 0 {
                drop(File::create(&one).expect("opened"));
            }
            if round % 4 < 2 {
                std::fs::remove_file(&one).expect("removed");
            }
            drop(openings);
            let openings = Openings::of(&other);
            drop(keep);
            assert!(!openings.any(), "{round}");
            drop(File::create(&other).expect("opened"));
            assert!(openings.any(), "{round}");
        }
    }
}

//! The one thread that waits: for the clock, for processes to end, for the
//! flusher's answers, and, while there are any, for the signals of callers that
//! the kernel no longer tells of.
//!
//! With nothing to wait for it sleeps: an idle mount costs no time at all.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{Timespec, epoll};

use super::process::ExitWatch;
use super::{FLUSHER, NEVER, Router, WOKEN, lock, nanoseconds};
use crate::core::clock::Monotonic;
use crate::core::generation::{Ending, Processes};
use crate::core::request::Request;

/// How often callers are looked at that had a harmless signal while they
/// waited. Well below the 200 ms within which a signal must end a wait.
const RECHECK: Duration = Duration::from_millis(25);

/// The longest the reactor sleeps at once, well within what epoll_wait(2) takes.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

/// The flusher does not write back this inode: it could not be opened, or is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u64);

/// There is no flusher any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// What the reactor hears of the flusher.
pub(crate) trait Flushes: Send + Sync {
    /// A descriptor that is readable when there is something to hear, and
    /// writable again when something can be said that could not be before.
    fn descriptor(&self) -> BorrowedFd<'_>;
    /// Says what could not be said before, and gives the next answer, if there is one now.
    fn next(&self) -> Result<Option<Refused>, Gone>;
}

impl Router {
    /// Starts the reactor.
    pub(crate) fn start_reactor(
        self: &Arc<Self>,
        flushes: Arc<dyn Flushes>,
    ) -> std::io::Result<JoinHandle<()>> {
        let data = epoll::EventData::new_u64(FLUSHER);
        // Edges: of an answer, and of room for what there was no room for.
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, flushes.descriptor(), data, edges)?;
        let router = Arc::clone(self);
        std::thread::Builder::new()
            .name("fifofs-reactor".into())
            .spawn(move || router.react(&*flushes))
    }

    fn react(&self, flushes: &dyn Flushes) {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 64];
        while !self.stopping.load(Ordering::Acquire) {
            let timeout = self.time_to_sleep();
            let ready = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok((ready, _)) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    log::error!("cannot wait for events: {error}");
                    return;
                }
            };
            self.sleeps_until.store(0, Ordering::Release);
            for event in ready.iter() {
                let data = event.data;
                match data.u64() {
                    WOKEN => {
                        let mut count = [0; 8];
                        let _ = rustix::io::read(&self.wake, &mut count);
                    }
                    FLUSHER => self.hear_flusher(flushes),
                    pid => self.process_ended(pid as i32),
                }
            }
            self.tell(Request::Tick);
            self.look_at_groups();
            self.recheck();
        }
    }

    /// How long to sleep, which others are told of: whoever sets an earlier
    /// alarm wakes us.
    fn time_to_sleep(&self) -> Option<Timespec> {
        let alarm = self.look(|core| {
            let alarm = core.next_alarm();
            // Told with the lock held, so that an alarm set right afterwards is
            // compared with it.
            let at = alarm.map_or(NEVER, nanoseconds);
            self.sleeps_until.store(at, Ordering::Release);
            alarm
        });
        if self.groups.is_asked() {
            return Some(Timespec::default());
        }
        let now = self.start.elapsed();
        let mut sleep: Option<Monotonic> = alarm.map(|at| at.saturating_sub(now));
        if !lock(&self.rechecks).is_empty() {
            sleep = Some(sleep.map_or(RECHECK, |sleep| sleep.min(RECHECK)));
        }
        sleep.and_then(|sleep| Timespec::try_from(sleep.min(LONGEST_SLEEP)).ok())
    }

    fn hear_flusher(&self, flushes: &dyn Flushes) {
        loop {
            match flushes.next() {
                Ok(Some(Refused(ino))) => {
                    self.tell(Request::NotFlushed { ino });
                }
                Ok(None) => return,
                // It was told to go.
                Err(Gone) if self.stopping.load(Ordering::Acquire) => return,
                Err(Gone) => {
                    log::error!("the flusher is gone: readers get bytes only as files are closed");
                    let _ = epoll::delete(&self.epoll, flushes.descriptor());
                    return;
                }
            }
        }
    }

    /// The core takes note of how it ended; then there is nothing left to watch.
    pub(super) fn process_ended(&self, pid: i32) {
        let ending = self.ending(pid);
        self.tell(Request::ProcessEnded { pid, ending });
        let mut watches = lock(&self.watches);
        let has_ended = |watch: &ExitWatch| watch.state() != Ending::Running;
        if watches.get(&pid).is_some_and(has_ended)
            && let Some(watch) = watches.remove(&pid)
        {
            let _ = epoll::delete(&self.epoll, watch.as_fd());
        }
        // Otherwise the id is another's by now, who was watched meanwhile.
        let is_gone = !watches.contains_key(&pid);
        drop(watches);
        if is_gone {
            lock(&self.threads).retain(|_, process| *process != pid);
            self.let_go(pid);
        }
    }

    fn recheck(&self) {
        let waiting = std::mem::take(&mut *lock(&self.rechecks));
        let mut still = Vec::new();
        for unique in waiting {
            let Some(thread) = self.look(|core| core.waiting_thread(unique)) else {
                continue;
            };
            if self.must_end(thread) {
                self.tell(Request::Cancel { unique });
            } else {
                still.push(unique);
            }
        }
        lock(&self.rechecks).extend(still);
    }
}

//! The one thread that waits: for alarms, for processes to end, for the flusher's answers, and for signals of
//! callers that the kernel does not report any more.
//!
//! Knows the core's next alarm, and which processes and callers to check. With nothing to wait for it sleeps:
//! an idle mount costs no time at all. The invariant: a thread that sets an alarm earlier than the end of its
//! sleep wakes it.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::process::RunningMembers;
use super::timers::{LONGEST_SLEEP, SIGNAL_RECHECK};
use super::{Gone, Refused, Router, lock, process};
use crate::bell::Bell;
use crate::core::clock::Monotonic;
use crate::core::effects::Unique;
use crate::core::request::Request;

/// Events carry the number of a process, or one of these.
const WOKEN: u64 = u64::MAX;
const FLUSHER: u64 = u64::MAX - 1;

/// The deadline of a sleep until it is woken.
pub(super) const NEVER: u64 = u64::MAX;

/// What the thread waits for, and how other threads wake it.
pub(super) struct EventLoop {
    epoll: OwnedFd,
    wake: Bell,
    /// When its sleep ends, in nanoseconds since the router's start; 0 while it does not sleep.
    sleeps_until: AtomicU64,
    stopping: AtomicBool,
    /// Guards the requests whose callers had a signal that does not end the wait: the kernel does not report
    /// their next ones.
    signalled: Mutex<Vec<Unique>>,
    /// Guards the processes that have exited, but do not show how before they are reaped.
    exited: Mutex<Vec<i32>>,
}

/// In nanoseconds; a time that does not fit is later than any wait.
pub(super) fn nanoseconds(time: Monotonic) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

/// How long to sleep if the next alarm is in this time, and callers or processes must be checked again or
/// not. For ever if there is neither.
fn sleep_for(alarm: Option<Monotonic>, looks_again: bool) -> Option<Monotonic> {
    let again = looks_again.then_some(SIGNAL_RECHECK);
    let first = alarm.into_iter().chain(again).min()?;
    Some(first.min(LONGEST_SLEEP))
}

impl EventLoop {
    pub(super) fn new() -> std::io::Result<EventLoop> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Bell::new()?;
        let data = epoll::EventData::new_u64(WOKEN);
        epoll::add(&epoll, &wake, data, epoll::EventFlags::IN)?;
        Ok(EventLoop {
            epoll,
            wake,
            sleeps_until: AtomicU64::new(NEVER),
            stopping: AtomicBool::new(false),
            signalled: Mutex::default(),
            exited: Mutex::default(),
        })
    }

    pub(super) fn wake(&self) {
        self.wake.ring();
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the mount is ending.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Wakes it if the next alarm is before the end of its sleep, or if groups must be checked now.
    pub(super) fn wake_for(&self, alarm: Option<Monotonic>, has_groups: bool) {
        let sleeps_until = self.sleeps_until.load(Ordering::Acquire);
        let is_early = alarm.is_some_and(|alarm| nanoseconds(alarm) < sleeps_until);
        // While it does not sleep it looks by itself.
        if is_early || (has_groups && sleeps_until > 0) {
            self.wake();
        }
    }

    /// Watches for the end of a process, once.
    pub(super) fn watch(&self, process: impl AsFd, pid: i32) -> Result<(), Errno> {
        let data = epoll::EventData::new_u64(pid as u64);
        let events = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.epoll, process, data, events)
    }

    pub(super) fn unwatch(&self, process: impl AsFd) {
        // It fails if it was not watched.
        let _ = epoll::delete(&self.epoll, process);
    }

    /// Checks a process that has exited repeatedly until its status is known. For the event loop.
    pub(super) fn look_again(&self, pid: i32) {
        lock(&self.exited).push(pid);
    }

    /// Checks the caller of a request repeatedly.
    fn recheck(&self, unique: Unique) {
        lock(&self.signalled).push(unique);
        self.wake();
    }
}

impl Router {
    /// Starts the event loop.
    pub(crate) fn start_event_loop(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let data = epoll::EventData::new_u64(FLUSHER);
        // Edges: an answer, and room for messages that had none.
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(
            &self.event_loop.epoll,
            self.flusher.descriptor(),
            data,
            edges,
        )?;
        let router = Arc::clone(self);
        std::thread::Builder::new()
            .name("fifofs-events".into())
            .spawn(move || router.wait_for_events())
    }

    fn wait_for_events(&self) {
        let this = &self.event_loop;
        let mut members = RunningMembers::default();
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 64];
        while !this.is_stopping() {
            let timeout = self.time_to_sleep();
            let ready = match epoll::wait(&this.epoll, &mut events, timeout.as_ref()) {
                Ok((ready, _)) => ready,
                Err(Errno::INTR) => continue,
                Err(error) => {
                    log::error!("cannot wait for events: {error}");
                    return;
                }
            };
            this.sleeps_until.store(0, Ordering::Release);
            for event in ready.iter() {
                let data = event.data;
                match data.u64() {
                    WOKEN => _ = this.wake.silence(),
                    FLUSHER => self.hear_flusher(),
                    pid => self.process_ended(pid as i32),
                }
            }
            self.tell(Request::Tick);
            self.look_at_groups(&mut members);
            self.recheck();
        }
    }

    /// How long to sleep; also published, so that a thread that sets an earlier alarm wakes this one.
    fn time_to_sleep(&self) -> Option<Timespec> {
        let alarm = self.look(|core| {
            let alarm = core.next_alarm();
            // Published with the lock held, so that an alarm set right afterwards is compared with it.
            let at = alarm.map_or(NEVER, nanoseconds);
            self.event_loop.sleeps_until.store(at, Ordering::Release);
            alarm
        });
        if self.processes.has_groups() {
            return Some(Timespec::default());
        }
        let now = self.start.elapsed();
        let alarm = alarm.map(|at| at.saturating_sub(now));
        let this = &self.event_loop;
        let looks_again = !lock(&this.signalled).is_empty() || !lock(&this.exited).is_empty();
        sleep_for(alarm, looks_again).and_then(|sleep| Timespec::try_from(sleep).ok())
    }

    fn hear_flusher(&self) {
        loop {
            match self.flusher.next() {
                Ok(Some(Refused(ino))) => {
                    self.tell(Request::NotFlushed { ino });
                }
                Ok(None) => return,
                // It was told to stop.
                Err(Gone) if self.event_loop.is_stopping() => return,
                Err(Gone) => {
                    log::error!("the flusher is gone: readers get bytes only as files are closed");
                    self.event_loop.unwatch(self.flusher.descriptor());
                    return;
                }
            }
        }
    }

    /// The caller of a request that waits has a signal pending.
    pub(crate) fn interrupted(&self, unique: Unique) {
        // If it does not wait yet, the signal is checked when it does.
        if !self.inspector.note_signal(unique) && !self.ends_wait(unique) {
            self.event_loop.recheck(unique);
        }
    }

    /// Whether a request waits no more: ends the wait if its caller has a signal that must end it. For a
    /// caller that cannot be seen every signal does.
    fn ends_wait(&self, unique: Unique) -> bool {
        let Some(thread) = self.look(|core| core.waiting_thread(unique)) else {
            return true;
        };
        let ends = thread == 0 || process::must_interrupt(thread);
        if ends {
            self.tell(Request::Cancel { unique });
        }
        ends
    }

    fn recheck(&self) {
        let waiting = std::mem::take(&mut *lock(&self.event_loop.signalled));
        let still = waiting.into_iter();
        let still: Vec<_> = still.filter(|unique| !self.ends_wait(*unique)).collect();
        lock(&self.event_loop.signalled).extend(still);
        let exited = std::mem::take(&mut *lock(&self.event_loop.exited));
        for pid in exited {
            self.process_ended(pid);
        }
    }
}

#[cfg(test)]
impl EventLoop {
    pub(super) fn sleeps_until(&self) -> u64 {
        self.sleeps_until.load(Ordering::Acquire)
    }

    /// Whether it was woken since the last check.
    pub(super) fn was_woken(&self) -> bool {
        self.wake.silence()
    }

    /// The requests whose callers are checked.
    pub(super) fn signalled(&self) -> Vec<Unique> {
        lock(&self.signalled).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Monotonic = Monotonic::from_nanos(1);

    #[test]
    fn it_sleeps_until_the_first_check_and_never_for_longer_than_it_can() {
        let (soon, later) = (SIGNAL_RECHECK - MOMENT, SIGNAL_RECHECK + MOMENT);
        for (alarm, looks_again, sleep) in [
            (None, false, None),
            (None, true, Some(SIGNAL_RECHECK)),
            (Some(later), false, Some(later)),
            (Some(later), true, Some(SIGNAL_RECHECK)),
            (Some(soon), true, Some(soon)),
            (Some(LONGEST_SLEEP + MOMENT), false, Some(LONGEST_SLEEP)),
        ] {
            assert_eq!(
                sleep_for(alarm, looks_again),
                sleep,
                "{alarm:?}, {looks_again}"
            );
        }
    }

    #[test]
    fn one_that_sleeps_is_woken_for_groups_and_for_an_earlier_alarm_and_one_that_does_not_sleep_for_neither()
     {
        let event_loop = EventLoop::new().unwrap();
        let wakes = |sleeps_until, alarm: Option<u64>, has_groups| {
            event_loop
                .sleeps_until
                .store(sleeps_until, Ordering::Release);
            event_loop.wake_for(alarm.map(Monotonic::from_nanos), has_groups);
            event_loop.was_woken()
        };
        assert!(wakes(NEVER, None, true));
        assert!(wakes(10, Some(20), true));
        assert!(wakes(NEVER, Some(20), false));
        assert!(wakes(10, Some(9), false));
        assert!(!wakes(10, Some(10), false));
        assert!(!wakes(10, None, false));
        assert!(!wakes(0, Some(9), true));
    }
}

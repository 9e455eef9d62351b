//! The one lock over the core, the clock, and the processes outside.
//!
//! Knows the time, the calling threads, and how effects get out; decides nothing. Every request goes through
//! [`Router::handle`]: it takes the core's lock, lets the core decide, drops the lock and only then carries
//! out the decisions, in order. Two invariants:
//!
//! * Nothing is sent, answered or waited for with the core locked.
//! * The core's lock is the only one that is held while another is taken. All others belong to parts
//!   that do not know the router ([`ProcessTable`], [`Inspector`], [`LocalReaders`], [`EventLoop`], the
//!   flusher's queue) and take no second one while they hold theirs, so there is no order to keep.
//!
//! No deadlock is possible through the mount itself: the threads that answer the kernel read of other
//! processes only what needs no lock that such a process may hold while it waits for the daemon (see
//! `process`). The inspector reads the rest; only the process that opens a file waits for it.

mod captures;
mod event_loop;
mod inspector;
mod local;
mod process;
mod processes;
mod spin;
mod timers;
mod writers;

pub(crate) use captures::ExitHold;
pub(crate) use local::{Failure, Given, LocalCanceller, LocalReader};
pub(crate) use process::{
    all as all_processes, has_descriptor, has_left_others, is_own_thread, name as process_name,
    parent as parent_process, processor,
};
pub(crate) use spin::{Spin, Step};

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::core::clock::{Moment, Monotonic, Timestamp};
use crate::core::effects::{Effect, Effects, Flush, Reply};
use crate::core::recording::Recording;
use crate::core::request::{Caller, Loaded, Request};
use crate::core::spool::Pool;
use crate::core::{Core, Env, Settings};
use crate::forked::Owner;
use crate::sync::lock;
use event_loop::EventLoop;
use inspector::Inspector;
use local::LocalReaders;
use processes::ProcessTable;

/// Carries out effects of the core: the side towards the kernel.
pub(crate) trait Outlet: Send + Sync {
    /// Carries out one effect. Must not call back into the router.
    fn apply(&self, effect: Effect);

    /// The same by a thread that answers no requests and so may wait for the kernel.
    fn apply_patiently(&self, effect: Effect) {
        self.apply(effect);
    }

    /// Waits until the kernel has carried out earlier notifications, but not for long.
    fn settle(&self) {}
}

/// The flusher, which makes the kernel write back files that a reader waits for.
pub(crate) trait Flushes: Send + Sync {
    /// Queues messages for it, after all earlier ones. Called with the core locked: two threads may go on in
    /// any order once the core is free, and if a file's "stop" overtook its "go on", it would be written back
    /// for ever.
    fn queue(&self, flushes: &[Flush]);

    /// Sends it the queued messages.
    fn tell(&self);

    /// A descriptor that is readable when there is an answer, and writable when messages that had no room can
    /// be sent.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Sends messages that had no room before, and returns the next answer, if there is one.
    fn next(&self) -> Result<Option<Refused>, Gone>;
}

/// The flusher refuses this inode: it cannot be opened, or the flusher has no room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u64);

/// There is no flusher any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// Everything behind one mount.
pub(crate) struct Router {
    /// Guards all state of the mount.
    core: Mutex<Core>,
    processes: ProcessTable,
    inspector: Inspector,
    locals: LocalReaders,
    event_loop: EventLoop,
    outlet: Arc<dyn Outlet>,
    flusher: Arc<dyn Flushes>,
    /// The process that the router's threads belong to.
    owner: Owner,
    start: Instant,
}

/// The clock of the kernel's file times, which moves in ticks of a few milliseconds. A finer one would be
/// ahead of it: a file could have been written before it was made. Also, a file that is written in the tick
/// in which it was made needs no SETATTR, as the kernel finds its times right.
fn wall_clock() -> Timestamp {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Timestamp {
        seconds: now.tv_sec,
        nanoseconds: now.tv_nsec as u32,
    }
}

/// The process of a thread; the thread id itself if the thread is gone.
fn process_of(thread: i32) -> i32 {
    process::thread_group(thread).unwrap_or(thread)
}

impl Router {
    /// A router over an empty tree.
    pub(crate) fn new(
        settings: Settings,
        pool: Pool,
        first_ino: u64,
        outlet: Arc<dyn Outlet>,
        flusher: Arc<dyn Flushes>,
    ) -> std::io::Result<Arc<Router>> {
        let now = Moment {
            monotonic: Monotonic::ZERO,
            wall: wall_clock(),
        };
        Ok(Arc::new(Router {
            core: Mutex::new(Core::new(settings, pool, first_ino, now)),
            processes: ProcessTable::default(),
            inspector: Inspector::default(),
            locals: LocalReaders::default(),
            event_loop: EventLoop::new()?,
            outlet,
            flusher,
            owner: Owner::this(),
            start: Instant::now(),
        }))
    }

    /// The only process in which it works: in a forked child none of its threads is there, and its
    /// locks may be locked for ever.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// The time passed to operations.
    pub(crate) fn monotonic(&self) -> Monotonic {
        self.start.elapsed()
    }

    fn now(&self) -> Moment {
        Moment {
            monotonic: self.monotonic(),
            wall: wall_clock(),
        }
    }

    /// Has the core handle a request, then carries out its effects.
    pub(crate) fn handle<'a>(&self, caller: Caller, request: impl Into<Loaded<'a>>) {
        self.handle_by(caller, request, |effect| self.apply(effect));
    }

    /// The same for a request that is answered at once; returns the answer.
    pub(crate) fn ask(&self, caller: Caller, request: Request) -> Result<Reply, Errno> {
        let mut answer = None;
        self.handle_by(caller, request, |effect| match effect {
            Effect::Reply { unique, reply } if unique == caller.unique => answer = Some(reply),
            effect => self.apply(effect),
        });
        match answer {
            Some(Reply::Refused(errno)) => Err(errno),
            Some(reply) => Ok(reply),
            None => Err(Errno::IO),
        }
    }

    /// The same for a request of this process that has no answer.
    pub(crate) fn tell(&self, request: Request) {
        self.handle(Caller::SELF, request);
    }

    fn handle_by<'a>(
        &self,
        caller: Caller,
        request: impl Into<Loaded<'a>>,
        apply: impl FnMut(Effect),
    ) {
        let mut core = lock(&self.core);
        let env = Env {
            now: self.now(),
            processes: &self.processes,
        };
        let effects = core.handle(env, caller, request);
        if !effects.flushes.is_empty() {
            self.flusher.queue(&effects.flushes);
        }
        drop(core);
        self.carry_out(effects, apply);
    }

    /// Carries out effects of the core.
    fn carry_out(&self, effects: Effects, apply: impl FnMut(Effect)) {
        if !effects.flushes.is_empty() {
            self.flusher.tell();
        }
        let has_groups = self.processes.has_groups();
        self.event_loop.wake_for(effects.next_alarm, has_groups);
        effects.into_iter().for_each(apply);
    }

    fn apply(&self, effect: Effect) {
        if let Some(effect) = self.locals.answer(effect) {
            self.outlet.apply(effect);
        }
    }

    /// Ends the recording and returns it.
    pub(crate) fn take_recording(&self) -> Option<Recording> {
        lock(&self.core).take_recording()
    }

    /// Reads state without changing it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        look(&lock(&self.core))
    }

    /// Ends the threads and answers every request that waits.
    pub(crate) fn stop(&self) {
        self.event_loop.stop();
        self.inspector.stop();
        self.tell(Request::ShutDown);
    }
}

#[cfg(test)]
mod tests;

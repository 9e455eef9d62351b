//! The one lock over the core, the one thread that watches the clock, and the
//! processes outside.
//!
//! Whoever has a request calls [`Router::handle`]: it takes the lock, lets the
//! core decide, drops the lock and only then carries out what was decided, in
//! order. Nothing is sent, answered or waited for with the lock held.
//!
//! Lock order: `flush_order`, `core`, `watches`. The reactor takes them like
//! everybody else. No deadlock is possible through the mount itself: of other
//! processes, the threads that answer the kernel read only what needs no lock
//! that one of them may hold while it waits for us (see `process`). The rest is
//! asked by the inspector, for which nobody but the one who opens a file waits.

mod captures;
mod doors;
mod groups;
mod inspector;
mod local;
mod process;
mod reactor;
mod spin;
mod writers;

pub(crate) use local::{Failure, Given, LocalCanceller, LocalReader};
pub(crate) use process::{
    all as all_processes, is_own_thread, name as process_name, parent as parent_process, processor,
};
pub(crate) use reactor::{Flushes, Gone, Refused};
pub(crate) use spin::{Spin, Step};

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::core::clock::{Moment, Monotonic, Timestamp};
use crate::core::effects::{Effect, Effects, Reply, Unique};
use crate::core::generation::{Ending, Processes, Writer};
use crate::core::recording::Recording;
use crate::core::request::{Caller, Request};
use crate::core::spool::Pool;
use crate::core::{CaptureId, Core, Env, Settings, unseen_writer};
use crate::forked::Owner;
use groups::Groups;
use inspector::Inspector;
use process::ExitWatch;

/// Carries out what the core decided: the side towards the kernel.
pub(crate) trait Outlet: Send + Sync {
    /// Does one thing. Must not call back into the router.
    fn apply(&self, effect: Effect);

    /// The same by a thread that answers nobody, and so may wait for the kernel.
    fn apply_patiently(&self, effect: Effect) {
        self.apply(effect);
    }

    /// Waits until the kernel has forgotten what it was told to, but not for long.
    fn settle(&self) {}
}

/// Reactor events carry the number of a process, or one of these.
const WOKEN: u64 = u64::MAX;
const FLUSHER: u64 = u64::MAX - 1;

/// How many threads are remembered with their processes.
const REMEMBERED_THREADS: usize = 4096;

/// The deadline of a reactor that sleeps until it is woken.
const NEVER: u64 = u64::MAX;

/// Descriptors that processes which write leave free, for what needs one for a moment: without it
/// nobody could be told how such a process ended.
const SPARE_DESCRIPTORS: u64 = 16;

/// How often it is said that processes are refused to write.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Everything behind one mount.
pub(crate) struct Router {
    /// Guards all state of the mount. Second in the lock order.
    core: Mutex<Core>,
    /// Guards the processes that wrote and whose end is awaited. Last.
    watches: Mutex<FxHashMap<i32, ExitWatch>>,
    /// Guards which of them threads were seen to belong to, by their ids: to be looked at
    /// again, as another may have the id by now. Never held with another lock.
    threads: Mutex<FxHashMap<i32, i32>>,
    /// Guards the requests whose callers had a signal that ends nothing: the
    /// kernel does not tell of their next ones. Never held with another lock.
    rechecks: Mutex<Vec<Unique>>,
    /// Held from before a decision until what it says of the flusher is done, by
    /// whoever may decide such a thing: two of them must not overtake each
    /// other. First in the lock order.
    flush_order: Mutex<()>,
    /// Guards the thread for OPENs whose answer depends on who asks. Never held
    /// with another lock.
    inspector: Mutex<Inspector>,
    /// Guards which of them are under way, and whether their callers have had a
    /// signal meanwhile. Never held with another lock.
    inspected: Mutex<HashMap<Unique, bool>>,
    /// Guards where the answers to requests of this process go, by their number.
    /// Never held with another lock.
    locals: Mutex<FxHashMap<u64, local::Asker>>,
    /// Guards which captured paths are held by which process. Never held with
    /// another lock.
    holders: Mutex<HashMap<i32, Vec<CaptureId>>>,
    /// Process groups that may be of zombies.
    groups: Groups,
    outlet: Arc<dyn Outlet>,
    /// The process whose threads do all of this.
    owner: Owner,
    start: Instant,
    /// When the reactor will look at the clock, in nanoseconds since `start`.
    sleeps_until: AtomicU64,
    stopping: AtomicBool,
    /// When it was last said that a process was refused to write, in nanoseconds since `start`; 0: never.
    told_of_refusal: AtomicU64,
    epoll: OwnedFd,
    wake: OwnedFd,
}

/// The clock that the kernel stamps files with, which moves in ticks of a few milliseconds. A finer
/// one would be ahead of it: a file could have been written before it was made. A file that is
/// written in the tick in which it was made needs no SETATTR, either, as the kernel finds its times
/// right.
fn wall_clock() -> Timestamp {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    Timestamp {
        seconds: now.tv_sec,
        nanoseconds: now.tv_nsec as u32,
    }
}

/// As a number that fits; what does not is later than anybody waits.
fn nanoseconds(time: Monotonic) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER - 1)
}

/// Refuses a descriptor that would take one of those that are kept free: the kernel gives the lowest
/// that is free.
fn within_limit(watch: ExitWatch) -> Result<ExitWatch, Errno> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let last = limit - SPARE_DESCRIPTORS.min(limit / 4);
    match u64::from(watch.as_fd().as_raw_fd().unsigned_abs()) < last {
        true => Ok(watch),
        false => Err(Errno::MFILE),
    }
}

/// The process of a thread; of one that is gone, the thread itself.
fn process_of(thread: i32) -> i32 {
    process::thread_group(thread).unwrap_or(thread)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic with the lock held is a bug that was reported already; the state
    // is as good as it will get, and the mount must still come down.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Router {
    /// A router over an empty tree.
    pub(crate) fn new(
        settings: Settings,
        pool: Pool,
        first_ino: u64,
        outlet: Arc<dyn Outlet>,
    ) -> std::io::Result<Arc<Router>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )?;
        let data = epoll::EventData::new_u64(WOKEN);
        epoll::add(&epoll, &wake, data, epoll::EventFlags::IN)?;
        let now = Moment {
            monotonic: Monotonic::ZERO,
            wall: wall_clock(),
        };
        Ok(Arc::new(Router {
            core: Mutex::new(Core::new(settings, pool, first_ino, now)),
            watches: Mutex::default(),
            threads: Mutex::default(),
            rechecks: Mutex::new(Vec::new()),
            flush_order: Mutex::new(()),
            inspector: Mutex::new(Inspector::Idle),
            inspected: Mutex::new(HashMap::new()),
            locals: Mutex::default(),
            holders: Mutex::new(HashMap::new()),
            groups: Groups::default(),
            outlet,
            owner: Owner::this(),
            start: Instant::now(),
            sleeps_until: AtomicU64::new(NEVER),
            stopping: AtomicBool::new(false),
            told_of_refusal: AtomicU64::new(0),
            epoll,
            wake,
        }))
    }

    /// The only process in which it works: in a forked child none of its threads is there, and its
    /// locks may be locked for ever.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// The time as operations are told of it.
    pub(crate) fn monotonic(&self) -> Monotonic {
        self.start.elapsed()
    }

    fn now(&self) -> Moment {
        Moment {
            monotonic: self.monotonic(),
            wall: wall_clock(),
        }
    }

    /// Has the core handle a request, then does what it decided. Says since when readers wait for the
    /// next write though there is something for them, if any do.
    pub(crate) fn handle(&self, caller: Caller, request: Request<'_>) -> Option<Monotonic> {
        self.handle_by(caller, request, |effect| self.apply(effect))
    }

    /// The same for a request whose answer is wanted here, and comes at once.
    pub(crate) fn ask(&self, caller: Caller, request: Request<'_>) -> Result<Reply, Errno> {
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
    pub(crate) fn tell(&self, request: Request<'_>) {
        self.handle(Caller::SELF, request);
    }

    fn handle_by(
        &self,
        caller: Caller,
        request: Request<'_>,
        apply: impl FnMut(Effect),
    ) -> Option<Monotonic> {
        let in_order = lock(&self.flush_order);
        let mut core = lock(&self.core);
        let env = Env {
            now: self.now(),
            processes: self,
        };
        let effects = core.handle(env, caller, request);
        drop(core);
        let gathers = effects.gathers;
        self.carry_out(effects, in_order, apply);
        gathers.then_some(env.now.monotonic)
    }

    /// Does what the core decided; the turn is that of the decision.
    fn carry_out(
        &self,
        mut effects: Effects,
        in_order: MutexGuard<'_, ()>,
        apply: impl FnMut(Effect),
    ) {
        for flush in effects.take_flushes() {
            self.outlet.apply(flush);
        }
        drop(in_order);
        let sleeps_until = self.sleeps_until.load(Ordering::Acquire);
        let is_early = effects
            .next_alarm
            .is_some_and(|alarm| nanoseconds(alarm) < sleeps_until);
        // While it does not sleep it looks by itself.
        if is_early || (self.groups.is_asked() && sleeps_until > 0) {
            self.wake();
        }
        effects.into_iter().for_each(apply);
    }

    fn apply(&self, effect: Effect) {
        if let Some(effect) = self.answer_here(effect) {
            self.outlet.apply(effect);
        }
    }

    /// Ends the recording and gives it away.
    pub(crate) fn take_recording(&self) -> Option<Recording> {
        lock(&self.core).take_recording()
    }

    /// Looks at state without changing it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> R {
        look(&lock(&self.core))
    }

    fn wake(&self) {
        // A full counter is a reactor that is about to wake anyway.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Who writes: the process of a thread, watched from now on until it ends.
    ///
    /// # Errors
    ///
    /// If nothing more can be watched: were it to be killed, its readers would
    /// take what it wrote for whole.
    pub(crate) fn writer(&self, thread: i32) -> Result<Writer, Errno> {
        if thread == 0 {
            return Ok(unseen_writer());
        }
        let pid = match self.known_process(thread) {
            Some(pid) => Some(pid),
            None => self.watch(thread)?,
        };
        Ok(match pid {
            Some(pid) => Writer {
                pid,
                name: process::name(pid),
                group: process::process_group(pid),
                ending: Ending::Running,
                let_go: false,
                died_writing: false,
                has_closed: false,
            },
            None => unseen_writer(),
        })
    }

    /// The process of a thread, if it is watched and runs.
    fn known_process(&self, thread: i32) -> Option<i32> {
        let is_running = |pid: i32| {
            let state = lock(&self.watches).get(&pid).map(ExitWatch::state);
            state == Some(Ending::Running)
        };
        if is_running(thread) {
            return Some(thread);
        }
        let pid = lock(&self.threads).get(&thread).copied()?;
        (process::is_thread_of(thread, pid) && is_running(pid)).then_some(pid)
    }

    /// Watches the process of a thread, if there is one, and says which it is.
    pub(crate) fn watch(&self, thread: i32) -> Result<Option<i32>, Errno> {
        match ExitWatch::open(thread) {
            Ok(watch) => self.watch_by(watch, thread).map(Some),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(self.cannot_watch(thread, errno)),
        }
    }

    /// Watches a process, of which this is a thread, and says which it is.
    fn watch_by(&self, watch: ExitWatch, thread: i32) -> Result<i32, Errno> {
        let watch = within_limit(watch).map_err(|errno| self.cannot_watch(thread, errno))?;
        let pid = watch.pid();
        if pid != thread {
            let mut threads = lock(&self.threads);
            if threads.len() >= REMEMBERED_THREADS {
                threads.clear();
            }
            threads.insert(thread, pid);
        }
        // The id was another's, who was reaped before the reactor looked: the core
        // must hear how that one ended while it can still be asked.
        let was_anothers = |known: &ExitWatch| known.state() != Ending::Running;
        if lock(&self.watches).get(&pid).is_some_and(was_anothers) {
            self.process_ended(pid);
        }
        let mut watches = lock(&self.watches);
        if let Some(known) = watches.get(&pid)
            && known.state() == Ending::Running
        {
            return Ok(pid);
        }
        let data = epoll::EventData::new_u64(pid as u64);
        let events = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.epoll, watch.as_fd(), data, events)
            .map_err(|errno| self.cannot_watch(thread, errno))?;
        watches.insert(pid, watch);
        Ok(pid)
    }

    /// Why a process that wants to write may not; said in the log, but not each time.
    fn cannot_watch(&self, thread: i32, errno: Errno) -> Errno {
        let now = nanoseconds(self.monotonic()) + 1;
        let last = self.told_of_refusal.load(Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) >= nanoseconds(TELL_EVERY) {
            self.told_of_refusal.store(now, Ordering::Relaxed);
            let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            log::error!(
                "cannot watch process {thread}, which is therefore refused to write: {errno}; each \
                 process that writes takes one of the {limit} descriptors that this process may \
                 have (ulimit -n)"
            );
        }
        // Otherwise the program would look for the limit among its own descriptors.
        match errno {
            Errno::MFILE => Errno::NFILE,
            errno => errno,
        }
    }

    /// The caller of a request that waits has a signal pending.
    pub(crate) fn interrupted(&self, unique: Unique) {
        if let Some(interrupted) = lock(&self.inspected).get_mut(&unique) {
            // It does not wait yet; when it does, it will be asked again.
            *interrupted = true;
            return;
        }
        let Some(thread) = self.look(|core| core.waiting_thread(unique)) else {
            return;
        };
        if self.must_end(thread) {
            self.tell(Request::Cancel { unique });
        } else {
            lock(&self.rechecks).push(unique);
            self.wake();
        }
    }

    /// Whether a caller has a signal that must end its wait. One that cannot be
    /// seen is taken at the kernel's word.
    fn must_end(&self, thread: i32) -> bool {
        thread == 0 || process::must_let_go(thread)
    }

    /// Ends the reactor and answers everybody who waits.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
        self.stop_inspector();
        self.tell(Request::ShutDown);
    }
}

impl Processes for Router {
    fn ending(&self, pid: i32) -> Ending {
        let watches = lock(&self.watches);
        watches.get(&pid).map_or(Ending::Unknown, ExitWatch::state)
    }

    fn group_is_empty(&self, group: i32) -> bool {
        let is_empty = process::group_is_empty(group);
        if !is_empty {
            self.groups.ask(group);
        }
        is_empty
    }

    fn descends_from(&self, pid: i32, ancestor: i32) -> bool {
        process::ancestors(pid).any(|above| above == ancestor)
    }

    fn group_of(&self, pid: i32) -> Option<i32> {
        process::process_group(pid)
    }

    fn is_own(&self, pid: i32) -> bool {
        pid == std::process::id().cast_signed()
    }
}

#[cfg(test)]
mod tests;

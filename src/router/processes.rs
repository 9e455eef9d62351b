//! The processes that matter: writers, holders of captures, and members of writers' groups.
//!
//! Knows facts about processes, and of the core only its requests and `Processes`. The invariants: a process
//! in the table is watched until it has ended; the core learns how it ended while the table still knows,
//! before another process with its id takes its place; `/proc` is never read with the table locked.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::event_loop::EventLoop;
use super::process::{self, ExitWatch, RunningMembers};
use super::timers::REFUSAL_LOG_INTERVAL;
use super::{Router, lock};
use crate::core::generation::{Ending, Left, Processes, Writer};
use crate::core::request::Request;
use crate::core::{CaptureId, unseen_writer};

/// Number of threads remembered with their processes.
const REMEMBERED_THREADS: usize = 4096;

/// Descriptors that watches of writers leave free for short uses: without one the end of such a process could
/// not be read.
const SPARE_DESCRIPTORS: u64 = 16;

/// Facts about processes. With its lock held nothing is called that takes another.
#[derive(Default)]
pub(super) struct ProcessTable {
    /// Guards the watched processes and what depends on them.
    table: Mutex<Table>,
    /// Whether there are groups to check; atomic, as this is read often.
    has_groups: AtomicBool,
}

#[derive(Default)]
struct Table {
    /// Watched processes, by their ids.
    watches: FxHashMap<i32, Arc<ExitWatch>>,
    /// The watched processes of threads, by thread id: must be verified, as the id may be reused.
    threads: FxHashMap<i32, i32>,
    /// The captured paths that a process holds.
    captures: FxHashMap<i32, Hanging>,
    /// The number of the next hold.
    next_hold: u64,
    /// Process groups that are not empty, but may be of zombies only.
    groups: FxHashSet<i32>,
    /// Closed files, by their inodes, for which maybe only waiting processes are left.
    left: FxHashMap<u64, Left>,
    /// When the log last said that a process was refused to write.
    told_of_refusal: Option<Instant>,
}

/// The captures that one process holds.
#[derive(Default)]
pub(super) struct Hanging {
    /// Once for each hold, by its unique number.
    pub(super) held: FxHashMap<u64, CaptureId>,
    /// Captures whose hold was dropped, but whose file may be the process's work.
    pub(super) abandoned: FxHashSet<CaptureId>,
}

impl Hanging {
    fn have(&self, id: CaptureId) -> bool {
        self.abandoned.contains(&id) || self.held.values().any(|held| *held == id)
    }
}

impl Table {
    fn is_running(&self, pid: i32) -> bool {
        let watch = self.watches.get(&pid);
        watch.is_some_and(|watch| !watch.has_exited())
    }
}

impl ProcessTable {
    /// The process of a thread, if it is watched and runs.
    pub(super) fn running_process(&self, thread: i32) -> Option<i32> {
        let pid = {
            let table = lock(&self.table);
            if table.is_running(thread) {
                return Some(thread);
            }
            table.threads.get(&thread).copied()?
        };
        (process::is_thread_of(thread, pid) && self.is_running(pid)).then_some(pid)
    }

    pub(super) fn is_running(&self, pid: i32) -> bool {
        lock(&self.table).is_running(pid)
    }

    /// Whether it was watched, and has ended since.
    fn has_ended(&self, pid: i32) -> bool {
        let table = lock(&self.table);
        table.watches.contains_key(&pid) && !table.is_running(pid)
    }

    /// Watches the process of this thread; returns its id.
    fn add(&self, watch: ExitWatch, thread: i32, events: &EventLoop) -> Result<i32, Errno> {
        let pid = watch.pid();
        let mut table = lock(&self.table);
        if pid != thread {
            if table.threads.len() >= REMEMBERED_THREADS {
                table.threads.clear();
            }
            table.threads.insert(thread, pid);
        }
        if !table.is_running(pid) {
            events.watch(&watch, pid)?;
            table.watches.insert(pid, Arc::new(watch));
        }
        Ok(pid)
    }

    /// Forgets a process that has ended, unless its id is reused by now; returns the captures that it held.
    fn remove_ended(&self, pid: i32, events: &EventLoop) -> Hanging {
        let mut table = lock(&self.table);
        if table.is_running(pid) {
            return Hanging::default();
        }
        if let Some(watch) = table.watches.remove(&pid) {
            events.unwatch(&*watch);
        }
        table.threads.retain(|_, process| *process != pid);
        table.captures.remove(&pid).unwrap_or_default()
    }

    /// Adds a hold of a process on a capture; returns the hold's number, or none if the process is not
    /// watched.
    pub(super) fn hold(&self, id: CaptureId, pid: i32) -> Option<u64> {
        let mut table = lock(&self.table);
        if !table.watches.contains_key(&pid) {
            return None;
        }
        let number = table.next_hold;
        table.next_hold += 1;
        let hanging = table.captures.entry(pid).or_default();
        hanging.held.insert(number, id);
        Some(number)
    }

    /// Removes a hold; returns whether it was still there.
    pub(super) fn unhold(&self, pid: i32, number: u64) -> bool {
        let mut table = lock(&self.table);
        let hanging = table.captures.get_mut(&pid);
        hanging.is_some_and(|hanging| hanging.held.remove(&number).is_some())
    }

    /// Remembers that the file at a capture may be the work of a process that holds it no more. False if the
    /// process is not watched.
    pub(super) fn abandon(&self, id: CaptureId, pid: i32) -> bool {
        let mut table = lock(&self.table);
        let is_watched = table.watches.contains_key(&pid);
        if is_watched {
            table.captures.entry(pid).or_default().abandoned.insert(id);
        }
        is_watched
    }

    /// Forgets a capture that has ended.
    pub(super) fn forget(&self, id: CaptureId) {
        lock(&self.table).captures.retain(|_, hanging| {
            hanging.held.retain(|_, held| *held != id);
            hanging.abandoned.remove(&id);
            !hanging.held.is_empty() || !hanging.abandoned.is_empty()
        });
    }

    /// The processes that hold a capture.
    pub(super) fn holders(&self, id: CaptureId) -> Vec<i32> {
        let table = lock(&self.table);
        let holders = table.captures.iter();
        holders
            .filter_map(|(pid, hanging)| hanging.have(id).then_some(*pid))
            .collect()
    }

    /// Whether there are groups that [`Self::take_groups`] would give.
    pub(super) fn has_groups(&self) -> bool {
        self.has_groups.load(Ordering::Acquire)
    }

    pub(super) fn take_groups(&self) -> (FxHashSet<i32>, FxHashMap<u64, Left>) {
        let mut table = lock(&self.table);
        self.has_groups.store(false, Ordering::Release);
        let Table { groups, left, .. } = &mut *table;
        (std::mem::take(groups), std::mem::take(left))
    }

    /// Whether the log should say again that a process is refused to write; if so, notes that it does.
    fn is_time_to_tell(&self) -> bool {
        let now = Instant::now();
        let last = &mut lock(&self.table).told_of_refusal;
        let is_time = last.is_none_or(|last| now - last >= REFUSAL_LOG_INTERVAL);
        if is_time {
            *last = Some(now);
        }
        is_time
    }

    /// The error for a process that is refused to write; logged, but not each time.
    fn refuse(&self, thread: i32, errno: Errno) -> Errno {
        if self.is_time_to_tell() {
            let limit = descriptor_limit();
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
}

fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Refuses a descriptor that would use one of the spare ones: the kernel gives the lowest free number.
fn within_limit(watch: ExitWatch) -> Result<ExitWatch, Errno> {
    let limit = descriptor_limit();
    let last = limit - SPARE_DESCRIPTORS.min(limit / 4);
    match u64::from(watch.as_fd().as_raw_fd().unsigned_abs()) < last {
        true => Ok(watch),
        false => Err(Errno::MFILE),
    }
}

impl Processes for ProcessTable {
    fn ending(&self, pid: i32) -> Ending {
        let watch = lock(&self.table).watches.get(&pid).cloned();
        watch.map_or(Ending::Unknown, |watch| watch.state())
    }

    /// The kernel counts zombies as members, but they write no more: a process that reads before it reaps its
    /// child would wait for itself. To tell zombies from others all processes are scanned, which a thread
    /// that holds the core's lock or answers the kernel must not do. So the group is noted, and the event
    /// loop scans and tells the core.
    fn group_is_empty(&self, group: i32) -> bool {
        let is_empty = process::group_is_empty(group);
        if !is_empty {
            lock(&self.table).groups.insert(group);
            self.has_groups.store(true, Ordering::Release);
        }
        is_empty
    }

    /// For the same reason the event loop scans.
    fn look_for_others(&self, left: Left) {
        lock(&self.table).left.insert(left.ino, left);
        self.has_groups.store(true, Ordering::Release);
    }

    fn descends_from(&self, pid: i32, ancestor: i32) -> bool {
        process::ancestors(pid).any(|above| above == ancestor)
    }

    fn name_of(&self, thread: i32) -> Option<String> {
        (thread != 0).then(|| process::name(thread))
    }

    fn is_below_group(&self, pid: i32, group: i32) -> bool {
        process::ancestors(pid).any(|above| process::process_group(above) == Some(group))
    }

    fn is_own(&self, pid: i32) -> bool {
        pid == std::process::id().cast_signed()
    }
}

impl Router {
    /// The process of a thread as a writer, watched from now on until it ends.
    ///
    /// # Errors
    ///
    /// If it cannot be watched: if it were killed, its readers would take its output for whole.
    pub(crate) fn writer(&self, thread: i32) -> Result<Writer, Errno> {
        if thread == 0 {
            return Ok(unseen_writer());
        }
        let pid = match self.processes.running_process(thread) {
            Some(pid) => Some(pid),
            None => self.watch(thread)?,
        };
        Ok(match pid {
            Some(pid) => Writer {
                pid,
                name: process::name(pid),
                group: process::process_group(pid),
                ..unseen_writer()
            },
            None => unseen_writer(),
        })
    }

    /// Watches the process of a thread, if there is one; returns its id.
    pub(crate) fn watch(&self, thread: i32) -> Result<Option<i32>, Errno> {
        match ExitWatch::open(thread) {
            Ok(watch) => self.watch_by(watch, thread).map(Some),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(self.processes.refuse(thread, errno)),
        }
    }

    /// Watches the process of this thread; returns its id.
    pub(super) fn watch_by(&self, watch: ExitWatch, thread: i32) -> Result<i32, Errno> {
        // The id belonged to another process, which was reaped before the event loop looked.
        if self.processes.has_ended(watch.pid()) {
            self.process_ended(watch.pid());
        }
        let added = within_limit(watch)
            .and_then(|watch| self.processes.add(watch, thread, &self.event_loop));
        added.map_err(|errno| self.processes.refuse(thread, errno))
    }

    /// Tells the core how a process ended; then ends the watch and its holds.
    pub(super) fn process_ended(&self, pid: i32) {
        let ending = self.processes.ending(pid);
        if ending == Ending::Running {
            // How it ended can be read when it is reaped.
            return self.event_loop.look_again(pid);
        }
        self.tell(Request::ProcessEnded { pid, ending });
        let hanging = self.processes.remove_ended(pid, &self.event_loop);
        for id in hanging.held.into_values() {
            self.let_go_of_ended(id, pid);
        }
        for id in hanging.abandoned {
            self.release_capture(id, true);
        }
    }

    /// Checks the groups that were noted. For the event loop.
    pub(super) fn look_at_groups(&self, members: &mut RunningMembers) {
        let (groups, left) = self.processes.take_groups();
        for group in groups {
            if members.is_of_zombies(group) {
                self.tell(Request::GroupEnded { group });
            }
        }
        for left in left.into_values() {
            if members.stand_still(&left) {
                self.tell(Request::NobodyElseLeft { left });
            }
        }
    }
}

#[cfg(test)]
impl ProcessTable {
    /// The watched processes and their endings.
    pub(super) fn watched(&self) -> Vec<(i32, Ending)> {
        let table = lock(&self.table);
        let watches = table.watches.iter();
        watches.map(|(pid, watch)| (*pid, watch.state())).collect()
    }

    /// Whether no process is remembered in any way.
    pub(super) fn is_empty(&self) -> bool {
        let table = lock(&self.table);
        table.watches.is_empty() && table.threads.is_empty() && table.captures.is_empty()
    }

    pub(super) fn hangs_nothing(&self) -> bool {
        lock(&self.table).captures.is_empty()
    }

    pub(super) fn remembered_process(&self, thread: i32) -> Option<i32> {
        lock(&self.table).threads.get(&thread).copied()
    }

    pub(super) fn remember(&self, thread: i32, pid: i32) {
        lock(&self.table).threads.insert(thread, pid);
    }

    /// Pretends that the watched process had this id.
    pub(super) fn pretend(&self, pid: i32, watch: ExitWatch) {
        lock(&self.table).watches.insert(pid, Arc::new(watch));
    }
}

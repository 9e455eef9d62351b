//! Finds out whether a process that opens a file being written is one of its writers, and which process a
//! door's name means.
//!
//! A program that writes a file, or was started by one that does, must not wait for it. `/proc` shows whether
//! the caller is one, but in files whose reading may wait for a process that itself waits for an answer of
//! the daemon. So a separate thread reads them, and the OPEN is answered afterwards; meanwhile the threads
//! that answer the kernel go on. It is started with the first such OPEN.
//!
//! The number in a door's name is that of a process in the reader's pid namespace. The same thread looks it
//! up; only that reader waits for it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use super::timers::BELIEVED_TIMES;
use super::{Router, lock, process, process_of};
use crate::core::clock::Monotonic;
use crate::core::doors::Target;
use crate::core::effects::Unique;
use crate::core::request::{Caller, Needed, Opener, Request};

/// A request that is put off: an OPEN for reading, or a request at a door of `pid/`.
struct Inspection {
    caller: Caller,
    ino: u64,
    request: Request,
    needed: Needed,
}

/// The thread and its requests.
#[derive(Default)]
pub(super) struct Inspector {
    /// Guards the thread's queue and the requests that are put off.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The queue to the thread, from the first request that needs it until the mount ends.
    inspections: Option<Sender<Inspection>>,
    thread: Option<JoinHandle<()>>,
    /// The requests that are put off, and whether their callers have had a signal meanwhile.
    put_off: HashMap<Unique, bool>,
}

impl Inspector {
    /// Notes that the caller of a request has a signal, to be handled later, if the request is put off;
    /// returns whether it is.
    pub(super) fn note_signal(&self, unique: Unique) -> bool {
        let mut state = lock(&self.state);
        let signalled = state.put_off.get_mut(&unique);
        signalled.map(|signalled| *signalled = true).is_some()
    }

    /// A request is put off no more; returns whether its caller had a signal meanwhile.
    fn go_on(&self, unique: Unique) -> bool {
        lock(&self.state).put_off.remove(&unique) == Some(true)
    }

    /// Ends the thread, if there is one, once it has done what it was asked for.
    pub(super) fn stop(&self) {
        lock(&self.state).inspections = None;
    }
}

impl Router {
    /// Handles an OPEN for reading, or a GETATTR, at once or when the facts that it depends on are known.
    pub(crate) fn handle_by_opener(self: &Arc<Self>, caller: Caller, ino: u64, request: Request) {
        let needed = match self.look(|core| core.needs_of_opener(ino, &request)) {
            Needed::Name | Needed::Relations if caller.internal => Needed::Nothing,
            // A process that cannot be seen has none that could be found.
            Needed::Relations if caller.thread == 0 => Needed::Name,
            needed => needed,
        };
        let inspection = Inspection {
            caller,
            ino,
            request,
            needed,
        };
        match needed {
            Needed::Nothing => self.go_on_with(inspection, Opener::default()),
            Needed::Name => self.go_on_with(inspection, opener_by(caller.thread)),
            Needed::Relations | Needed::Process(_) => {
                let Some(inspection) = self.inspect(inspection) else {
                    return;
                };
                if let Needed::Process(_) = needed {
                    let target = Err(Errno::SRCH);
                    self.tell(Request::KnowProcess { ino, target });
                }
                self.go_on_with(inspection, opener_by(caller.thread));
            }
        }
    }

    /// Puts a request off; returns it if there is no thread for it, as when the mount is ending.
    fn inspect(self: &Arc<Self>, inspection: Inspection) -> Option<Inspection> {
        let mut state = lock(&self.inspector.state);
        if state.inspections.is_none() && !self.event_loop.is_stopping() {
            match self.start_inspector() {
                Ok((inspections, thread)) => {
                    (state.inspections, state.thread) = (Some(inspections), Some(thread));
                }
                Err(error) => log::error!("cannot find out who opens a file: {error}"),
            }
        }
        let Some(inspections) = &state.inspections else {
            return Some(inspection);
        };
        let unique = inspection.caller.unique;
        if let Err(unsent) = inspections.send(inspection) {
            return Some(unsent.0);
        }
        // The thread cannot finish with it before this is noted, as that takes this lock.
        state.put_off.insert(unique, false);
        None
    }

    fn start_inspector(self: &Arc<Self>) -> io::Result<(Sender<Inspection>, JoinHandle<()>)> {
        let (sender, inspections) = crossbeam_channel::unbounded();
        let router = Arc::clone(self);
        let inspect = move || {
            let mut found = Found::default();
            for inspection in inspections {
                let unique = router.inspect_and_handle(inspection, &mut found);
                if router.inspector.go_on(unique) {
                    router.interrupted(unique);
                }
            }
        };
        let thread = std::thread::Builder::new().name("fifofs-inspect".into());
        Ok((sender, thread.spawn(inspect)?))
    }

    /// Finds out the facts that a request depends on, and handles it.
    fn inspect_and_handle(&self, inspection: Inspection, found: &mut Found) -> Unique {
        let (Caller { unique, thread, .. }, ino) = (inspection.caller, inspection.ino);
        let opener = match inspection.needed {
            Needed::Process(number) => {
                let target = self.target(thread, number);
                self.tell(Request::KnowProcess { ino, target });
                opener_by(thread)
            }
            _ => found.opener(thread, ino),
        };
        self.go_on_with(inspection, opener);
        unique
    }

    /// Handles a request, now that its opener is known.
    fn go_on_with(&self, mut inspection: Inspection, by: Opener) {
        if let Some(opener) = inspection.request.opener_mut() {
            *opener = by;
        }
        self.handle(inspection.caller, inspection.request);
    }

    /// The inspector's thread, to be joined once it was stopped.
    pub(crate) fn take_inspector(&self) -> Option<JoinHandle<()>> {
        lock(&self.inspector.state).thread.take()
    }

    /// The process that a thread knows by this number, that of the pid namespace where the thread is; watched from
    /// now on until it ends.
    fn target(&self, thread: i32, number: i32) -> Result<Target, Errno> {
        let pid = process::known_as(thread, number)?;
        let began = pid.and_then(|pid| self.began(pid));
        let watched = match pid {
            Some(pid) => self.watch(pid)?,
            None => None,
        };
        Ok(Target {
            // The end of a thread that is not its process's leader cannot be seen.
            pid: watched.filter(|watched| Some(*watched) == pid),
            began,
        })
    }

    /// When a process began.
    fn began(&self, pid: i32) -> Option<Monotonic> {
        let ticks = process::start_ticks(pid)?;
        let since_boot = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::new(
            since_boot.tv_sec.unsigned_abs(),
            u32::try_from(since_boot.tv_nsec).unwrap_or(0),
        );
        let start = Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
        let age = since_boot.saturating_sub(start);
        Some(self.monotonic().saturating_sub(age))
    }
}

/// The opener by its thread, where no more than its process is needed.
pub(super) fn opener_by(thread: i32) -> Opener {
    opener(process_of(thread))
}

/// The opener by its process, where no more is needed.
pub(super) fn opener(pid: i32) -> Opener {
    Opener {
        pid,
        name: process::name(pid),
        ..Opener::default()
    }
}

/// Processes that do not have a file open, and until when this is taken for true.
///
/// A process with ten thousand descriptors that opens one file ten thousand times would have all of them
/// scanned each time. Its own opens are known otherwise; so it can only get the file unnoticed if another
/// process passes the descriptor to it.
#[derive(Default)]
pub(super) struct Found {
    /// By process and inode.
    pub(super) without: HashMap<(i32, u64), Instant>,
}

impl Found {
    pub(super) fn opener(&mut self, thread: i32, ino: u64) -> Opener {
        let leader = process_of(thread);
        // An orphan is a child of process 1, but no step of what that does.
        let lineage = process::ancestors(leader).filter(|pid| *pid == leader || *pid != 1);
        let lineage: Vec<i32> = lineage.collect();
        let holds = lineage.iter().any(|pid| self.holds(*pid, ino));
        let group = process::process_group(leader);
        Opener {
            lineage,
            holds,
            group,
            ..opener(leader)
        }
    }

    fn holds(&mut self, pid: i32, ino: u64) -> bool {
        let start = Instant::now();
        self.without.retain(|_, until| *until > start);
        if self.without.contains_key(&(pid, ino)) {
            return false;
        }
        let holds = process::holds_open_for_writing(pid, ino);
        let taken = start.elapsed();
        if !holds {
            let until = start + taken + taken * BELIEVED_TIMES;
            self.without.insert((pid, ino), until);
        }
        holds
    }
}

#[cfg(test)]
impl Inspector {
    /// Whether no thread was started.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.state).thread.is_none()
    }

    /// Whether nothing is put off.
    pub(super) fn is_done(&self) -> bool {
        lock(&self.state).put_off.is_empty()
    }

    /// Pretends that this request is put off.
    pub(super) fn pretend(&self, unique: Unique) {
        lock(&self.state).put_off.insert(unique, false);
    }

    /// Whether the caller of a request that is put off had a signal.
    pub(super) fn was_signalled(&self, unique: Unique) -> Option<bool> {
        lock(&self.state).put_off.remove(&unique)
    }
}

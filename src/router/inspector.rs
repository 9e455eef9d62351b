//! Finds out who opens a file that is being written.
//!
//! A program that writes a file, or was started by one that does, must not wait
//! for it. Whether the caller is such a one is to be read in `/proc`, in places
//! where the kernel may let us wait for a process that itself waits for an
//! answer of ours. So a thread of its own does it, and the OPEN is answered when
//! it is done; meanwhile the threads that answer the kernel go on. It is started
//! with the first such OPEN.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::timers::BELIEVED_TIMES;
use super::{Router, lock, process, process_of};
use crate::core::doors::Asked;
use crate::core::effects::Unique;
use crate::core::request::{Caller, Needed, Opener, Request};

/// A request that is put off: an OPEN for reading, or what waits for a process to end.
pub(super) struct Inspection {
    pub(super) caller: Caller,
    pub(super) ino: u64,
    pub(super) asked: Asked,
    /// The number of a process, if it is to be found out which is meant, and not who asks.
    pub(super) number: Option<i32>,
}

/// The thread, and what it has been asked for.
#[derive(Default)]
pub(super) struct Inspector {
    /// Guards both.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    thread: Thread,
    /// The requests that are put off, and whether their callers have had a signal meanwhile.
    put_off: HashMap<Unique, bool>,
}

#[derive(Default)]
enum Thread {
    /// Nobody has asked for it yet.
    #[default]
    Idle,
    Running {
        inspections: Sender<Inspection>,
        thread: JoinHandle<()>,
    },
    /// The mount is ending; the thread is there until somebody waits for its end.
    Stopped(Option<JoinHandle<()>>),
}

impl Inspector {
    /// The caller of a request has a signal; says whether the request is put off. Then it is seen to
    /// later.
    pub(super) fn note_signal(&self, unique: Unique) -> bool {
        let mut state = lock(&self.state);
        let signalled = state.put_off.get_mut(&unique);
        signalled.map(|signalled| *signalled = true).is_some()
    }

    /// A request is put off no more; says whether its caller has had a signal meanwhile.
    fn go_on(&self, unique: Unique) -> bool {
        lock(&self.state).put_off.remove(&unique) == Some(true)
    }

    /// Ends the thread, if there is one, once it has done what it was asked for.
    pub(super) fn stop(&self) {
        let thread = &mut lock(&self.state).thread;
        *thread = match std::mem::take(thread) {
            Thread::Idle => Thread::Stopped(None),
            Thread::Running { thread, .. } => Thread::Stopped(Some(thread)),
            stopped @ Thread::Stopped(_) => stopped,
        };
    }
}

impl Router {
    /// Puts a request off; says whether there is somebody who sees to it: not when the mount is ending.
    pub(super) fn inspect(self: &Arc<Self>, inspection: Inspection) -> bool {
        let mut state = lock(&self.inspector.state);
        if let Thread::Idle = state.thread {
            match self.start_inspector() {
                Ok(running) => state.thread = running,
                Err(error) => log::error!("cannot find out who opens a file: {error}"),
            }
        }
        let Thread::Running { inspections, .. } = &state.thread else {
            return false;
        };
        let unique = inspection.caller.unique;
        let is_sent = inspections.send(inspection).is_ok();
        // It cannot be gone on with before this is noted.
        if is_sent {
            state.put_off.insert(unique, false);
        }
        is_sent
    }

    fn start_inspector(self: &Arc<Self>) -> io::Result<Thread> {
        let (sender, inspections) = crossbeam_channel::unbounded();
        let router = Arc::clone(self);
        let inspect = move || {
            let mut found = Found::default();
            for inspection in inspections {
                let unique = router.see_to(inspection, &mut found);
                if router.inspector.go_on(unique) {
                    router.interrupted(unique);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("fifofs-inspect".into())
            .spawn(inspect)?;
        Ok(Thread::Running {
            inspections: sender,
            thread,
        })
    }

    /// Finds out what a request that was put off depends on, and goes on with it.
    fn see_to(&self, inspection: Inspection, found: &mut Found) -> Unique {
        let Inspection {
            caller, ino, asked, ..
        } = inspection;
        let opener = match inspection.number {
            None => found.opener(caller.thread, ino),
            Some(number) => {
                let target = self.target(caller.thread, number);
                self.tell(Request::KnowProcess { ino, target });
                opener_by(caller.thread)
            }
        };
        self.ask_as(caller, ino, asked, opener);
        caller.unique
    }

    /// The inspector's thread, once it was stopped, to be waited for.
    pub(crate) fn take_inspector(&self) -> Option<JoinHandle<()>> {
        match &mut lock(&self.inspector.state).thread {
            Thread::Stopped(thread) => thread.take(),
            Thread::Idle | Thread::Running { .. } => None,
        }
    }

    /// Opens a file for reading, at once or when it is known who asks.
    pub(crate) fn open_for_reading(self: &Arc<Self>, caller: Caller, ino: u64, flags: i32) {
        let (needed, unknown) =
            self.look(|core| (core.needs_of_opener(ino), core.unknown_process(ino)));
        if let Some(number) = unknown {
            return self.ask_at_door(caller, ino, number, Asked::Open(flags));
        }
        let needed = match caller.internal {
            true => Needed::Nothing,
            false => needed,
        };
        let asked = Asked::Open(flags);
        let inspection = Inspection {
            caller,
            ino,
            asked,
            number: None,
        };
        if needed == Needed::Relations && caller.thread != 0 && self.inspect(inspection) {
            return;
        }
        let opener = match needed {
            Needed::Nothing => Opener::default(),
            Needed::Name | Needed::Relations => opener_by(caller.thread),
        };
        self.ask_as(caller, ino, asked, opener);
    }

    /// Has a request handled, now that it is known who makes it.
    pub(super) fn ask_as(&self, caller: Caller, ino: u64, asked: Asked, opener: Opener) {
        let request = match asked {
            Asked::Open(flags) => Request::Open {
                ino,
                flags,
                writer: None,
                opener,
                kills_set_id: false,
            },
            Asked::Attributes => Request::Attributes {
                ino,
                by_handle: false,
                opener,
            },
        };
        self.handle(caller, request);
    }
}

/// The process of a thread, if no more than that needs to be known.
pub(super) fn opener_by(thread: i32) -> Opener {
    opener(process_of(thread))
}

/// A process of which no more needs to be known.
pub(super) fn opener(pid: i32) -> Opener {
    Opener {
        pid,
        name: process::name(pid),
        ..Opener::default()
    }
}

/// Processes that hold a file not, and until when that is believed.
///
/// A process with ten thousand descriptors that opens one file ten thousand times
/// would have all of them looked at each time. It comes to hold a file that it did
/// not open itself, which is known otherwise, only by being handed it.
#[derive(Default)]
pub(super) struct Found {
    /// By process and inode.
    pub(super) without: HashMap<(i32, u64), Instant>,
}

impl Found {
    pub(super) fn opener(&mut self, thread: i32, ino: u64) -> Opener {
        let leader = process_of(thread);
        // Whoever has lost its parent is a child of process 1, and no step of what that does.
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
        matches!(lock(&self.state).thread, Thread::Idle)
    }

    /// Whether nothing is put off.
    pub(super) fn is_done(&self) -> bool {
        lock(&self.state).put_off.is_empty()
    }

    /// As if this request were put off.
    pub(super) fn pretend(&self, unique: Unique) {
        lock(&self.state).put_off.insert(unique, false);
    }

    /// Whether the caller of one that is put off had a signal.
    pub(super) fn was_signalled(&self, unique: Unique) -> Option<bool> {
        lock(&self.state).put_off.remove(&unique)
    }
}

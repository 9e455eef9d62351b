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
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::{Router, lock, process, process_of};
use crate::core::doors::Asked;
use crate::core::request::{Caller, Needed, Opener, Request};

/// For how many times as long as it took to look at the descriptors of a process what
/// was found is believed.
const BELIEVED: u32 = 10;

/// A request that is put off: an OPEN for reading, or what waits for a process to end.
pub(super) struct Inspection {
    pub(super) caller: Caller,
    pub(super) ino: u64,
    pub(super) flags: i32,
    pub(super) question: Question,
}

/// What is to be found out first.
pub(super) enum Question {
    /// Who opens it.
    Relations,
    /// Which process is meant by this number.
    Process { number: i32, asked: Asked },
}

/// The thread, or that there is none.
pub(super) enum Inspector {
    /// Nobody has asked for it yet.
    Idle,
    Running {
        inspections: Sender<Inspection>,
        thread: JoinHandle<()>,
    },
    /// The mount is ending; the thread is there until somebody waits for its end.
    Stopped(Option<JoinHandle<()>>),
}

impl Router {
    /// The way to the thread, which is started if it must be; none when the mount
    /// is ending.
    fn inspector(self: &Arc<Self>) -> Option<Sender<Inspection>> {
        let mut inspector = lock(&self.inspector);
        if let Inspector::Idle = *inspector {
            match self.start_inspector() {
                Ok(running) => *inspector = running,
                Err(error) => log::error!("cannot find out who opens a file: {error}"),
            }
        }
        match &*inspector {
            Inspector::Running { inspections, .. } => Some(inspections.clone()),
            Inspector::Idle | Inspector::Stopped(_) => None,
        }
    }

    /// Ends the thread, if there is one, once it has done what it was asked for.
    pub(super) fn stop_inspector(&self) {
        let mut inspector = lock(&self.inspector);
        *inspector = match std::mem::replace(&mut *inspector, Inspector::Idle) {
            Inspector::Idle => Inspector::Stopped(None),
            Inspector::Running { thread, .. } => Inspector::Stopped(Some(thread)),
            stopped @ Inspector::Stopped(_) => stopped,
        };
    }

    /// The thread that was stopped, to be waited for.
    pub(crate) fn take_inspector(&self) -> Option<JoinHandle<()>> {
        match &mut *lock(&self.inspector) {
            Inspector::Stopped(thread) => thread.take(),
            Inspector::Idle | Inspector::Running { .. } => None,
        }
    }

    fn start_inspector(self: &Arc<Self>) -> io::Result<Inspector> {
        let (sender, inspections) = crossbeam_channel::unbounded();
        let router = Arc::clone(self);
        let inspect = move || {
            let mut found = Found::default();
            for inspection in inspections {
                let Inspection {
                    caller, ino, flags, ..
                } = inspection;
                match inspection.question {
                    Question::Relations => {
                        let opener = found.opener(caller.thread, ino);
                        router.open_as(caller, ino, flags, opener);
                    }
                    Question::Process { number, asked } => {
                        router.know_process(caller, (ino, number), (flags, asked));
                    }
                }
                let interrupted = lock(&router.inspected).remove(&caller.unique);
                if interrupted == Some(true) {
                    router.interrupted(caller.unique);
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("fifofs-inspect".into())
            .spawn(inspect)?;
        Ok(Inspector::Running {
            inspections: sender,
            thread,
        })
    }

    /// Opens a file for reading, at once or when it is known who asks.
    pub(crate) fn open_for_reading(self: &Arc<Self>, caller: Caller, ino: u64, flags: i32) {
        let (needed, unknown) =
            self.look(|core| (core.needs_of_opener(ino), core.unknown_process(ino)));
        if let Some(number) = unknown {
            return self.ask_at_door(caller, ino, number, (flags, Asked::Open));
        }
        let needed = match caller.internal {
            true => Needed::Nothing,
            false => needed,
        };
        let question = Question::Relations;
        let inspection = Inspection {
            caller,
            ino,
            flags,
            question,
        };
        if needed == Needed::Relations && caller.thread != 0 && self.inspect(inspection) {
            return;
        }
        let opener = match needed {
            Needed::Nothing => Opener::default(),
            Needed::Name | Needed::Relations => opener_by(caller.thread),
        };
        self.open_as(caller, ino, flags, opener);
    }

    /// Puts a request off; says whether there is somebody who sees to it.
    pub(super) fn inspect(self: &Arc<Self>, inspection: Inspection) -> bool {
        let Some(inspections) = self.inspector() else {
            return false;
        };
        let unique = inspection.caller.unique;
        lock(&self.inspected).insert(unique, false);
        if inspections.send(inspection).is_ok() {
            return true;
        }
        lock(&self.inspected).remove(&unique);
        false
    }

    pub(super) fn open_as(&self, caller: Caller, ino: u64, flags: i32, opener: Opener) {
        let request = Request::Open {
            ino,
            flags,
            writer: None,
            opener,
            kills_set_id: false,
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
        let lineage: Vec<i32> = process::ancestors(leader).collect();
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
            let until = start + taken + taken * BELIEVED;
            self.without.insert((pid, ino), until);
        }
        holds
    }
}

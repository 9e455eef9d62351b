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

use super::{Router, lock, process};
use crate::core::doors::Asked;
use crate::core::effects::{Caller, Kin, Opening};

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
    Kin,
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
                    Question::Kin => {
                        let kin = found.kin(caller.thread, ino);
                        router.open_as(caller, ino, flags, &kin);
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
        let can_be_seen = caller.thread != 0 && !caller.internal;
        let (depends_on_kin, unknown) =
            self.look(|core| (core.depends_on_kin(ino), core.unknown_process(ino)));
        if let Some(number) = unknown {
            return self.ask_at_door(caller, ino, number, (flags, Asked::Open));
        }
        let question = Question::Kin;
        let inspection = Inspection {
            caller,
            ino,
            flags,
            question,
        };
        if can_be_seen && depends_on_kin && self.inspect(inspection) {
            return;
        }
        self.open_as(caller, ino, flags, &Kin::default());
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

    pub(super) fn open_as(&self, caller: Caller, ino: u64, flags: i32, kin: &Kin) {
        let opening = Opening {
            flags,
            writer: None,
            kin,
        };
        self.run(|core, env, effects| core.open(env, caller, ino, opening, effects));
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
    pub(super) fn kin(&mut self, thread: i32, ino: u64) -> Kin {
        let leader = process::thread_group(thread).unwrap_or(thread);
        let lineage: Vec<i32> = process::ancestors(leader).collect();
        let holds = lineage.iter().any(|pid| self.holds(*pid, ino));
        let group = process::process_group(leader);
        Kin {
            lineage,
            holds,
            group,
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

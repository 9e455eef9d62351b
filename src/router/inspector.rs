//! Finds out who opens a file that is being written.
//!
//! A program that writes a file, or was started by one that does, must not wait
//! for it. Whether the caller is such a one is to be read in `/proc`, in places
//! where the kernel may let us wait for a process that itself waits for an
//! answer of ours. So a thread of its own does it, and the OPEN is answered when
//! it is done; meanwhile the threads that answer the kernel go on.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::{Router, lock, process};
use crate::core::effects::{Caller, Kin, Opening};

/// An OPEN for reading that is put off.
pub(super) struct Inspection {
    caller: Caller,
    ino: u64,
    flags: i32,
}

impl Router {
    /// Starts the thread. It ends with [`Router::stop`].
    pub(crate) fn start_inspector(self: &Arc<Self>) -> std::io::Result<JoinHandle<()>> {
        let (sender, inspections) = crossbeam_channel::unbounded();
        *lock(&self.inspections) = Some(sender);
        let router = Arc::clone(self);
        let inspect = move || {
            for Inspection { caller, ino, flags } in inspections {
                let kin = find_kin(caller.thread, ino);
                router.open_as(caller, ino, flags, &kin);
                let interrupted = lock(&router.inspected).remove(&caller.unique);
                if interrupted == Some(true) {
                    router.interrupted(caller.unique);
                }
            }
        };
        std::thread::Builder::new()
            .name("fifofs-inspect".into())
            .spawn(inspect)
    }

    /// Opens a file for reading, at once or when it is known who asks.
    pub(crate) fn open_for_reading(&self, caller: Caller, ino: u64, flags: i32) {
        let can_be_seen = caller.thread != 0 && !caller.internal;
        if can_be_seen
            && self.look(|core| core.depends_on_kin(ino))
            && let Some(inspections) = lock(&self.inspections).clone()
        {
            lock(&self.inspected).insert(caller.unique, false);
            let inspection = Inspection { caller, ino, flags };
            if inspections.send(inspection).is_ok() {
                return;
            }
            lock(&self.inspected).remove(&caller.unique);
        }
        self.open_as(caller, ino, flags, &Kin::default());
    }

    fn open_as(&self, caller: Caller, ino: u64, flags: i32, kin: &Kin) {
        let opening = Opening {
            flags,
            writer: None,
            kin,
        };
        self.run(|core, env, effects| core.open(env, caller, ino, opening, effects));
    }
}

fn find_kin(thread: i32, ino: u64) -> Kin {
    let leader = process::thread_group(thread).unwrap_or(thread);
    let lineage: Vec<i32> = process::ancestors(leader).collect();
    let holds = lineage
        .iter()
        .any(|pid| process::holds_open_for_writing(*pid, ino));
    let group = process::process_group(leader);
    Kin {
        lineage,
        holds,
        group,
    }
}

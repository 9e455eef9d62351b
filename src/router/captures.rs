//! Captured paths whose end hangs on a process: until it has exited, what stands
//! there is not done.

use std::ffi::OsString;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Router, lock, process};
use crate::core::CaptureId;
use crate::core::namespace::ROOT;

impl Router {
    /// Captures what will stand at a path; see `Core::capture`.
    pub(crate) fn capture(self: &Arc<Self>, path: &[OsString]) -> Result<CaptureId, Errno> {
        self.run(|core, env, effects| core.capture(env, path, effects))
    }

    /// Waits until the kernel knows of no name any more that was removed without
    /// its doing: a program would open what it was the name of.
    pub(crate) fn settle_names(&self) {
        self.outlet.settle();
    }

    /// Ends a capture and removes what stands there, and a directory in the root
    /// with all that is in it.
    pub(crate) fn end_capture(&self, id: CaptureId, directory: Option<OsString>) {
        self.run(|core, env, effects| {
            core.end_capture(env, id, effects);
            if let Some(name) = directory {
                core.remove_tree(env, (ROOT, &name), effects);
            }
        });
    }

    /// Has the path's end hang on a process, which is not reaped yet.
    pub(crate) fn hold_until_exit(&self, id: CaptureId, pid: i32) -> Result<(), Errno> {
        self.run(|core, _, _| core.hold(id));
        let watched = self.watch(pid);
        lock(&self.holders).entry(pid).or_default().push(id);
        // If it exited before that was noted, nobody else will let go.
        if !lock(&self.watches).contains_key(&pid) {
            self.let_go(pid);
        }
        watched.map(drop)
    }

    /// Nothing more is to come at the path.
    pub(crate) fn release_capture(&self, id: CaptureId) {
        self.run(|core, env, effects| {
            core.hold(id);
            core.let_go(env, id, effects);
        });
    }

    /// A process has exited: what hung on it does no more.
    pub(super) fn let_go(&self, pid: i32) {
        let held = lock(&self.holders).remove(&pid).unwrap_or_default();
        for id in held {
            self.run(|core, env, effects| core.let_go(env, id, effects));
        }
    }

    /// See `Core::keep_at_most`.
    pub(crate) fn keep_at_most(&self, id: CaptureId, bytes: u64) {
        self.run(|core, _, _| core.keep_at_most(id, bytes));
    }

    /// Nobody reads the path any more.
    pub(crate) fn hang_up(&self, id: CaptureId) {
        self.run(|core, env, effects| core.hang_up(env, id, effects));
    }

    /// Who has what stands at the path open for writing: process ids and names.
    /// Looks at every process; not for threads that answer the kernel.
    pub(crate) fn writers_of(&self, id: CaptureId) -> Vec<(i32, String)> {
        let Some(ino) = self.look(|core| core.captured_file(id)) else {
            return Vec::new();
        };
        let holders = process::all().filter(|pid| process::holds_open_for_writing(*pid, ino));
        holders.map(|pid| (pid, process::name(pid))).collect()
    }
}

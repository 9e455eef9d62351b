//! Captured paths held by a process: until it has exited, the file there is not done.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::io::Errno;

use super::process::ExitWatch;
use super::timers::{LAST_CLOSE, LAST_CLOSE_LOOK};
use super::{Router, process};
use crate::core::effects::Reply;
use crate::core::request::{Caller, Request};
use crate::core::{CaptureId, Core};

/// Keeps the file at a path from being done until a process has exited or this is dropped.
pub(crate) struct ExitHold {
    router: Arc<Router>,
    id: CaptureId,
    pid: i32,
    number: u64,
}

impl Drop for ExitHold {
    fn drop(&mut self) {
        let (id, processes) = (self.id, &self.router.processes);
        // Otherwise it has exited, and the core knows.
        if processes.unhold(self.pid, self.number) {
            self.router.tell(Request::Abandon { id });
            // In this order: its exit, which may be seen at any time, must not reach the core before.
            if !processes.abandon(id, self.pid) {
                self.router.release_capture(id, true);
            }
        }
    }
}

impl Router {
    /// Captures the file that will be made at a path; see `Request::Capture`.
    pub(crate) fn capture(self: &Arc<Self>, path: &[OsString]) -> Result<CaptureId, Errno> {
        let path = path.to_vec();
        match self.ask(Caller::SELF, Request::Capture { path })? {
            Reply::Captured(id) => Ok(id),
            _ => Err(Errno::IO),
        }
    }

    /// Waits until the kernel has dropped all names that the daemon removed by itself: a program would open
    /// the removed file by them.
    pub(crate) fn settle_names(&self) {
        self.outlet.settle();
    }

    /// Ends a capture and removes the file there, and a directory in the root with all its contents. Not for
    /// threads that answer the kernel.
    pub(crate) fn end_capture(&self, id: CaptureId, directory: Option<OsString>) {
        self.processes.forget(id);
        self.tell_patiently(Request::EndCapture { id, directory });
    }

    /// Makes a directory in the root, in which this process captures.
    pub(crate) fn make_directory(&self, name: &OsStr) -> Result<(), Errno> {
        let name = name.to_owned();
        let make = Request::MakeOwnDirectory { name };
        self.ask(Caller::SELF, make).map(drop)
    }

    /// Removes a directory in the root with all its contents. Not for threads that answer the kernel.
    pub(crate) fn remove_directory(&self, name: &OsStr) {
        let name = name.to_owned();
        self.tell_patiently(Request::RemoveTree { name });
    }

    fn tell_patiently(&self, request: Request) {
        self.handle_by(Caller::SELF, request, |effect| {
            if let Some(effect) = self.locals.answer(effect) {
                self.outlet.apply_patiently(effect);
            }
        });
    }

    /// See `Request::Freeze`.
    pub(crate) fn freeze(&self) -> bool {
        let frozen = self.ask(Caller::SELF, Request::Freeze);
        matches!(frozen, Ok(Reply::Frozen(true)))
    }

    /// Holds the path until a process exits, given by its pidfd and the id that it has or had a moment ago;
    /// `again` if it was the last that held the path. None if it has exited.
    pub(crate) fn hold_until_exit(
        self: &Arc<Self>,
        id: CaptureId,
        (pidfd, pid): (OwnedFd, i32),
        again: bool,
    ) -> Result<Option<ExitHold>, Errno> {
        self.tell(Request::Hold { id, again });
        let watched = self.watch_by(ExitWatch::of(pidfd, pid), pid);
        let hold = self.processes.hold(id, pid).map(|number| ExitHold {
            router: Arc::clone(self),
            id,
            pid,
            number,
        });
        // If it has exited already, no event will let go of the path.
        if hold.is_none() {
            self.let_go_of_ended(id, pid);
        }
        watched.map(|_| hold)
    }

    /// A process that held the path has exited. Processes that it left behind may still be about to open the
    /// output that is not opened yet.
    pub(super) fn let_go_of_ended(&self, id: CaptureId, pid: i32) {
        let is_unopened = self.look(|core| core.is_unopened(id));
        let left_others = is_unopened && process::has_left_others(pid);
        self.tell(Request::LetGo { id, left_others });
    }

    /// Waits until the output of exited processes at the path is done, so that it is not taken for that of
    /// the next program. The kernel reports their last close a moment after they are gone. Not for threads
    /// that answer it.
    pub(crate) fn settle_capture(&self, id: CaptureId) {
        let deadline = Instant::now() + LAST_CLOSE;
        loop {
            if self.has_running_holder(id) {
                return;
            }
            let is_done = self.look(|core| !core.is_left_undone(id));
            if is_done || !self.writers_of(id).is_empty() || Instant::now() >= deadline {
                return;
            }
            thread::sleep(LAST_CLOSE_LOOK);
        }
    }

    /// Whether a running process holds the path. Lets go for processes that have exited.
    fn has_running_holder(&self, id: CaptureId) -> bool {
        let holders = self.processes.holders(id).into_iter();
        let (running, ended): (Vec<i32>, Vec<i32>) =
            holders.partition(|pid| self.processes.is_running(*pid));
        for pid in ended {
            self.process_ended(pid);
        }
        !running.is_empty()
    }

    /// Declares that nothing more will come at the path, `again` by its last holder.
    pub(crate) fn release_capture(&self, id: CaptureId, again: bool) {
        self.tell(Request::Hold { id, again });
        let left_others = false;
        self.tell(Request::LetGo { id, left_others });
    }

    /// The processes that have the file at the path open for writing: ids and names. Scans all processes; not
    /// for threads that answer the kernel.
    pub(crate) fn writers_of(&self, id: CaptureId) -> Vec<(i32, String)> {
        let Some(ino) = self.look(|core| core.captured_file(id)) else {
            return Vec::new();
        };
        let holders = process::all().filter(|pid| process::holds_open_for_writing(*pid, ino));
        holders.map(|pid| (pid, process::name(pid))).collect()
    }

    /// The same of every file, in the order of their paths.
    pub(crate) fn writers_of_all(&self) -> Vec<(PathBuf, i32, String)> {
        let files = self.look(Core::written_files);
        if files.is_empty() {
            return Vec::new();
        }
        let inodes: Vec<u64> = files.iter().map(|(ino, _)| *ino).collect();
        let held = process::all().map(|pid| (pid, process::held_for_writing(pid, &inodes)));
        let holders: Vec<(i32, Vec<u64>)> = held.filter(|(_, held)| !held.is_empty()).collect();
        let of = |ino: u64| holders.iter().filter(move |(_, held)| held.contains(&ino));
        let named = |path: &PathBuf, pid: i32| (path.clone(), pid, process::name(pid));
        let writers = files.iter().flat_map(|(ino, path)| {
            let holders = of(*ino);
            holders
                .map(|(pid, _)| named(path, *pid))
                .collect::<Vec<_>>()
        });
        writers.collect()
    }
}

//! Requests that wait at a door of the control directory, and who the processes are that such
//! doors name.
//!
//! A number is the reader's for a process: in the pid namespace where the reader is. It is looked
//! up by the inspector, for which nobody but that reader waits.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use super::inspector::{Inspection, opener_by};
use super::{Router, process};
use crate::core::clock::Monotonic;
use crate::core::doors::{Asked, Target};
use crate::core::request::{Caller, Opener, Request};

impl Router {
    /// A GETATTR, answered at once or when there is what it asks for.
    pub(crate) fn get_attributes(self: &Arc<Self>, caller: Caller, (ino, by_handle): (u64, bool)) {
        let (waits, unknown) =
            self.look(|core| (core.waits_for_attributes(ino), core.unknown_process(ino)));
        if let Some(number) = unknown {
            return self.ask_at_door(caller, ino, number, Asked::Attributes);
        }
        let opener = match waits {
            true => opener_by(caller.thread),
            false => Opener::default(),
        };
        let request = Request::Attributes {
            ino,
            by_handle,
            opener,
        };
        self.handle(caller, request);
    }

    /// Sees to a request at a place whose door names a process once it is known who that is.
    pub(super) fn ask_at_door(
        self: &Arc<Self>,
        caller: Caller,
        ino: u64,
        number: i32,
        asked: Asked,
    ) {
        let inspection = Inspection {
            caller,
            ino,
            asked,
            number: Some(number),
        };
        if !self.inspect(inspection) {
            let target = Err(Errno::SRCH);
            self.tell(Request::KnowProcess { ino, target });
            self.ask_as(caller, ino, asked, opener_by(caller.thread));
        }
    }

    /// The process that a thread knows by this number, watched from now on until it ends.
    pub(super) fn target(&self, thread: i32, number: i32) -> Result<Target, Errno> {
        let pid = process::known_as(thread, number)?;
        let began = pid.and_then(|pid| self.began(pid));
        let watched = match pid {
            Some(pid) => self.watch(pid)?,
            None => None,
        };
        Ok(Target {
            // A thread that is no process of its own has no end that could be seen.
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

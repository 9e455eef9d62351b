//! Readers who wait no longer than a process lives.

use super::super::clock::Monotonic;
use super::super::generation::{Ending, Generation, Processes};
use super::super::timers::CLOCK_TICK;

/// The process that a reader named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its id as this process sees it; none if there is no such process any more.
    pub(crate) pid: Option<i32>,
    /// When it began, or up to [`CLOCK_TICK`] earlier, if that is known.
    pub(crate) began: Option<Monotonic>,
}

/// Half of how many ids there can be at least (`pid_max`): they are given in this order, and then
/// again from the first.
const HALF_OF_IDS: i32 = 1 << 14;

impl Target {
    /// Whether a generation was opened for writing after the process began. (It may have begun
    /// before, with an earlier step of the same script.)
    pub(in crate::core) fn precedes(self, generation: &Generation) -> bool {
        let (Some(opened), Some(start)) = (generation.last_opened(), self.began) else {
            return generation.last_opened().is_some();
        };
        if opened < start || opened >= start + CLOCK_TICK {
            return opened >= start;
        }
        // Within that time its own children, and itself, are those with the later ids.
        let is_later = |pid: i32| {
            let ahead = pid - self.pid.unwrap_or_default();
            pid == 0 || (0..HALF_OF_IDS).contains(&ahead) || ahead < -HALF_OF_IDS
        };
        generation
            .writers()
            .iter()
            .any(|writer| is_later(writer.pid))
    }
}

/// The same, from when a reader waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwaitedProcess {
    pid: i32,
    has_ended: bool,
}

impl AwaitedProcess {
    pub(super) fn of(target: Target, processes: &dyn Processes) -> Self {
        let is_running = |pid| processes.ending(pid) == Ending::Running;
        AwaitedProcess {
            pid: target.pid.unwrap_or_default(),
            has_ended: !target.pid.is_some_and(is_running),
        }
    }

    /// Whether it has ended.
    pub(in crate::core) fn has_ended(self) -> bool {
        self.has_ended
    }

    /// Its id, while it runs.
    pub(in crate::core) fn running(self) -> Option<i32> {
        (!self.has_ended).then_some(self.pid)
    }

    /// A process has ended. Says whether it was this one.
    pub(in crate::core) fn ended(&mut self, pid: i32) -> bool {
        self.has_ended |= self.pid == pid;
        self.pid == pid
    }
}

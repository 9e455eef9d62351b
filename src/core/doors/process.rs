//! Readers that stop waiting when a process ends.

use super::super::clock::Monotonic;
use super::super::generation::{Ending, Generation, Processes};
use super::super::timers::CLOCK_TICK;

/// The process that a reader named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its id in the daemon's pid namespace; none if there is no such process any more.
    pub(crate) pid: Option<i32>,
    /// When it began, or up to [`CLOCK_TICK`] earlier, if that is known.
    pub(crate) began: Option<Monotonic>,
}

/// Half of the least number of ids (`pid_max`): the kernel gives ids in ascending order, and then again from
/// the first.
const HALF_OF_IDS: i32 = 1 << 14;

impl Target {
    /// Whether it has not ended.
    pub(in crate::core) fn is_running(self, processes: &dyn Processes) -> bool {
        let is_running = |pid| processes.ending(pid) == Ending::Running;
        self.pid.is_some_and(is_running)
    }

    /// Whether a generation was opened for writing after the process began. (It may have begun
    /// before, with an earlier step of the same script.)
    pub(in crate::core) fn precedes(self, generation: &Generation) -> bool {
        let (Some(opened), Some(start)) = (generation.last_opened(), self.began) else {
            return generation.last_opened().is_some();
        };
        if opened < start || opened >= start + CLOCK_TICK {
            return opened >= start;
        }
        // Within that time its own id and those of its children are the later ones.
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

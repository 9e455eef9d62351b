//! Readers who wait no longer than a process lives.

use std::time::Duration;

use rustix::io::Errno;

use super::super::clock::Monotonic;
use super::super::generation::{Ending, Generation};
use super::super::reader::{Awaits, Reader};
use super::super::{Core, Env, File};

/// The process that a reader named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Its id as this process sees it; none if there is no such process any more.
    pub(crate) pid: Option<i32>,
    /// When it began, or up to [`TICK`] earlier, if that is known.
    pub(crate) began: Option<Monotonic>,
}

/// The kernel says when a process began in these (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Half of how many ids there can be at least (`pid_max`): they are given in this order, and then
/// again from the first.
const HALF_OF_IDS: i32 = 1 << 14;

impl Target {
    /// Whether a generation began after the process did.
    pub(in crate::core) fn precedes(self, generation: &Generation) -> bool {
        let (Some(began), Some(start)) = (generation.began(), self.began) else {
            return generation.began().is_some();
        };
        if began < start || began >= start + TICK {
            return began >= start;
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
    fn of(target: Target, env: Env<'_>) -> Self {
        let is_running = |pid| env.processes.ending(pid) == Ending::Running;
        AwaitedProcess {
            pid: target.pid.unwrap_or_default(),
            has_ended: !target.pid.is_some_and(is_running),
        }
    }
}

impl Reader {
    /// Whether the process that it named has ended: no more will begin.
    pub(in crate::core) fn is_over(&self) -> bool {
        self.process.is_some_and(|process| process.has_ended)
    }

    /// Whether the process that it named may write more.
    pub(in crate::core) fn may_get_more(&self) -> bool {
        self.process.is_some_and(|process| !process.has_ended)
    }

    /// The process that it named, while that runs.
    pub(in crate::core) fn awaited_process(&self) -> Option<i32> {
        self.process
            .filter(|process| !process.has_ended)
            .map(|process| process.pid)
    }

    /// It waits no longer than this process lives.
    pub(in crate::core) fn wait_for(&mut self, target: Target, env: Env<'_>) {
        self.awaits = Awaits::Since(target);
        self.process = Some(AwaitedProcess::of(target, env));
    }
}

impl Core {
    /// A process has ended for which readers may wait.
    pub(in crate::core) fn awaited_process_ended(&mut self, pid: i32) {
        for (id, reader) in &mut self.readers {
            let awaited = reader.process.as_mut();
            if let Some(process) = awaited.filter(|process| process.pid == pid) {
                process.has_ended = true;
                self.touched.readers.add(*id);
                if let Some(ino) = reader.source {
                    self.touched.generations.add(ino);
                }
            }
        }
    }

    /// Whether somebody waits for a file until a process ends that has: nobody is to come who
    /// would open it again.
    pub(in crate::core) fn is_forsaken(&self, ino: u64) -> bool {
        let readers = self.files.get(&ino).map(File::readers);
        let mut readers = readers.into_iter().flatten();
        readers.any(|id| self.readers.get(id).is_some_and(Reader::is_over))
    }

    /// Whose end must be known before a request at this place in the control directory is seen to.
    pub(crate) fn unknown_process(&self, ino: u64) -> Option<i32> {
        self.control.unknown_process(ino)
    }

    /// Which process it is, or why that cannot be known.
    pub(in crate::core) fn know_process(&mut self, ino: u64, target: Result<Target, Errno>) {
        self.control.know_process(ino, target);
    }
}

//! Process groups: whether a process is left that might write.

use rustc_hash::FxHashMap;
use rustix::io::Errno;
use rustix::process::test_kill_process_group;

use super::exit::has_exited;
use super::running::{Member, find_running};
use super::standstill::stands_still;
use super::{positive, process_group};
use crate::core::generation::Left;

/// Whether no process is left in group `pgid`, not even a zombie.
pub(crate) fn group_is_empty(pgid: i32) -> bool {
    // kill(-1, …) means every process there is, not group 1.
    match positive(pgid).filter(|group| !group.is_init()) {
        Some(group) => test_kill_process_group(group) == Err(Errno::SRCH),
        None => false,
    }
}

/// Whether a process of group `pgid` has not exited.
fn running_member(pgid: i32, likely: Option<i32>) -> Member {
    let runs = |pid: &i32| process_group(*pid) == Some(pgid) && !has_exited(*pid);
    find_running(runs, likely)
}

/// Number of groups whose running member is remembered.
const REMEMBERED_GROUPS: usize = 1024;

/// By group, a member that ran when it was last checked.
#[derive(Default)]
pub(crate) struct RunningMembers(FxHashMap<i32, i32>);

impl RunningMembers {
    /// Whether all members of a group have exited.
    pub(crate) fn is_of_zombies(&mut self, group: i32) -> bool {
        // Usually the leader runs: a shell.
        let known = self.0.get(&group).copied();
        let found = running_member(group, known.or(Some(group)));
        match found {
            Member::Running(pid) => self.remember(group, pid),
            Member::None | Member::Unknown => {
                self.0.remove(&group);
            }
        }
        found == Member::None
    }

    /// Whether all processes left that might write a closed file wait, directly or not, for a reader of it.
    pub(crate) fn stand_still(&mut self, left: &Left) -> bool {
        let known = left.groups.iter().find_map(|group| self.0.get(group));
        match stands_still(left, known.copied()) {
            Ok(()) => true,
            Err(running) => {
                let group = running.and_then(process_group);
                if let (Some(pid), Some(group)) = (running, group) {
                    self.remember(group, pid);
                }
                false
            }
        }
    }

    fn remember(&mut self, group: i32, pid: i32) {
        if self.0.len() >= REMEMBERED_GROUPS {
            self.0.clear();
        }
        self.0.insert(group, pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Guard, until};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn a_group_is_empty_once_its_last_process_is_reaped() {
        let mut child = Guard::of(Command::new("sleep").arg("60").process_group(0));
        assert!(!group_is_empty(child.pid()));
        let found = running_member(child.pid(), None);
        assert_eq!(found, Member::Running(child.pid()));
        child.0.kill().unwrap();
        // A zombie is left, which the kernel counts.
        until("it has exited", || {
            running_member(child.pid(), Some(child.pid())) == Member::None
        });
        assert!(!group_is_empty(child.pid()));
        let leader = child.pid();
        let mut second = Guard::of(Command::new("sleep").arg("60").process_group(leader));
        for likely in [None, Some(leader), Some(second.pid())] {
            let found = running_member(leader, likely);
            assert_eq!(found, Member::Running(second.pid()));
        }
        second.0.kill().unwrap();
        second.0.wait().unwrap();
        child.0.wait().unwrap();
        assert!(group_is_empty(child.pid()));
        for never in [1, 0, -1, i32::MIN] {
            assert!(!group_is_empty(never), "{never}");
        }
    }
}

//! Whether one of several processes runs, found by scanning all processes.

use super::{all, proc_is_ours};

/// The result of such a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// This one runs.
    Running(i32),
    /// None runs; some may have exited and not be reaped yet.
    None,
    /// Not all processes can be seen from here.
    Unknown,
}

/// A process that `runs`: `likely` if that does, or else any that a scan of all processes finds.
pub(super) fn find_running(runs: impl Fn(&i32) -> bool, likely: Option<i32>) -> Member {
    if let Some(pid) = likely.filter(&runs) {
        return Member::Running(pid);
    }
    // Twice: after ids have begun anew a child may have a number that the scan had passed when its parent
    // made it; and that parent had exited when the scan came to it.
    for _ in 0..2 {
        // If processes of other users are hidden (`hidepid`), so is process 1.
        let mut sees_first = false;
        let mut look = |pid: &i32| {
            sees_first |= *pid == 1;
            runs(pid)
        };
        if let Some(pid) = all().find(&mut look) {
            return Member::Running(pid);
        }
        if !sees_first || !proc_is_ours() {
            return Member::Unknown;
        }
    }
    Member::None
}

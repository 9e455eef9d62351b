//! Whether of some processes one runs, found by looking at every process there is.

use super::{all, proc_is_ours};

/// A process of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// It runs.
    Running(i32),
    /// None does; some may have exited and not be reaped yet.
    None,
    /// Not all processes can be seen from here.
    Unknown,
}

/// A process that `runs`: `likely`, if that does, and else whichever is found by looking at every process.
pub(super) fn find_running(runs: impl Fn(&i32) -> bool, likely: Option<i32>) -> Member {
    if let Some(pid) = likely.filter(&runs) {
        return Member::Running(pid);
    }
    // Twice: where ids begin anew, a child may have a number that was passed already when its parent, which
    // had exited when it was looked at, made it.
    for _ in 0..2 {
        // Where others' processes are hidden (`hidepid`), so is the first.
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

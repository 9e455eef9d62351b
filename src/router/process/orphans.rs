//! Whether a process that has exited left descendants behind.
//!
//! The kernel does not record which process had started an orphan. But the first of the descendants left is
//! now a child of the process that adopts orphans, an ancestor of this one, and began later than the process
//! that is gone. Ids are given in ascending order, and from the first again after the last:
//!
//! ```text
//! of the process   ├──── later ────┤ the last that was given
//! ─────────────────●───────────────●─────────────────────────  it is the greater one
//! ─────────────────●───────────────●─────────────────────────  they began anew: later are the others
//! the last that was given          of the process
//! ```
//!
//! This reports too much if an unrelated orphan or a service has begun meanwhile, and too little if more
//! processes have begun than there are ids.

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, child_subreaper, waitid};

use super::exit::has_exited;
use super::running::{Member, find_running};
use super::{ancestors, own, parent, positive, read};
use crate::procfs::number;

/// Whether a descendant of a process that has exited may be left. That process may be reaped.
pub(crate) fn has_left_others(gone: i32) -> bool {
    let adopters = adopters();
    let began_anew = last_number().is_some_and(|last| last < gone);
    let is_left = |pid: &i32| {
        // The last number is read again, as this process may have begun a moment ago.
        is_later(*pid, gone, began_anew, last_number)
            && parent(*pid).is_some_and(|parent| adopters.contains(&parent))
            && !has_exited(*pid)
            && !is_own_helper(*pid)
    };
    find_running(is_left, None) != Member::None
}

/// Processes that may have adopted an orphan of this one.
fn adopters() -> Vec<i32> {
    let adopts = own() == 1 || matches!(child_subreaper(), Ok(Some(_)));
    let above = ancestors(own()).filter(|pid| adopts || *pid != own());
    // If a parent is outside of the namespace, the ancestors end there.
    above.chain([1]).collect()
}

/// Whether a process began later than another, judged by their numbers and the last one given.
fn is_later(pid: i32, than: i32, began_anew: bool, last: impl Fn() -> Option<i32>) -> bool {
    let was_given = || last().is_none_or(|last| pid <= last);
    match began_anew {
        true => pid > than || was_given(),
        false => pid > than && was_given(),
    }
}

/// The last number that was given to a process or thread.
fn last_number() -> Option<i32> {
    let mut buffer = [0; 128];
    let text = read(format_args!("/proc/loadavg"), &mut buffer)?;
    number(text.trim_ascii().rsplit(|byte| *byte == b' ').next()?)
}

/// Whether it is a helper of this process, which a wait for children does not see.
fn is_own_helper(pid: i32) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    parent(pid) == Some(own())
        && positive(pid)
            .is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), look), Err(Errno::CHILD)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::until;
    use rustix::process::{Signal, kill_process};
    use std::process::Command;

    #[test]
    fn who_was_left_behind_is_there_until_it_ends_whoever_has_adopted_it() {
        for script in [
            "sleep 60 >&2 & echo $!",
            "setsid sleep 60 >&2 & echo $!",
            "(sleep 60 >&2 & echo $!)",
        ] {
            let mut command = Command::new("sh");
            let child = command
                .args(["-c", script])
                .stdout(std::process::Stdio::piped());
            let child = child.spawn().unwrap();
            let gone = child.id().cast_signed();
            let printed = child.wait_with_output().unwrap().stdout;
            let orphan = positive(number(printed.trim_ascii()).unwrap()).unwrap();
            assert!(has_left_others(gone), "{script}");
            kill_process(orphan, Signal::KILL).unwrap();
            // Other tests have orphans, too.
            until("no process is left", || !has_left_others(gone));
        }
    }

    #[test]
    fn numbers_are_given_in_their_order_and_begin_anew() {
        let later = |than, last: i32| {
            let numbers = [1, 100, 200, 300];
            let is_later = |pid: &i32| is_later(*pid, than, last < than, || Some(last));
            numbers.into_iter().filter(is_later).collect::<Vec<i32>>()
        };
        assert!(later(100, 100).is_empty());
        assert_eq!(later(100, 250), [200]);
        assert_eq!(later(200, 100), [1, 100, 300]);
        // Where it is not said which was the last.
        assert!(is_later(200, 100, false, || None) && !is_later(50, 100, false, || None));
        assert!(last_number().unwrap() > 0);
    }
}

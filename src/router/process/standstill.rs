//! Whether process groups stand still: no process left in them does anything before a reader that waits for
//! the daemon is answered.
//!
//! ```text
//! sh             in wait(2), and every child of it stands still
//! └─ python3     has one thread, which waits for the daemon's answer
//!    └─ zip      has exited
//! ```
//!
//! So the shell of a script, and the program that reads the output of an earlier step, do not count as
//! possible writers of that output. A process that cannot be seen counts as running.

use super::exit::has_exited;
use super::running::{Member, find_running};
use super::{own, proc_is_ours, process_group, read, read_status};
use crate::core::effects::Unique;
use crate::core::generation::Left;
use crate::procfs::{field, number};

/// The name of the fifofs command: as the daemon it only serves its mount, as a reader it only reads.
const COMMAND: &str = "fifofs";

/// Most bytes read of a list of children: some five hundred.
const LISTED_BYTES: usize = 4096;

/// Greatest depth of a tree of processes that wait for each other.
const DEEPEST: usize = 16;

/// Whether all processes left of a file's writers and their groups do nothing before its readers are
/// answered. If not, a process that runs, with which to begin the next time, if one is known.
pub(super) fn stands_still(left: &Left, likely: Option<i32>) -> Result<(), Option<i32>> {
    let is_member = |pid: i32| process_group(pid).is_some_and(|group| left.groups.contains(&group));
    // Usually no waiting process is in these groups, or a member is known to run.
    if !left.waiting.iter().any(|(pid, _)| is_member(*pid)) || !proc_is_ours() {
        return Err(likely);
    }
    let runs = |pid: i32| !has_exited(pid) && !stands(pid, &left.waiting, DEEPEST);
    let member_runs = |pid: &i32| is_member(*pid) && runs(*pid);
    if let Some(pid) = likely.filter(member_runs) {
        return Err(Some(pid));
    }
    // The core does not know yet how a writer that has exited ended.
    let may_write = |pid: &i32| has_exited(*pid) || runs(*pid);
    if left.writers.iter().any(may_write) {
        return Err(None);
    }
    match find_running(member_runs, None) {
        Member::Running(pid) => Err(Some(pid)),
        Member::Unknown => Err(None),
        Member::None => Ok(()),
    }
}

/// Whether a process does nothing before one of the waiting processes is answered.
fn stands(pid: i32, waiting: &[(i32, Unique)], depth: usize) -> bool {
    if pid == own() {
        return super::name(pid) == COMMAND;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    if waiting.iter().any(|(waits, _)| *waits == pid) {
        // Its children may run on their own.
        let Some(children) = children(pid) else {
            return false;
        };
        let is_alone = Thread::of(pid).is_some_and(|thread| thread.is_only);
        return (is_alone || super::name(pid) == COMMAND)
            && children
                .iter()
                .all(|child| has_exited(*child) || stands(*child, waiting, depth));
    }
    let (true, Some(before)) = (waits_for_children(pid), Thread::of(pid)) else {
        return false;
    };
    // A child that has exited is about to be reaped, and then the parent goes on.
    let all_stand = children(pid).is_some_and(|children| {
        let stands = |child: &i32| !has_exited(*child) && stands(*child, waiting, depth);
        !children.is_empty() && children.iter().all(stands)
    });
    // Otherwise the children may have been those of another moment.
    all_stand && before.is_only && waits_for_children(pid) && Thread::of(pid) == Some(before)
}

/// Whether a process's main thread is in wait(2), or in sigsuspend(2), as shells are.
fn waits_for_children(pid: i32) -> bool {
    let mut buffer = [0; 128];
    let function = read(format_args!("/proc/{pid}/wchan"), &mut buffer);
    function.is_some_and(|name| {
        let is_in = |part: &[u8]| name.windows(part.len()).any(|found| found == part);
        is_in(b"do_wait") || is_in(b"sigsuspend")
    })
}

/// State of a process's main thread.
#[derive(PartialEq, Eq)]
struct Thread {
    /// Whether it is the only thread.
    is_only: bool,
    /// Number of context switches: if a waiting thread has the same number later, it has waited all the time.
    switches: [u64; 2],
}

impl Thread {
    fn of(pid: i32) -> Option<Thread> {
        read_status(pid, |status| {
            let count = |key: &[u8]| number::<u64>(field(status, key)?);
            Some(Thread {
                is_only: count(b"Threads:")? == 1,
                switches: [
                    count(b"voluntary_ctxt_switches:")?,
                    count(b"nonvoluntary_ctxt_switches:")?,
                ],
            })
        })
    }
}

/// The children of a process that has one thread, including those not reaped; `None` if the kernel does not
/// tell (`CONFIG_PROC_CHILDREN`).
fn children(pid: i32) -> Option<Vec<i32>> {
    let list = || {
        let mut buffer = [0; LISTED_BYTES];
        let listed = read(format_args!("/proc/{pid}/task/{pid}/children"), &mut buffer)?;
        let ids = listed.split(|byte| *byte == b' ');
        let is_cut_off = listed.len() == LISTED_BYTES;
        (!is_cut_off).then(|| ids.filter_map(number::<i32>).collect::<Vec<i32>>())
    };
    // If a child is reaped during the listing, the next one may be missing.
    let first = list()?;
    (list()? == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::process::name;
    use crate::testing::{Guard, until};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::Duration;

    /// A script that leads a group, once a program of this name is below it; and the id of that.
    fn script(script: &str, program: &str) -> (Guard, i32) {
        let child = Guard::of(Command::new("sh").args(["-c", script]).process_group(0));
        let mut found = None;
        until("the script is as far as that", || {
            found = below(child.pid())
                .into_iter()
                .find(|pid| name(*pid) == program);
            found.is_some()
        });
        (child, found.unwrap())
    }

    fn below(pid: i32) -> Vec<i32> {
        let found = children(pid).unwrap_or_default();
        let deeper: Vec<i32> = found.iter().flat_map(|pid| below(*pid)).collect();
        [found, deeper].concat()
    }

    fn left(group: i32, waiting: i32) -> Left {
        Left {
            ino: 1,
            since: Duration::ZERO,
            groups: vec![group],
            writers: Vec::new(),
            waiting: vec![(waiting, Unique(1))],
        }
    }

    /// Kills all processes of a script, in any group.
    fn end(shell: &Guard) {
        for pid in below(shell.pid()).into_iter().chain([shell.pid()]) {
            let pid = super::super::positive(pid).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    #[test]
    fn shells_that_wait_for_the_reader_alone_do_not_run() {
        // It makes no difference what the reader waits for.
        for waits in [
            "tail -f /dev/null; true",
            "tail -f /dev/null & wait",
            "(tail -f /dev/null; true); true",
        ] {
            let (shell, reader) = script(waits, "tail");
            let left = left(shell.pid(), reader);
            until("no process runs", || stands_still(&left, None).is_ok());
            let writers = vec![shell.pid()];
            let by_shell = Left {
                writers,
                ..left.clone()
            };
            assert_eq!(stands_still(&by_shell, Some(shell.pid())), Ok(()));
            // No process of the group waits.
            let elsewhere = Left {
                waiting: vec![(1, Unique(1))],
                ..left.clone()
            };
            assert!(stands_still(&elsewhere, None).is_err());
            // The core must know first how that ended.
            let mut gone = Guard::of(&mut Command::new("true"));
            gone.0.wait().unwrap();
            let writers = vec![gone.pid()];
            assert!(stands_still(&Left { writers, ..left }, None).is_err());
            end(&shell);
        }
    }

    #[test]
    fn a_process_that_may_go_on_by_itself_runs_and_is_reported() {
        for (runs, other) in [
            // Another step, in the background; in a group of its own, too.
            ("sleep 60 & tail -f /dev/null", "sleep"),
            ("setsid sleep 60 & tail -f /dev/null; true", "sleep"),
            // The program that reads the reader's output from a pipe may be any program.
            ("tail -f /dev/null | sort; true", "sort"),
            // In read(2), not in wait(2).
            ("tail -f /dev/null & read -r line; true", "tail"),
        ] {
            let (input, hold) = std::io::pipe().unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", runs]).process_group(0).stdin(input);
            let shell = Guard::of(&mut command);
            let named = |wanted: &str| {
                let mut all = below(shell.pid()).into_iter();
                all.find(|pid| name(*pid) == wanted)
            };
            until("the script is as far as that", || {
                named("tail").is_some() && named(other).is_some()
            });
            let left = left(shell.pid(), named("tail").unwrap());
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(5));
                assert!(stands_still(&left, None).is_err(), "{runs}");
            }
            let running = stands_still(&left, None).unwrap_err();
            assert_eq!(running.and_then(process_group), Some(shell.pid()), "{runs}");
            assert_eq!(stands_still(&left, running), Err(running), "{runs}");
            end(&shell);
            drop(hold);
        }
    }
}

//! Ids of processes in other pid namespaces.
//!
//! `NSpid:` in `/proc/PID/status` has a process's number in each namespace that it is in, this process's
//! first. The link `ns/pid` tells whether two processes are in the same one; reading it takes the permission
//! to trace them.

use std::path::PathBuf;

use rustix::io::Errno;

use super::{BUFFER_BYTES, all, read_stat, read_status};
use crate::procfs::{field, number};

/// The process that `thread` knows by this number; `None` if it is gone.
///
/// # Errors
///
/// ESRCH if that cannot be found out.
pub(crate) fn known_as(thread: i32, wanted: i32) -> Result<Option<i32>, Errno> {
    if thread <= 0 {
        return Err(Errno::SRCH);
    }
    let own = read_status(thread, numbers).ok_or(Errno::SRCH)?;
    if own.len() < 2 {
        return Ok(Some(wanted));
    }
    let level = own.len() - 1;
    let namespace = namespace(thread).ok_or(Errno::SRCH)?;
    let mut is_deeper = false;
    for pid in all() {
        let Some(theirs) = read_status(pid, numbers) else {
            continue;
        };
        if theirs.get(level) != Some(&wanted) {
            continue;
        }
        if theirs.len() > own.len() {
            // Its namespace descends from one at that level, maybe another's.
            is_deeper = true;
        } else if self::namespace(pid) == Some(namespace.clone()) {
            return Ok(Some(pid));
        }
    }
    match is_deeper {
        true => Err(Errno::SRCH),
        false => Ok(None),
    }
}

/// When a process began, in clock ticks since boot.
///
/// Only for threads that may wait: see the module's documentation.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    let mut buffer = [0; BUFFER_BYTES];
    read_stat(format_args!("/proc/{pid}/stat"), &mut buffer)?.number(22)
}

/// Its numbers, that in this process's namespace first.
fn numbers(status: &[u8]) -> Option<Vec<i32>> {
    let numbers = field(status, b"NSpid:")?.split(|byte| byte.is_ascii_whitespace());
    numbers.map(number).collect()
}

fn namespace(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::NO_PROCESS;
    use super::*;
    use crate::testing::{Guard, until};
    use std::process::Command;

    #[test]
    fn in_our_namespace_a_number_is_itself_and_in_another_it_is_looked_up() {
        let here = Guard::sleeping();
        assert_eq!(known_as(here.pid(), NO_PROCESS), Ok(Some(NO_PROCESS)));
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "sleep", "60"]);
        let there = Guard::of(&mut command);
        let child = || {
            let mut children = all().filter(|pid| super::super::parent(*pid) == Some(there.pid()));
            children
                .next()
                .filter(|pid| super::super::name(*pid) == "sleep")
        };
        until("it runs", || child().is_some());
        let child = child().unwrap();
        assert_eq!(known_as(child, 1), Ok(Some(child)));
        assert_eq!(known_as(child, 2), Ok(None));
        assert_eq!(known_as(0, 1), Err(Errno::SRCH));
        assert_eq!(known_as(NO_PROCESS, 1), Err(Errno::SRCH));
    }

    #[test]
    fn a_child_began_after_its_parent() {
        let own = start_ticks(super::super::own()).unwrap();
        let child = Guard::sleeping();
        assert!(start_ticks(child.pid()).unwrap() >= own);
        assert_eq!(start_ticks(NO_PROCESS), None);
    }
}

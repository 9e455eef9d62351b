//! How a thread dies that closes a file, seen while it waits for the answer to its FLUSH.
//!
//! A dying process closes its files before its parent can reap it, and its FLUSH is sent even after a
//! SIGKILL. Until that is answered it is there, with how it ends: on every kernel, however quick the
//! parent is. `exit_code` is set before the memory is given up, and that before the files
//! (`do_exit` in `kernel/exit.c`).
//!
//! The order of the questions matters. A thread that closes a file in execve(2) holds the lock that `stat`
//! takes, so `stat` is read only of one that has no memory any more.

use super::{BUFFER_BYTES, is_exiting, proc_is_ours, read_stat};
use crate::core::generation::Ending;

/// Fields of `/proc/PID/stat`, as proc(5) counts them.
const FLAGS: usize = 9;

/// Of `include/linux/sched.h`.
const PF_EXITING: u32 = 0x4;
const PF_FORKNOEXEC: u32 = 0x40;

/// How a thread dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    /// How, as far as that can be seen: 0 is also what those read who may not trace it, and what a
    /// single thread ends with.
    pub(crate) ending: Ending,
    /// Whether it has run no program of its own since it was forked.
    pub(crate) is_mere_fork: bool,
}

impl Death {
    const UNKNOWN: Death = Death {
        ending: Ending::Unknown,
        is_mere_fork: false,
    };
}

/// How a thread dies that waits for the answer to its FLUSH; nothing of one that goes on.
pub(crate) fn death(tid: i32) -> Option<Death> {
    if !is_exiting(tid) {
        return None;
    }
    Some(read_death(tid).unwrap_or(Death::UNKNOWN))
}

fn read_death(tid: i32) -> Option<Death> {
    if !proc_is_ours() {
        return None;
    }
    let mut buffer = [0; BUFFER_BYTES];
    let stat = read_stat(format_args!("/proc/{tid}/stat"), &mut buffer)?;
    let flags: u32 = stat.number(FLAGS)?;
    // `PF_SIGNALED` says less: threads show it where the process just exits.
    if flags & PF_EXITING == 0 {
        return None;
    }
    let ending = match super::exit::from_wait_status(stat.number(super::exit::EXIT_CODE)?) {
        Ending::Status(0) => Ending::Unknown,
        ending => ending,
    };
    Some(Death {
        ending,
        is_mere_fork: flags & PF_FORKNOEXEC != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::NOBODY;
    use super::*;
    use crate::testing::{Guard, until};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn who_runs_does_not_die_and_of_who_is_gone_nothing_is_known() {
        let mut child = Guard::sleeping();
        assert_eq!(death(child.pid()), None);
        child.0.kill().unwrap();
        until("it dies", || is_exiting(child.pid()));
        let killed = Ending::Signal(libc::SIGKILL);
        assert_eq!(death(child.pid()).unwrap().ending, killed);
        child.0.wait().unwrap();
        assert_eq!(death(child.pid()), Some(Death::UNKNOWN));
        assert_eq!(death(NOBODY), Some(Death::UNKNOWN));
    }

    #[test]
    fn a_status_is_told_and_a_mere_fork_from_a_program() {
        // Its child is not reaped as long as it runs.
        let script = "import os, time\n\
            child = os.fork() or os._exit(3)\n\
            print(child, flush=True)\n\
            time.sleep(60)";
        let mut command = Command::new("python3");
        command.args(["-c", script]).stdout(Stdio::piped());
        let mut parent = Guard(command.spawn().unwrap());
        let mut line = String::new();
        let output = parent.0.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let child = line.trim().parse().unwrap();
        until("the child has exited", || is_exiting(child));
        let told = Death {
            ending: Ending::Status(3),
            is_mere_fork: true,
        };
        assert_eq!(death(child), Some(told));
        parent.0.kill().unwrap();
        until("the parent dies", || is_exiting(parent.pid()));
        assert!(!death(parent.pid()).unwrap().is_mere_fork);
    }
}

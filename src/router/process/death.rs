//! How a thread that closes a file dies, seen while it waits for the answer to its FLUSH.
//!
//! A dying process closes its files before its parent can reap it, and its FLUSH is sent even after a
//! SIGKILL. Until that is answered the process and its exit code can be read: on every kernel, however quick
//! the parent is. The kernel sets `exit_code` before it releases the memory, and that before it closes the
//! files (`do_exit` in `kernel/exit.c`).
//!
//! The order of the reads matters. A thread that closes a file in execve(2) holds the lock that `stat` takes,
//! so `stat` is read only of a thread that has no memory any more.

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
    /// Its exit status, unless that reads 0: a process that may not trace it reads 0, too, and a single
    /// thread ends with 0.
    pub(crate) ending: Ending,
    /// Whether it has not called execve(2) since it was forked.
    pub(crate) is_mere_fork: bool,
}

impl Death {
    const UNKNOWN: Death = Death {
        ending: Ending::Unknown,
        is_mere_fork: false,
    };
}

/// How a thread that waits for the answer to its FLUSH dies; `None` if it goes on.
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
    use super::super::tests::NO_PROCESS;
    use super::*;
    use crate::testing::{Guard, until};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_that_runs_does_not_die_and_nothing_is_known_of_one_that_is_gone() {
        let mut child = Guard::sleeping();
        assert_eq!(death(child.pid()), None);
        child.0.kill().unwrap();
        until("it dies", || is_exiting(child.pid()));
        let killed = Ending::Signal(libc::SIGKILL);
        assert_eq!(death(child.pid()).unwrap().ending, killed);
        child.0.wait().unwrap();
        assert_eq!(death(child.pid()), Some(Death::UNKNOWN));
        assert_eq!(death(NO_PROCESS), Some(Death::UNKNOWN));
    }

    #[test]
    fn the_status_is_read_and_a_mere_fork_is_told_from_a_program() {
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

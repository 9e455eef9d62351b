//! Whether the wait of a thread for an answer must end because of a signal.
//!
//! The kernel reports a signal to a FUSE server only by an INTERRUPT, once for each request; later signals of
//! the same caller must be looked for. `/proc/TID/status` shows them: `SigPnd` those pending for the thread,
//! `ShdPnd` those for any thread of its process. A signal that will kill the process shows as SIGKILL in
//! `SigPnd`, as the kernel puts it there for each thread when it is sent (`complete_signal` in
//! `kernel/signal.c`).
//!
//! A stop does not show so if *another* thread took the SIGSTOP: it is no longer pending then, but this
//! thread must stop, too. So with nothing pending the other threads are checked: if one is stopped, all must
//! be.

use rustix::fs::{Dir, OFlags};

use super::{BUFFER_BYTES, open, read, read_status};
use crate::procfs::{field, hexadecimal, number};

/// Signals that never make a read, write or open fail: they come from timers, or report an event that can be
/// handled later.
const HARMLESS: u64 = set(libc::SIGALRM)
    | set(libc::SIGURG)
    | set(libc::SIGCHLD)
    | set(libc::SIGWINCH)
    | set(libc::SIGPROF)
    | set(libc::SIGVTALRM)
    | set(libc::SIGCONT);

/// Number of threads of a process that are checked for a stop. A stop stops them all; only threads that wait
/// for the daemon, too, do not show it.
const MAX_THREADS_ASKED: usize = 16;

/// The bit of a signal in the masks of `/proc/TID/status`.
const fn set(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Whether thread `tid` must not wait on: a signal ends the wait, a stop cannot
/// take hold before it has ended, or the thread has exited.
pub(crate) fn must_interrupt(tid: i32) -> bool {
    let Some(status) = read_status(tid, Status::parse) else {
        return true;
    };
    status.must_interrupt() || (status.threads > 1 && a_thread_is_stopped(status.process))
}

/// The lines of a `/proc/TID/status` that matter here.
#[derive(Debug)]
struct Status {
    state: u8,
    process: i32,
    threads: u32,
    /// Pending for the thread alone.
    thread_pending: u64,
    /// Pending for whichever thread of the process takes it.
    process_pending: u64,
    /// Blocked by the thread.
    blocked: u64,
    /// Ignored by the process.
    ignored: u64,
}

impl Status {
    /// `None` if a line is missing.
    fn parse(text: &[u8]) -> Option<Status> {
        // The masks stand near the end and all in one place, in this order;
        // each line is searched for from where the one before was found.
        let mut rest = text;
        let mut next = |key: &[u8]| {
            let value = field(rest, key)?;
            let end = value.as_ptr() as usize + value.len() - rest.as_ptr() as usize;
            rest = &rest[end..];
            Some(value)
        };
        Some(Status {
            state: *next(b"State:")?.first()?,
            process: number(next(b"Tgid:")?)?,
            threads: number(next(b"Threads:")?)?,
            thread_pending: hexadecimal(next(b"SigPnd:")?)?,
            process_pending: hexadecimal(next(b"ShdPnd:")?)?,
            blocked: hexadecimal(next(b"SigBlk:")?)?,
            ignored: hexadecimal(next(b"SigIgn:")?)?,
        })
    }

    fn must_interrupt(&self) -> bool {
        if matches!(self.state, b'Z' | b'X' | b'T' | b't') {
            return true;
        }
        let pending = self.thread_pending | self.process_pending;
        // Neither can be blocked or ignored.
        let always = set(libc::SIGKILL) | set(libc::SIGSTOP);
        let heard = pending & (!(self.blocked | self.ignored) | always);
        heard & !HARMLESS != 0
    }
}

/// Whether a thread of `process` is stopped by job control.
///
/// A thread that a tracer has stopped (`t`) says nothing of the others: under strace(1) each stops for a
/// moment at every system call, and a debugger that stops all threads sends each a SIGSTOP of its own.
fn a_thread_is_stopped(process: i32) -> bool {
    let Some(tasks) = open(format_args!("/proc/{process}/task"), OFlags::DIRECTORY) else {
        return false;
    };
    let Ok(entries) = Dir::new(tasks) else {
        return false;
    };
    let threads = entries
        .flatten()
        .filter_map(|entry| number::<i32>(entry.file_name().to_bytes()));
    threads.take(MAX_THREADS_ASKED).any(|thread| {
        let mut buffer = [0; BUFFER_BYTES];
        read(
            format_args!("/proc/{process}/task/{thread}/status"),
            &mut buffer,
        )
        .and_then(|status| field(status, b"State:"))
        .is_some_and(|state| state.trim_ascii_start().first() == Some(&b'T'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::NO_PROCESS;
    use super::*;
    use crate::testing::{Guard, until};
    use rustix::process::{Pid, Signal, kill_process};
    use std::process::Command;

    /// Whether a thread of this state must not wait on, with these signals pending for it and for its
    /// process, and these blocked and ignored.
    fn ends(state: &str, thread: u64, process: u64, blocked: u64, ignored: u64) -> bool {
        let text = format!(
            "Name:\tx\nState:\t{state}\nTgid:\t5\nPid:\t6\nThreads:\t1\nSigQ:\t0/1\n\
             SigPnd:\t{thread:016x}\nShdPnd:\t{process:016x}\nSigBlk:\t{blocked:016x}\n\
             SigIgn:\t{ignored:016x}\nSigCgt:\t0\n"
        );
        Status::parse(text.as_bytes()).unwrap().must_interrupt()
    }

    #[test]
    fn a_signal_counts_unless_it_is_blocked_or_ignored() {
        let term = set(libc::SIGTERM);
        let asleep = "D (disk sleep)";
        assert!(!ends(asleep, 0, 0, 0, 0));
        assert!(ends(asleep, term, 0, 0, 0));
        assert!(ends(asleep, 0, term, 0, 0));
        assert!(!ends(asleep, 0, term, term, 0));
        assert!(!ends(asleep, 0, term, 0, term));
        assert!(ends(asleep, 0, set(9), u64::MAX, u64::MAX));
        assert!(ends(asleep, 0, 1 << 63, 0, 0));
    }

    #[test]
    fn the_harmless_signals_do_not_end_a_wait_nor_hide_one_that_does() {
        let both = set(libc::SIGALRM) | set(libc::SIGINT);
        assert!(!ends("S (sleeping)", 0, HARMLESS, 0, 0));
        assert!(ends("S (sleeping)", 0, both, 0, 0));
        let int_blocked = set(libc::SIGINT);
        assert!(!ends("S (sleeping)", 0, both, int_blocked, 0));
    }

    #[test]
    fn a_stopped_thread_ends_its_wait_and_so_does_a_dead_one() {
        assert!(ends("T (stopped)", 0, 0, 0, 0));
        assert!(ends("t (tracing stop)", 0, 0, 0, 0));
        assert!(ends("Z (zombie)", 0, 0, 0, 0));
        assert!(must_interrupt(NO_PROCESS));
        assert!(must_interrupt(0));
    }

    #[test]
    fn a_real_process_that_sleeps_is_left_alone_and_a_stopped_one_is_not() {
        let child = Guard::sleeping();
        let pid = Pid::from_raw(child.pid()).unwrap();
        until("nothing is pending", || !must_interrupt(child.pid()));
        kill_process(pid, Signal::STOP).unwrap();
        until("it is stopped", || must_interrupt(child.pid()));
        kill_process(pid, Signal::CONT).unwrap();
        until("it runs again", || !must_interrupt(child.pid()));
        kill_process(pid, Signal::KILL).unwrap();
        until("it is killed", || must_interrupt(child.pid()));
    }

    #[test]
    fn a_process_whose_threads_are_stopped_is_seen_by_any_of_them() {
        // Python starts a thread that does nothing.
        let script =
            "import threading,time\nthreading.Thread(target=time.sleep,args=(60,)).start()";
        let child = Guard::of(Command::new("python3").args(["-c", script]));
        let threads =
            || std::fs::read_dir(format!("/proc/{}/task", child.pid())).map_or(0, Iterator::count);
        until("there are two threads", || threads() == 2);
        assert!(!a_thread_is_stopped(child.pid()));
        kill_process(Pid::from_raw(child.pid()).unwrap(), Signal::STOP).unwrap();
        until("it is stopped", || a_thread_is_stopped(child.pid()));
    }
}

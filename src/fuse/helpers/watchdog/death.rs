//! How the watchdog sees that its daemon is dead.
//!
//! Everything here runs after the fork and is async-signal-safe.
//!
//! The daemon alone holds the other end of a socket (a socket and not a pipe,
//! because writing to a dead watchdog's pipe could kill the daemon by SIGPIPE);
//! when it dies, the socket is closed, or if a forked child keeps that, its pidfd tells.
//! But not always: a thread of the daemon that uses the daemon's own mount and whose request was already read waits for
//! the answer even when killed, and while it waits no descriptor of the process
//! is closed, no pidfd of the process becomes readable, and the process stays for
//! ever (Linux 6.18). What does show it is a SIGKILL that stays pending, or a main
//! thread that is a zombie, in `/proc/PID/status`, read by a descriptor opened
//! beforehand, which cannot come to mean another process. Aborting the connection then
//! frees the daemon.
//!
//! Only a daemon that uses its own mount comes to that, which no daemon of ours does by itself,
//! but a program may that serves a mount as a library. So once the daemon has said that it does,
//! the file is read every [`LOOK_OFTEN`]; before that, every [`LOOK_SELDOM`]. No event would do
//! instead: the thread that waits for the answer may be any one, the last of all, and while the
//! kernel dumps the core of a process none of its threads comes to an end.

use std::os::fd::BorrowedFd;

use crate::fuse::timers::{LOOK_OFTEN, LOOK_SELDOM};
use crate::procfs::{field, hexadecimal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Until there is a message, or it is time for a look at the daemon, or that has ended, which its
/// pidfd tells and this says.
pub(super) fn sleep(socket: BorrowedFd<'_>, daemon: BorrowedFd<'_>, uses_itself: bool) -> bool {
    let timeout = match uses_itself {
        true => LOOK_OFTEN,
        false => LOOK_SELDOM,
    };
    let mut waited_for = [
        PollFd::new(&socket, PollFlags::IN),
        PollFd::new(&daemon, PollFlags::IN),
    ];
    let _ = poll(&mut waited_for, Some(&timeout));
    !waited_for[1].revents().is_empty()
}

/// Whether the daemon, whose `/proc/PID/status` this is, was killed but cannot die, or
/// is gone.
pub(super) fn is_dying(status: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    match rustix::io::pread(status, &mut *buffer, 0) {
        Ok(length) => buffer.get(..length).is_some_and(says_dying),
        Err(error) => error == Errno::SRCH,
    }
}

/// Whether this `/proc/PID/status` is that of a process that ends, or is about to: its main thread
/// has ended; or it has given back its memory, as it does before it closes its files (`do_exit` in
/// `kernel/exit.c`), and so has no `VmSize:` line any more; or its core is dumped; or it has a SIGKILL that it cannot take
/// yet, as the kernel gives all other threads of a process that one of them, or a signal, ends.
fn says_dying(status: &[u8]) -> bool {
    let is_killed = |pending: &[u8]| {
        let signals = field(status, pending).and_then(hexadecimal);
        signals.is_some_and(|signals| signals & (1 << (libc::SIGKILL - 1)) != 0)
    };
    let has = |key: &[u8]| field(status, key).is_some();
    let state = field(status, b"State:").and_then(<[u8]>::first);
    // `Threads:` stands after the lines about memory.
    matches!(state, Some(b'Z' | b'X'))
        || field(status, b"CoreDumping:") == Some(b"1")
        || (has(b"Threads:") && !has(b"VmSize:"))
        || is_killed(b"SigPnd:")
        || is_killed(b"ShdPnd:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, memory: &str, pending: &str) -> String {
        format!(
            "Name:\tx\nState:\t{state}\nFDSize:\t0\nGroups:\t \n{memory}Threads:\t1\n\
             SigPnd:\t0000000000000000\nShdPnd:\t{pending}\n"
        )
    }

    #[test]
    fn only_a_process_that_ends_is_dying() {
        let (memory, none) = ("VmPeak:\t10 kB\nVmSize:\t10 kB\n", "0000000000000000");
        let (kill, term) = ("0000000000000100", "0000000000004000");
        for (state, memory, pending, expected) in [
            ("S (sleeping)", memory, none, false),
            ("S (sleeping)", memory, term, false),
            ("D (disk sleep)", memory, none, false),
            // A file of its own is closed at its end, by the main thread.
            ("D (disk sleep)", "", term, true),
            ("D (disk sleep)", "", none, true),
            // By another thread.
            ("Z (zombie)", "", none, true),
            // Another of its threads waits for an answer, and the dump for that thread.
            (
                "D (disk sleep)",
                &format!("{memory}CoreDumping:\t1\n"),
                none,
                true,
            ),
            (
                "S (sleeping)",
                &format!("{memory}CoreDumping:\t0\n"),
                none,
                false,
            ),
            // It waits for an answer, and has been killed.
            ("D (disk sleep)", memory, kill, true),
        ] {
            let status = status(state, memory, pending);
            assert_eq!(says_dying(status.as_bytes()), expected, "{status}");
        }
        let own = std::fs::read("/proc/self/status").unwrap();
        assert!(!says_dying(&own));
    }
}

//! How the watchdog sees that its daemon is dead.
//!
//! Everything here runs after the fork and is async-signal-safe.
//!
//! The daemon alone holds the other end of a socket (a socket and not a pipe,
//! because writing to a dead watchdog's pipe could kill the daemon by SIGPIPE);
//! when it dies, the socket is closed. But not always: a thread of the daemon
//! that uses the daemon's own mount and whose request was already read waits for
//! the answer even when killed, and while it waits no descriptor of the process
//! is closed, no pidfd of the process becomes readable, and the process stays for
//! ever (Linux 6.18). What does show it is a SIGKILL that stays pending, or a main
//! thread that is a zombie, in `/proc/PID/status`, read by a descriptor opened
//! beforehand, which cannot come to mean another process. Aborting the connection then
//! frees the daemon.
//!
//! When to read it is told by a witness, a thread of the daemon that never uses the
//! mount, and so ends as soon as the daemon is killed: a pidfd of that thread becomes
//! readable then (PIDFD_THREAD, since Linux 6.9). Before the witness is known, once it
//! has ended, and on older kernels, the file is read every [`LOOK_EVERY`] instead; else
//! every [`LOOK_SELDOM`], should the witness itself be kept from ending.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getppid, pidfd_open};

/// One look costs some 20 µs, so this costs nothing; and half a second is soon
/// enough for what only a program that uses its own mount can bring about.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 500_000_000,
};
/// For what is not known to keep a daemon from dying. A core dump, or a disk that
/// hangs, may keep the witness itself.
const LOOK_SELDOM: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// Says when it is time for a look at the daemon.
#[derive(Default)]
pub(super) struct Lookout {
    /// Readable once the witness has ended.
    witness: Option<OwnedFd>,
}

impl Lookout {
    /// The witness is that thread of the parent.
    pub(super) fn name_witness(&mut self, thread: u64) {
        self.witness = pidfd_of_thread(thread);
    }

    /// What a fork should not keep.
    pub(super) fn witness(&self) -> Option<BorrowedFd<'_>> {
        self.witness.as_ref().map(AsFd::as_fd)
    }

    /// Until there is a message, or it is time for a look.
    pub(super) fn sleep(&mut self, socket: BorrowedFd<'_>) {
        let Some(witness) = &self.witness else {
            let mut waited_for = [PollFd::new(&socket, PollFlags::IN)];
            let _ = poll(&mut waited_for, Some(&LOOK_EVERY));
            return;
        };
        let mut waited_for = [
            PollFd::new(&socket, PollFlags::IN),
            PollFd::new(witness, PollFlags::IN),
        ];
        let _ = poll(&mut waited_for, Some(&LOOK_SELDOM));
        if !waited_for[1].revents().is_empty() {
            self.witness = None;
        }
    }
}

/// Readable when that thread of the parent has ended. `None` where the kernel cannot
/// say so, or in a pid namespace where the number means another.
pub(super) fn pidfd_of_thread(thread: u64) -> Option<OwnedFd> {
    getppid()?;
    let thread = Pid::from_raw(i32::try_from(thread).ok()?)?;
    pidfd_open(thread, PidfdFlags::from_bits_retain(libc::PIDFD_THREAD)).ok()
}

/// Whether the daemon, whose `/proc/PID/status` this is, was killed but cannot die, or
/// is gone though a child that never called exec holds its socket.
pub(super) fn is_dying(status: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    match rustix::io::pread(status, &mut *buffer, 0) {
        Ok(length) => buffer.get(..length).is_some_and(says_dying),
        Err(error) => error == Errno::SRCH,
    }
}

/// Whether this `/proc/PID/status` is that of a process whose main thread has
/// ended, or which has a SIGKILL that it cannot take yet.
fn says_dying(status: &[u8]) -> bool {
    status.split(|byte| *byte == b'\n').any(|line| {
        if let Some(state) = line.strip_prefix(b"State:\t") {
            return matches!(state.first(), Some(b'Z' | b'X'));
        }
        let pending = line
            .strip_prefix(b"SigPnd:\t")
            .or_else(|| line.strip_prefix(b"ShdPnd:\t"));
        pending
            .and_then(|mask| str::from_utf8(mask).ok())
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .is_some_and(|mask| mask & (1 << (libc::SIGKILL - 1)) != 0)
    })
}

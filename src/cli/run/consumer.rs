//! A destination that is a program: a helper process, the guard, runs it and decides when its input
//! ends.
//!
//! Knows the messages to a guard and how a program's end is judged; knows nothing of outputs.
//! Invariant: the program sees the end of its input only after [`Consumer::commit`], however this
//! process ends before that. To that end the guard holds the write end of the input, too; when it gets
//! an abort, or loses this process, it first ends the program and then closes the input.
//!
//! ```text
//!             start            commit: end of input            it ended
//!   waiting ────────► running ──────────────────────► ending ──────────► told once
//!      │                 │ abort, or this process is gone                   ▲
//!      │ abort           └────► INT, TERM, KILL ────► end of input ─────────┤
//!      └────────────────────────────────────────────────────────────────────┘
//! ```

mod guard;
mod session;

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use fifofs::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use guard::Guard;
use session::Which;

/// Messages to a guard: one byte, and for a commit the bytes to write before the end.
const START: u8 = b'S';
const COMMIT: u8 = b'C';
const ABORT: u8 = b'A';

/// The guard's message when the program has ended: this byte, and the wait status.
const ENDED: u8 = b'E';
/// The guard's message if it could not be started: this byte, and the error number.
const NOT_STARTED: u8 = b'N';

/// How long a guard may take to end when it has nothing to do.
const REAP_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

/// How to run a program.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The program and its arguments.
    pub(super) words: Vec<OsString>,
    pub(super) output: Output,
    pub(super) terminal: Terminal,
}

/// Where the program's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// To this process's standard output.
    Inherited,
    /// To standard error, as this process's standard output carries an output.
    Error,
    /// Back to this process.
    Back,
}

/// Whether the program has the terminal of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// It has: it may ask there for a password, and Ctrl-C reaches it.
    Shared,
    /// It is in a session of its own: only its guard ends it.
    None,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ended(ExitStatus),
    /// It was never started, as no bytes came for it.
    NotRun,
    NotStarted(Errno),
    /// Its guard was killed.
    Lost,
}

/// A program, and its guard.
#[derive(Debug)]
pub(super) struct Consumer {
    control: OwnedFd,
    guard: Pid,
    terminal: Terminal,
}

/// A consumer, and the descriptors that were made with it.
pub(super) struct Forked {
    pub(super) consumer: Consumer,
    /// The write end of its standard input.
    pub(super) input: OwnedFd,
    /// The read end of its standard output, with [`Output::Back`].
    pub(super) answers: Option<OwnedFd>,
}

impl Forked {
    /// Forks a guard, in which the descriptors with the numbers `closed` are closed; the program is not
    /// started yet. Call this while the process has one thread.
    pub(super) fn new(plan: &Plan, closed: &[RawFd]) -> Result<Self> {
        let failed = |errno: Errno| {
            let program = plan.words.first().map(OsString::as_os_str);
            Error::io("start", program.unwrap_or_default(), errno.into())
        };
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (ours, control) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        let (stdin, input) = pipe().map_err(failed)?;
        let (answers, stdout) = match plan.output {
            Output::Back => pipe().map(|(read, write)| (Some(read), Some(write))),
            Output::Inherited | Output::Error => Ok((None, None)),
        }
        .map_err(failed)?;
        // SAFETY: the process has one thread, so the child is complete, and never returns from here.
        match unsafe { fork() }.map_err(failed)? {
            Some(guard) => Ok(Forked {
                consumer: Consumer {
                    control: ours,
                    guard,
                    terminal: plan.terminal,
                },
                input,
                answers,
            }),
            None => {
                let answers = answers.as_ref().map(AsRawFd::as_raw_fd);
                guard::close(
                    closed
                        .iter()
                        .copied()
                        .chain([ours.as_raw_fd()])
                        .chain(answers),
                );
                Guard::new(plan, control, stdin, input, stdout).run()
            }
        }
    }
}

impl Consumer {
    /// Starts the program, unless it runs already.
    pub(super) fn start(&self) {
        self.send(&[START]);
    }

    /// The input is whole: writes `last`, and ends it. This process must have closed it before. Starts
    /// the program even if the input is empty.
    pub(super) fn commit(&self, last: &[u8]) {
        self.send(&[&[COMMIT], last].concat());
    }

    /// Ends the program before its input ends. A second call ends the wait for its reaction to the last
    /// signal.
    pub(super) fn abort(&self) {
        self.send(&[ABORT]);
    }

    /// The number of the descriptor for messages to the guard.
    pub(super) fn control(&self) -> RawFd {
        self.control.as_raw_fd()
    }

    fn send(&self, message: &[u8]) {
        // If the guard has gone, the wait for it shows that.
        let _ = rustix::net::send(&self.control, message, SendFlags::NOSIGNAL);
    }

    /// How the program ended; call this once, when [`Consumer::as_fd`] is readable.
    pub(super) fn outcome(&self, is_aborted: bool) -> Outcome {
        let mut message = [0; 5];
        let received =
            retry_on_intr(|| rustix::net::recv(&self.control, &mut message, RecvFlags::empty()));
        let length = received.map_or(0, |(length, _)| length);
        let [kind, number @ ..] = message;
        let number = i32::from_ne_bytes(number);
        match (length, kind) {
            (5, ENDED) => Outcome::Ended(ExitStatus::from_raw(number)),
            (5, NOT_STARTED) => Outcome::NotStarted(Errno::from_raw_os_error(number)),
            _ if is_aborted => Outcome::NotRun,
            _ => {
                self.end_without_guard();
                Outcome::Lost
            }
        }
    }

    /// For a guard that was killed. This process still has the write end of the input, so the program
    /// does not see its end before the signal.
    fn end_without_guard(&self) {
        if self.terminal == Terminal::None {
            session::signal(self.guard, Which::All, Signal::KILL);
        }
    }
}

impl AsFd for Consumer {
    /// Readable when the program has ended, or its guard has.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}

impl Drop for Consumer {
    /// Reaps the guard, which ends when this process closes its connection; waits only for a moment, as
    /// the guard may have to wait for another process. In many containers process 1 reaps no orphans.
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.control, Shutdown::Both);
        if let Ok(pidfd) = rustix::process::pidfd_open(self.guard, PidfdFlags::empty()) {
            let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
            let _ = retry_on_intr(|| rustix::event::poll(&mut ended, Some(&REAP_PATIENCE)));
        }
        let wall = WaitOptions::from_bits_retain(libc::__WALL as u32);
        let _ = rustix::process::waitpid(Some(self.guard), wall | WaitOptions::NOHANG);
    }
}

/// clone(2) as fork(2), but without a signal at its end: waiting for any child does not find it. `None`
/// in the child.
///
/// # Safety
///
/// The process must have one thread only.
unsafe fn fork() -> rustix::io::Result<Option<Pid>> {
    // SAFETY: without flags it is fork(2) without a signal at the end: the child has its own copy of
    // memory and stack. All arguments are 0, so their order on an architecture does not matter.
    let result = unsafe { libc::syscall(libc::SYS_clone, 0usize, 0usize, 0usize, 0usize, 0usize) };
    match i32::try_from(result) {
        Ok(pid) if pid >= 0 => Ok(Pid::from_raw(pid)),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

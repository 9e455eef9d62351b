//! The guard of a program: a process that starts the program, and ends it before its input ends if
//! that is not whole.
//!
//! Knows processes and the program's input; `consumer` defines the messages. Invariant: the write end
//! of the input stays open here until a commit says that the input is whole, or the input has no
//! reader any more.

use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::session::{self, Which};
use super::{ABORT, COMMIT, ENDED, NOT_STARTED, Output, Plan, START, Terminal};
use crate::cli::restore_signals;

/// How long a program may take to end after SIGINT, at which aws and rclone abort their upload over
/// the network; and after SIGTERM and SIGKILL, at which they leave it unfinished.
const INT_PATIENCE: Duration = Duration::from_secs(10);
const TERM_PATIENCE: Duration = Duration::from_secs(2);
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// Signals of a terminal, a service manager or a closed pipe: the guard ends after its program and
/// fifofs, not before.
const IGNORED: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGPIPE,
];

/// How long a program must have waited, after it has handled the first signal, before it gets the end
/// of its input. aws aborts its upload only when its reading thread has returned; others have aborted
/// by then.
const REST: Duration = Duration::from_secs(2);

/// How often to check whether the program has ended, where no event reports it.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The most bytes of one message: a pipe takes this many at once or not at all.
const MESSAGE_BYTES: usize = 512;

/// The guard's own process.
pub(super) struct Guard<'a> {
    plan: &'a Plan,
    control: OwnedFd,
    /// The program's standard input and output, until it is started.
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    /// The write end of its input, until that is whole.
    input: Option<OwnedFd>,
    program: Option<Program>,
    /// Set once fifofs has gone.
    is_alone: bool,
}

struct Program {
    child: Child,
    pidfd: OwnedFd,
    /// Set once it was waited for.
    has_ended: bool,
}

impl<'a> Guard<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        control: OwnedFd,
        stdin: OwnedFd,
        input: OwnedFd,
        stdout: Option<OwnedFd>,
    ) -> Self {
        Guard {
            plan,
            control,
            stdin: Some(stdin),
            stdout,
            input: Some(input),
            program: None,
            is_alone: false,
        }
    }

    /// Serves messages until the program has ended. Never returns.
    pub(super) fn run(mut self) -> ! {
        let _unwinding = ExitOnUnwind;
        if self.plan.terminal == Terminal::None {
            let _ = rustix::process::setsid();
        }
        let _ = rustix::thread::set_name(c"fifofs-command");
        // Processes that the program leaves behind must not become children of fifofs.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        for signal in IGNORED {
            // SAFETY: the process has one thread, and this is no handler.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        if self.plan.output == Output::Error {
            // SAFETY: both are the standard descriptors of this process, which runs no other code.
            unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) };
        }
        self.serve();
        exit()
    }

    fn serve(&mut self) {
        loop {
            self.wait(None);
            let Some(message) = self.next_message() else {
                continue;
            };
            match message.split_first() {
                Some((&START, _)) => self.start(),
                Some((&COMMIT, last)) => {
                    self.start();
                    return self.commit(last);
                }
                _ => return self.abort(),
            }
        }
    }

    /// Waits for a message or for the program's end, and notes the latter.
    fn wait(&mut self, patience: Option<Duration>) {
        let control = (!self.is_alone).then_some(&self.control);
        let running = self.program.as_ref().filter(|program| !program.has_ended);
        let pidfd = running.map(|program| &program.pidfd);
        let polled = |fd| PollFd::new(fd, PollFlags::IN);
        let mut polled: Vec<_> = pidfd.into_iter().chain(control).map(polled).collect();
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let _ = rustix::event::poll(&mut polled, patience.as_ref());
        let is_first_ready = polled.first().is_some_and(|fd| !fd.revents().is_empty());
        if pidfd.is_some() && is_first_ready {
            self.note_end();
        }
    }

    /// The next message, if there is one; an empty one once fifofs has gone.
    fn next_message(&mut self) -> Option<Vec<u8>> {
        if self.is_alone {
            return None;
        }
        let mut message = [0; MESSAGE_BYTES];
        match rustix::net::recv(&self.control, &mut message, RecvFlags::DONTWAIT) {
            Ok((length @ 1.., _)) => Some(message[..length].to_vec()),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Ok(_) | Err(_) => {
                self.is_alone = true;
                Some(Vec::new())
            }
        }
    }

    fn send(&self, kind: u8, number: i32) {
        let message = [&[kind][..], &number.to_ne_bytes()].concat();
        let _ = rustix::net::send(&self.control, &message, SendFlags::NOSIGNAL);
    }

    fn start(&mut self) {
        let Some(stdin) = self.stdin.take() else {
            return;
        };
        match self.spawn(stdin) {
            Ok(program) => self.program = Some(program),
            Err(error) => {
                let number = error.raw_os_error().unwrap_or(libc::EIO);
                self.send(NOT_STARTED, number);
                exit()
            }
        }
        // Readers of the standard descriptors of fifofs see their end when the program ends.
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        for standard in 0..=libc::STDERR_FILENO {
            if let Ok(null) = &null {
                // SAFETY: they are the standard descriptors of this process, which runs no other code.
                unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(null), standard) };
            }
        }
    }

    fn spawn(&mut self, stdin: OwnedFd) -> std::io::Result<Program> {
        let (program, arguments) = self.plan.words.split_first().ok_or(Errno::INVAL)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::from(stdin));
        if let Some(stdout) = self.stdout.take() {
            command.stdout(Stdio::from(stdout));
        }
        if self.plan.terminal == Terminal::None {
            command.process_group(0);
        }
        let reset = || {
            for signal in IGNORED {
                // Reset even if fifofs was started with it ignored, as shells do for background
                // commands: aws would never get it, and shells cannot set it back. SAFETY: signal(2)
                // is async-signal-safe, and this is no handler.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            restore_signals();
            Ok(())
        };
        // SAFETY: `reset` makes a few system calls; it allocates nothing and takes no lock.
        unsafe { command.pre_exec(reset) };
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        Ok(Program {
            child,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
            has_ended: false,
        })
    }

    fn note_end(&mut self) {
        let Some(program) = self.program.as_mut().filter(|program| !program.has_ended) else {
            return;
        };
        let status = program.child.wait();
        program.has_ended = true;
        let status = status.map_or(0, std::os::unix::process::ExitStatusExt::into_raw);
        self.send(ENDED, status);
    }

    fn has_ended(&self) -> bool {
        self.program
            .as_ref()
            .is_none_or(|program| program.has_ended)
    }

    /// Ends the input, which is whole, and waits for the program, unless fifofs has gone.
    fn commit(&mut self, last: &[u8]) {
        let mut is_said = last.is_empty();
        if let Some(input) = &self.input {
            // Only this process has it open by now, and it may be full.
            let _ = rustix::fs::fcntl_setfl(input, OFlags::WRONLY | OFlags::NONBLOCK);
        }
        while !self.has_ended() {
            if !is_said && let Some(input) = &self.input {
                is_said = rustix::io::write(input, last) != Err(Errno::AGAIN);
            }
            if is_said {
                self.input = None;
            }
            self.wait((!is_said).then_some(LOOK_INTERVAL));
            match self.next_message().as_deref() {
                // fifofs has gone, but the input was whole, and the program got all of it.
                Some([]) if is_said => return,
                Some([] | [ABORT, ..]) => return self.abort(),
                _ => {}
            }
        }
    }

    /// Ends the program, and all readers of its input, before the input ends; or, if they have handled
    /// the signal and wait for more input, ends the input.
    fn abort(&mut self) {
        if self.plan.terminal == Terminal::Shared {
            // An end of file tells the other side of a connection nothing.
            self.input = None;
        } else if !self.is_over() {
            self.interrupt();
        }
        let signals = [
            (Signal::INT, INT_PATIENCE),
            (Signal::TERM, TERM_PATIENCE),
            (Signal::KILL, KILL_PATIENCE),
        ];
        let was_interrupted = usize::from(self.plan.terminal == Terminal::None);
        for (signal, patience) in signals.into_iter().skip(was_interrupted) {
            if self.is_over() {
                return;
            }
            self.signal(signal);
            // A stopped process does not react to other signals.
            self.signal(Signal::CONT);
            self.wait_until(patience, |guard| guard.is_over());
        }
        if !self.has_ended() {
            self.send(ENDED, libc::SIGKILL);
        }
        // A process in a session of its own still reads the input. It must not see an end that is
        // none: the guard stays that long.
        if let Some(input) = self.input.as_ref().filter(|_| !self.is_over()) {
            let mut polled = [PollFd::new(input, PollFlags::empty())];
            let _ = retry_on_intr(|| rustix::event::poll(&mut polled, None));
        }
    }

    /// Sends SIGINT: first to processes that handle it. They must learn that their input is not whole
    /// before the others, which it kills and which they may read from, have gone.
    fn interrupt(&mut self) {
        let us = rustix::process::getpid();
        session::signal(us, Which::Catching, Signal::INT);
        let mut rest = Rest::new(Which::Catching);
        self.wait_until(INT_PATIENCE, |guard| {
            guard.is_over() || rest.look() != Waiting::Some
        });
        let is_any = session::signal(us, Which::NotCatching, Signal::INT);
        if !is_any && rest.look() == Waiting::All {
            self.input = None;
        }
        let mut rest = Rest::new(Which::All);
        self.wait_until(INT_PATIENCE, |guard| {
            if guard.input.is_some() && rest.look() == Waiting::All {
                guard.input = None;
            }
            guard.is_over()
        });
    }

    /// Whether the program has ended, and its input has no reader.
    fn is_over(&self) -> bool {
        let is_read = self.input.as_ref().is_some_and(|input| {
            let mut polled = [PollFd::new(input, PollFlags::empty())];
            let now = Timespec::default();
            matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(0))
        });
        // Before it is started, this process itself counts as the reader.
        self.stdin.is_some() || (self.has_ended() && !is_read)
    }

    /// Waits until a condition holds, the patience is over, or another abort comes.
    fn wait_until(&mut self, patience: Duration, mut is_so: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) && start.elapsed() < patience {
            self.wait(Some(LOOK_INTERVAL));
            if self
                .next_message()
                .is_some_and(|message| !message.is_empty())
            {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        match (&self.program, self.plan.terminal) {
            (Some(program), Terminal::Shared) => {
                let _ = rustix::process::pidfd_send_signal(&program.pidfd, signal);
            }
            (Some(_), Terminal::None) => {
                session::signal(rustix::process::getpid(), Which::All, signal);
            }
            (None, _) => {}
        }
    }
}

/// How long processes have waited after they have handled SIGINT.
struct Rest {
    which: Which,
    done: Option<session::Done>,
    since: Instant,
}

impl Rest {
    fn new(which: Which) -> Self {
        Rest {
            which,
            done: None,
            since: Instant::now(),
        }
    }

    /// Checks again.
    fn look(&mut self) -> Waiting {
        let us = rustix::process::getpid();
        let done = session::at_rest(us, self.which, Signal::INT);
        if done.is_none() || done != self.done {
            self.done = done;
            self.since = Instant::now();
        }
        match &self.done {
            Some(done) if done.is_empty() => Waiting::Nobody,
            Some(_) if self.since.elapsed() >= REST => Waiting::All,
            _ => Waiting::Some,
        }
    }
}

/// Which processes wait, and have for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// There is no such process.
    Nobody,
    Some,
    All,
}

/// Closes this process's copies of descriptors of its parent.
pub(super) fn close(numbers: impl IntoIterator<Item = RawFd>) {
    for number in numbers {
        // SAFETY: no other code in this process uses them.
        unsafe { libc::close(number) };
    }
}

/// Exits without running destructors or flushing buffers, which are the parent's.
fn exit() -> ! {
    // SAFETY: _exit does not return.
    unsafe { libc::_exit(0) }
}

/// Keeps a guard that panics from going on as a second copy of fifofs.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit()
    }
}

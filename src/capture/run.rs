//! Runs a program to its end: reads its output and its pipes, and reaps it.
//!
//! Knows a target's reader and the child; does not know how bytes come here. Invariant: when a run
//! is over, the child has ended and is reaped, and the bytes that came are returned, also with an
//! error.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use super::running::{RunError, RunOutput, Running};
use super::sealed::Sealed;
use super::{ProcessRef, Reader, Target};
use crate::bell::Bell;
use crate::error::{Error, Result};

/// After so long without bytes, check whether the run waits for this very process. Two checks leave
/// enough time for another thread of this process that is about to close the file.
const QUIET: Duration = Duration::from_secs(1);

/// How long to wait for the end of the output after the program was killed: processes that left its
/// process group may write for ever.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// See [`Target::run`] and [`Target::run_timeout`].
pub(super) fn run(
    target: &dyn Target,
    command: &mut Command,
    timeout: Option<Duration>,
) -> std::result::Result<RunOutput, RunError> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    if deadline.is_some() {
        // Its descendants are to be killed with it.
        command.process_group(0);
    }
    let fail = |error: io::Error| Error::io("run", command.get_program(), error);
    let stop = Bell::new().map_err(fail)?;
    let mut running = target.spawn(command)?;
    let stdout = running.child.stdout.take().map(OwnedFd::from);
    let stderr = running.child.stderr.take().map(OwnedFd::from);
    thread::scope(|scope| {
        // One thread for each pipe, as the program may wait until any of them is read.
        let drain =
            |pipe: Option<OwnedFd>| pipe.map(|pipe| scope.spawn(|| drain(pipe.into(), &stop)));
        let (stdout, stderr) = (drain(stdout), drain(stderr));
        let mut bytes = Vec::new();
        let finished = finish(target, running, command, &mut bytes, deadline);
        if matches!(finished.result, Err(Error::TimedOut { .. })) {
            // Processes that left the process group may keep the pipes open for ever.
            stop.ring();
        }
        let mut result = finished.result;
        let mut drained = |thread: Option<thread::ScopedJoinHandle<'_, Drained>>| {
            let drained = thread.map(|thread| thread.join().unwrap_or_else(|p| resume_unwind(p)));
            let (bytes, error) = drained.unwrap_or_default();
            if let (Some(error), Ok(())) = (error, &result) {
                result = Err(Error::io("read a pipe of", command.get_program(), error));
            }
            bytes
        };
        let (stdout, stderr) = (drained(stdout), drained(stderr));
        match (finished.status, result) {
            (Some(status), Ok(())) => Ok(RunOutput {
                status,
                bytes,
                stdout,
                stderr,
            }),
            (status, result) => Err(RunError {
                status,
                bytes,
                stdout,
                stderr,
                source: Box::new(result.err().unwrap_or_else(|| Error::failed(target.path()))),
            }),
        }
    })
}

/// See [`Target::run_to`].
pub(super) fn run_to(
    target: &dyn Target,
    command: &mut Command,
    sink: &mut dyn Write,
) -> std::result::Result<ExitStatus, RunError> {
    let mut running = target.spawn(command)?;
    if running.child.stdout.is_some() || running.child.stderr.is_some() {
        let _ = running.child.kill();
        let _ = running.child.wait();
        return Err(RunError::from(Error::usage(format!(
            "nobody would read the pipe of {}: let it inherit its standard output and error, or \
             call run, which gives what comes there, or spawn",
            command.get_program().display()
        ))));
    }
    let finished = finish(target, running, command, sink, None);
    match (finished.status, finished.result) {
        (Some(status), Ok(())) => Ok(status),
        (status, result) => Err(RunError {
            status,
            ..RunError::from(result.err().unwrap_or_else(|| Error::failed(target.path())))
        }),
    }
}

/// The bytes of a pipe, and the error that ended reading early.
type Drained = (Vec<u8>, Option<io::Error>);

/// Reads a pipe to its end, or until `stop` is readable and no more bytes are available.
fn drain(mut pipe: std::fs::File, stop: &Bell) -> Drained {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 << 10];
    loop {
        let mut polled = [
            PollFd::new(&pipe, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match rustix::io::retry_on_intr(|| poll(&mut polled, None)) {
            Ok(_) if polled[0].revents().is_empty() => return (bytes, None),
            Ok(_) => {}
            Err(errno) => return (bytes, Some(errno.into())),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return (bytes, None),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (bytes, Some(error)),
        }
    }
}

/// How a run ended.
struct Finished {
    /// None if the program could not be waited for.
    status: Option<ExitStatus>,
    result: Result<()>,
}

/// Passes on what a program writes until it has ended, and reaps it.
fn finish(
    target: &dyn Target,
    Running { child, mut reader }: Running,
    command: &Command,
    sink: &mut dyn Write,
    deadline: Option<Instant>,
) -> Finished {
    let mut guard = Ending {
        target,
        child,
        is_over: false,
    };
    let child = &mut guard.child;
    // As in `Child::wait`: nothing will be written to this pipe, so the program must see its end.
    drop(child.stdin.take());
    let path = target.path();
    let timed_out = || Error::TimedOut {
        path: path.to_owned(),
    };
    let mut own_writer = OwnWriter::default();
    let quiet = || own_writer.check(target, child);
    let copied = copy(&mut reader, sink, deadline, quiet);
    let mut still_written = false;
    if let Err(Stopped::Late) = copied {
        kill_group(child);
        let last = Some(Instant::now() + LAST_BYTES);
        let rest = copy(&mut reader, sink, last, || Ok(()));
        still_written = matches!(rest, Err(Stopped::Late));
    }
    // Remaining writers of a FIFO must see that it has no reader.
    drop(reader);
    if still_written || matches!(copied, Err(Stopped::Writing(_))) {
        target.hang_up();
    }
    let mut result = copied.map_err(|stopped| match stopped {
        Stopped::Late => timed_out(),
        Stopped::Reading(error) => Error::io("read", path, error),
        Stopped::Writing(error) => Error::io("pass on", path, error),
    });
    if let Some(deadline) = deadline
        && !exits_by(child, deadline)
    {
        kill_group(child);
        result = Err(timed_out());
    }
    let ended = child.wait();
    guard.is_over = true;
    match ended {
        Ok(status) => Finished {
            status: Some(status),
            result: match result {
                // The exit status shows that the program was killed or failed.
                Err(Error::Failed { .. } | Error::Missing { .. }) if !status.success() => Ok(()),
                result => result,
            },
        },
        Err(error) => Finished {
            status: None,
            result: result.and(Err(Error::io("wait for", command.get_program(), error))),
        },
    }
}

/// A child that is killed and reaped if the sink panics.
struct Ending<'a> {
    target: &'a dyn Target,
    child: Child,
    is_over: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.target.hang_up();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Kills a child that leads its process group, and the whole group. It is not reaped yet, so the id
/// is still its own.
fn kill_group(child: &Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

/// Whether a child exits before the deadline. Does not reap it.
fn exits_by(child: &Child, deadline: Instant) -> bool {
    let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) else {
        // It was reaped; or this cannot be found out, and the child is waited for.
        return true;
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return true;
        };
        let mut polled = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        match poll(&mut polled, Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// Detects that the end of a run depends on the very process that waits for it.
#[derive(Default)]
struct OwnWriter {
    /// Whether the last check found that.
    was_seen: bool,
}

impl OwnWriter {
    /// Call this when nothing has come for [`QUIET`].
    ///
    /// # Errors
    ///
    /// If the child has exited, and only this process has had the file open since the last check.
    fn check(&mut self, target: &dyn Target, child: &Child) -> io::Result<()> {
        // Do not reap it: its status may still be asked for.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let has_exited = !matches!(waitid(WaitId::Pid(Pid::from_child(child)), look), Ok(None));
        let own = std::process::id();
        let is_own = || {
            let writers = target.writers();
            !writers.is_empty() && writers.iter().all(|writer| writer.pid == own)
        };
        let was_seen = std::mem::replace(&mut self.was_seen, has_exited && is_own());
        if !(was_seen && self.was_seen) {
            return Ok(());
        }
        let reason = io::Error::other(
            "the program has ended, but this process has the file open for writing",
        );
        let error = Error::io("see the end of", target.path(), reason).with_remedy(
            "close it; a Command keeps a file that was given to its stdout or stderr: have the \
             program open the path, or use spawn and drop the Command before reading",
        );
        Err(error.into())
    }
}

/// Starts a program and its reader; if the reader cannot be made, the program is killed, as no
/// caller would wait for it.
pub(super) fn spawn(target: &dyn Sealed, command: &mut Command) -> Result<Running> {
    let prepared = target.prepare()?;
    let mut child = command
        .spawn()
        .map_err(|error| Error::io("run", command.get_program(), error))?;
    match target.read_of(prepared, ProcessRef::from(&child)) {
        Ok(reader) => Ok(Running { child, reader }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Why copying stopped.
enum Stopped {
    /// The deadline is over.
    Late,
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies from the reader to the sink until `deadline`; calls `quiet` whenever nothing has come for
/// [`QUIET`].
fn copy(
    reader: &mut Reader,
    sink: &mut dyn Write,
    deadline: Option<Instant>,
    mut quiet: impl FnMut() -> io::Result<()>,
) -> std::result::Result<(), Stopped> {
    reader.set_timeout(Some(QUIET));
    reader.set_deadline(deadline);
    let is_late = || deadline.is_some_and(|deadline| deadline <= Instant::now());
    loop {
        if let Err(error) = reader.fill_buf() {
            match Error::io("read", reader.path(), error) {
                Error::TimedOut { .. } if is_late() => return Err(Stopped::Late),
                Error::TimedOut { .. } => quiet().map_err(Stopped::Reading)?,
                error => return Err(Stopped::Reading(error.into())),
            }
            continue;
        }
        let bytes = reader.fill_buf().map_err(Stopped::Reading)?;
        if bytes.is_empty() {
            return sink.flush().map_err(Stopped::Writing);
        }
        let length = bytes.len();
        sink.write_all(bytes).map_err(Stopped::Writing)?;
        reader.consume(length);
        // Also checked between reads, as a fast writer leaves none that waits.
        if is_late() {
            return Err(Stopped::Late);
        }
    }
}

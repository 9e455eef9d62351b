//! The program: starts it, sends it signals, and waits for it.
//!
//! Knows processes and how shells report their ends; knows nothing of files. Invariant: the program
//! does not outlive this process, however this process ends.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use fifofs::{Error, Result};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitIdOptions, WaitOptions};

use super::cover::{self, Cover, Outcome};
use crate::cli::{restore_signals, standard, status};

/// A started program.
pub(super) struct Program {
    child: Child,
    name: String,
    /// Opened before the program can have been reaped; taken once.
    pidfd: std::result::Result<OwnedFd, Errno>,
    /// Set when it was waited for: from then on its process id may be another's.
    status: Option<ExitStatus>,
}

/// What the program sees: environment variables and directories.
#[derive(Default)]
pub(super) struct Surroundings<'a> {
    /// The directories that are covered for it.
    pub(super) covers: &'a [Cover],
    /// `$FIFOFS_OUT`.
    pub(super) first_output: Option<&'a Path>,
    /// `$FIFOFS_DIR`.
    pub(super) directory: Option<&'a Path>,
    /// `$TMPDIR`, unless that is left as it is.
    pub(super) temporary: Option<&'a Path>,
}

/// A program that could not be started: the status and message that a shell would give.
pub(super) struct NotStarted {
    pub(super) status: u8,
    pub(super) message: String,
}

impl Program {
    /// Call this in the main thread, which lives as long as the process: the kernel kills the
    /// program when the thread that started it ends.
    pub(super) fn start(
        words: &[OsString],
        finds: &Surroundings<'_>,
        stdout_is_taken: bool,
    ) -> std::result::Result<Self, NotStarted> {
        let (program, arguments) = words.split_first().ok_or_else(|| NotStarted {
            status: status::FAILED,
            message: "there is no command; write it after --".into(),
        })?;
        let name = program.to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(arguments);
        for (variable, path) in [
            ("FIFOFS_OUT", finds.first_output),
            ("FIFOFS_DIR", finds.directory),
        ] {
            match path {
                Some(path) => command.env(variable, path),
                None => command.env_remove(variable),
            };
        }
        if let Some(directory) = finds.temporary {
            command.env("TMPDIR", directory);
        }
        if stdout_is_taken {
            let stderr = io::stderr().as_fd().try_clone_to_owned();
            let stderr = stderr.map_err(|error| not_started(program, &error))?;
            command.stdout(Stdio::from(stderr));
        }
        let covered = match finds.covers {
            [] => None,
            covers => Some(
                cover::apply(covers, &mut command).map_err(|error| not_started(program, &error))?,
            ),
        };
        die_with_this_process(&mut command);
        // Processes that the program leaves behind become children of this process, so that it can
        // see whether any is left. If this fails, none is waited for.
        let us = rustix::process::getpid();
        let _ = rustix::process::set_child_subreaper(Some(us));
        let spawned = command.spawn();
        // Closes this process's copy of the pipe that reports why not.
        drop(command);
        let child = spawned.map_err(|error| match covered.and_then(Outcome::why_not) {
            Some(why) => NotStarted {
                status: status::FAILED,
                message: format!("{why} ({})", without_number(&error)),
            },
            None => not_started(program, &error),
        })?;
        let pid = Pid::from_child(&child);
        Ok(Program {
            child,
            name,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty()),
            status: None,
        })
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// Sends it a signal, unless it has exited.
    pub(super) fn signal(&mut self, number: i32) {
        // After it was waited for, its process id may be another's.
        let runs = matches!(self.child.try_wait(), Ok(None));
        if let (true, Some(pid), Some(signal)) = (runs, self.pid(), Signal::from_named_raw(number))
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Whether signals from the terminal to this process group miss it: it made a group of its own,
    /// as setsid(1) does.
    pub(super) fn has_left_our_group(&self) -> bool {
        let group = rustix::process::getpgid(self.pid());
        self.has_exited() || group != Ok(rustix::process::getpgrp())
    }

    /// Reaps processes that it left behind and that have ended. Returns whether any is still
    /// running; true as long as the program itself runs.
    pub(super) fn has_left_others(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            // SAFETY: all of the structure is integers and pointers, for which zero is valid.
            let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let options = look.bits() as i32;
            // SAFETY: the call does not block, and writes to `ended`. rustix does not return the
            // process id.
            if unsafe { libc::waitid(libc::P_ALL, 0, &mut ended, options) } != 0 {
                return false;
            }
            // SAFETY: waitid(2) sets it, or leaves it zero if no child has ended.
            let pid = unsafe { ended.si_pid() };
            let pid =
                Pid::from_raw(pid).filter(|pid| self.has_exited() || Some(*pid) != self.pid());
            let Some(pid) = pid else {
                return true;
            };
            // This process has no other children.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    /// A pidfd that is readable when it has exited, whichever code reaps it.
    ///
    /// # Errors
    ///
    /// If no such descriptor can be made.
    pub(super) fn pidfd(&mut self) -> Result<OwnedFd> {
        let pidfd = std::mem::replace(&mut self.pidfd, Err(Errno::BADF));
        pidfd.map_err(|errno| Error::io("wait for", &self.name, errno.into()))
    }

    /// Waits for it. Later calls return the same status.
    pub(super) fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = self
            .child
            .wait()
            .map_err(|error| Error::io("wait for", &self.name, error))?;
        self.status = Some(status);
        Ok(status)
    }

    pub(super) fn has_exited(&self) -> bool {
        self.status.is_some()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Makes the kernel kill the program when this process dies, even by SIGKILL.
fn die_with_this_process(command: &mut Command) {
    let parent = rustix::process::getpid();
    let tie = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(parent) {
            // This process died just before, and the kernel sends no signal any more.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        restore_signals();
        standard::restore_blocked();
        Ok(())
    };
    // SAFETY: between fork and exec `tie` makes a few system calls; it allocates nothing and takes
    // no lock.
    unsafe { command.pre_exec(tie) };
}

fn not_started(program: &OsStr, error: &io::Error) -> NotStarted {
    let name = program.to_string_lossy();
    let has_directory = name.contains('/');
    let (status, reason) = match error.kind() {
        io::ErrorKind::NotFound if !has_directory => {
            (status::NOT_FOUND, "command not found".into())
        }
        io::ErrorKind::NotFound if Path::new(program).exists() => (
            status::NOT_FOUND,
            "the interpreter that it names does not exist".into(),
        ),
        io::ErrorKind::NotFound => (status::NOT_FOUND, "No such file or directory".into()),
        io::ErrorKind::PermissionDenied if Path::new(program).is_dir() && has_directory => {
            (status::NOT_EXECUTABLE, "Is a directory".into())
        }
        io::ErrorKind::OutOfMemory => (status::FAILED, format!("cannot be started: {error}")),
        io::ErrorKind::WouldBlock => (
            status::FAILED,
            format!("cannot be started: {error}; allow this user more processes (`ulimit -u`)"),
        ),
        _ if error.raw_os_error() == Some(libc::EMFILE) => (
            status::FAILED,
            format!("cannot be started: {error}; allow this process more (`ulimit -n`)"),
        ),
        _ => (status::NOT_EXECUTABLE, without_number(error)),
    };
    NotStarted {
        status,
        message: format!("{name}: {reason}"),
    }
}

/// The message as shells print it: without `(os error N)`.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// The exit status of this process for a program's end: the program's own, or as in shells 128 plus
/// the number of the signal.
pub(super) fn status_of(status: ExitStatus) -> u8 {
    let number = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => return signal_status(signal),
        (None, None) => i32::from(status::FAILED),
    };
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// The exit status for an end by this signal.
pub(super) fn signal_status(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| status::SIGNAL.saturating_add(signal))
}

/// How a program ended, for messages.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

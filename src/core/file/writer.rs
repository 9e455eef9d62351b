//! A process that writes a file: its ids, how it ended, and whether that fails the file.
//!
//! Knows one process and one file; what becomes of the file is its generation's to decide.

use super::super::rules::FailOn;
use crate::error::FailedWriter;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It has not.
    Running,
    /// It exited with this status.
    Status(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone, and how it ended cannot be known.
    Unknown,
}

/// A process that opened the file for writing, or wrote to it.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    /// Its process id; 0 if it is in a pid namespace that cannot be seen.
    pub(crate) pid: i32,
    /// Its name, as `ps` shows it.
    pub(crate) name: String,
    /// Its process group.
    pub(crate) group: Option<i32>,
    /// How it ended.
    pub(crate) ending: Ending,
    /// Whether it closed the file and goes on, and only inherited it as far as is known. It may have written
    /// and may open it again, so it is waited for like the others, but its end never fails the file.
    pub(crate) let_go: bool,
    /// Whether it died with the file open.
    pub(crate) died_writing: bool,
    /// Whether it has closed the file, maybe not for the last time.
    pub(crate) has_closed: bool,
}

impl Writer {
    /// Notes how it ended, if it has.
    pub(super) fn note(&mut self, ending: Ending) {
        self.ending = match ending {
            Ending::Running => Ending::Running,
            _ if self.let_go => Ending::Unknown,
            ending => ending,
        };
    }

    /// How it ended, for readers of the file.
    pub(crate) fn as_failed(&self) -> FailedWriter {
        let (signal, status) = match self.ending {
            Ending::Signal(signal) => (Some(signal), None),
            Ending::Status(status) => (None, Some(status)),
            Ending::Running | Ending::Unknown => (None, None),
        };
        FailedWriter {
            pid: self.pid.cast_unsigned(),
            name: self.name.clone(),
            signal,
            status,
        }
    }

    /// Whether its end makes the file a failed one.
    pub(crate) fn has_failed(&self, fail_on: FailOn) -> bool {
        match self.ending {
            Ending::Signal(signal) => match fail_on {
                FailOn::Crash => self.died_writing || is_crash(signal),
                FailOn::Signal | FailOn::Status => true,
                FailOn::Never => false,
            },
            Ending::Status(status) => fail_on == FailOn::Status && status != 0,
            Ending::Running | Ending::Unknown => false,
        }
    }

    pub(super) fn has_ended_well(&self) -> bool {
        matches!(self.ending, Ending::Status(0) | Ending::Unknown)
    }
}

/// A writer that cannot be seen, as in another pid namespace.
pub(crate) fn unseen_writer() -> Writer {
    Writer {
        pid: 0,
        name: "unseen".into(),
        group: None,
        ending: Ending::Running,
        let_go: false,
        died_writing: false,
        has_closed: false,
    }
}

/// Whether a signal means a crash, or a kill that leaves no chance to end cleanly. By the others one process
/// tells another that it is not needed any more.
pub(crate) fn is_crash(signal: i32) -> bool {
    matches!(
        signal,
        libc::SIGSEGV
            | libc::SIGBUS
            | libc::SIGILL
            | libc::SIGFPE
            | libc::SIGABRT
            | libc::SIGSYS
            | libc::SIGTRAP
            | libc::SIGKILL
    )
}

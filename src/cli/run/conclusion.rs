//! Concludes a run from the ends of the program and its outputs: puts files in place, makes
//! messages and decides the exit status.
//!
//! Knows everything about the end; has no other task.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::Ordering;

use fifofs::{Error, MountView};

use super::child::{describe, signal_status, status_of};
use super::destinations::Destination;
use super::end::End;
use super::missing::{self, Missing, Search};
use super::output::{Finished, Output};
use super::placeholders::Template;
use super::progress::Counters;
use super::report::{DestinationReport, OutputReport, OutputState};
use crate::cli::{Ended, failure, status};

/// How a program ended, and which outputs were expected.
pub(super) struct Conclusion<'a> {
    /// Its name in messages.
    pub(super) program: &'a str,
    pub(super) status: ExitStatus,
    /// The signal that ended the wait for processes that it left behind.
    pub(super) ended_by: Option<i32>,
    pub(super) template: &'a Template,
    /// The files in the directory of the outputs, if they are in one.
    pub(super) view: Option<&'a MountView>,
    pub(super) is_tar: bool,
    pub(super) is_shared: bool,
}

impl Conclusion<'_> {
    /// Puts files in place if all went well. Makes the messages, and the state of each output.
    pub(super) fn conclude(
        &self,
        outputs: Vec<Output>,
        counters: &Counters,
    ) -> (Ended, Vec<OutputReport>) {
        let mut messages = Vec::new();
        // First: without these files the archive must not appear.
        let has_files = !self.is_tar || !self.status.success() || self.check_files(&mut messages);
        let mut is_whole = has_files;
        let mut early = Vec::new();
        let mut reports = Vec::new();
        for (output, delivered) in outputs.into_iter().zip(&counters.delivered) {
            let finished = output.into_end();
            early.extend(finished.early);
            let name = finished.source.name().display().to_string();
            let destination = DestinationReport::new(&finished.destination, finished.status);
            let (state, error) = match has_files {
                true => self.conclude_output(finished),
                false => (OutputState::Missing, None),
            };
            is_whole &= error.is_none();
            messages.extend(error.clone());
            reports.push(OutputReport {
                name,
                destination,
                bytes: delivered.load(Ordering::Relaxed),
                state,
                error,
            });
        }
        let was_hung_up = self.status.signal() == Some(libc::SIGPIPE);
        let status = match self.ended_by {
            Some(signal) => signal_status(signal),
            // A program that is a destination failed first; the main program's end follows from
            // that.
            None if early.contains(&false) => status::NOT_WHOLE,
            // The destination has read enough.
            None if early.contains(&true) && is_whole && was_hung_up => 0,
            None if !self.status.success() => status_of(self.status),
            None if !is_whole => status::NOT_WHOLE,
            None => 0,
        };
        (Ended { status, messages }, reports)
    }

    /// The state of an output, and a message if it is not as it should be.
    fn conclude_output(&self, finished: Finished) -> (OutputState, Option<String>) {
        let Finished {
            source,
            destination,
            sink,
            end,
            ..
        } = finished;
        let name = source.name();
        let succeeded = self.status.success();
        let how = describe(self.status);
        // The destination keeps what it had before.
        let is_untouched = matches!(destination, Destination::Remote(_) | Destination::Object(_));
        let is_object = matches!(destination, Destination::Object(_));
        let is_recipient = is_untouched || matches!(destination, Destination::Command(_));
        let mut state = OutputState::from(&end);
        let message = match (end, sink) {
            // As a program that is a destination, which is ended.
            (End::Whole, Some(sink)) if self.ended_by.is_some() && sink.appears_later() => {
                state = OutputState::Cancelled;
                format!(
                    "{} is left as it was: {}",
                    sink.destination(),
                    self.why(name)
                )
            }
            (End::Whole, Some(sink)) if succeeded => match sink.appear(source.permissions()) {
                Ok(()) => return (state, None),
                Err(error) => {
                    state = OutputState::Unwritten;
                    error.to_string()
                }
            },
            (End::Whole | End::Withheld | End::Unread(Error::Failed { .. }), Some(sink))
                if !succeeded && sink.appears_later() =>
            {
                state = OutputState::Withheld;
                format!(
                    "{} is left as it was: {} {how}",
                    sink.destination(),
                    self.program
                )
            }
            (End::Withheld, _) if is_untouched => {
                format!("{destination} is left as it was: {}", self.why(name))
            }
            (End::Aborted, _) => self.describe_abort(&destination, name),
            (End::Unread(Error::Failed { .. }), _) if is_recipient && !succeeded => {
                state = OutputState::Withheld;
                self.describe_abort(&destination, name)
            }
            (End::Withheld, _) if succeeded => {
                format!("'{}' is not passed on: {}", name.display(), self.why(name))
            }
            (End::Withheld, _) => {
                format!(
                    "'{}' is not passed on: {} {how}",
                    name.display(),
                    self.program
                )
            }
            (End::Whole, None) if self.ended_by.is_some() && is_object => {
                format!("{destination} is there, and whole: it was too late to take it back")
            }
            // The reader that closed it wants no more.
            (End::Whole | End::Closed, _) => return (state, None),
            (End::Unread(Error::Missing { .. }), _) if succeeded => {
                format!("{} {}", self.program, self.search().describe(name))
            }
            (End::Unread(Error::Missing { .. }), _) => {
                format!("{} {how} and made no '{}'", self.program, name.display())
            }
            (End::Unread(Error::Failed { .. }), _) if !succeeded => {
                format!(
                    "'{}' may not be whole: {} {how}",
                    name.display(),
                    self.program
                )
            }
            (End::Unread(Error::Cancelled { .. }), _) => {
                format!(
                    "'{}' is not whole: the wait for it was ended",
                    name.display()
                )
            }
            (End::Unread(error @ Error::Failed { .. }), _) => self.describe_failure(name, &error),
            (End::Unread(error @ Error::Rewritten { .. }), _) => {
                format!("{error} (--deliver settled)")
            }
            (End::Unread(error) | End::Unwritten(error), _) => error.to_string(),
        };
        (state, Some(message))
    }

    /// The message for a file that is not whole though the program succeeded.
    fn describe_failure(&self, name: &Path, error: &Error) -> String {
        // With `--tar`, the file of the directory that failed.
        let path = match error {
            Error::Failed { path, .. } => path,
            _ => name,
        };
        let status = self.view.map(MountView::status);
        match status.and_then(|status| failure::reason(&status, path)) {
            Some(reason) => format!("'{}' is not whole: {reason}", path.display()),
            None => error.to_string(),
        }
    }

    /// The message for a destination program that was ended.
    fn describe_abort(&self, destination: &Destination, name: &Path) -> String {
        let why = self.why(name);
        match destination {
            Destination::Remote(_) | Destination::Object(_) => {
                format!("{destination} is left as it was: {why}")
            }
            _ => format!("{destination} was ended before its input: {why}"),
        }
    }

    /// Why an output was not to be whole.
    fn why(&self, name: &Path) -> String {
        if self.ended_by.is_some() {
            return "the wait for it was ended".into();
        }
        let how = format!("{} {}", self.program, describe(self.status));
        let status = self.view.map(MountView::status);
        match status.and_then(|status| failure::lost(&status, name)) {
            Some(lost) => format!("{how}; {lost}"),
            None => how,
        }
    }

    /// Whether a program with `--tar` left all files that it was expected to make.
    fn check_files(&self, messages: &mut Vec<String>) -> bool {
        let missing = missing::files(self.template, self.view);
        let search = self.search();
        let describe = |name: &PathBuf| format!("{} {}", self.program, search.describe(name));
        match &missing {
            None => true,
            Some(Missing::All) => {
                messages.push(format!("{} {}", self.program, search.describe_nothing()));
                false
            }
            Some(Missing::These(names)) => {
                messages.extend(names.iter().map(describe));
                false
            }
        }
    }

    fn search(&self) -> Search<'_> {
        Search {
            template: self.template,
            view: self.view,
            is_shared: self.is_shared,
        }
    }
}

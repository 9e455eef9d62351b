//! `--report`: the results of a run, as one JSON document for programs that run fifofs.
//!
//! Knows the schema, which docs/run.md documents; other modules fill it. Invariant: once the report
//! is open, it is written whenever fifofs ends by itself.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

use fifofs::{Error, Result};
use serde::Serialize;

use super::destinations::Destination;
use super::end::End;
use super::sink::{Sink, Stopped};
use crate::cli::{Ended, status};

/// The version of the schema: it changes if a field is removed or changes its meaning.
const SCHEMA: u32 = 1;

/// Where the report goes, and what is known so far.
pub(super) struct Report {
    sink: Option<Sink>,
    started: Instant,
    command: Vec<String>,
    program: Option<How>,
    outputs: Vec<OutputReport>,
}

/// The document.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    /// The version of fifofs.
    version: &'static str,
    /// The exit status of fifofs.
    status: u8,
    program: ProgramReport<'a>,
    outputs: &'a [OutputReport],
    /// The messages at the end on standard error.
    messages: &'a [String],
    seconds: f64,
}

#[derive(Serialize)]
struct ProgramReport<'a> {
    command: &'a [String],
    started: bool,
    #[serde(flatten)]
    how: How,
}

/// How a process ended; neither is set if it did not.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct How {
    status: Option<i32>,
    signal: Option<i32>,
}

impl From<ExitStatus> for How {
    fn from(status: ExitStatus) -> Self {
        How {
            status: status.code(),
            signal: status.signal(),
        }
    }
}

/// The result of an output.
#[derive(Serialize)]
pub(super) struct OutputReport {
    pub(super) name: String,
    pub(super) destination: DestinationReport,
    /// The bytes written to the destination.
    pub(super) bytes: u64,
    pub(super) state: OutputState,
    pub(super) error: Option<String>,
}

#[derive(Serialize)]
pub(super) struct DestinationReport {
    kind: Kind,
    /// As after `-o`; for a command, the command.
    to: String,
    /// How a command ended.
    #[serde(flatten)]
    how: How,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Descriptor,
    File,
    Command,
    Ssh,
    Object,
}

/// How far an output got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutputState {
    /// It is at its destination, to the last byte.
    Whole,
    /// Its reader wanted no more.
    Closed,
    /// Nothing of it was passed on, or it was not published: the program failed.
    Withheld,
    /// Some of it may have been passed on, and no more will come: its writer crashed or failed.
    Failed,
    Missing,
    Rewritten,
    /// The wait for it was ended.
    Cancelled,
    /// The destination did not take it.
    Unwritten,
    /// It could not be read.
    Unread,
}

impl From<&End> for OutputState {
    fn from(end: &End) -> Self {
        match end {
            End::Whole => OutputState::Whole,
            End::Closed => OutputState::Closed,
            End::Withheld | End::Aborted => OutputState::Withheld,
            End::Unwritten(_) => OutputState::Unwritten,
            End::Unread(Error::Failed { .. }) => OutputState::Failed,
            End::Unread(Error::Missing { .. }) => OutputState::Missing,
            End::Unread(Error::Rewritten { .. }) => OutputState::Rewritten,
            End::Unread(Error::Cancelled { .. }) => OutputState::Cancelled,
            End::Unread(_) => OutputState::Unread,
        }
    }
}

impl DestinationReport {
    pub(super) fn new(destination: &Destination, status: Option<ExitStatus>) -> Self {
        let (kind, to) = match destination {
            Destination::Descriptor(number) => (Kind::Descriptor, format!("fd:{number}")),
            Destination::File(path) => (Kind::File, path.display().to_string()),
            Destination::Command(command) => (Kind::Command, command.display().to_string()),
            Destination::Remote(address) => (Kind::Ssh, address.to_string()),
            Destination::Object(address) => (Kind::Object, address.to_string()),
        };
        let how = status.map_or_else(How::default, How::from);
        DestinationReport { kind, to, how }
    }
}

/// Parses the destination of a report.
pub(super) fn destination(text: &OsStr, outputs: &[Destination]) -> Result<Destination> {
    let refuse = |why: &str| {
        Err(Error::usage(format!(
            "--report {}: {why}; give fd:N or the path of a file",
            text.display()
        )))
    };
    match Destination::parse(text)? {
        Destination::Command(_) | Destination::Remote(_) | Destination::Object(_) => {
            refuse("a report is no output")
        }
        destination => match outputs
            .iter()
            .any(|output| output.is_same_place(&destination))
        {
            true => refuse("an output goes there"),
            false => Ok(destination),
        },
    }
}

impl Report {
    pub(super) fn new(command: &[OsString]) -> Self {
        let command = command
            .iter()
            .map(|word| word.to_string_lossy().into_owned());
        Report {
            sink: None,
            started: Instant::now(),
            command: command.collect(),
            program: None,
            outputs: Vec::new(),
        }
    }

    /// Call this before anything is started.
    pub(super) fn open(&mut self, destination: &Destination) -> Result<()> {
        self.sink = Some(Sink::open(destination)?);
        Ok(())
    }

    pub(super) fn conclude(&mut self, program: ExitStatus, outputs: Vec<OutputReport>) {
        self.program = Some(program.into());
        self.outputs = outputs;
    }

    /// Writes the report, if it was asked for. If that fails, so does a run that succeeded.
    pub(super) fn write(self, ended: Ended) -> Ended {
        let document = Document {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            status: ended.status,
            program: ProgramReport {
                command: &self.command,
                started: self.program.is_some(),
                how: self.program.unwrap_or_default(),
            },
            outputs: &self.outputs,
            messages: &ended.messages,
            seconds: self.started.elapsed().as_secs_f64(),
        };
        let text = serde_json::to_string(&document).map(|text| text + "\n");
        match self.sink.map(|sink| deliver(sink, text)) {
            None | Some(Ok(())) => ended,
            Some(Err(error)) => {
                let Ended {
                    status,
                    mut messages,
                } = ended;
                messages.push(error.to_string());
                let status = match status {
                    0 => status::NOT_WHOLE,
                    status => status,
                };
                Ended { status, messages }
            }
        }
    }
}

fn deliver(mut sink: Sink, text: serde_json::Result<String>) -> Result<()> {
    let text = text.map_err(|error| Error::io("write", "the report", error.into()))?;
    let written = sink
        .wait_for_reader(|| false)
        .and_then(|()| sink.write(text.as_bytes()))
        .and_then(|()| sink.finish());
    match written {
        Ok(()) => sink.appear(None),
        // The reader that closed it does not want it.
        Err(Stopped::Closed) => Ok(()),
        Err(Stopped::Failed(error)) => Err(error),
    }
}

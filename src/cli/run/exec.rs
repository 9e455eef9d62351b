//! `fifofs exec`: runs a command that knows nothing of fifofs, with its temporary files in a mount
//! where FIFOs are virtual.
//!
//! Runs a command as `run` does. The mount is like one of `fifofs mount`, and ends with the
//! command: processes that it left behind are waited for only while they write.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use fifofs::{Mount, Result};

use super::child::{NotStarted, Program, Surroundings, signal_status, status_of};
use super::cover::{self, Cover};
use super::destinations::Destination;
use super::event_loop::EventLoop;
use super::output::Output;
use super::progress::Counters;
use super::signals::Signals;
use super::sink::Sink;
use super::source::Source;
use super::{NOWHERE, supervise};
use crate::cli::Ended;
use crate::cli::options::{Delivery, ProgramWords};

/// Run a command that makes FIFOs for programs which cannot write to them
///
/// The command's $TMPDIR is a mount of its own, where mkfifo makes virtual FIFOs: a
/// FIFO to the process that reads it, and a regular file to the program that writes
/// it. So a script that captures a program's output through a FIFO works unchanged,
/// even if the program seeks, patches, or renames into place.
///
/// The exit status is the command's own; 128+N if signal N killed it, or ended the
/// wait for processes that it left behind; 126 and 127 if it cannot be executed or
/// found; 125 if fifofs fails before it starts the command.
#[derive(Args, Debug)]
#[command(
    override_usage = "fifofs exec [OPTIONS] -- CMD [ARG]...",
    after_help = "Examples:\n  fifofs exec -- python3 helper.py\n  \
                  fifofs exec -- sh -c 'p=$TMPDIR/p; mkfifo $p; md5sum < $p & sort -o $p words; wait'"
)]
pub(crate) struct Arguments {
    /// What mkfifo makes: virtual, kernel (a FIFO of the kernel) or a glob of
    /// virtual ones
    #[arg(long, value_name = "KIND", default_value = "virtual")]
    fifos: String,
    /// Let other users in; file modes and owners count for them
    #[arg(long)]
    allow_other: bool,
    /// Make FIFOs in this directory virtual, too: the command, and no other process, sees
    /// an empty directory there; may be repeated
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    over: Vec<PathBuf>,
    #[command(flatten)]
    delivery: Delivery,
    #[command(flatten)]
    program: ProgramWords,
}

/// Runs a command. Call this in the main thread, while it is the only one.
pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    // Before there is anything that a signal could leave behind.
    let mut events = EventLoop::new(Signals::watch()?)?;
    let over = arguments
        .over
        .iter()
        .map(|directory| cover::checked(directory));
    let over = over.collect::<Result<Vec<PathBuf>>>()?;
    let builder = arguments.delivery.apply(Mount::builder())?;
    let builder = builder.fifos(&arguments.fifos)?;
    let mount = builder
        .allow_other(arguments.allow_other)
        .mount_temporary()?;
    if let Some(signal) = events.end_signal() {
        return Ok(Ended::with_status(signal_status(signal)));
    }
    let covers = Cover::make_all(mount.path(), over)?;
    let finds = Surroundings {
        temporary: covers
            .iter()
            .find_map(|cover| cover.hides(mount.path()))
            .or(Some(mount.path())),
        covers: &covers,
        ..Surroundings::default()
    };
    let mut program = match Program::start(&arguments.program.command, &finds, false) {
        Ok(program) => program,
        Err(NotStarted { status, message }) => {
            let messages = vec![message];
            return Ok(Ended { status, messages });
        }
    };
    let sink = Sink::open(&Destination::File(NOWHERE.into()))?;
    let mut outputs = [Output::new(
        Source::Quiet("$TMPDIR", mount.view()),
        sink,
        None,
    )];
    let counters = Counters::new(vec![None; outputs.len()]);
    let ended_by =
        supervise::supervise(&mut program, &mut outputs, &counters, events, None, &|| {
            true
        })?;
    let status = match ended_by {
        Some(signal) => signal_status(signal),
        None => status_of(program.wait()?),
    };
    Ok(Ended::with_status(status))
}

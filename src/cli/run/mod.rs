//! `fifofs run`: the order of its steps. Each step has a module of its own.

mod child;
mod conclusion;
mod consumer;
mod copy;
mod cover;
mod destinations;
mod end;
mod event;
mod event_loop;
pub(super) mod exec;
pub(super) mod explain;
mod missing;
pub(super) mod object;
mod output;
mod placeholders;
mod progress;
pub(super) mod receive;
mod recipient;
mod remote;
mod replacement;
mod report;
mod signals;
mod sink;
mod source;
mod stage;
mod supervise;
mod tar;
mod transfer;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum, ValueHint};
use fifofs::{Error, Privacy, Result};

use self::child::{NotStarted, Program, Surroundings, signal_status};
use self::conclusion::Conclusion;
use self::destinations::{Destination, STDOUT};
use self::event_loop::EventLoop;
use self::output::Output;
use self::placeholders::Template;
use self::progress::{Counters, Progress, Watched, When};
use self::recipient::Recipient;
use self::report::Report;
use self::signals::Signals;
use self::sink::Sink;
use self::source::Source;
use self::stage::Stage;
use super::options::{Delivery, ProgramWords};
use super::{Ended, status};

pub(super) use self::progress::with_equals as progress_with_equals;

/// The destination of outputs that are only waited for.
const NOWHERE: &str = "/dev/null";

/// Run a program that writes to a file, and send what it writes to standard
/// output
///
/// {out} in a word of the command becomes the path of a file that is not there
/// until the program makes it; {out:NAME} calls it NAME, for programs that look
/// at the extension, and {dir} is the directory it is in. The path of the first
/// output is also in $FIFOFS_OUT, the directory in $FIFOFS_DIR.
///
/// The exit status is the program's own; 128+N if signal N killed it, or ended the
/// wait for processes that it left behind; 74 if it succeeded and its output is missing,
/// not whole, or did not reach its destination; 126 and 127 if it cannot be executed or found; 125 if fifofs fails
/// before it starts the program.
#[derive(Args, Debug)]
#[command(
    override_usage = "fifofs run [OPTIONS] -- CMD [ARG]...",
    after_help = "Examples:\n  fifofs run -- zip -r {out:x.zip} photos | ssh host 'cat > x.zip'\n  \
                  fifofs run -o a.out -- gcc -o {out} a.c\n  \
                  fifofs run -o '|aws s3 cp - s3://b/x.zip' -- zip -q {out:x.zip} *.txt\n  \
                  fifofs run --to a.csv=- --to log=run.log -- report {out:a.csv} {out:log}\n  \
                  fifofs run --tar -- split -b 1M big {dir}/part- | tar -x"
)]
pub(crate) struct Arguments {
    /// Write the output to a file, '|CMD', ssh://HOST/PATH or s3://BUCKET/KEY instead of standard
    /// output
    ///
    /// A file appears when it is whole, and only if the program succeeds. '|CMD' is
    /// a command for sh that reads the output; if the program fails, the command is killed before
    /// it sees the end of its input. ssh://[USER@]HOST[:PORT]/PATH is a file on another machine
    /// where fifofs is installed; s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY an
    /// object in a store, which is uploaded while it is written and appears as a file does.
    /// Stores are configured by environment variables: AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS;
    /// AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY.
    #[arg(short, long, value_name = "DEST", conflicts_with = "to", value_hint = ValueHint::FilePath)]
    output: Option<OsString>,
    /// Where the output NAME goes, if there are several
    ///
    /// DEST as with -o, or - for standard output, or fd:N for an open descriptor.
    #[arg(long, value_name = "NAME=DEST")]
    to: Vec<OsString>,
    /// When the program has ended, write all files that it left in {dir} as tar
    #[arg(long, conflicts_with = "to")]
    tar: bool,
    /// At the end, write the results of the program and its outputs, as one JSON document
    ///
    /// To FILE, or to the open descriptor N.
    #[arg(long, value_name = "fd:N|FILE")]
    report: Option<OsString>,
    /// The text that is replaced by the path of the output
    ///
    /// If it ends with }, a colon and a name may stand before that.
    #[arg(long, value_name = "STR", default_value = placeholders::DEFAULT)]
    placeholder: OsString,
    /// What the program writes to
    ///
    /// fifo does not go with {dir}, --tar, --shared, --deliver, --fail-on or the options for sizes.
    #[arg(long, value_enum, default_value_t = Via::Fuse)]
    backend: Via,
    /// Let processes that the program did not start see the mount
    ///
    /// Such as a database server or a container engine, which opens the file for the program.
    #[arg(long)]
    shared: bool,
    /// Show bytes, rate and state of each output on standard error
    ///
    /// Also why no bytes come yet, and how the output ended. On a terminal the lines are below
    /// those of the program.
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = When::Never,
        default_missing_value = "always"
    )]
    progress: When,
    #[command(flatten)]
    delivery: Delivery,
    #[command(flatten)]
    program: ProgramWords,
}

/// How the output gets here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Via {
    /// A file of a mount, for any program
    Fuse,
    /// A FIFO, for programs that write from the first byte to the last, and for
    /// places without FUSE
    Fifo,
}

/// Runs a program. Call this in the main thread, while it is the only one.
pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    let mut report = Report::new(&arguments.program.command);
    let ended = attempt(arguments, &mut report).unwrap_or_else(Ended::from);
    Ok(report.write(ended))
}

fn attempt(arguments: &Arguments, report: &mut Report) -> Result<Ended> {
    let template = Template::parse(&arguments.program.command, &arguments.placeholder)?;
    arguments.check(&template)?;
    let destinations = arguments.destinations(&template)?;
    let advise = |error| match arguments.does_with_a_fifo(&template) {
        true => stage::or_a_fifo(error),
        false => error,
    };
    let report_to = match &arguments.report {
        Some(text) => Some(report::destination(text, &destinations)?),
        None => None,
    };
    let taken = || destinations.iter().chain(&report_to);
    let is_stdout_taken = taken().any(|taken| *taken == STDOUT);
    // First: destination programs run as the user would run them, outside of private namespaces.
    let forked = recipient::fork(&destinations, taken(), is_stdout_taken)?;
    let privacy = match arguments.backend {
        // While the process has one thread.
        Via::Fuse if !arguments.shared => fifofs::enter_private_namespace().map_err(advise)?,
        _ => Privacy::Shared,
    };
    // Before there is anything that a signal could leave behind.
    let mut events = EventLoop::new(Signals::watch()?)?;
    let is_over = |events: &mut EventLoop| events.end_signal().is_some();
    // In the namespace in which the file will be renamed.
    if let Some(destination) = &report_to {
        report.open(destination)?;
    }
    let (mut sinks, mut recipients) = (Vec::new(), Vec::new());
    let is_object = |destination: &&Destination| matches!(destination, Destination::Object(_));
    let uploads = destinations.iter().filter(is_object).count();
    for (destination, forked) in destinations.iter().zip(forked) {
        let is_wanted = || !is_over(&mut events);
        let reached = match (forked, destination) {
            (Some(forked), _) => Recipient::new(destination, forked, is_wanted),
            (None, Destination::Object(address)) => {
                let share = (uploads, arguments.delivery.memory());
                Recipient::of_object(address, share, is_wanted)
            }
            (None, _) => {
                sinks.push(Sink::open(destination)?);
                recipients.push(None);
                continue;
            }
        };
        let (sink, recipient) = match reached {
            Ok((recipient, sink)) => (sink, Some(recipient)),
            Err(error) => return Ok(not_reached(&error)),
        };
        sinks.push(sink);
        recipients.push(recipient);
    }
    let (mut stage, sources) = match arguments.backend {
        Via::Fuse => {
            let (delivery, tar) = (&arguments.delivery, arguments.tar);
            Stage::mount(&template, delivery, tar, &sinks, advise)?
        }
        Via::Fifo => Stage::fifos(&template)?,
    };

    if let Some(signal) = events.end_signal() {
        drop(sources);
        stage.end();
        let (status, messages) = (signal_status(signal), Vec::new());
        return Ok(Ended { status, messages });
    }
    let words = template.words(&stage.paths, stage.directory().unwrap_or(Path::new("")));
    let finds = Surroundings {
        covers: &[],
        first_output: stage.paths.first().map(|path| &**path),
        directory: stage.directory(),
        temporary: None,
    };
    let started = Program::start(&words, &finds, is_stdout_taken);
    let mut program = match started {
        Ok(program) => program,
        Err(NotStarted { status, message }) => {
            drop(sources);
            stage.end();
            let messages =
                vec![placeholders::one_word(&arguments.program.command).unwrap_or(message)];
            return Ok(Ended { status, messages });
        }
    };

    let parts = |recipient: &Option<Recipient>| recipient.as_ref()?.parts();
    let counters = Counters::new(recipients.iter().map(parts).collect());
    let view = stage.view();
    let path = |source: &Source| match source {
        Source::Target { name, .. } => Some(name.clone()),
        Source::Directory(_) | Source::Quiet(..) => None,
    };
    let named = |source| (Source::name(source).display().to_string(), path(source));
    let progress = Progress::start(
        arguments.progress,
        Watched {
            program: program.name().to_owned(),
            outputs: sources.iter().map(named).collect(),
            counters: Arc::clone(&counters),
            view: view.clone(),
        },
    )?;
    let sinks = sinks.into_iter().zip(recipients);
    let mut outputs: Vec<Output> = (sources.into_iter().zip(sinks))
        .map(|(source, (sink, recipient))| Output::new(source, sink, recipient))
        .collect();
    let is_complete = || !arguments.tar || missing::files(&template, view.as_ref()).is_none();
    let ended_by = supervise::supervise(
        &mut program,
        &mut outputs,
        &counters,
        events,
        Some(&mut stage),
        &is_complete,
    )?;
    let progress = progress.map(Progress::end);

    let status = program.wait()?;
    let conclusion = Conclusion {
        program: program.name(),
        status,
        ended_by,
        template: &template,
        view: view.as_ref(),
        is_tar: arguments.tar,
        is_shared: privacy == Privacy::Shared,
    };
    let (ended, outputs) = conclusion.conclude(outputs, &counters);
    if let Some(progress) = progress {
        progress.conclude(&outputs);
    }
    report.conclude(status, outputs);
    stage.end();
    Ok(ended)
}

/// The end of a run without a program, as a destination could not be reached.
fn not_reached(error: &Error) -> Ended {
    Ended {
        status: status::NOT_WHOLE,
        messages: vec![error.to_string()],
    }
}

impl Arguments {
    /// Whether a FIFO can do everything that is asked for.
    fn does_with_a_fifo(&self, template: &Template) -> bool {
        !template.has_directory() && !self.tar && !self.shared && self.delivery.given().is_none()
    }

    /// Refuses options that exclude each other.
    fn check(&self, template: &Template) -> Result<()> {
        let refuse = |message: &str| Err(Error::usage(message));
        if self.backend == Via::Fifo {
            if template.has_directory() || self.tar {
                return refuse(
                    "with --backend fifo there is no directory for {dir} and --tar: each output is \
                     a FIFO, in a directory of its own; use --backend fuse, or {out:NAME}",
                );
            }
            if let Some(option) = self.delivery.given() {
                return refuse(&format!(
                    "{option} is for --backend fuse: a FIFO is always a stream of the kernel's; leave \
                     out {option}, or use --backend fuse"
                ));
            }
            if self.shared {
                return refuse(
                    "--shared is for --backend fuse: others can see and open a FIFO anyway",
                );
            }
        }
        if self.tar && self.delivery.may_stream() {
            return refuse(
                "--tar reads files when the program has ended, and a stream is not kept until then; \
                 leave out --deliver, or use --to NAME=DEST instead of --tar",
            );
        }
        if template.outputs().is_empty() && !self.tar {
            return refuse(
                "{dir} alone does not say which file is the output; write {out:NAME} where its \
                 name belongs, or use --tar to get all files",
            );
        }
        Ok(())
    }

    /// The destination of each output; one with `--tar`.
    fn destinations(&self, template: &Template) -> Result<Vec<Destination>> {
        let file = self.output.as_deref();
        if self.tar {
            return Ok(vec![file.map_or(Ok(STDOUT), Destination::parse)?]);
        }
        let destinations = destinations::assign(template.outputs(), file, &self.to)?;
        let object = |to: &&Destination| matches!(to, Destination::Object(_));
        if let Some(object) = destinations.iter().find(object)
            && self.delivery.may_stream()
        {
            return Err(Error::usage(format!(
                "{object} is uploaded in parts, which need bytes that a stream does not keep; leave out \
                 --deliver, or write to a command that uploads: -o '|aws s3 cp - {object}'"
            )));
        }
        Ok(destinations)
    }
}

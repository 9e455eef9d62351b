//! `fifofs explain`: runs the program once with all its file operations recorded, and prints what came
//! of them.
//!
//! Runs a program as `run` does; the library interprets its operations, and `report` prints them.

mod report;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use fifofs::explain::{Chance, Explanation, Findings, Opened, Study, Verdicts};
use fifofs::{Privacy, Result};

use self::report::Report;
use super::child::{NotStarted, Program, Surroundings, describe, signal_status, status_of};
use super::destinations::Destination;
use super::event_loop::EventLoop;
use super::missing::Search;
use super::output::Output;
use super::placeholders::{self, Template};
use super::progress::Counters;
use super::signals::Signals;
use super::sink::Sink;
use super::source::Source;
use super::supervise;
use super::{NOWHERE, stage};
use crate::cli::options::ProgramWords;
use crate::cli::{Ended, kernel, print, status};

/// Run a program once, and say what it does to its output and how to capture it
///
/// The command is written as for `fifofs run`, with {out}, {out:NAME} or {dir} for
/// what it makes; what it makes is thrown away. The explanation goes to standard
/// output, what the program itself prints there to standard error.
///
/// The exit status is the program's own, as that of `fifofs run`.
#[derive(Args, Debug)]
#[command(
    override_usage = "fifofs explain [OPTIONS] -- CMD [ARG]...",
    after_help = "Examples:\n  fifofs explain -- zip -r {out:x.zip} photos\n  \
                  fifofs explain --json -- sort -o {out} big.txt"
)]
pub(crate) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// The text that is replaced by the path of the output; if it ends with }, a colon and a name
    /// may stand before that
    #[arg(long, value_name = "STR", default_value = placeholders::DEFAULT)]
    placeholder: OsString,
    /// Let processes that the program did not start see the mount, such as a
    /// database server or a container engine
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    program: ProgramWords,
}

/// Runs a program and explains it. Call this in the main thread, while it is the only one.
pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    let template = Template::parse(&arguments.program.command, &arguments.placeholder)?;
    let privacy = match arguments.shared {
        true => Privacy::Shared,
        false => fifofs::enter_private_namespace()?,
    };
    let events = EventLoop::new(Signals::watch()?)?;
    let study = Study::new()?;
    let directory = study.path().to_owned();
    let paths: Vec<PathBuf> = template
        .outputs()
        .iter()
        .map(|o| directory.join(o))
        .collect();
    for path in &paths {
        stage::make_directory_of(path)?;
    }
    let finds = Surroundings {
        covers: &[],
        first_output: paths.first().map(|path| &**path),
        directory: Some(&directory),
        temporary: None,
    };
    let words = template.words(&paths, &directory);
    let mut program = match Program::start(&words, &finds, true) {
        Ok(program) => program,
        Err(NotStarted { status, message }) => {
            let messages =
                vec![placeholders::one_word(&arguments.program.command).unwrap_or(message)];
            return Ok(Ended { status, messages });
        }
    };
    study.watch(program.child())?;
    let sink = Sink::open(&Destination::File(NOWHERE.into()))?;
    let view = study.view();
    let mut outputs = [Output::new(
        Source::Quiet("{dir}", view.clone()),
        sink,
        None,
    )];
    let counters = Counters::new(vec![None; outputs.len()]);
    let ended_by =
        supervise::supervise(&mut program, &mut outputs, &counters, events, None, &|| {
            true
        })?;

    let ended = program.wait()?;
    let search = Search {
        template: &template,
        view: Some(&view),
        is_shared: privacy == Privacy::Shared,
    };
    let missing = search.all_missing();
    let found = study.finish()?;
    let mut explanations = found.explain(&explained(&template, &found))?;
    if template.outputs().is_empty() {
        explanations.iter_mut().for_each(packed);
    }
    if !ended.success() && kernel::version().0 < kernel::MAPS_ALL {
        explanations.iter_mut().for_each(doubt_mapped);
    }
    let report = Report {
        arguments,
        template: &template,
        program: program.name(),
        how_it_ended: describe(ended),
        status: ended.code(),
        explanations,
        missing,
        others: others(&template, &found),
    };
    let text = match arguments.json {
        true => report.as_json(),
        false => report.as_text(),
    };
    print(&text)?;
    let is_missing = !report.missing.is_empty() || report.explanations.is_empty();
    let status = match ended_by {
        Some(signal) => signal_status(signal),
        None if !ended.success() => status_of(ended),
        None if is_missing => status::NOT_WHOLE,
        None => 0,
    };
    let messages = report.messages();
    Ok(Ended { status, messages })
}

/// With `--tar` the files of a directory are packed once the program has ended.
fn packed(explanation: &mut Explanation) {
    let verdicts = &mut explanation.verdicts;
    for verdict in [
        &mut verdicts.auto,
        &mut verdicts.settled,
        &mut verdicts.follow,
    ] {
        verdict.chance = Chance::Captured;
        verdict.reason = "packed by --tar when the program has ended".into();
    }
    verdicts.stream.chance = Chance::Fails;
    verdicts.stream.reason = "--tar packs what is kept, and streams are not".into();
}

/// Makes the verdicts depend on mapping, which this kernel refuses for a watched file: perhaps the
/// program failed because of that, and its other operations prove nothing.
fn doubt_mapped(explanation: &mut Explanation) {
    let may_map = |opened: &Opened| opened.mode == "read and write";
    if !explanation.facts.opened.iter().any(may_map) {
        return;
    }
    let Verdicts {
        auto,
        settled,
        follow,
        stream,
        fifo,
        virtual_fifo,
        ..
    } = &mut explanation.verdicts;
    for verdict in [auto, settled, follow, stream, fifo, virtual_fifo] {
        verdict.chance = Chance::Depends;
        verdict.reason =
            "on whether it failed as this kernel maps no file that is watched, before Linux 6.6; \
                          try `fifofs run`, where it can map its output"
                .into();
    }
    stream.reason =
        "on whether it maps its output: before Linux 6.6 no stream can be mapped".into();
}

/// The outputs; if the command names none, all files.
fn explained(template: &Template, found: &Findings) -> Vec<PathBuf> {
    match template.outputs() {
        [] => found.files().to_vec(),
        outputs => outputs.to_vec(),
    }
}

/// The other files that the program left.
fn others(template: &Template, found: &Findings) -> Vec<PathBuf> {
    let is_other = |file: &&PathBuf| !explained(template, found).contains(file);
    found.files().iter().filter(is_other).cloned().collect()
}

/// Whether `fifofs run` captures a file with default options.
fn is_captured(explanation: &Explanation) -> bool {
    explanation.verdicts.auto.chance == Chance::Captured
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn no_verdict_is_given_on_a_file_that_may_have_failed_to_be_mapped() {
        let study = Study::new().unwrap();
        let open = |name: &str, reads: bool| {
            let mut options = File::options();
            options.create(true).write(true).read(reads);
            options.open(study.path().join(name)).unwrap()
        };
        drop((open("both", true), open("write", false)));
        let found = study.finish().unwrap();
        let mut explanations = found.explain(&["both", "write"]).unwrap();
        explanations.iter_mut().for_each(doubt_mapped);
        let chances = |at: usize| {
            let verdicts: &Verdicts = &explanations[at].verdicts;
            [&verdicts.auto, &verdicts.stream, &verdicts.fifo].map(|verdict| verdict.chance)
        };
        assert_eq!(chances(0), [Chance::Depends; 3]);
        let of_stream = &explanations[0].verdicts.stream.reason;
        assert!(of_stream.contains("no stream can be mapped"), "{of_stream}");
        assert!(!is_captured(&explanations[0]));
        assert!(!chances(1).contains(&Chance::Depends));
    }
}

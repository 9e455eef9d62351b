//! Prints an explanation as text, or as JSON.
//!
//! Knows the layout and which command line to suggest; judges nothing.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use fifofs::explain::{Chance, Explanation, Verdict, Verdicts};
use serde::Serialize;

use super::{Arguments, is_captured};
use crate::cli::run::destinations::list;
use crate::cli::run::placeholders::{self, Template};
use crate::cli::shell;
use crate::cli::text::Page;

/// Everything to print.
pub(super) struct Report<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) template: &'a Template,
    /// The program's name.
    pub(super) program: &'a str,
    pub(super) how_it_ended: String,
    /// Its exit status, unless it was killed.
    pub(super) status: Option<i32>,
    pub(super) explanations: Vec<Explanation>,
    /// Messages about outputs that the program did not make.
    pub(super) missing: Vec<String>,
    /// Files that are no outputs.
    pub(super) others: Vec<PathBuf>,
}

/// The document of `--json`; docs/run.md describes it.
#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    program: &'a str,
    ended: &'a str,
    status: Option<i32>,
    outputs: &'a [Explanation],
    missing: &'a [String],
    others: Vec<String>,
    run: Option<String>,
}

impl Report<'_> {
    pub(super) fn as_json(&self) -> String {
        let document = Document {
            version: env!("CARGO_PKG_VERSION"),
            program: self.program,
            ended: &self.how_it_ended,
            status: self.status,
            outputs: &self.explanations,
            missing: &self.missing,
            others: self
                .others
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
            run: self.command_line(),
        };
        // Strings and numbers can always be serialized.
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }

    pub(super) fn as_text(&self) -> String {
        let mut page = Page::default();
        for explanation in &self.explanations {
            self.explain(explanation, &mut page);
        }
        if !self.others.is_empty() && !self.explanations.is_empty() {
            page.line(format_args!(
                "{} also left {}",
                self.program,
                list(&self.others)
            ));
            page.line("");
        }
        if let Some(line) = self.command_line() {
            page.line("To use:");
            page.line(format_args!("  {line}"));
        }
        page.into_text()
    }

    fn explain(&self, explanation: &Explanation, page: &mut Page) {
        let Explanation {
            path,
            size,
            did,
            verdicts,
            ..
        } = explanation;
        let size = match size {
            Some(1) => "1 byte".into(),
            Some(size) => format!("{size} bytes"),
            None => "not there in the end".into(),
        };
        page.line(format_args!("{}: {size}", path.display()));
        page.line("");
        page.line(format_args!("What {} did to it:", self.program));
        for sentence in did {
            page.line(format_args!("  - {sentence}"));
        }
        page.line("");
        if explanation.size.is_none() {
            return;
        }
        page.line(format_args!("What captures it into a pipe:"));
        for (way, verdict) in ways(verdicts) {
            let Verdict { chance, reason, .. } = verdict;
            page.line(format_args!("  {way:28}  {chance:9}  {reason}"));
        }
        page.line("");
    }

    /// The messages for standard error, after the explanation.
    pub(super) fn messages(&self) -> Vec<String> {
        if self.status == Some(0) {
            let message = |missing: &String| format!("{} {missing}", self.program);
            return self.missing.iter().map(message).collect();
        }
        let ended = format!(
            "{} {}: it may do something else when it succeeds",
            self.program, self.how_it_ended
        );
        vec![ended]
    }

    /// The command line to type, if the outputs can be captured.
    fn command_line(&self) -> Option<String> {
        let outputs = self.template.outputs();
        let is_there = |explanation: &Explanation| explanation.size.is_some();
        if self.explanations.is_empty() || !self.explanations.iter().all(is_there) {
            return None;
        }
        let mut words: Vec<OsString> = vec!["fifofs".into(), "run".into()];
        if self.arguments.placeholder != placeholders::DEFAULT {
            words.extend(["--placeholder".into(), self.arguments.placeholder.clone()]);
        }
        if self.arguments.shared {
            words.push("--shared".into());
        }
        if outputs.is_empty() {
            words.push("--tar".into());
        } else if !self.explanations.iter().all(is_captured) {
            let settles = |e: &Explanation| e.verdicts.settled.chance == Chance::Captured;
            if !self.explanations.iter().all(settles) {
                return None;
            }
            words.extend(["--deliver".into(), "settled".into()]);
        }
        if outputs.len() > 1 {
            let mut taken = Vec::new();
            for output in outputs {
                let destination = free_name(output, &taken);
                let mut word = OsString::from("--to=");
                word.push(output);
                word.push("=");
                word.push(&destination);
                words.push(word);
                taken.push(destination);
            }
        }
        words.push("--".into());
        words.extend(self.arguments.program.command.iter().cloned());
        Some(shell::line(words.iter().map(|word| &**word)))
    }
}

/// A file name for an output: one that does not exist yet, that no other output has, and that
/// cannot be mistaken for `-` or a descriptor.
fn free_name(output: &Path, taken: &[OsString]) -> OsString {
    let mut name = OsString::from("./");
    name.push(output.file_name().unwrap_or(OsStr::new("out")));
    while taken.contains(&name) || Path::new(&name).symlink_metadata().is_ok() {
        name.push(".new");
    }
    name
}

/// The verdicts, each with what to type for its delivery mode.
fn ways(verdicts: &Verdicts) -> [(&'static str, &Verdict); 6] {
    [
        ("fifofs run", &verdicts.auto),
        ("fifofs run --deliver settled", &verdicts.settled),
        ("fifofs run --deliver follow", &verdicts.follow),
        ("fifofs run --deliver stream", &verdicts.stream),
        ("a FIFO", &verdicts.fifo),
        ("a FIFO in fifofs exec", &verdicts.virtual_fifo),
    ]
}

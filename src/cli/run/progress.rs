//! Bytes, rate and state on standard error, while a program runs.
//!
//! Knows counters and how to show them; is told nothing by whoever counts. The invariant: counting
//! costs an atomic addition, and showing is done by a thread of its own.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::{CommandFactory, ValueEnum};
use crossbeam_channel::{RecvTimeoutError, Sender};
use fifofs::{Error, MountView, Result};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

use crate::cli::text::say;

/// How often a terminal is drawn on.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// If standard error is a terminal
    Auto,
    /// Always; without a terminal, as lines
    Always,
    /// Never
    Never,
}

/// The option, to which a value may also be given as a word of its own.
const OPTION: &str = "--progress";

/// A command line in which the value of `--progress` is written with `=`. Without it the parser would
/// take either `never` for the program that is to be run, or any program for a value.
pub(in crate::cli) fn with_equals<C: CommandFactory>(mut words: Vec<OsString>) -> Vec<OsString> {
    if !words.iter().any(|word| word == OPTION) {
        return words;
    }
    let Some(name) = words.get(1).and_then(|word| word.to_str()) else {
        return words;
    };
    let command = C::command();
    let Some(command) = command.find_subcommand(name) else {
        return words;
    };
    let mut at = 2;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        let is_option = word.starts_with('-') && word != "-" && word != "--";
        if !is_option {
            break;
        }
        let takes_next = takes_next(command, word);
        let value = words.get(at + 1).and_then(|word| word.to_str());
        if word == OPTION && value.is_some_and(|value| When::from_str(value, false).is_ok()) {
            let value = words.remove(at + 1);
            words[at].push("=");
            words[at].push(value);
        }
        at += 1 + usize::from(takes_next);
    }
    words
}

/// Whether the value of an option is the word after it.
fn takes_next(command: &clap::Command, word: &str) -> bool {
    let takes = |argument: &clap::Arg| {
        argument.get_action().takes_values() && !argument.is_require_equals_set()
    };
    if let Some(long) = word.strip_prefix("--") {
        let mut arguments = command.get_arguments();
        return arguments.any(|argument| argument.get_long() == Some(long) && takes(argument));
    }
    let find = |letter| {
        let mut arguments = command.get_arguments();
        arguments.find(|argument| argument.get_short() == Some(letter))
    };
    // Of letters in one word the first that takes a value has the rest of the word, if any.
    let letters = word.chars().skip(1);
    let mut rest = letters.skip_while(|letter| !find(*letter).is_some_and(takes));
    rest.next().is_some() && rest.next().is_none()
}

/// What is counted and shown.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Bytes that are at their destination, of each output.
    pub(super) delivered: Vec<Arc<AtomicU64>>,
    /// Set when the program has exited.
    pub(super) has_exited: AtomicBool,
}

impl Counters {
    /// For so many outputs.
    pub(super) fn new(outputs: usize) -> Arc<Self> {
        let delivered = std::iter::repeat_with(Arc::default).take(outputs).collect();
        Arc::new(Counters {
            delivered,
            has_exited: AtomicBool::new(false),
        })
    }

    fn delivered(&self) -> u64 {
        let count = |counter: &Arc<AtomicU64>| counter.load(Ordering::Relaxed);
        self.delivered.iter().map(count).sum()
    }
}

/// Progress that is shown until this is dropped.
pub(super) struct Progress {
    /// Dropped to end it.
    shown: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows the counters, and how long the files at `written` are: paths of a mount, if there is one.
    pub(super) fn start(
        when: When,
        counters: &Arc<Counters>,
        written: (Option<MountView>, Vec<PathBuf>),
    ) -> Result<Option<Self>> {
        let on_terminal = io::stderr().is_terminal();
        if when == When::Never || (when == When::Auto && !on_terminal) {
            return Ok(None);
        }
        let meter = Meter {
            counters: Arc::clone(counters),
            written,
            started: Instant::now(),
        };
        let (shown, ended) = crossbeam_channel::bounded(0);
        let thread = std::thread::Builder::new()
            .name("fifofs-progress".into())
            .spawn(move || {
                if on_terminal {
                    draw(&meter, &|| ended.recv_timeout(DRAW_INTERVAL));
                } else {
                    print_lines(&meter, &|| ended.recv_timeout(LINE_INTERVAL));
                }
            })
            .map_err(|error| Error::io("show", "the progress", error))?;
        Ok(Some(Progress {
            shown: Some(shown),
            thread: Some(thread),
        }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shown = None;
        if let Some(thread) = self.thread.take() {
            // What comes after it goes below it.
            let _ = thread.join();
        }
    }
}

struct Meter {
    counters: Arc<Counters>,
    written: (Option<MountView>, Vec<PathBuf>),
    started: Instant,
}

impl Meter {
    /// `12.00 MiB written, 4.00 MiB delivered, 2.00 MiB/s, running`.
    fn text(&self, state: &str) -> String {
        let delivered = self.counters.delivered();
        let written = self.written().max(delivered);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (written as f64 / seconds.max(0.001)) as u64;
        format!(
            "{} written, {} delivered, {}/s, {state}",
            BinaryBytes(written),
            BinaryBytes(delivered),
            BinaryBytes(rate)
        )
    }

    /// How much the program has written, as far as it is still there.
    fn written(&self) -> u64 {
        let (view, paths) = &self.written;
        let size = |path: &Path| view.as_ref()?.file_size(path);
        paths.iter().filter_map(|path| size(path)).sum()
    }

    fn state(&self) -> &'static str {
        if self.counters.has_exited.load(Ordering::Relaxed) {
            "the program has exited"
        } else {
            "running"
        }
    }
}

/// Waits a while; says whether that was all, or it has ended.
type Wait<'a> = &'a dyn Fn() -> std::result::Result<(), RecvTimeoutError>;

fn draw(meter: &Meter, wait: Wait<'_>) {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    while wait() == Err(RecvTimeoutError::Timeout) {
        bar.set_message(meter.text(meter.state()));
        bar.tick();
    }
    bar.finish_and_clear();
    say(&meter.text("ended"));
}

fn print_lines(meter: &Meter, wait: Wait<'_>) {
    while wait() == Err(RecvTimeoutError::Timeout) {
        say(&meter.text(meter.state()));
    }
    say(&meter.text("ended"));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    enum Command {
        Run(crate::cli::run::Arguments),
    }

    #[test]
    fn the_value_may_be_a_word_of_its_own_and_the_program_is_none() {
        let joined = |line: &str| {
            let words = line.split(' ').map(OsString::from).collect();
            let words = with_equals::<Command>(words);
            words.join(" ".as_ref()).into_string().expect("UTF-8")
        };
        for (line, expected) in [
            ("f run --progress never -- p", "f run --progress=never -- p"),
            ("f run --progress auto p x", "f run --progress=auto p x"),
            ("f run --progress -- auto", "f run --progress -- auto"),
            ("f run --progress zip x", "f run --progress zip x"),
            ("f run p --progress never", "f run p --progress never"),
            ("f run -- p --progress never", "f run -- p --progress never"),
            (
                "f run -o --progress --tar --progress always p",
                "f run -o --progress --tar --progress=always p",
            ),
            (
                "f run --window 1M -oout --progress never p",
                "f run --window 1M -oout --progress=never p",
            ),
        ] {
            assert_eq!(joined(line), expected);
        }
    }
}

//! Shows the progress of each output on standard error while a program runs.
//!
//! Knows when and where something is shown; `meter` makes the text. Only reads counters. Invariant:
//! counting costs one atomic addition, and a thread of its own shows the progress.

mod footer;
mod meter;
mod option;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use fifofs::{Error, Result};

use self::footer::Footer;
pub(super) use self::meter::Watched;
use self::meter::{Meter, conclusion};
pub(in crate::cli) use self::option::with_equals;
use super::recipient::Parts;
use super::report::OutputReport;
use crate::cli::text::say;

/// How often a terminal is redrawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// How often a line is written without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Looking at a mount with very many files takes time, during which nothing can be written there:
/// the next look comes after this many times as long.
const LOOK_SHARE: u32 = 20;

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

/// The counters to show.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// The bytes of each output that have reached the destination.
    pub(super) delivered: Vec<Arc<AtomicU64>>,
    /// For each output that is an object, its sent parts.
    pub(super) parts: Vec<Option<Parts>>,
    /// Set when the program has exited.
    pub(super) has_exited: AtomicBool,
}

impl Counters {
    /// For each output its parts, if it is an object.
    pub(super) fn new(parts: Vec<Option<Parts>>) -> Arc<Self> {
        let delivered = parts.iter().map(|_| Arc::default()).collect();
        Arc::new(Counters {
            delivered,
            parts,
            has_exited: AtomicBool::new(false),
        })
    }
}

/// Progress that is shown until this is dropped.
pub(super) struct Progress {
    started: Instant,
    /// Dropped to end the thread.
    shown: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn start(when: When, watched: Watched) -> Result<Option<Self>> {
        let footer = Footer::open();
        let is_shown = match when {
            When::Auto => io::stderr().is_terminal(),
            When::Always => true,
            When::Never => false,
        };
        if !is_shown {
            return Ok(None);
        }
        let mut meter = Meter::new(watched);
        let (shown, ended) = crossbeam_channel::bounded(0);
        let thread = std::thread::Builder::new()
            .name("fifofs-progress".into())
            .spawn(move || match footer {
                Some(footer) => draw(&mut meter, footer, &ended),
                None => print_lines(&mut meter, &ended),
            })
            .map_err(|error| Error::io("show", "the progress", error))?;
        Ok(Some(Progress {
            started: Instant::now(),
            shown: Some(shown),
            thread: Some(thread),
        }))
    }

    /// Ends it. Later messages appear below what was shown.
    pub(super) fn end(mut self) -> Ended {
        self.stop();
        Ended {
            elapsed: self.started.elapsed(),
        }
    }

    fn stop(&mut self) {
        self.shown = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Progress that was shown.
pub(super) struct Ended {
    elapsed: Duration,
}

impl Ended {
    /// Reports how each output ended.
    pub(super) fn conclude(&self, outputs: &[OutputReport]) {
        for output in outputs {
            say(&conclusion(output, self.elapsed));
        }
    }
}

/// Waits for the interval; returns false if the progress ends.
fn goes_on(ended: &Receiver<()>, interval: Duration) -> bool {
    ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
}

/// Shows the lines below everything else on the terminal.
fn draw(meter: &mut Meter, mut footer: Footer, ended: &Receiver<()>) {
    let mut interval = DRAW_INTERVAL;
    while goes_on(ended, interval) {
        let start = Instant::now();
        let lines = meter.lines();
        interval = DRAW_INTERVAL.max(start.elapsed() * LOOK_SHARE);
        let time = meter.time();
        let timed = lines.iter().map(|line| format!("{time} {line}"));
        footer.draw(&timed.collect::<Vec<_>>());
    }
}

/// Prints a line for each output if it has changed.
fn print_lines(meter: &mut Meter, ended: &Receiver<()>) {
    let mut said = Vec::new();
    while goes_on(ended, LINE_INTERVAL) {
        let lines = meter.lines();
        for (number, line) in lines.iter().enumerate() {
            if said.get(number) != Some(line) {
                say(line);
            }
        }
        said = lines;
    }
}

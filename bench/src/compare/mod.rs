//! How fast files are delivered on this machine, each figure next to the usual alternative.
//!
//! Every figure is a ratio: baseline and fifofs take turns, and the table shows the median of the turns' ratios, with
//! the least and the greatest. Absolute figures hold for one machine at one moment; on a busy one the spread shows how
//! far a ratio can be trusted.
//!
//! - Writers are processes, each in a group of its own: real programs, or this program again ([`crate::hands`]), and so
//!   are readers by path. The library's reader is in this process, and so is that of the FIFO that it is compared with.
//! - Readers ask for 1 MiB at a time and wait before the writer starts. A FIFO has a pipe of 1 MiB if the row says so;
//!   otherwise it is as `mkfifo` makes it.
//! - A throughput is the bytes over the time from just before the first byte is written until the reader has the last
//!   one. If the writer is a real program, the first moment is its start, which takes about 1 ms on both sides. The end
//!   of file is not counted: in a mount a file is done up to 1 s after its last close, unless no process is left in the
//!   writer's process group.
//! - Before the turns that count, each side runs once with other data, and the readers' bytes are compared.
//! - Each row has a fresh mount: the first turn of a row pays for fresh memory, the later ones reuse it.

mod command;
mod first;
mod library;
mod many;
mod paths;
mod programs;
mod report;
mod settled;
mod waiting;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{Outcome, cleanup, world};
use report::Row;

/// Measure FIFOs, temporary files and fifofs side by side on this machine
///
/// Takes a good minute. Each figure is the median of several turns in which
/// both sides were measured one after the other, with the least and the
/// greatest beside it: three at least, and more where they are short. The exit
/// status says nothing of whether goals were met; it is 0 unless something went
/// wrong (wrong bytes, a program that hangs).
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Print one JSON document at the end instead of a table
    #[arg(long)]
    json: bool,
    /// Two turns of a sixteenth of the size: whether it works, not how fast
    #[arg(long)]
    quick: bool,
    /// How many turns count, instead of as many as there is time for
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Only rows whose name contains one of these
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// Why a row has no figure.
enum Trouble {
    /// This machine lacks what the row needs.
    Lacks(String),
    /// The result was wrong.
    Wrong(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Trouble::Wrong(why)
    }
}

/// Rows that are measured together.
type Measured = std::result::Result<Vec<Row>, Trouble>;

/// How thorough to be.
#[derive(Clone, Copy)]
struct Effort {
    turns: Turns,
    /// Sizes and counts are divided by this.
    less: u64,
}

/// How many turns count.
#[derive(Clone, Copy)]
enum Turns {
    Exactly(usize),
    /// As many as can be started within [`TIME`], but at least [`FEWEST`] and at most [`MOST`].
    Timed,
}

const TIME: Duration = Duration::from_millis(1200);
const FEWEST: usize = 3;
const MOST: usize = 15;

impl Effort {
    /// The numbers of the turns that count.
    fn turns(self) -> impl Iterator<Item = usize> {
        let start = Instant::now();
        (1..).take_while(move |turn| match self.turns {
            Turns::Exactly(turns) => *turn <= turns,
            Turns::Timed => *turn <= FEWEST || *turn <= MOST && start.elapsed() < TIME,
        })
    }
}

/// One or more rows that are measured together.
struct Plan {
    name: String,
    measure: Box<dyn Fn(Effort) -> Measured>,
}

impl Plan {
    fn new(name: impl Into<String>, measure: impl Fn(Effort) -> Measured + 'static) -> Plan {
        Plan {
            name: name.into(),
            measure: Box::new(measure),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome<()> {
    let mut plans = library::plans();
    plans.extend(paths::plans());
    plans.extend(programs::plans());
    plans.extend(command::plans());
    plans.extend(first::plans());
    plans.extend(settled::plans());
    plans.extend(waiting::latencies());
    plans.extend(many::plans());
    plans.extend(waiting::idle_plans());
    let is_asked_for = |plan: &Plan| {
        let has = |word: &String| plan.name.to_lowercase().contains(&word.to_lowercase());
        arguments.words.is_empty() || arguments.words.iter().any(has)
    };
    let all: Vec<String> = plans.iter().map(|plan| plan.name.clone()).collect();
    plans.retain(is_asked_for);
    if plans.is_empty() {
        let all = all.join("\n  ");
        return Err(format!("no benchmark matches; available:\n  {all}"));
    }
    cleanup::watch()?;
    let (turns, less) = match arguments.quick {
        true => (Turns::Exactly(2), 16),
        false => (Turns::Timed, 1),
    };
    let turns = arguments
        .runs
        .map_or(turns, |runs| Turns::Exactly(runs as usize));
    let effort = Effort { turns, less };
    measure(&plans, effort, arguments.json)
}

fn measure(plans: &[Plan], effort: Effort, as_json: bool) -> Outcome<()> {
    let started = Instant::now();
    let before = ProcessorTime::now();
    // Shown if standard error is a terminal.
    let bar = ProgressBar::new(plans.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("[{elapsed}] {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let print = |line: &str| {
        if !as_json {
            // If the reader has gone, it needs no more output.
            bar.suspend(|| drop(writeln!(std::io::stdout(), "{line}")));
        }
    };
    print(&report::heading());
    let mut failures = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for plan in plans {
        bar.set_message(plan.name.clone());
        bar.tick();
        let measured = (plan.measure)(effort).unwrap_or_else(|trouble| {
            let why = match trouble {
                Trouble::Lacks(why) => why,
                Trouble::Wrong(why) => {
                    failures.push(format!("{}: {why}", plan.name));
                    why
                }
            };
            vec![Row::missing(&plan.name, why)]
        });
        measured.iter().for_each(|row| print(&row.line()));
        rows.extend(measured);
        bar.inc(1);
    }
    let means = programs::means(&rows);
    means.iter().for_each(|row| print(&row.line()));
    rows.extend(means);
    bar.finish_and_clear();
    let stolen = before.stolen_since();
    if let Some(percent) = stolen.filter(|percent| *percent >= STOLEN_PERCENT)
        && effort.less == 1
    {
        eprintln!(
            "fifofs-bench: {percent:.0} % of the processors' time was taken by the host of this virtual machine: \
             measure again when that is quiet"
        );
    }
    if as_json {
        let uname = rustix::system::uname();
        let document = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "kernel": uname.release().to_string_lossy(),
            "processors": std::thread::available_parallelism().map_or(1, usize::from),
            "root": rustix::process::geteuid().is_root(),
            "quick": effort.less > 1,
            "stolen_percent": stolen,
            "seconds": started.elapsed().as_secs_f64(),
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        let _ = writeln!(std::io::stdout(), "{document:#}");
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n")),
    }
}

/// From how much on the table mentions stolen time.
const STOLEN_PERCENT: f64 = 2.0;

/// The ticks of all processors since the system was started.
#[derive(Clone, Copy, Default)]
struct ProcessorTime {
    all: u64,
    /// The host ran another machine while this virtual machine had something to do.
    stolen: u64,
}

impl ProcessorTime {
    /// Zeros if the kernel does not say.
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
        let line = text.lines().next().unwrap_or_default();
        let ticks = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
        ProcessorTime {
            all: ticks.iter().sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
        }
    }

    /// The share that was stolen since then, in percent.
    fn stolen_since(self) -> Option<f64> {
        let now = ProcessorTime::now();
        let all = now.all.checked_sub(self.all).filter(|all| *all > 0)?;
        Some(now.stolen.saturating_sub(self.stolen) as f64 * 100.0 / all as f64)
    }
}

/// Checks that a program is installed.
fn needs(program: &str) -> std::result::Result<(), Trouble> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return Ok(());
    }
    Err(Trouble::Lacks(format!(
        "{program} is not installed (or not in $PATH)"
    )))
}

/// A world to measure in, or what this machine lacks for one.
fn world() -> std::result::Result<world::World, Trouble> {
    world::World::new().map_err(Trouble::Lacks)
}

/// A site in memory, to compare with.
fn tmpfs() -> std::result::Result<world::Site, Trouble> {
    let memory = Path::new("/dev/shm");
    let is_tmpfs = rustix::fs::statfs(memory).is_ok_and(|found| found.f_type == libc::TMPFS_MAGIC);
    if !is_tmpfs {
        return Err(Trouble::Lacks("/dev/shm is no tmpfs".to_owned()));
    }
    world::Site::below(memory).map_err(Trouble::Lacks)
}

/// The rate in units of 10^6 bytes per second.
fn rate(bytes: u64, nanoseconds: u64) -> f64 {
    bytes as f64 * 1e3 / nanoseconds.max(1) as f64
}

/// `4 KiB`.
fn size(bytes: u64) -> String {
    match bytes {
        large if large >= 1 << 20 => format!("{} MiB", large >> 20),
        small => format!("{} KiB", small >> 10),
    }
}

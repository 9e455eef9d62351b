//! How fast files are delivered, each figure next to what one would use instead.
//!
//! ```text
//! scripts/bench [--quick] [--json] [--runs N] [WORD…]     WORD: only rows whose name contains one
//! ```
//!
//! Measures the rows of the contract's table of speed that need no more than `fifofs mount`. Every figure is a ratio:
//! baseline and fifofs take turns, and what is shown is the median of the turns' ratios, with the least and the
//! greatest. Absolute figures are from one machine at one moment; on a busy one the spread says what a ratio is worth.
//!
//! - Writers and readers are processes. Writers are real programs (`dd`, perl, tar …), each in a process group of its
//!   own. The reader is this program again ([`hands`]), the same for both sides, reading 1 MiB at a time.
//! - The reader waits before the writer starts: in open(2) of the FIFO, or of `.fifofs/wait/NAME`.
//! - A throughput is the bytes over the time from just before the writer is started until the reader has the last of
//!   them. Its end of file is not counted: in a mount a file is done up to 200 ms after its last close, unless nobody
//!   is left in the writer's process group. Starting the writer (about 1 ms) counts on both sides; sizes are chosen
//!   so that it does not matter.
//! - Before the turns that count, each side goes once with other data, and what the readers got is compared.
//! - Each row has a fresh mount: the first turn of a row pays for fresh memory, the later ones reuse it.
//! - A settled file's time is the writer's alone, with its close.
//! - Nothing may hang: programs have a deadline, mounts a dead man's switch that aborts them.

#[path = "delivery/hands.rs"]
mod hands;
#[path = "delivery/processes.rs"]
mod processes;
#[path = "delivery/report.rs"]
mod report;
#[path = "delivery/throughput.rs"]
mod throughput;
#[path = "delivery/waiting.rs"]
mod waiting;
#[path = "delivery/world.rs"]
mod world;

use std::process::ExitCode;

use report::{Report, Row};

/// What went wrong, in words.
type Outcome<T> = Result<T, String>;

/// How thorough to be.
#[derive(Clone, Copy)]
struct Effort {
    /// Turns that count.
    runs: usize,
    /// Sizes and counts are divided by this.
    less: u64,
}

/// One or more rows that are measured together.
struct Plan {
    name: String,
    measure: Box<dyn Fn(Effort) -> Outcome<Vec<Row>>>,
}

impl Plan {
    fn new(
        name: impl Into<String>,
        measure: impl Fn(Effort) -> Outcome<Vec<Row>> + 'static,
    ) -> Plan {
        Plan {
            name: name.into(),
            measure: Box::new(measure),
        }
    }
}

struct Arguments {
    json: bool,
    effort: Effort,
    words: Vec<String>,
}

fn parse(arguments: impl Iterator<Item = String>) -> Outcome<Arguments> {
    let mut parsed = Arguments {
        json: false,
        effort: Effort { runs: 5, less: 1 },
        words: Vec::new(),
    };
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => parsed.json = true,
            "--quick" => parsed.effort = Effort { runs: 3, less: 4 },
            "--runs" => {
                let runs = arguments.next().and_then(|runs| runs.parse().ok());
                parsed.effort.runs = runs
                    .filter(|runs| *runs > 0)
                    .ok_or("--runs takes a number of turns, 1 or more")?;
            }
            // What `cargo bench` adds.
            "--bench" => {}
            word if word.starts_with('-') => {
                return Err(format!(
                    "there is no option {word}; there are --json, --quick and --runs N"
                ));
            }
            word => parsed.words.push(word.to_owned()),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == hands::MARK).is_some() {
        return hands::main(&arguments.collect::<Vec<_>>());
    }
    let arguments = match parse(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("delivery: {error}");
            return ExitCode::from(2);
        }
    };
    let mut plans = throughput::plans();
    plans.extend(waiting::plans());
    let chosen = |plan: &&Plan| {
        arguments.words.is_empty() || arguments.words.iter().any(|word| plan.name.contains(word))
    };
    let mut report = Report::new(arguments.json);
    for plan in plans.iter().filter(chosen) {
        match (plan.measure)(arguments.effort) {
            Ok(rows) => rows.into_iter().for_each(|row| report.add(row)),
            Err(error) => report.fail(&plan.name, &error),
        }
    }
    throughput::mean_of_programs(&mut report);
    report.finish()
}

//! How cost grows: with the number of files, of readers, of bytes and of those who wait; and what a mount takes of
//! memory and processor time.
//!
//! ```text
//! scripts/growth [--quick] [WORD…]     WORD: only tables whose name contains one
//! ```
//!
//! A table has a line for each number. Its last column puts what one of them costs, mostly the daemon's processor time,
//! next to the cheapest line above: 1 where cost grows in proportion, less where what is fixed is shared by more, and
//! `CLIFF` where one has become more than twice as dear. Figures are of one run; the machine should have nothing else
//! to do.

#[path = "../src/cli/bench/cleanup.rs"]
mod cleanup;
#[path = "growth/many.rs"]
mod many;
#[path = "../src/cli/bench/processes.rs"]
#[allow(dead_code)]
mod processes;
#[path = "growth/resting.rs"]
mod resting;
#[path = "growth/sizes.rs"]
mod sizes;
#[path = "growth/table.rs"]
mod table;
#[path = "growth/waiters.rs"]
mod waiters;
#[path = "../src/cli/bench/world.rs"]
#[allow(dead_code)]
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

/// What went wrong, in words.
type Outcome<T> = Result<T, String>;

/// The command that is measured; it is also its own writers and readers.
fn executable() -> Outcome<PathBuf> {
    Ok(PathBuf::from(env!("CARGO_BIN_EXE_fifofs")))
}

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    Quick,
    Full,
}

impl Effort {
    /// Those of the numbers that are not too many.
    fn up_to(self, numbers: &[u64], quick: u64) -> Vec<u64> {
        let is_wanted = |number: &u64| self == Effort::Full || *number <= quick;
        numbers.iter().copied().filter(is_wanted).collect()
    }
}

/// Measures and prints a table.
type Measure = fn(Effort) -> Outcome<()>;

fn main() -> ExitCode {
    let mut effort = Effort::Full;
    let mut words = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => effort = Effort::Quick,
            // What `cargo bench` adds.
            "--bench" => {}
            word if word.starts_with('-') => {
                eprintln!("growth: there is no option {word}; there is --quick");
                return ExitCode::from(2);
            }
            word => words.push(word.to_owned()),
        }
    }
    if let Err(error) = cleanup::watch() {
        eprintln!("growth: {error}");
        return ExitCode::FAILURE;
    }
    let tables: [(&str, Measure); 9] = [
        ("small files, one after the other", many::small_files),
        ("files at once", many::files_at_once),
        ("files at once, a reader each", many::files_with_readers),
        ("readers of one file", many::readers),
        ("size, stream", sizes::stream),
        ("size, follow", sizes::follow),
        ("waiting in open, a thread each", waiters::in_open),
        ("waiting in poll, without threads", waiters::in_poll),
        ("a mount at rest, and a log", resting::all),
    ];
    let mut ended = ExitCode::SUCCESS;
    for (name, measure) in tables {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word)) {
            continue;
        }
        println!("\n{name}");
        let started = std::time::Instant::now();
        if let Err(error) = measure(effort) {
            println!("  FAILED: {error}");
            ended = ExitCode::FAILURE;
        }
        println!("  ({:.0} s)", started.elapsed().as_secs_f64());
    }
    ended
}

//! How cost grows: with the number of files, readers, bytes and waiters; and how much memory and processor time a mount
//! uses.
//!
//! A table has a line for each number. Its last column compares the cost of one item, mostly the daemon's processor
//! time, with that of the cheapest line above: 1 if cost grows in proportion, less if more items share fixed costs, and
//! `CLIFF` if an item costs more than twice as much. Figures are of one run; the machine should have nothing else to
//! do.

mod many;
mod resting;
mod sizes;
mod table;
mod waiters;

use clap::Args;

use crate::{Outcome, cleanup};

/// Show how cost grows with files, readers, sizes and waiters
///
/// Takes a quarter of an hour and up to 8 GiB of disk.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Smaller numbers: two minutes
    #[arg(long)]
    quick: bool,
    /// Only tables whose name contains one of these
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    Quick,
    Full,
}

impl Effort {
    /// The numbers that are not too large for this effort.
    fn up_to(self, numbers: &[u64], quick: u64) -> Vec<u64> {
        let is_wanted = |number: &u64| self == Effort::Full || *number <= quick;
        numbers.iter().copied().filter(is_wanted).collect()
    }
}

/// Measures and prints a table.
type Measure = fn(Effort) -> Outcome<()>;

pub(crate) fn run(arguments: &Arguments) -> Outcome<()> {
    let effort = match arguments.quick {
        true => Effort::Quick,
        false => Effort::Full,
    };
    let words = &arguments.words;
    cleanup::watch()?;
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
    let mut failed = Vec::new();
    for (name, measure) in tables {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        println!("\n{name}");
        let started = std::time::Instant::now();
        if let Err(error) = measure(effort) {
            println!("  FAILED: {error}");
            failed.push(name);
        }
        println!("  ({:.0} s)", started.elapsed().as_secs_f64());
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("failed: {}", failed.join(", "))),
    }
}

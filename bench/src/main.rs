//! Measures fifofs on this machine.
//!
//! ```text
//! compare   each figure next to what one would use instead
//! growth    how cost grows with files, readers, sizes and waiters
//! floor     what `/dev/fuse` itself allows
//! ```
//!
//! Writers and readers are processes: real programs, or this program again ([`hands`]). The measured command is the
//! `fifofs` beside this program, or the one that `$FIFOFS` names; the library is the one that this program is built
//! with. Nothing may hang or stay: programs have a deadline, mounts a timer that aborts them, and a signal ends
//! everything that was started ([`cleanup`]).

mod cleanup;
mod compare;
mod floor;
mod growth;
mod hands;
mod processes;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The error is a message.
type Outcome<T> = Result<T, String>;

/// The alignment of buffers that are read into or written from, as `dd` and `cat` use.
///
/// Alignment decides how fast the kernel copies: on AMD's Zen 3, `rep movsb` takes 40 µs instead of 2 for 64 KiB if the
/// target's offset in its page is 1 to 31 bytes greater than the source's. Large buffers of malloc(3) begin 16 bytes
/// after a page's start, and the kernel's at the start.
const PAGE_BYTES: usize = 4096;

/// Measure fifofs on this machine
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(compare::Arguments),
    Growth(growth::Arguments),
    Floor(floor::Arguments),
    /// Be a writer or a reader of a measurement
    #[command(hide = true)]
    Hand {
        #[arg(num_args = 1.., value_name = "WORD")]
        words: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Growth(arguments) => growth::run(&arguments),
        Command::Floor(arguments) => floor::run(&arguments),
        Command::Hand { words } => hands::run(&words).map(|line| println!("{line}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fifofs-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// This program, to be started again.
fn own_executable() -> Outcome<PathBuf> {
    std::env::current_exe().map_err(|error| format!("cannot find this program itself: {error}"))
}

/// The measured command.
fn fifofs() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("FIFOFS") {
        return Ok(path.into());
    }
    let beside = own_executable()?.with_file_name("fifofs");
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!(
            "there is no {}: build it with `cargo build`, in the profile of this program, or name another in $FIFOFS",
            beside.display()
        )),
    }
}

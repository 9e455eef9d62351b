//! The `fifofs` command: parse, run, report.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Valid even if the program's file was replaced or removed.
    let program = vec!["/proc/self/exe".into()];
    ExitCode::from(cli::main(program, std::env::args_os().collect()))
}

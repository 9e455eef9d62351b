//! The `fifofs` command: parse, run, report.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Whatever has become of the file that it was started from.
    let program = vec!["/proc/self/exe".into()];
    ExitCode::from(cli::main(program, std::env::args_os().collect()))
}

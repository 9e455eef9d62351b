//! The command line: turns words into calls of the public library, and errors
//! into messages and exit statuses.

mod cat;
mod log;
mod ls;
mod mount;
mod options;
mod unmount;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fifofs::Error;

/// Exit statuses, a stable interface.
pub(crate) mod status {
    /// Wrong usage, or a failure of fifofs itself.
    pub(crate) const FAILED: u8 = 125;
    /// What was read is not what the file holds (`EX_IOERR` of sysexits.h).
    pub(crate) const REWRITTEN: u8 = 74;
}

/// What to do about a mount whose daemon is gone.
fn dead_mount(mount: &Path) -> String {
    let mount = mount.display();
    format!("its daemon is gone: `fifofs unmount {mount}`, or mount there again")
}

/// Files that programs write and pipes that readers read.
#[derive(Parser)]
#[command(name = "fifofs", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Mount(mount::Arguments),
    Cat(cat::Arguments),
    Ls(ls::Arguments),
    Unmount(unmount::Arguments),
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failures.
            let status = if error.use_stderr() {
                status::FAILED
            } else {
                0
            };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let level = env_logger::Env::default().default_filter_or("warn");
    env_logger::Builder::from_env(level)
        .format_timestamp_millis()
        .target(env_logger::Target::Pipe(Box::new(log::Impatient)))
        .init();
    let done = match arguments.command {
        Command::Mount(arguments) => mount::run(arguments),
        Command::Cat(arguments) => cat::run(&arguments),
        Command::Ls(arguments) => ls::run(&arguments),
        Command::Unmount(arguments) => unmount::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fifofs: {error}");
            ExitCode::from(match error {
                Error::Rewritten { .. } => status::REWRITTEN,
                _ => status::FAILED,
            })
        }
    }
}

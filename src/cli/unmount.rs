//! `fifofs unmount`.

use std::path::PathBuf;

use clap::Args;
use fifofs::Result;

/// Unmount, also what a killed daemon left behind
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    fifofs::unmount(&arguments.directory)
}

//! `fifofs completions` and `fifofs man`: made from the same description of the
//! command line as its help.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use fifofs::{Error, Result};

use super::print;

/// Write completions for a shell to standard output
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions<C: CommandFactory>(arguments: &Completions) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut C::command(), "fifofs", &mut text);
    print(text).map(drop)
}

/// Write the manual pages, one after the other, to standard output
#[derive(Args, Debug)]
pub(crate) struct Man {}

pub(crate) fn man<C: CommandFactory>() -> Result<()> {
    let mut command = C::command();
    command.build();
    let mut text = Vec::new();
    let failed = |error| Error::io("make", "the manual", error);
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(failed)?;
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        clap_mangen::Man::new(subcommand.clone())
            .render(&mut text)
            .map_err(failed)?;
    }
    print(text).map(drop)
}

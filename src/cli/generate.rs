//! `fifofs completions` and `fifofs man`: made from the same description of the
//! command line as its help.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use fifofs::{Error, Result};

use super::print;

/// What every page says at its end.
const COMMON_SECTIONS: &str = include_str!("generate/common.man");

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

/// Write the manual pages to a directory, or one after the other to standard output
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Write each page to a file of its own in this directory: fifofs.1, fifofs-run.1 and so on
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn man<C: CommandFactory>(arguments: &Man) -> Result<()> {
    let mut command = C::command().disable_help_subcommand(true);
    command.build();
    let mut pages = vec![(command.get_name().to_owned(), page(&command)?)];
    for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("{}-{}", command.get_name(), subcommand.get_name());
        pages.push((name, page(subcommand)?));
    }
    let Some(directory) = &arguments.dir else {
        let pages = pages.into_iter().map(|(_, text)| text);
        return print(pages.collect::<Vec<_>>().concat()).map(drop);
    };
    fs::create_dir_all(directory).map_err(|error| Error::io("make", directory, error))?;
    for (name, text) in pages {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, text).map_err(|error| Error::io("write", &path, error))?;
    }
    Ok(())
}

/// One page, with what all pages end with.
fn page(command: &Command) -> Result<Vec<u8>> {
    let failed = |error| Error::io("make", "the manual", error);
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut text)
        .map_err(failed)?;
    text.extend_from_slice(COMMON_SECTIONS.as_bytes());
    Ok(text)
}

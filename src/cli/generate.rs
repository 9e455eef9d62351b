//! `fifofs completions` and `fifofs man`: generated from the description of the command line that also
//! gives its help.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, ValueHint};
use clap_complete::Shell;
use fifofs::{Error, Result};

use super::print;

/// The last sections of every command's page.
const COMMON_SECTIONS: &str = include_str!("generate/common.man");

/// fifofs(7), without its title and its last sections.
const DELIVERY: &str = include_str!("generate/delivery.man");

/// The last section of all pages.
const SEE_ALSO: &str = include_str!("generate/see_also.man");

/// Completes the command after `--`, in shells for which the script of `clap_complete` does not.
const AFTER_BASH: &[u8] = include_bytes!("generate/completions.bash");
const AFTER_FISH: &[u8] = include_bytes!("generate/completions.fish");

/// The heading of the examples in a command's help.
const EXAMPLES: &str = "Examples:\n";

/// Write completions for a shell to standard output
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  source <(fifofs completions bash)    # in ~/.bashrc\n  \
                  source <(fifofs completions zsh)     # in ~/.zshrc, after compinit\n  \
                  fifofs completions fish > ~/.config/fish/completions/fifofs.fish"
)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions<C: CommandFactory>(arguments: &Completions) -> Result<()> {
    let mut text = Vec::new();
    let mut command = visible(&C::command());
    clap_complete::generate(arguments.shell, &mut command, "fifofs", &mut text);
    text.extend_from_slice(match arguments.shell {
        Shell::Bash => AFTER_BASH,
        Shell::Fish => AFTER_FISH,
        _ => &[],
    });
    print(text).map(drop)
}

/// The command without hidden options, which most scripts would offer.
fn visible(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|a| !a.is_hide_set());
    let subcommands = command.get_subcommands().filter(|c| !c.is_hide_set());
    let aliases: Vec<_> = command.get_visible_aliases().map(str::to_owned).collect();
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .version(command.get_version().unwrap_or_default().to_owned())
        .disable_version_flag(command.get_version().is_none())
        .visible_aliases(aliases)
        .args(arguments.cloned())
        .subcommands(subcommands.map(visible))
}

/// Write the manual pages to a directory, or one after the other to standard output
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  fifofs man | man -l -\n  \
                  fifofs man --dir pages; man -l pages/fifofs.7")]
pub(crate) struct Man {
    /// Write each page to a file of its own in this directory: fifofs.1, fifofs-run.1 and so on,
    /// and fifofs.7 on how files are delivered
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub(crate) fn man<C: CommandFactory>(arguments: &Man) -> Result<()> {
    let mut command = C::command().disable_help_subcommand(true);
    command.build();
    let mut pages = vec![
        (
            format!("{}.1", command.get_name()),
            page(&command, &command)?,
        ),
        (format!("{}.7", command.get_name()), delivery(&command)),
    ];
    for subcommand in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("{}-{}.1", command.get_name(), subcommand.get_name());
        pages.push((name, page(&command, subcommand)?));
    }
    let Some(directory) = &arguments.dir else {
        let pages = pages.into_iter().map(|(_, text)| text);
        return print(pages.collect::<Vec<_>>().concat()).map(drop);
    };
    let advise = |error: Error| error.with_remedy("give a directory that you may write");
    fs::create_dir_all(directory)
        .map_err(|error| advise(Error::io("make the directory", directory, error)))?;
    for (name, text) in pages {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| advise(Error::io("write", &path, error)))?;
    }
    Ok(())
}

/// The page of a command, with the sections that all pages have.
fn page(root: &Command, command: &Command) -> Result<Vec<u8>> {
    let failed = |error| Error::io("make", "the manual", error);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).to_owned();
    // The synopsis is the help's; the examples get a section of their own.
    let shown = command.clone().override_usage(usage);
    let shown = shown.after_help(None::<&'static str>);
    let mut text = Vec::new();
    clap_mangen::Man::new(shown)
        .render(&mut text)
        .map_err(failed)?;
    let name = command.get_display_name().unwrap_or(command.get_name());
    let text = tidied(&String::from_utf8_lossy(&text), &title(root, name, 1));
    let end = [&examples(command), COMMON_SECTIONS, SEE_ALSO].concat();
    Ok((text + &end).into_bytes())
}

/// The title line of a page.
fn title(root: &Command, name: &str, section: u8) -> String {
    let (program, version) = (root.get_name(), root.get_version().unwrap_or_default());
    let name = name.to_uppercase();
    // No date: every build must produce the same page.
    format!(".TH {name} {section} \"\" \"{program} {version}\"")
}

/// A page of `clap_mangen` with this title; without trailing blanks, and without line breaks at the end of
/// a paragraph.
fn tidied(page: &str, title: &str) -> String {
    let lines = page.lines().map(|line| match line.starts_with(".TH ") {
        true => title,
        false => line.trim_end(),
    });
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    lines.replace("\n.br\n\n.br\n", "\n\n")
}

/// The examples of a command's help, as a section of its page.
fn examples(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string);
    let lines = help.iter().flat_map(|help| {
        let lines = help.strip_prefix(EXAMPLES).unwrap_or(help).lines();
        // Lines that are not roff requests, and characters that roff does not replace by typographic ones.
        lines.map(|line| line.trim_start().replace('\\', "\\e"))
    });
    let lines = lines.map(|line| line.replace('-', "\\-").replace('\'', "\\(aq"));
    let lines: String = lines.map(|line| format!("\\&{line}\n")).collect();
    format!(".SH EXAMPLES\n.nf\n{lines}.fi\n")
}

/// fifofs(7).
fn delivery(root: &Command) -> Vec<u8> {
    let title = title(root, root.get_name(), 7);
    format!("{title}\n{DELIVERY}{SEE_ALSO}").into_bytes()
}

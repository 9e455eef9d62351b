//! `fifofs unmount`.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use fifofs::{Error, IfBusy, Result};

/// Unmount; also cleans up after a killed daemon
///
/// A mount in use stays; the message names the processes that use it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  fifofs unmount /tmp/cap\n  fifofs unmount --lazy /tmp/cap")]
pub(crate) struct Arguments {
    /// If the mount is in use, detach it from DIR; it ends when no process uses it any more
    #[arg(short, long)]
    lazy: bool,
    /// If the mount is in use, unmount it all the same: the processes that use it get errors
    #[arg(short, long, conflicts_with = "lazy")]
    force: bool,
    /// Where it is mounted
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let if_busy = match (arguments.lazy, arguments.force) {
        (true, _) => IfBusy::Detach,
        (_, true) => IfBusy::Cut,
        _ => IfBusy::Refuse,
    };
    fifofs::unmount_if(&arguments.directory, if_busy).map_err(|error| match &error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => error
            .with_remedy(
                "end that use first, or detach the mount and serve it until then (--lazy), or unmount it \
                 now (--force)",
            ),
        _ => error,
    })
}

//! Options that several commands share, and how their values are written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fifofs::{Deliver, FailOn, Linger, MountBuilder};

/// How a mount delivers and what it may use.
#[derive(Args, Debug)]
pub(crate) struct Delivery {
    /// How files are delivered to waiting readers: auto, stream, follow or
    /// settled; with GLOB= only those whose name or path matches (the last that
    /// matches wins)
    #[arg(long, value_name = "[GLOB=]WAY")]
    deliver: Vec<String>,
    /// With stream, how far a writer may be ahead of the slowest reader
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size)]
    window: u64,
    /// How much is kept in memory, over all files [default: 1G or an eighth of
    /// the memory there is]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// The directory for what does not fit into memory [default: $TMPDIR or
    /// /var/tmp]
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
    /// How much is kept in all; past it writes fail with "No space left on
    /// device" [default: what is free in the spill directory, less 5 %]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Which ends of a writer give its readers an error after the last byte:
    /// signal, status (signals as well) or never
    #[arg(long, value_name = "WHEN", default_value = "signal")]
    fail_on: FailOn,
}

impl Delivery {
    /// Whether the way of any file is given.
    pub(crate) fn says_how(&self) -> bool {
        !self.deliver.is_empty()
    }

    /// Whether some files may have to be read while they are written.
    pub(crate) fn may_stream(&self) -> bool {
        let way = |rule: &String| rule.rsplit('=').next().map(str::parse);
        self.deliver
            .iter()
            .any(|rule| matches!(way(rule), Some(Ok(Deliver::Stream))))
    }

    pub(crate) fn apply(&self, mut builder: MountBuilder) -> fifofs::Result<MountBuilder> {
        for rule in &self.deliver {
            builder = match rule.rsplit_once('=') {
                Some((glob, way)) => builder.deliver(glob, way.parse::<Deliver>()?),
                None => builder.deliver_all(rule.parse()?),
            };
        }
        builder = builder.window(self.window).fail_on(self.fail_on);
        if let Some(bytes) = self.memory {
            builder = builder.memory(bytes);
        }
        if let Some(directory) = &self.spill {
            builder = builder.spill(directory);
        }
        if let Some(bytes) = self.max_size {
            builder = builder.max_size(bytes);
        }
        Ok(builder)
    }
}

/// A size with K, M or G, which are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|error| format!("{error}; write a number of bytes, or with K, M or G: 64M"))
}

/// A duration with ms, s or m.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with ms, s or m: 500ms"))
}

/// `auto`, `exit` or a duration.
pub(crate) fn linger(text: &str) -> Result<Linger, String> {
    match text {
        "auto" => Ok(Linger::Auto),
        "exit" => Ok(Linger::Exit),
        text => duration(text)
            .map(Linger::After)
            .map_err(|error| format!("{error}, or auto, or exit")),
    }
}

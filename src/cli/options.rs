//! Options that several commands share, and how their values are written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use fifofs::{Deliver, FailOn, Mount, MountBuilder};

/// How a mount delivers and what it may use.
#[derive(Args, Debug)]
pub(crate) struct Delivery {
    /// How files are delivered to waiting readers: auto, stream, follow or
    /// settled; with GLOB= only those whose name or path matches (the last that
    /// matches wins)
    #[arg(long, value_name = "[GLOB=]WAY", value_parser = rule)]
    deliver: Vec<String>,
    /// With stream, how far a writer may be ahead of the slowest reader [default:
    /// 1M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    window: Option<u64>,
    /// How much is kept in memory, over all files [default: 1G or an eighth of
    /// the memory that this process may have]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// The directory for what does not fit into memory [default: $TMPDIR,
    /// /var/tmp or /tmp]
    #[arg(long, value_name = "DIR")]
    spill: Option<PathBuf>,
    /// How much is kept in all; past it writes fail with "No space left on
    /// device" [default: what is free in the spill directory, less 5 %]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Which ends of a writer give its readers an error instead of an end of file:
    /// crash (killed with the file open, or later by a signal that means a crash), signal
    /// (any), status (signals as well) or never [default: crash]
    #[arg(long, value_name = "WHEN")]
    fail_on: Option<FailOn>,
}

impl Delivery {
    /// An option that was given, if one was.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let options = [
            ("--deliver", !self.deliver.is_empty()),
            ("--window", self.window.is_some()),
            ("--memory", self.memory.is_some()),
            ("--spill", self.spill.is_some()),
            ("--max-size", self.max_size.is_some()),
            ("--fail-on", self.fail_on.is_some()),
        ];
        options
            .into_iter()
            .find_map(|(option, is_given)| is_given.then_some(option))
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
            builder = builder.rule(rule)?;
        }
        if let Some(bytes) = self.window {
            builder = builder.window(bytes);
        }
        if let Some(fail_on) = self.fail_on {
            builder = builder.fail_on(fail_on);
        }
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

/// A rule of `--deliver`, if it is one.
fn rule(text: &str) -> fifofs::Result<String> {
    let ruled = Mount::builder().rule(text);
    ruled.map(|_| text.to_owned())
}

/// A size with K, M or G, which are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|error| format!("{error}; write a number of bytes, or with K, M or G: 64M"))
}

/// A duration with ms, s or m.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with ms, s or m: 500ms"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        delivery: Delivery,
    }

    fn given(words: &[&str]) -> Option<&'static str> {
        let words = ["fifofs"].iter().chain(words);
        Arguments::parse_from(words).delivery.given()
    }

    #[test]
    fn an_option_is_given_if_it_is_typed_though_it_be_the_default() {
        assert_eq!(given(&[]), None);
        assert_eq!(given(&["--window", "1M"]), Some("--window"));
        assert_eq!(given(&["--fail-on", "signal"]), Some("--fail-on"));
        assert_eq!(given(&["--max-size=1"]), Some("--max-size"));
    }

    #[test]
    fn a_rule_that_is_none_is_refused_with_its_option() {
        for rule in ["*.log=pipe", "=stream", "[a=stream"] {
            let parsed = Arguments::try_parse_from(["fifofs", "--deliver", rule]);
            let said = parsed.err().expect("an error").to_string();
            assert!(said.contains("--deliver") && said.contains(rule), "{said}");
        }
    }
}

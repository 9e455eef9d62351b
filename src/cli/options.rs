//! Options that several commands share, and parsers of their values.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Args, Command, ValueHint};
use fifofs::{Deliver, FailOn, Linger, Mount, MountBuilder};

/// The program to run: the last words of a command line.
#[derive(Args, Debug)]
pub(crate) struct ProgramWords {
    /// The program and its arguments
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments
    )]
    pub(crate) command: Vec<OsString>,
}

/// How a mount delivers and what it may use.
#[derive(Args, Debug)]
pub(crate) struct Delivery {
    /// How files are delivered to waiting readers [default: auto]
    ///
    /// With GLOB= only those whose name matches, or, if there is a slash in GLOB, whose path
    /// does: '*.log=follow'. May be given several times; the last that matches applies.
    #[arg(long, value_name = "[GLOB=]WAY", value_parser = DELIVERIES)]
    deliver: Vec<String>,
    /// With stream, how many bytes a writer may be ahead of the slowest reader [default: 1M]
    ///
    /// A SIZE is a number of bytes, or has K, M or G, which are powers of 1024.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    window: Option<u64>,
    /// Bytes kept in memory, over all files [default: 1G, or an eighth of
    /// the memory that this process may use if that is less]
    ///
    /// Bytes beyond that go to the directory of --spill.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// The directory for bytes that do not fit into memory [default: $TMPDIR,
    /// /var/tmp or /tmp]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    spill: Option<PathBuf>,
    /// Bytes kept in all [default: the space free in the spill directory, less 5 %]
    ///
    /// Beyond that writes fail with "No space left on device".
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// When a writer has failed, so that its readers get an error instead of an end of file
    /// [default: crash]
    #[arg(long, value_name = "WHEN", value_parser = FAILURES)]
    fail_on: Option<FailOn>,
}

impl Delivery {
    /// The first of these options that was given, if any.
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

    /// The value of `--memory`, if it was given.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Whether the rules may stream some files, which must then be read while they are written.
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

/// A parser of values with some fixed words, which help and completions list; `parse` handles all
/// other values.
#[derive(Clone, Copy)]
pub(crate) struct WithWords<T> {
    parse: fn(&str) -> fifofs::Result<T>,
    /// Each word with its meaning.
    words: &'static [(&'static str, &'static str)],
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for WithWords<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        self.parse.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |(word, meaning): &(&'static str, &'static str)| {
            PossibleValue::new(*word).help(*meaning)
        };
        Some(Box::new(self.words.iter().map(value)))
    }
}

const DELIVERIES: WithWords<String> = WithWords {
    parse: rule,
    words: &[
        (
            "auto",
            "Follow for text and formats that are only appended to, settled for formats whose \
             headers are written last, and for unknown ones",
        ),
        (
            "stream",
            "A pipe: bytes are delivered as they are written, and dropped when every reader has had \
             them; a writer that is --window ahead waits",
        ),
        (
            "follow",
            "Bytes are delivered as they are written, and all are kept: a late reader gets \
             everything. If the program changes bytes that a reader has had, that reader gets an error",
        ),
        (
            "settled",
            "Nothing is delivered before the file is finished; then all of it, with its true size",
        ),
    ],
};

const FAILURES: WithWords<FailOn> = WithWords {
    parse: str::parse,
    words: &[
        (
            "crash",
            "Killed with the file open; or, after it closed it, by a signal that means a crash (SEGV, \
             ABRT, KILL and others)",
        ),
        ("signal", "Killed by any signal before the file was done"),
        ("status", "As signal; or exited with a status other than 0"),
        (
            "never",
            "Never: readers get what was written, and then the end of the file",
        ),
    ],
};

pub(crate) const LINGERS: WithWords<Linger> = WithWords {
    parse: str::parse,
    words: &[
        (
            "auto",
            "When no process is left in the process groups of its writers, or 1 s after the last close",
        ),
        ("exit", "When all its writers have exited"),
    ],
};

/// Checks a rule of `--deliver`.
fn rule(text: &str) -> fifofs::Result<String> {
    let ruled = Mount::builder().rule(text);
    ruled.map(|_| text.to_owned())
}

/// A size with K, M or G, which are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|_| "not a size; write a number of bytes, or one with K, M or G: 64M".into())
}

/// A duration with ms, s or m.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "not a duration; write a number with ms, s or m: 500ms".into())
}

/// Parses a process id.
pub(crate) fn process(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "not the number of a process; write one, as $! is in a shell".into())
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
    fn an_option_counts_as_given_even_with_its_default_value() {
        assert_eq!(given(&[]), None);
        assert_eq!(given(&["--window", "1M"]), Some("--window"));
        assert_eq!(given(&["--fail-on", "signal"]), Some("--fail-on"));
        assert_eq!(given(&["--max-size=1"]), Some("--max-size"));
    }

    #[test]
    fn a_malformed_rule_is_refused_with_the_name_of_its_option() {
        for rule in ["*.log=pipe", "=stream", "[a=stream"] {
            let parsed = Arguments::try_parse_from(["fifofs", "--deliver", rule]);
            let said = parsed.err().expect("an error").to_string();
            assert!(said.contains("--deliver") && said.contains(rule), "{said}");
        }
    }
}

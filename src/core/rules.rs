//! The user's options: ways of delivery, by glob; when a file counts as done; what counts as a failure.
//!
//! Knows the words and globs of options. Does not know files, formats or generations; how a file is
//! delivered that no rule matches is decided elsewhere.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};

use crate::error::Error;

/// How the bytes that are written to a file reach waiting readers.
///
/// ```
/// use fifofs::Deliver;
///
/// let way: Deliver = "follow".parse()?;
/// assert_eq!(way, Deliver::Follow);
/// assert_eq!(way.to_string(), "follow");
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Deliver {
    /// [`Follow`](Deliver::Follow) where that is safe and
    /// [`Settled`](Deliver::Settled) where it is not, judged by how the file
    /// is opened, its name and its first bytes.
    #[default]
    Auto,
    /// Like a pipe: bytes are handed out as they are written and not kept; a
    /// writer waits for a slow reader.
    Stream,
    /// Bytes are handed out as they are written and kept: a reader that comes late
    /// gets all of them.
    Follow,
    /// Nothing is handed out until the file is finished.
    Settled,
}

/// A table of values and words for `FromStr`, `Display` and the list in the error message, so that they agree.
trait Words: Copy + PartialEq + Sized + 'static {
    const WHAT: &'static str;
    const ALL: &'static [(Self, &'static str)];

    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(value, _)| *value == self)
            .map_or("?", |(_, word)| word)
    }

    fn from_word(given: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, word)| *word == given)
            .map(|(value, _)| *value)
    }

    /// `stream, follow or settled`.
    fn list() -> String {
        let words: Vec<_> = Self::ALL.iter().map(|(_, word)| *word).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    }

    /// The error for `given` in `place`, which is none of the words.
    fn invalid(given: &str, place: &str) -> Error {
        let advice = match Self::from_word(&given.to_ascii_lowercase()) {
            Some(meant) => format!("write {}, in lower case", meant.word()),
            None => format!("expected {}", Self::list()),
        };
        Error::usage(format!(
            "invalid {} '{given}'{place} ({advice})",
            Self::WHAT
        ))
    }

    fn parse_word(given: &str) -> Result<Self, Error> {
        Self::from_word(given).ok_or_else(|| Self::invalid(given, ""))
    }
}

impl Words for Deliver {
    const WHAT: &'static str = "delivery mode";
    const ALL: &'static [(Self, &'static str)] = &[
        (Deliver::Auto, "auto"),
        (Deliver::Stream, "stream"),
        (Deliver::Follow, "follow"),
        (Deliver::Settled, "settled"),
    ];
}

impl FromStr for Deliver {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Usage`] for any word but `auto`, `stream`, `follow` and
    /// `settled`.
    fn from_str(given: &str) -> Result<Self, Error> {
        Self::parse_word(given)
    }
}

impl fmt::Display for Deliver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// When a file that no process has open for writing any more counts as done, in
/// a mount.
///
/// ```
/// use std::time::Duration;
///
/// use fifofs::Linger;
///
/// let mount = fifofs::Mount::builder().linger(Linger::Exit).mount_temporary()?;
/// assert_eq!("500ms".parse::<Linger>()?, Linger::After(Duration::from_millis(500)));
/// assert_eq!(Linger::After(Duration::from_millis(1500)).to_string(), "1s 500ms");
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Linger {
    /// As soon as no process is left in any writer's process group; else 1 s
    /// after the last close, as a later step of a script may open it again.
    #[default]
    Auto,
    /// When all processes that wrote it have exited, however long that takes.
    Exit,
    /// This long after the last close, whichever processes have exited.
    After(Duration),
}

impl FromStr for Linger {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Usage`] for anything but `auto`, `exit` and a duration, such as `500ms` or `2s`.
    fn from_str(given: &str) -> Result<Self, Error> {
        match given {
            "auto" => Ok(Linger::Auto),
            "exit" => Ok(Linger::Exit),
            given => humantime::parse_duration(given)
                .map(Linger::After)
                .map_err(|_| {
                    Error::usage(
                        "not a duration; write a number with ms, s or m: 500ms, or auto, or exit",
                    )
                }),
        }
    }
}

impl fmt::Display for Linger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Linger::Auto => f.pad("auto"),
            Linger::Exit => f.pad("exit"),
            Linger::After(time) => f.pad(&humantime::format_duration(*time).to_string()),
        }
    }
}

/// Which end of a writer makes its file a failed one, whose readers get an
/// error instead of the end of the file. A process that only inherited the file,
/// closed it and went on is no writer.
///
/// ```
/// use fifofs::FailOn;
///
/// assert_eq!("status".parse::<FailOn>()?, FailOn::Status);
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FailOn {
    /// Killed by any signal while it had the file open for writing; or, once it had
    /// closed it, by one that means a crash (SEGV, BUS, ILL, FPE, ABRT, SYS, TRAP,
    /// KILL) before the file was done. A worker that has closed the file and is then
    /// ended by SIGTERM has done its work.
    ///
    /// How a process ended after it had closed the file is known from Linux 6.15 on, or if it
    /// is a child of this process.
    #[default]
    Crash,
    /// Killed by any signal before the file was done, whether it had the file open or not: also a loop that
    /// appends, between two openings.
    Signal,
    /// Killed by any signal, or exited with a status other than 0.
    Status,
    /// No end of a writer.
    Never,
}

impl Words for FailOn {
    const WHAT: &'static str = "kind of failure";
    const ALL: &'static [(Self, &'static str)] = &[
        (FailOn::Crash, "crash"),
        (FailOn::Signal, "signal"),
        (FailOn::Status, "status"),
        (FailOn::Never, "never"),
    ];
}

impl FromStr for FailOn {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Usage`] for any word but `crash`, `signal`, `status` and `never`.
    fn from_str(given: &str) -> Result<Self, Error> {
        Self::parse_word(given)
    }
}

impl fmt::Display for FailOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The rules of one mount: how files are delivered, by their path.
///
/// The last rule whose glob matches wins. A rule without a glob is the default
/// for paths that no glob matches, wherever it stands in the order; of several
/// defaults, the last counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// In the order in which they were given.
    globs: Vec<Rule>,
    default: Option<Deliver>,
}

/// One rule with a glob.
#[derive(Clone, Debug)]
struct Rule {
    matcher: GlobMatcher,
    /// Whether the glob is about the path from the root of the mount, or about
    /// the file's name at any depth.
    whole_path: bool,
    way: Deliver,
    /// `GLOB=WAY` as it was given, shown as the reason for a file's way.
    written: String,
}

impl Rules {
    /// No rules: everything is left to the automatic choice.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a rule after all others; without a glob, replaces the default.
    ///
    /// In a glob, `*` and `?` stop at `/` and `**` does not. A glob without
    /// `/` is about the file's name at any depth; one with `/` is about the
    /// whole path from the root of the mount, with or without a leading `/`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the glob is empty or malformed.
    pub(crate) fn push(&mut self, glob: Option<&str>, way: Deliver) -> Result<(), Error> {
        let Some(glob) = glob else {
            self.default = Some(way);
            return Ok(());
        };
        let pattern = glob.strip_prefix('/').unwrap_or(glob);
        if pattern.is_empty() {
            return Err(Error::usage(format!(
                "the rule '{glob}={way}' has no glob; give '*.log={way}', or '{way}' for every file"
            )));
        }
        let matcher = GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|error| {
                Error::usage(format!(
                    "invalid glob '{glob}' in the rule '{glob}={way}': {}; give one such as '*.log' \
                     or 'logs/**', with a \\ before a character that stands for itself",
                    error.kind()
                ))
            })?
            .compile_matcher();
        self.globs.push(Rule {
            matcher,
            whole_path: glob.contains('/'),
            way,
            written: format!("{glob}={way}"),
        });
        Ok(())
    }

    /// Adds the rule in `text`: `GLOB=WAY`, or `WAY` for the default.
    /// The glob may itself contain `=`: the last one counts.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if the way is unknown, or the glob is empty or
    /// malformed.
    pub(crate) fn parse(&mut self, text: &str) -> Result<(), Error> {
        let (glob, word) = match text.rsplit_once('=') {
            Some((glob, word)) => (Some(glob), word),
            None => (None, text),
        };
        let way = Deliver::from_word(word).ok_or_else(|| match glob {
            Some(_) => Deliver::invalid(word, &format!(" in the rule '{text}'")),
            None if text.contains(['*', '?', '.', '/']) => Error::usage(format!(
                "the rule '{text}' says which files, and not how they are delivered; write '{text}=WAY', \
                 where WAY is {}",
                Deliver::list()
            )),
            None => Deliver::invalid(word, ""),
        })?;
        self.push(glob, way)
    }

    /// The way for `path`, relative to the root of the mount, and the rule that
    /// says so, as it was written; `None` if none matches. A rule may say
    /// [`Deliver::Auto`] where the default is another way.
    pub(crate) fn choose(&self, path: &Path) -> Option<(Deliver, String)> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let matches = |rule: &&Rule| match path.file_name() {
            _ if rule.whole_path => rule.matcher.is_match(path),
            Some(name) => rule.matcher.is_match(name),
            None => false,
        };
        match self.globs.iter().rev().find(matches) {
            Some(rule) => Some((rule.way, rule.written.clone())),
            None => self.default.map(|way| (way, way.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Rules {
        let mut rules = Rules::new();
        for text in texts {
            rules.parse(text).unwrap();
        }
        rules
    }

    fn way(rules: &Rules, path: &str) -> Option<Deliver> {
        rules.choose(Path::new(path)).map(|(way, _)| way)
    }

    #[test]
    fn the_last_rule_that_matches_wins() {
        let rules = rules(&["*.log=stream", "a.*=settled"]);
        assert_eq!(way(&rules, "b.log"), Some(Deliver::Stream));
        assert_eq!(way(&rules, "a.log"), Some(Deliver::Settled));
        assert_eq!(way(&rules, "b.txt"), None);
    }

    #[test]
    fn a_rule_without_a_glob_is_for_what_no_glob_matches_wherever_it_stands() {
        for texts in [["*.log=stream", "follow"], ["follow", "*.log=stream"]] {
            let rules = rules(&texts);
            assert_eq!(way(&rules, "x.log"), Some(Deliver::Stream));
            assert_eq!(
                rules.choose(Path::new("x")),
                Some((Deliver::Follow, "follow".to_owned()))
            );
        }
        assert_eq!(
            way(&rules(&["follow", "stream"]), "x"),
            Some(Deliver::Stream)
        );
        assert_eq!(
            way(&rules(&["settled", "*.c=auto"]), "x.c"),
            Some(Deliver::Auto)
        );
    }

    #[test]
    fn a_glob_without_a_slash_is_about_the_name_and_one_with_about_the_path() {
        let names = rules(&["*.log=stream"]);
        assert_eq!(way(&names, "deep/down/x.log"), Some(Deliver::Stream));
        for texts in [["logs/*=stream"], ["/logs/*=stream"]] {
            let paths = rules(&texts);
            assert_eq!(way(&paths, "logs/x"), Some(Deliver::Stream));
            assert_eq!(way(&paths, "/logs/x"), Some(Deliver::Stream));
            assert_eq!(way(&paths, "logs/deep/x"), None);
            assert_eq!(way(&paths, "old/logs/x"), None);
        }
        assert_eq!(
            way(&rules(&["logs/**=stream"]), "logs/a/b"),
            Some(Deliver::Stream)
        );
        assert_eq!(way(&rules(&["/x=stream"]), "x"), Some(Deliver::Stream));
        assert_eq!(way(&rules(&["/x=stream"]), "a/x"), None);
        assert_eq!(way(&rules(&["*=stream"]), ""), None);
    }

    #[test]
    fn a_glob_may_contain_an_equals_sign_and_the_reason_is_the_rule_as_written() {
        let rules = rules(&["/a=b/*=follow"]);
        assert_eq!(
            rules.choose(Path::new("a=b/x")),
            Some((Deliver::Follow, "/a=b/*=follow".to_owned()))
        );
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused_with_what_would() {
        for (text, parts) in [
            (
                "fallow",
                &["'fallow'", "auto, stream, follow or settled"][..],
            ),
            (
                "*.log=pipe",
                &["'pipe'", "'*.log=pipe'", "auto, stream, follow or settled"],
            ),
            ("*.log", &["'*.log=WAY'", "auto, stream, follow or settled"]),
            ("=stream", &["'=stream'", "no glob", "*.log=stream"]),
            ("/=stream", &["'/=stream'", "no glob"]),
            (
                "[a=stream",
                &["'[a'", "invalid glob", "unclosed character class"],
            ),
            ("Settled", &["'Settled'", "write settled, in lower case"]),
            ("", &["''", "auto, stream, follow or settled"]),
        ] {
            let error = Rules::new().parse(text).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }));
            for part in parts {
                assert!(error.to_string().contains(part), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn words_are_read_as_they_are_shown() {
        for (way, word) in Deliver::ALL {
            assert_eq!(word.parse::<Deliver>().unwrap(), *way);
            assert_eq!(way.to_string(), *word);
        }
        for (kind, word) in FailOn::ALL {
            assert_eq!(word.parse::<FailOn>().unwrap(), *kind);
            assert_eq!(kind.to_string(), *word);
        }
        let error = "sometimes".parse::<FailOn>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid kind of failure 'sometimes' (expected crash, signal, status or never)"
        );
    }
}

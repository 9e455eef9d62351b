//! Where outputs go: parses `-o` and `--to`.
//!
//! Knows how destinations are written and which belongs to which output; opens nothing. Invariant: every
//! output has one destination, and no two have the same.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fifofs::{Error, Result};

use super::object;
use super::remote::Address;
use crate::cli::links;

/// Where the bytes of an output go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    /// An open descriptor of this process.
    Descriptor(RawFd),
    File(PathBuf),
    /// A command for `sh -c`, with the bytes on its standard input.
    Command(OsString),
    /// A file on another machine.
    Remote(Address),
    /// An object in a store.
    Object(object::Address),
}

/// Standard output.
pub(super) const STDOUT: Destination = Destination::Descriptor(libc::STDOUT_FILENO);

const STDERR: Destination = Destination::Descriptor(libc::STDERR_FILENO);

impl Destination {
    /// Parses a path, `-` for standard output, `fd:N`, `|CMD`, `ssh://HOST/PATH` or `s3://BUCKET/KEY`.
    /// The system's paths of descriptors mean these, too: `/dev/stdout`, and `/dev/fd/N` as shells write
    /// for `>(…)`.
    pub(super) fn parse(text: &OsStr) -> Result<Self> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(Error::usage(
                "a destination is empty; give a path, - for standard output, fd:N, or '|CMD'",
            ));
        }
        if let Some(command) = bytes.strip_prefix(b"|") {
            if command.trim_ascii().is_empty() {
                return Err(Error::usage(
                    "the destination '|' has no command; write one after it, as in \
                     -o '|gzip > x.gz', or ./'|' for a file of that name",
                ));
            }
            return Ok(Destination::Command(OsStr::from_bytes(command).into()));
        }
        if let Some(address) = Address::parse(text)? {
            return Ok(Destination::Remote(address));
        }
        if let Some(address) = object::Address::parse(text)? {
            return Ok(Destination::Object(address));
        }
        if is_url(bytes) {
            return Err(Error::usage(format!(
                "invalid destination '{0}': the URLs that fifofs takes are s3://BUCKET/KEY, gs://, az:// and \
                 ssh://HOST/FILE; give others to a command, as in -o '|curl -T - URL', or ./{0} for a \
                 file of that name",
                text.display()
            )));
        }
        if bytes == b"-" || bytes == b"/dev/stdout" {
            return Ok(STDOUT);
        }
        if bytes == b"/dev/stderr" {
            return Ok(STDERR);
        }
        if let Some(descriptor) = Self::named_by_the_system(bytes) {
            return Ok(descriptor);
        }
        let Some(number) = bytes.strip_prefix(b"fd:") else {
            return Ok(Destination::File(text.into()));
        };
        match parse_descriptor(number) {
            Some(number) => Ok(Destination::Descriptor(number)),
            None => Err(Error::usage(format!(
                "invalid destination '{0}'; give fd:1, or fd:N with a number above 2, or ./{0} for a \
                 file of that name",
                text.display()
            ))),
        }
    }

    fn named_by_the_system(path: &[u8]) -> Option<Self> {
        let name = [&b"/dev/fd/"[..], b"/proc/self/fd/"]
            .iter()
            .find_map(|directory| path.strip_prefix(*directory))?;
        match name {
            // The program's own standard error, but asked for by a name that leaves no doubt.
            b"2" => Some(STDERR),
            name => parse_descriptor(name).map(Destination::Descriptor),
        }
    }

    /// Whether both name the same destination.
    pub(super) fn is_same_place(&self, other: &Destination) -> bool {
        self.place() == other.place()
    }

    /// The same value for two spellings of one destination.
    fn place(&self) -> Destination {
        let Destination::File(path) = self else {
            return self.clone();
        };
        if let Ok(path) = path.canonicalize() {
            return Destination::File(path);
        }
        // A link's target may not exist yet.
        let path = &links::followed(path).unwrap_or_else(|_| path.clone());
        let directory = links::directory_of(path).canonicalize();
        match (directory, path.file_name()) {
            (Ok(directory), Some(name)) => Destination::File(directory.join(name)),
            _ => self.clone(),
        }
    }
}

/// Whether it begins like a URL, with a scheme as in RFC 3986.
fn is_url(text: &[u8]) -> bool {
    let Some(end) = text.windows(3).position(|three| three == b"://") else {
        return false;
    };
    let (first, rest) = (text.first(), &text[..end]);
    first.is_some_and(u8::is_ascii_alphabetic)
        && rest
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// The number of a descriptor that an output can go to.
fn parse_descriptor(text: &[u8]) -> Option<RawFd> {
    let number = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number == libc::STDOUT_FILENO || number > libc::STDERR_FILENO).then_some(number)
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            destination if *destination == STDOUT => f.write_str("standard output"),
            destination if *destination == STDERR => f.write_str("standard error"),
            Destination::Descriptor(number) => write!(f, "fd:{number}"),
            Destination::File(path) => path.display().fmt(f),
            Destination::Command(command) => write!(f, "'|{}'", command.display()),
            Destination::Remote(address) => address.fmt(f),
            Destination::Object(address) => address.fmt(f),
        }
    }
}

/// The destination of each output, in order. There is at least one output.
pub(super) fn assign(
    outputs: &[PathBuf],
    file: Option<&OsStr>,
    to: &[OsString],
) -> Result<Vec<Destination>> {
    let mut destinations = vec![None; outputs.len()];
    for assignment in to {
        let (output, destination) = parse_assignment(outputs, assignment)?;
        if destinations[output].replace(destination).is_some() {
            return Err(Error::usage(format!(
                "'{}' has two destinations; give it one, and use tee to write to several",
                outputs[output].display()
            )));
        }
    }
    if let [destination] = &mut destinations[..] {
        let single = file.map_or(Ok(STDOUT), Destination::parse);
        destination.get_or_insert(single?);
    } else if let Some(file) = file {
        return Err(Error::usage(format!(
            "there are several outputs, {}, and -o is for one; say which goes to {} with \
             --to NAME={}",
            list(outputs),
            file.display(),
            file.display()
        )));
    }
    let missing: Vec<&PathBuf> = outputs
        .iter()
        .zip(&destinations)
        .filter_map(|(output, destination)| destination.is_none().then_some(output))
        .collect();
    if let Some(first) = missing.first() {
        return Err(Error::usage(format!(
            "each of several outputs ({}) needs a destination; without one: {}; add --to {}=DEST \
             (DEST is a path, - for standard output, fd:N, or '|CMD')",
            list(outputs),
            list(&missing),
            first.display()
        )));
    }
    let destinations: Vec<Destination> = destinations.into_iter().flatten().collect();
    check_different(outputs, &destinations)?;
    Ok(destinations)
}

/// Parses `NAME=DEST`. Both may contain `=`: it is split at the first one that follows the name of an
/// output.
fn parse_assignment(outputs: &[PathBuf], text: &OsStr) -> Result<(usize, Destination)> {
    let bytes = text.as_bytes();
    let signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'=');
    for (at, _) in signs {
        let name = Path::new(OsStr::from_bytes(&bytes[..at]));
        if let Some(output) = outputs.iter().position(|output| output == name) {
            let destination = Destination::parse(OsStr::from_bytes(&bytes[at + 1..]))?;
            return Ok((output, destination));
        }
    }
    let example = outputs
        .first()
        .map_or("out".into(), |output| output.display().to_string());
    Err(Error::usage(format!(
        "--to {} names no output; the outputs are {}: write --to {example}=DEST",
        text.display(),
        list(outputs)
    )))
}

fn check_different(outputs: &[PathBuf], destinations: &[Destination]) -> Result<()> {
    let places: Vec<_> = destinations.iter().map(Destination::place).collect();
    for (second, place) in places.iter().enumerate() {
        // The same command can be run twice.
        let is_one = !matches!(place, Destination::Command(_));
        let same = |other: &Destination| is_one && other == place;
        if let Some(first) = places[..second].iter().position(same) {
            return Err(Error::usage(format!(
                "'{}' and '{}' would both go to {}; give each a destination of its own",
                outputs[first].display(),
                outputs[second].display(),
                destinations[second]
            )));
        }
    }
    Ok(())
}

/// Names, for messages.
pub(super) fn list(names: &[impl AsRef<Path>]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("'{}'", name.as_ref().display()))
        .collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(outputs: &[&str], file: Option<&str>, to: &[&str]) -> Result<Vec<String>> {
        let outputs: Vec<PathBuf> = outputs.iter().map(PathBuf::from).collect();
        let to: Vec<OsString> = to.iter().map(OsString::from).collect();
        let destinations = assign(&outputs, file.map(OsStr::new), &to)?;
        Ok(destinations.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn refused(outputs: &[&str], file: Option<&str>, to: &[&str], why: &str) {
        let error = assigned(outputs, file, to)
            .expect_err("an error")
            .to_string();
        assert!(error.contains(why), "'{error}' does not say '{why}'");
    }

    #[test]
    fn one_output_goes_to_standard_output_unless_told_otherwise() {
        let given = |file, to: &[&str]| assigned(&["out"], file, to).expect("a destination");
        assert_eq!(given(None, &[]), ["standard output"]);
        assert_eq!(given(Some("-"), &[]), ["standard output"]);
        assert_eq!(given(Some("x.zip"), &[]), ["x.zip"]);
        assert_eq!(given(Some("./-"), &[]), ["./-"]);
        assert_eq!(given(None, &["out=fd:7"]), ["fd:7"]);
    }

    #[test]
    fn the_systems_names_of_descriptors_are_descriptors() {
        let given = |file| assigned(&["out"], Some(file), &[]).expect("a destination");
        assert_eq!(given("/dev/stdout"), ["standard output"]);
        assert_eq!(given("/dev/fd/1"), ["standard output"]);
        assert_eq!(given("/dev/fd/63"), ["fd:63"]);
        assert_eq!(given("/proc/self/fd/3"), ["fd:3"]);
        for name in ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"] {
            assert_eq!(given(name), ["standard error"]);
        }
        for path in ["/dev/fd/x", "/dev/fd/3/x"] {
            assert_eq!(given(path), [path]);
        }
    }

    #[test]
    fn urls_are_not_files() {
        for url in ["http://h/x", "S3://b/k", "file://x"] {
            refused(&["a"], Some(url), &[], ": the URLs that fifofs takes");
        }
        let given = assigned(&["a"], Some("./http://h/x"), &[]).expect("a destination");
        assert_eq!(given, ["./http://h/x"]);
    }

    #[test]
    fn several_outputs_each_have_their_own() {
        let to = ["b=y", "a=-", "c=d=fd:3=4"];
        let got = assigned(&["a", "b", "c=d"], None, &to);
        // `fd:3=4` is no number.
        assert!(
            got.expect_err("an error")
                .to_string()
                .contains("invalid destination 'fd:3=4'")
        );
        let got = assigned(&["a", "b", "c=d"], None, &["b=y", "a=-", "c=d=z=4"]);
        assert_eq!(got.expect("destinations"), ["standard output", "y", "z=4"]);
    }

    #[test]
    fn an_output_without_a_destination_is_named() {
        refused(
            &["a", "b"],
            None,
            &["a=x"],
            "without one: 'b'; add --to b=DEST",
        );
        refused(&["a", "b"], None, &[], "several outputs ('a', 'b')");
        refused(&["a", "b"], Some("x"), &[], "--to NAME=x");
    }

    #[test]
    fn a_destination_that_names_no_output_is_refused() {
        refused(
            &["a"],
            None,
            &["b=x"],
            "the outputs are 'a': write --to a=DEST",
        );
        refused(&["a"], None, &["a"], "names no output");
        refused(&["a"], None, &["a=x", "a=y"], "'a' has two destinations");
    }

    #[test]
    fn two_outputs_cannot_go_to_one_place() {
        refused(
            &["a", "b"],
            None,
            &["a=-", "b=fd:1"],
            "both go to standard output",
        );
        refused(&["a", "b"], None, &["a=x", "b=./x"], "both go to ./x");
        refused(&["a", "b"], None, &["a=fd:4", "b=fd:4"], "both go to fd:4");
        // Nor by a link to a file that does not exist yet.
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name).display().to_string();
        std::os::unix::fs::symlink("new", at("link")).expect("a link");
        let to = [format!("a={}", at("new")), format!("b={}", at("link"))];
        let to = [&*to[0], &*to[1]];
        refused(&["a", "b"], None, &to, "would both go to");
    }

    #[test]
    fn a_command_is_a_destination_and_may_be_that_of_two() {
        let assigned = assigned(&["a", "b"], None, &["a=|wc -c", "b=|wc -c"]);
        assert_eq!(assigned.expect("two"), ["'|wc -c'", "'|wc -c'"]);
        refused(
            &["a"],
            Some("| \t"),
            &[],
            "the destination '|' has no command",
        );
        refused(&["a"], Some("ssh://host"), &[], "it has no path");
        refused(
            &["a", "b"],
            None,
            &["a=ssh://h/x", "b=ssh://h/x"],
            "both go to ssh://h/x",
        );
    }

    #[test]
    fn descriptors_that_are_the_programs_own_are_refused() {
        for text in ["fd:0", "fd:2", "fd:", "fd:x", "fd:-1"] {
            refused(&["a"], Some(text), &[], "invalid destination");
        }
        refused(&["a"], Some(""), &[], "a destination is empty");
    }
}

//! What to say when a program left nothing where its output was to be.
//!
//! Knows how to list a directory and what to advise; decides nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::destinations::list;
use super::placeholders::Template;

/// How many files are named.
const NAMED_AT_MOST: usize = 5;

/// As many are looked at: a program may have left a million.
const LOOKED_AT_MOST: usize = 10_000;

/// Where an output was expected.
pub(super) struct Search<'a> {
    pub(super) template: &'a Template,
    /// The directory of the outputs; a FIFO is in one of its own.
    pub(super) directory: Option<&'a Path>,
    /// Whether others would see the directory.
    pub(super) is_shared: bool,
}

impl Search<'_> {
    /// What is to be said of an output that a program which succeeded did not make, but for who
    /// did not: `did not make 'out': it left 'out.zip'; use {out:out.zip}`.
    pub(super) fn describe(&self, name: &Path) -> String {
        if self.directory.is_none() {
            return format!(
                "did not open '{}' to write{}, or use --backend fuse if it makes a file of its own",
                name.display(),
                self.advice_on_nothing()
            );
        }
        let missing = format!("did not make '{}': ", name.display());
        let nothing = || {
            format!(
                "{missing}it left no file at all{}",
                self.advice_on_nothing()
            )
        };
        if self.directory.is_none_or(is_empty) {
            return nothing();
        }
        if let Some(kind) = self.kind_of_what_is_there(name) {
            return format!(
                "made '{}' {kind}, which has no content to deliver",
                name.display()
            );
        }
        let found = self.other_files();
        let Some(first) = found.first() else {
            return nothing();
        };
        let more = found.len().saturating_sub(NAMED_AT_MOST);
        let named = list(&found[..found.len() - more]);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let advice = match self.template.placeholder(first) {
            Some(placeholder) => format!("use {placeholder}"),
            None => format!(
                "use another --placeholder, that ends with }}, to name '{}'",
                first.display()
            ),
        };
        format!("{missing}it left {named}{more}; {advice}")
    }

    /// The same for every output that is not there, or where there is no file at all.
    pub(super) fn all_missing(&self) -> Vec<String> {
        let outputs = self.template.outputs();
        if outputs.is_empty() && self.directory.is_some_and(is_empty) {
            return vec![self.describe_nothing()];
        }
        let is_there = |name: &Path| {
            let directory = self.directory.unwrap_or(Path::new(""));
            directory.join(name).is_file()
        };
        let missing = outputs.iter().filter(|name| !is_there(name));
        missing.map(|name| self.describe(name)).collect()
    }

    /// The same where the program was given the directory alone.
    pub(super) fn describe_nothing(&self) -> String {
        format!("left no file in {{dir}}{}", self.advice_on_nothing())
    }

    fn advice_on_nothing(&self) -> &'static str {
        if self.directory.is_none() || self.is_shared {
            "; check that it writes to the path that it is given"
        } else {
            "; if another process writes it (a server, a container engine), use --shared"
        }
    }

    /// What stands there, if it is no file.
    fn kind_of_what_is_there(&self, name: &Path) -> Option<&'static str> {
        let metadata = self.directory?.join(name).symlink_metadata().ok()?;
        match metadata.file_type() {
            kind if kind.is_file() => None,
            kind if kind.is_dir() => Some("a directory"),
            kind if kind.is_symlink() => Some("a symbolic link"),
            _ => Some("a special file"),
        }
    }

    /// The files of the directory that are no outputs, in the order of their names.
    fn other_files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        if let Some(directory) = self.directory {
            collect(directory, Path::new(""), &mut found);
        }
        found.retain(|file| !self.template.outputs().contains(file));
        found.sort();
        found
    }
}

/// Adds the files below a directory, which is given as its path from `root`.
fn collect(root: &Path, inside: &Path, found: &mut Vec<PathBuf>) {
    // What cannot be read has nothing to advise.
    for entry in fs::read_dir(root.join(inside))
        .into_iter()
        .flatten()
        .flatten()
    {
        if found.len() >= LOOKED_AT_MOST {
            return;
        }
        let path = inside.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(root, &path, found),
            _ => found.push(path),
        }
    }
}

/// Whether there is anything in a directory.
pub(super) fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn said(files: &[&str], placeholder: &str, shared: bool) -> String {
        let place = tempfile::tempdir().expect("a directory");
        for file in files {
            let path = place.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, "").expect("write");
        }
        let words = [placeholder.into()];
        let template = Template::parse(&words, OsStr::new(placeholder)).expect("a template");
        let search = Search {
            template: &template,
            directory: Some(place.path()),
            is_shared: shared,
        };
        search.describe(Path::new("out"))
    }

    #[test]
    fn what_was_made_instead_is_named_with_what_to_type() {
        assert_eq!(
            said(&["out.zip"], "{out}", false),
            "did not make 'out': it left 'out.zip'; use {out:out.zip}"
        );
        assert_eq!(
            said(&["b", "a/x", "out"], "@}", false),
            "did not make 'out': it left 'a/x', 'b'; use @:a/x}"
        );
        assert!(
            said(&["b"], "@", false)
                .ends_with("use another --placeholder, that ends with }, to name 'b'")
        );
    }

    #[test]
    fn what_is_no_file_is_said_to_be_none() {
        let said = said(&["out/x"], "{out}", false);
        assert_eq!(
            said,
            "made 'out' a directory, which has no content to deliver"
        );
    }

    #[test]
    fn of_many_files_some_are_named() {
        let files = ["1", "2", "3", "4", "5", "6", "7"];
        assert!(said(&files, "{out}", false).contains("'5' and 2 more; use {out:1}"));
    }

    #[test]
    fn where_nothing_is_others_may_have_written_elsewhere() {
        assert!(said(&[], "{out}", false).contains("it left no file at all; if another process"));
        assert!(said(&[], "{out}", true).contains("check that it writes to the path"));
    }
}

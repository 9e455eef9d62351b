//! Messages for a program that left nothing where its output was expected.
//!
//! Knows what to advise from the files in a mount; decides nothing.

use std::path::{Path, PathBuf};

use fifofs::{Entry, EntryKind, MountView};

use super::destinations::list;
use super::placeholders::Template;

/// How many files are named.
const NAMED_AT_MOST: usize = 5;

/// Where an output was expected.
pub(super) struct Search<'a> {
    pub(super) template: &'a Template,
    /// The files in the directory of the outputs; none with a FIFO, which is in a directory of its
    /// own.
    pub(super) view: Option<&'a MountView>,
    /// Whether other processes see the directory.
    pub(super) is_shared: bool,
}

/// The files that a program with `--tar` did not leave.
pub(super) enum Missing {
    /// It left no file at all, and was not asked for any by name.
    All,
    These(Vec<PathBuf>),
}

/// None if everything is there, or this cannot be known.
pub(super) fn files(template: &Template, view: Option<&MountView>) -> Option<Missing> {
    let entries = view?.entries();
    if template.outputs().is_empty() {
        return entries.is_empty().then_some(Missing::All);
    }
    let is_missing = |name: &&PathBuf| entries.iter().all(|entry| entry.path != **name);
    let missing: Vec<PathBuf> = template
        .outputs()
        .iter()
        .filter(is_missing)
        .cloned()
        .collect();
    (!missing.is_empty()).then_some(Missing::These(missing))
}

impl Search<'_> {
    /// The message for an output that a successful program did not make, without the program's
    /// name: `did not make 'out': it left 'out.zip'; use {out:out.zip}`.
    pub(super) fn describe(&self, name: &Path) -> String {
        let Some(view) = self.view else {
            return format!(
                "did not open '{}' to write{}, or use --backend fuse if it makes a file of its own",
                name.display(),
                self.advice_on_nothing()
            );
        };
        let missing = format!("did not make '{}': ", name.display());
        let nothing = || {
            format!(
                "{missing}it left no file at all{}",
                self.advice_on_nothing()
            )
        };
        let entries = view.entries();
        if let Some(kind) = kind_of_what_is_there(&entries, name) {
            let advice = match kind {
                DIRECTORY => "; use --tar to get the files in it",
                _ => "",
            };
            return format!(
                "made '{}' {kind}, which has no content to deliver{advice}",
                name.display()
            );
        }
        let found = self.other_files(entries);
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

    /// The same for every missing output, or if there is no file at all.
    pub(super) fn all_missing(&self) -> Vec<String> {
        let outputs = self.template.outputs();
        if outputs.is_empty() && self.view.is_some_and(|view| view.entries().is_empty()) {
            return vec![self.describe_nothing()];
        }
        let is_there = |name: &Path| self.view.and_then(|view| view.file_size(name)).is_some();
        let missing = outputs.iter().filter(|name| !is_there(name));
        missing.map(|name| self.describe(name)).collect()
    }

    /// The same if the program got only the directory.
    pub(super) fn describe_nothing(&self) -> String {
        format!("left no file in {{dir}}{}", self.advice_on_nothing())
    }

    fn advice_on_nothing(&self) -> &'static str {
        if self.view.is_none() || self.is_shared {
            "; check that it writes to the path that it is given"
        } else {
            "; check that it writes to the path that it is given, or if another process writes it (a server, a \
             container engine), use --shared"
        }
    }

    /// The files that are no outputs, ordered by name.
    fn other_files(&self, entries: Vec<Entry>) -> Vec<PathBuf> {
        let files = entries
            .into_iter()
            .filter(|e| e.kind != EntryKind::Directory);
        let mut found: Vec<PathBuf> = files.map(|file| file.path).collect();
        found.retain(|file| !self.template.outputs().contains(file));
        found
    }
}

const DIRECTORY: &str = "a directory";

/// The kind of a name that is no file.
fn kind_of_what_is_there(entries: &[Entry], name: &Path) -> Option<&'static str> {
    match entries.iter().find(|entry| entry.path == name)?.kind {
        EntryKind::File => None,
        EntryKind::Directory => Some(DIRECTORY),
        EntryKind::Symlink => Some("a symbolic link"),
        _ => Some("a special file"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;

    use fifofs::Mount;

    use super::*;

    fn said(files: &[&str], placeholder: &str, shared: bool) -> String {
        let mount = Mount::builder().mount_temporary().expect("a mount");
        for file in files {
            let path = mount.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, "").expect("write");
        }
        let words = [placeholder.into()];
        let template = Template::parse(&words, OsStr::new(placeholder)).expect("a template");
        let search = Search {
            template: &template,
            view: Some(&mount.view()),
            is_shared: shared,
        };
        search.describe(Path::new("out"))
    }

    #[test]
    fn a_file_made_instead_is_named_with_the_placeholder_to_type() {
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
    fn a_name_that_is_no_file_is_reported_with_its_kind() {
        let said = said(&["out/x"], "{out}", false);
        assert_eq!(
            said,
            "made 'out' a directory, which has no content to deliver; use --tar to get the files in it"
        );
    }

    #[test]
    fn only_some_of_many_files_are_named() {
        let files = ["1", "2", "3", "4", "5", "6", "7"];
        assert!(said(&files, "{out}", false).contains("'5' and 2 more; use {out:1}"));
    }

    #[test]
    fn without_any_file_the_advice_is_to_share_the_mount() {
        assert!(said(&[], "{out}", false).contains("or if another process writes it"));
        assert!(said(&[], "{out}", true).contains("check that it writes to the path"));
    }
}

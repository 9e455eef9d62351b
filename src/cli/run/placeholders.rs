//! Placeholders in the words of a command, and their replacements.
//!
//! Knows words and names; knows nothing of mounts or destinations. Invariant: the name of an output
//! is a path inside of the directory that it will be in, and no output's name is a directory of
//! another's.

mod advice;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use fifofs::{Error, Result};

pub(super) use self::advice::one_word;

/// The placeholder of an output unless `--placeholder` sets another.
pub(super) const DEFAULT: &str = "{out}";

/// The placeholder of the directory.
const DIRECTORY: &[u8] = b"{dir}";

/// The name of an output whose placeholder has none.
const DEFAULT_NAME: &str = "out";

/// The name of the control directory, which no output can have.
const CONTROL_NAME: &str = ".fifofs";

/// A command whose placeholders are not replaced yet.
#[derive(Debug)]
pub(super) struct Template {
    words: Vec<Vec<Part>>,
    outputs: Vec<PathBuf>,
    has_directory: bool,
    syntax: Syntax,
}

/// A piece of a word.
#[derive(Debug, PartialEq)]
enum Part {
    Text(Vec<u8>),
    /// The path of the output with this number.
    Output(usize),
    Directory,
}

impl Template {
    /// Finds the placeholders: `placeholder`, the same with a name (`{out:NAME}`), and `{dir}`.
    pub(super) fn parse(words: &[OsString], placeholder: &OsStr) -> Result<Self> {
        let mut template = Template {
            words: Vec::new(),
            outputs: Vec::new(),
            has_directory: false,
            syntax: Syntax::of(placeholder)?,
        };
        for word in words {
            let parts = template.parse_word(word.as_bytes())?;
            template.words.push(parts);
        }
        let has_none = template.outputs.is_empty() && !template.has_directory;
        if template.syntax.is_default() {
            advice::refuse_misspelt(words, has_none)?;
        }
        if has_none {
            return Err(advice::no_placeholder(words, &template.syntax.plain()));
        }
        template.check_no_output_holds_another()?;
        Ok(template)
    }

    fn parse_word(&mut self, word: &[u8]) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut text = Vec::new();
        let mut rest = word;
        while let Some(&byte) = rest.first() {
            let (part, length) = if rest.starts_with(&self.syntax.plain) {
                let output = self.output(Path::new(DEFAULT_NAME));
                (Part::Output(output), self.syntax.plain.len())
            } else if let Some((name, length)) = self.syntax.named(rest)? {
                let output = self.output(&output_name(name)?);
                (Part::Output(output), length)
            } else if rest.starts_with(DIRECTORY) {
                self.has_directory = true;
                (Part::Directory, DIRECTORY.len())
            } else {
                text.push(byte);
                rest = &rest[1..];
                continue;
            };
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(part);
            rest = &rest[length..];
        }
        if !text.is_empty() || parts.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(parts)
    }

    /// The number of the output with this name; a new number for a new name.
    fn output(&mut self, name: &Path) -> usize {
        let known = self.outputs.iter().position(|output| output == name);
        known.unwrap_or_else(|| {
            self.outputs.push(name.to_owned());
            self.outputs.len() - 1
        })
    }

    fn check_no_output_holds_another(&self) -> Result<()> {
        for output in &self.outputs {
            let inside = |other: &&PathBuf| *other != output && other.starts_with(output);
            if let Some(other) = self.outputs.iter().find(inside) {
                return Err(Error::usage(format!(
                    "'{}' cannot be a file, since '{}' is in a directory of that name; \
                     give one of them another name",
                    output.display(),
                    other.display()
                )));
            }
        }
        Ok(())
    }

    /// The names of the outputs, each once, in the order of the words.
    pub(super) fn outputs(&self) -> &[PathBuf] {
        &self.outputs
    }

    /// Whether the program gets the path of the directory.
    pub(super) fn has_directory(&self) -> bool {
        self.has_directory
    }

    /// The placeholder of an output with this name, if one can be written.
    pub(super) fn placeholder(&self, name: &Path) -> Option<String> {
        let before = self.syntax.before_name.as_deref()?;
        let name = name.display();
        Some(format!("{}{name}}}", String::from_utf8_lossy(before)))
    }

    /// The words, with the path of each output and of the directory in them.
    pub(super) fn words(&self, outputs: &[PathBuf], directory: &Path) -> Vec<OsString> {
        let expand = |parts: &Vec<Part>| {
            let mut word = Vec::new();
            for part in parts {
                word.extend_from_slice(match part {
                    Part::Text(text) => text,
                    Part::Output(number) => outputs[*number].as_os_str().as_bytes(),
                    Part::Directory => directory.as_os_str().as_bytes(),
                });
            }
            OsString::from_vec(word)
        };
        self.words.iter().map(expand).collect()
    }
}

/// How a placeholder is written.
#[derive(Debug)]
struct Syntax {
    /// Without a name: `{out}`.
    plain: Vec<u8>,
    /// The part before a name, which ends with `}`: `{out:`. A placeholder that does not end with
    /// `}` cannot have a name.
    before_name: Option<Vec<u8>>,
}

impl Syntax {
    fn of(placeholder: &OsStr) -> Result<Self> {
        let plain = placeholder.as_bytes().to_vec();
        if plain.is_empty() || plain == DIRECTORY {
            return Err(Error::usage(
                "--placeholder cannot be empty or {dir}; give a text that stands for the \
                 output, such as @OUT@ or %{out}",
            ));
        }
        let before_name = plain.strip_suffix(b"}").map(|start| [start, b":"].concat());
        Ok(Syntax { plain, before_name })
    }

    /// The name in the placeholder at the start of `text`, and the placeholder's length.
    fn named<'a>(&self, text: &'a [u8]) -> Result<Option<(&'a [u8], usize)>> {
        let Some(before) = &self.before_name else {
            return Ok(None);
        };
        let Some(rest) = text.strip_prefix(before.as_slice()) else {
            return Ok(None);
        };
        let Some(length) = rest.iter().position(|byte| *byte == b'}') else {
            return Err(Error::usage(format!(
                "'{}' has no }}; write {}NAME}}, or choose other placeholders with --placeholder",
                String::from_utf8_lossy(text),
                String::from_utf8_lossy(before)
            )));
        };
        Ok(Some((&rest[..length], before.len() + length + 1)))
    }

    fn is_default(&self) -> bool {
        self.plain == DEFAULT.as_bytes()
    }

    /// The placeholder, for messages.
    fn plain(&self) -> String {
        String::from_utf8_lossy(&self.plain).into_owned()
    }
}

/// The name of an output, without needless slashes and dots.
fn output_name(text: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(text));
    let wrong = |why: &str| {
        Err(Error::usage(format!(
            "'{}' cannot be the name of an output: {why}; give the name of a file, such as \
             x.zip or sub/x.zip",
            path.display()
        )))
    };
    if text == b"." || text.ends_with(b"/") || text.ends_with(b"/.") {
        return wrong("it is that of a directory");
    }
    let mut name = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) if part == CONTROL_NAME => {
                return wrong("fifofs uses .fifofs itself");
            }
            Component::Normal(part) => name.push(part),
            Component::CurDir => {}
            Component::ParentDir => return wrong("it has .. in it"),
            Component::RootDir | Component::Prefix(_) => return wrong("it begins with a slash"),
        }
    }
    if name.as_os_str().is_empty() {
        return wrong("it is empty");
    }
    Ok(name)
}

#[cfg(test)]
mod tests;

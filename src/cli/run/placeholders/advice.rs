//! Advice for a command with a misspelt placeholder, or without one.
//!
//! Knows how users misspell the usual placeholders; replaces nothing in the command. Invariant: a
//! command that a message shows can be pasted.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use fifofs::{Error, Result};

use super::DEFAULT;
use crate::cli::shell;

/// What users may write for the output when they do not know its placeholder. Only if the command has
/// no other placeholder: in scripts these are names of variables.
const GUESSES: [&str; 6] = ["", "output", "outfile", "outputfile", "file", "o"];

/// Shells, whose scripts get the output's path as `$1`.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ksh", "zsh"];

/// Variables by which a script may read the path from its environment.
const VARIABLES: [&str; 4] = [
    "\"$FIFOFS_OUT\"",
    "\"${FIFOFS_OUT}\"",
    "${FIFOFS_OUT}",
    "$FIFOFS_OUT",
];

/// Refuses misspelt placeholders; with `guess`, also words that may be meant as one.
pub(super) fn refuse_misspelt(words: &[OsString], guess: bool) -> Result<()> {
    let mut found = None;
    let mend = |word: &OsString| {
        let mut corrected = Vec::new();
        let mut rest = word.as_bytes();
        while !rest.is_empty() {
            let before = corrected.last().copied();
            if let Some((length, meant)) = misspelt(before, rest, guess) {
                let written = String::from_utf8_lossy(&rest[..length]).into_owned();
                corrected.extend_from_slice(meant.as_bytes());
                found.get_or_insert((written, meant));
                rest = &rest[length..];
            } else {
                corrected.push(rest[0]);
                rest = &rest[1..];
            }
        }
        OsString::from_vec(corrected)
    };
    let corrected: Vec<OsString> = words.iter().map(mend).collect();
    match found {
        None => Ok(()),
        Some((written, meant)) => Err(Error::usage(format!(
            "'{written}' is not a placeholder; write {meant}: {}; to pass that text to the program, \
             choose another --placeholder, such as @OUT@",
            command_line(words, &corrected)
        ))),
    }
}

/// The length of a misspelt placeholder at the start of `text`, and the right one.
fn misspelt(before: Option<u8>, text: &[u8], guess: bool) -> Option<(usize, String)> {
    // To a shell `${out}` is a variable.
    if text[0] != b'{' || before == Some(b'$') {
        return None;
    }
    if let Some(inner) = text.strip_prefix(b"{")
        && let Some((length, placeholder)) = placeholder(inner)
        && inner[length..].starts_with(b"}")
    {
        return Some((length + 2, placeholder.into()));
    }
    let end = text.iter().position(|byte| *byte == b'}')?;
    let inside = std::str::from_utf8(&text[1..end]).ok()?;
    let (key, name) = match inside.split_once(':') {
        Some((key, name)) => (key, Some(name)),
        None => (inside, None),
    };
    let output = || match name {
        Some(name) if !name.is_empty() => format!("{{out:{name}}}"),
        _ => DEFAULT.to_owned(),
    };
    let meant = match (key.to_ascii_lowercase().as_str(), name) {
        _ if (key, name) == ("dir", None) || key == "out" => return None,
        ("dir", None) => "{dir}".to_owned(),
        ("dir", Some(name)) => format!("{{dir}}/{name}"),
        ("out", _) => output(),
        (key, None) if key.strip_prefix("out.").is_some_and(is_extension) => {
            format!("{{out:{inside}}}")
        }
        (key, _) if is_slip_of(key, "out") => output(),
        (key, _) if guess && GUESSES.contains(&key) => output(),
        _ => return None,
    };
    Some((end + 1, meant))
}

/// The placeholder at the start of `text`.
fn placeholder(text: &[u8]) -> Option<(usize, &str)> {
    let end = 1 + text.iter().position(|byte| *byte == b'}')?;
    let placeholder = std::str::from_utf8(&text[..end]).ok()?;
    let is_one = ["{out}", "{dir}"].contains(&placeholder)
        || placeholder.starts_with("{out:") && placeholder.len() > "{out:}".len();
    is_one.then_some((end, placeholder))
}

/// Whether one letter is extra or missing, or two are swapped. With a different letter it may well be
/// another word.
fn is_slip_of(word: &str, meant: &str) -> bool {
    let without_one = |text: &str, shorter: &str| {
        (0..text.len()).any(|at| format!("{}{}", &text[..at], &text[at + 1..]) == shorter)
    };
    if !word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return false;
    }
    let exchanged = |at: usize| {
        let mut bytes = meant.as_bytes().to_vec();
        bytes.swap(at, at + 1);
        bytes == word.as_bytes()
    };
    match word.len() as isize - meant.len() as isize {
        1 => without_one(word, meant),
        -1 => without_one(meant, word),
        0 => (0..meant.len() - 1).any(exchanged),
        _ => false,
    }
}

fn is_extension(text: &str) -> bool {
    !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a word looks like the name of a file to be made.
fn is_new_file(word: &OsString) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/".contains(byte);
    let extension = Path::new(word).extension().and_then(OsStr::to_str);
    extension.is_some_and(|text| is_extension(text) && text.contains(char::is_alphabetic))
        && word.as_bytes().iter().all(is_plain)
        && !word.as_bytes().starts_with(b"-")
        && !Path::new(word).exists()
}

/// The placeholder with this name for the output, if it can have one.
fn with_name(placeholder: &str, name: &OsStr) -> OsString {
    match placeholder.strip_suffix('}') {
        Some(start) => format!("{start}:{}}}", name.display()).into(),
        None => placeholder.into(),
    }
}

/// The error for a command without any placeholder, with what to type.
pub(super) fn no_placeholder(words: &[OsString], placeholder: &str) -> Error {
    const WRONG: &str = "no word of the command says where its output goes";
    let message = match script(words) {
        None => {
            let mut corrected = words.to_vec();
            let example = match words.iter().skip(1).position(is_new_file) {
                Some(at) => {
                    let name = Path::new(&words[1 + at]).file_name().unwrap_or_default();
                    corrected[1 + at] = with_name(placeholder, name);
                    "for example"
                }
                None => {
                    corrected.push(placeholder.into());
                    "for example at the end"
                }
            };
            format!(
                "{WRONG}; put {placeholder} where the name of the output file belongs, {example}: {}",
                command_line(words, &corrected)
            )
        }
        Some(script) => match with_argument(words, script, placeholder) {
            Some(corrected) => format!(
                "{WRONG}: $FIFOFS_OUT is only set beside a placeholder; give the path to the \
                 script: {}",
                command_line(words, &corrected)
            ),
            None => format!(
                "{WRONG}; in the script, write \"$1\" where the name of the output file belongs, \
                 and after the script the name of the shell and {placeholder}: \
                 {} -c '… > \"$1\"' sh {placeholder}",
                command_line(words, &words[..1]),
            ),
        },
    };
    Error::usage(message)
}

/// Advice for a program that cannot be started, if it is a whole command in one word.
pub(in crate::cli::run) fn one_word(words: &[OsString]) -> Option<String> {
    let [word] = words else {
        return None;
    };
    let text = word.to_str()?;
    let corrected: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
    (corrected.len() > 1 && !Path::new(word).exists()).then(|| {
        format!(
            "there is no program '{text}', which is one word; leave out the quotes around the \
             command: {}, or give it to a shell",
            command_line(words, &corrected)
        )
    })
}

/// The index of the script of `sh -c SCRIPT` among the words.
fn script(words: &[OsString]) -> Option<usize> {
    let program = words.first()?.to_str()?;
    let name = program.rsplit('/').next()?;
    let option = words.get(1)?.to_str()?;
    let is_script = SHELLS.contains(&name) && option.starts_with('-') && option.ends_with('c');
    (is_script && words.len() > 2).then_some(2)
}

/// The command with an argument in place of the variable, if the script uses that.
fn with_argument(words: &[OsString], script: usize, placeholder: &str) -> Option<Vec<OsString>> {
    let text = words[script].to_str()?;
    VARIABLES.iter().find(|name| text.contains(**name))?;
    let mut corrected = words.to_vec();
    if corrected.len() == script + 1 {
        // Becomes `$0`, the name of the script in its messages.
        corrected.push("sh".into());
    }
    let argument = format!("\"${}\"", corrected.len() - script - 1);
    corrected[script] = VARIABLES
        .iter()
        .fold(text.to_owned(), |text, name| text.replace(name, &argument))
        .into();
    corrected.push(placeholder.into());
    Some(corrected)
}

/// The command line of this process with other words for the command.
fn command_line(words: &[OsString], corrected: &[OsString]) -> String {
    let given = crate::cli::given_words();
    let options = match given.strip_suffix(words) {
        Some([_, options @ ..]) => options.to_vec(),
        _ => ["run", "--"].map(OsString::from).to_vec(),
    };
    let program = OsString::from("fifofs");
    let line = [&program].into_iter().chain(&options).chain(corrected);
    shell::line(line.map(|word| -> &OsStr { word }))
}

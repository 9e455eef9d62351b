//! Quotes words for a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::cli::text::is_control;

/// A command line that can be pasted.
pub(crate) fn line<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> String {
    let words: Vec<String> = words.into_iter().map(quoted).collect();
    words.join(" ")
}

/// A word in quotes, if it needs them. Braces do not, unless a shell would see a list or a range in
/// them.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:./-{}".contains(byte);
    let has_range = text.contains('{') && text.contains("..");
    if !text.is_empty() && word.as_bytes().iter().all(is_plain) && !has_range {
        return text.into_owned();
    }
    // A script of several lines is shown as its user wrote it.
    let must_be_escaped = |character| is_control(character) && !matches!(character, '\n' | '\t');
    if word
        .to_str()
        .is_none_or(|text| text.contains(must_be_escaped))
    {
        // The quoting of bash, zsh and POSIX since 2024: no raw control characters are shown.
        let escaped: Vec<u8> = word.as_bytes().iter().flat_map(escaped).collect();
        return format!("$'{}'", String::from_utf8_lossy(&escaped));
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A byte between `$'` and `'`.
fn escaped(byte: &u8) -> Vec<u8> {
    match byte {
        b'\\' | b'\'' => vec![b'\\', *byte],
        b' '..=b'~' => vec![*byte],
        // In octal, which ends after three digits whatever follows.
        _ => format!("\\{byte:03o}").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_quotes_has_them() {
        let words = [
            "zip",
            "-o{out:x.zip}",
            "{out:a..b}",
            "a b",
            "",
            "it's",
            "$HOME",
        ];
        let words = words.iter().map(OsStr::new);
        assert_eq!(
            line(words),
            r"zip -o{out:x.zip} '{out:a..b}' 'a b' '' 'it'\''s' '$HOME'"
        );
    }

    #[test]
    fn a_shell_gets_the_words_back() {
        let words = [
            "{out:a,b}",
            "two\nlines'\\",
            "\x1b1\u{202e}ä",
            "a'b\"c\\d",
            "~",
            "*",
        ];
        let script = format!("printf '%s\\0' {}", line(words.iter().map(OsStr::new)));
        let output = std::process::Command::new("bash")
            .args(["-c", &script])
            .output()
            .expect("bash");
        let got: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let expected: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        assert_eq!(got[..words.len()], expected);
    }
}

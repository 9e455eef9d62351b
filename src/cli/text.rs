//! Text for a terminal or the log.
//!
//! Names of files and processes may contain anything, also a terminal's control sequences and newlines.
//! Invariant: each message, line of the log or line of a [`Page`] is one line without control sequences.

use std::fmt::{self, Display, Write as _};
use std::io::{self, IsTerminal, Write as _};

use rustix::termios::tcgetwinsize;

/// Displays as one line: control characters, and characters that change the order of display, are escaped
/// as in Rust's strings.
pub(crate) struct OneLine<T>(pub(crate) T);

impl<T: Display> Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_control) {
            let (shown, controls) = rest.split_at(at);
            self.0.write_str(shown)?;
            let mut characters = controls.chars();
            for character in characters.by_ref().take(1) {
                match u32::from(character) {
                    // As printf(1) and strings of C and Python write it, too.
                    code if code < 0x100 && !"\t\n\r".contains(character) => {
                        write!(self.0, "\\x{code:02x}")?;
                    }
                    _ => write!(self.0, "{}", character.escape_default())?,
                }
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Whether it is a control character, also those of ISO 6429 above ASCII; a line or paragraph separator; or
/// an explicit directional formatting character (Unicode Standard Annex 9, 2).
pub(crate) fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Text in which each given line stays one line.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{}", OneLine(line));
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Prints a message on standard error: one line, by one write(2), so that processes which share standard
/// error do not write into each other's lines. Errors are ignored.
pub(crate) fn say(message: &str) {
    let line = format!("{}fifofs: {}\n", line_start(), OneLine(message));
    // Standard error has no buffer.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Characters after which the next text on standard error begins a line, if that is a terminal: a program
/// may have left an unfinished line there, or the terminal itself, which shows `^C`.
///
/// Asking for the cursor's position would consume the user's input. So this is as many blanks as a row has,
/// as zsh writes before its prompt (its option PROMPT_SP): from the start of a row they fill just that row,
/// and from anywhere else they reach the next one.
pub(crate) fn line_start() -> String {
    match is_clever_terminal().then(|| tcgetwinsize(io::stderr())) {
        Some(Ok(size)) => format!("{:1$}\r", "", usize::from(size.ws_col)),
        _ => String::new(),
    }
}

/// Whether standard error is a terminal whose cursor can be moved.
pub(crate) fn is_clever_terminal() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !is_dumb && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_and_has_no_control_characters() {
        let shown = |text: &str| OneLine(text).to_string();
        assert_eq!(shown("plain äöü 日本 \\ 'x'"), "plain äöü 日本 \\ 'x'");
        assert_eq!(shown(""), "");
        assert_eq!(
            shown("a\x1b]0;T\x07\nb\tc\r\x7f\u{9b}\0\u{202e}z"),
            r"a\x1b]0;T\x07\nb\tc\r\x7f\x9b\x00\u{202e}z"
        );
        let invalid = String::from_utf8_lossy(b"x\xff\xfey");
        assert_eq!(shown(&invalid), "x\u{fffd}\u{fffd}y");
        for code in (0..0x3000).filter_map(char::from_u32) {
            let text = shown(&format!("[{code}]"));
            assert!(!text.contains(is_control), "{code:?} became {text:?}");
        }
    }

    #[test]
    fn a_page_has_as_many_lines_as_were_given() {
        let mut page = Page::default();
        page.line("one\ntwo");
        page.line(format_args!("{} {}", 3, "\x1b"));
        assert_eq!(page.into_text(), "one\\ntwo\n3 \\x1b\n");
    }
}

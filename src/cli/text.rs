//! Text for people, on its way to a terminal or into the log.
//!
//! Names of files and processes are whatever their owner likes, a terminal's control sequences and
//! newlines among them. The invariant: whatever goes out as a message, a line of the log or a line
//! of a [`Page`] is one line that a terminal shows and does not obey.

use std::fmt::{self, Display, Write as _};
use std::io::{self, IsTerminal, Write as _};

use rustix::termios::tcgetwinsize;

/// Displays as one line: what a terminal would obey, and what changes the order in which characters
/// are shown, is escaped as in Rust's strings.
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
        while let Some(at) = rest.find(is_obeyed) {
            let (shown, obeyed) = rest.split_at(at);
            self.0.write_str(shown)?;
            let mut characters = obeyed.chars();
            for character in characters.by_ref().take(1) {
                match u32::from(character) {
                    // In the way that printf(1) and strings of C and Python have it, too.
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

/// Control characters, those of ISO 6429 above ASCII among them; line and paragraph separators; and
/// the explicit directional formatting characters (Unicode Standard Annex 9, 2).
pub(crate) fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// Lines, of which each stays one.
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

/// Says something on standard error, if anybody listens there: one line, by one write(2), so that
/// processes that share standard error do not write into each other's lines.
pub(crate) fn say(message: &str) {
    let line = format!("{}fifofs: {}\n", line_start(), OneLine(message));
    // It has no buffer.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// What has the next character on standard error begin a line, if that is a terminal: a program may have
/// left one unfinished there, or the terminal itself, which shows `^C`.
///
/// Where the cursor is cannot be asked without taking what the user types. So as many blanks as a row has
/// are written, as zsh does before its prompt (its option PROMPT_SP): from the beginning of a row they fill
/// just that, and from anywhere else they reach the next one.
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
    fn a_line_stays_one_and_holds_nothing_that_a_terminal_obeys() {
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
            assert!(!text.contains(is_obeyed), "{code:?} became {text:?}");
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

//! The last lines of a terminal, kept apart from the output of programs.
//!
//! Knows a terminal; knows nothing of what is shown. The program writes to the same terminal, and
//! cannot be made to wait: so the lines above are made the scrolling region (DECSTBM), as apt does,
//! and the program's lines scroll there. Invariant: each change is one write(2), which leaves the
//! cursor where it was. The region is reset when this is dropped, and while another process group
//! has the terminal.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use rustix::termios::{tcgetpgrp, tcgetwinsize};

use crate::cli::text::{OneLine, is_clever_terminal};

/// The least number of rows left to programs.
const ROWS_LEFT: u16 = 4;

/// The most lines shown.
const LINES: usize = 8;

/// Moves down a row, or scrolls; stays in the column (IND).
const DOWN: &str = "\x1bD";
/// Saves the cursor's position; restores it (DECSC, DECRC).
const SAVE: &str = "\x1b7";
const RESTORE: &str = "\x1b8";
/// A line too long for its row is cut off, or continues on the next (DECAWM).
const CUT: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
/// All rows scroll again.
const WHOLE: &str = "\x1b[r";

pub(super) struct Footer {
    /// How many rows the terminal has and how many lines are shown, while some are.
    shown: Option<(u16, u16)>,
}

impl Footer {
    /// A footer on standard error, if that is a terminal that supports it.
    pub(super) fn open() -> Option<Self> {
        let can = is_clever_terminal() && rows().is_some();
        can.then_some(Footer { shown: None })
    }

    /// Shows these lines in place of the previous ones.
    pub(super) fn draw(&mut self, lines: &[String]) {
        let rows = rows().filter(|_| is_ours());
        let Some(rows) = rows else {
            self.clear();
            return;
        };
        let lines = &lines[..lines.len().min(LINES).min(usize::from(rows - ROWS_LEFT))];
        let height = lines.len() as u16;
        if self.shown.is_some_and(|(_, shown)| shown != height) {
            self.clear();
        }
        let text = drawing(rows, lines, self.shown == Some((rows, height)));
        self.shown = Some((rows, height));
        write(&text);
    }

    fn clear(&mut self) {
        if let Some((rows, height)) = self.shown.take() {
            let first = rows - height + 1;
            write(&format!("{SAVE}{WHOLE}\x1b[{first};1H\x1b[J{RESTORE}"));
        }
    }
}

impl Drop for Footer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The escape sequences that draw these lines at the bottom of `rows` rows; makes room for them
/// first unless it `has_room`.
fn drawing(rows: u16, lines: &[String], has_room: bool) -> String {
    let height = lines.len() as u16;
    let mut text = String::new();
    if !has_room {
        // The cursor may be in one of those rows: their text scrolls up.
        text.push_str(&DOWN.repeat(lines.len()));
        let _ = write!(text, "\x1b[{height}A");
    }
    let top = rows - height;
    // The region is set each time: a full-screen program resets it.
    let _ = write!(text, "{SAVE}\x1b[1;{top}r{CUT}");
    for (row, line) in (top + 1..).zip(lines) {
        let _ = write!(text, "\x1b[{row};1H\x1b[2K{}", OneLine(line));
    }
    text + WRAP + RESTORE
}

/// The rows of the terminal, if there are enough.
fn rows() -> Option<u16> {
    let size = tcgetwinsize(io::stderr()).ok()?;
    (size.ws_row > ROWS_LEFT && size.ws_col > 0).then_some(size.ws_row)
}

/// Whether the terminal belongs to this process group: it is not in the background, and the program,
/// if it is a shell, has not given the terminal to another group.
fn is_ours() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn write(text: &str) {
    // Standard error has no buffer.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_leaves_the_cursor_where_it_was_and_obeys_no_name() {
        let lines = ["a: 1 B".to_owned(), "b\x1b[2J: 2 B".to_owned()];
        let body = "\x1b7\x1b[1;22r\x1b[?7l\x1b[23;1H\x1b[2Ka: 1 B\
                    \x1b[24;1H\x1b[2Kb\\x1b[2J: 2 B\x1b[?7h\x1b8";
        assert_eq!(drawing(24, &lines, true), body);
        let first = format!("\x1bD\x1bD\x1b[2A{body}");
        assert_eq!(drawing(24, &lines, false), first);
    }
}

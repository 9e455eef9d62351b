//! The protocol between `fifofs run -o ssh://…` and `fifofs receive`.
//!
//! Knows bytes; knows nothing of files and connections. The sender sends frames, the receiver lines
//! of text:
//!
//! ```text
//!   sender                                   receiver
//!   (its protocol is an argument) ───────►   makes a file beside the one that is meant
//!                                 ◄───────   "fifofs receive 1"
//!   D offset bytes, any number of ───────►   writes them there
//!   E length: these are all of it ───────►
//!   D …, E …: written once more   ───────►
//!   C mode: it is whole           ───────►   puts the file in its place
//!                                 ◄───────   "done"
//!                  at any time    ◄───────   "error WHY"
//! ```
//!
//! Invariant: the end of the connection means nothing. Only `C` says that a file is whole, only
//! `done` that it is in place.

use std::io::{self, Read};

/// The version, which must be the same on both sides.
pub(super) const PROTOCOL: u32 = 1;

/// The text before the version.
const GREETING: &str = "fifofs receive ";
const DONE: &str = "done";
const ERROR: &str = "error ";

/// The most bytes of a frame, so that a stray byte is not taken for a length.
pub(super) const FRAME_BYTES: usize = 16 << 20;

/// Kind, number, length.
pub(super) const HEADER_BYTES: usize = 13;

/// The mode of `C` if there is none.
const NO_MODE: u64 = u64::MAX;

/// A message of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// This many bytes, which follow, belong at this offset.
    Data { offset: u64, length: usize },
    /// All bytes up to this length were sent.
    End { length: u64 },
    /// The file is whole.
    Commit { mode: Option<u32> },
}

impl Frame {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let (kind, number, length) = match self {
            Frame::Data { offset, length } => (b'D', offset, u32::try_from(length).unwrap_or(0)),
            Frame::End { length } => (b'E', length, 0),
            Frame::Commit { mode } => (b'C', mode.map_or(NO_MODE, u64::from), 0),
        };
        let mut bytes = [kind; HEADER_BYTES];
        bytes[1..9].copy_from_slice(&number.to_be_bytes());
        bytes[9..].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// The next frame; none at an end between two frames.
    ///
    /// # Errors
    ///
    /// Those of reading; `InvalidData` for a malformed frame; `UnexpectedEof` within one.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Option<Frame>> {
        let mut bytes = [0; HEADER_BYTES];
        let first = loop {
            match input.read(&mut bytes[..1]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                first => break first?,
            }
        };
        if first == 0 {
            return Ok(None);
        }
        input.read_exact(&mut bytes[1..])?;
        let [kind, rest @ ..] = bytes;
        let (number, length) = rest.split_at(8);
        let number = number
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        match kind {
            b'D' if length <= FRAME_BYTES => Ok(Some(Frame::Data {
                offset: number,
                length,
            })),
            b'E' if length == 0 => Ok(Some(Frame::End { length: number })),
            b'C' if length == 0 => Ok(Some(Frame::Commit {
                mode: u32::try_from(number).ok(),
            })),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "what came is nothing that `fifofs run -o ssh://…` sends",
            )),
        }
    }
}

/// A message of the receiver: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Ready { protocol: u32 },
    Done,
    Error(String),
}

impl Answer {
    pub(super) fn to_line(&self) -> String {
        match self {
            Answer::Ready { protocol } => format!("{GREETING}{protocol}\n"),
            Answer::Done => format!("{DONE}\n"),
            Answer::Error(why) => format!("{ERROR}{}\n", why.replace('\n', " ")),
        }
    }

    /// None for any other line, such as what a shell prints when it starts.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let line = line.trim_end();
        if let Some(protocol) = line.strip_prefix(GREETING) {
            let protocol = protocol.parse().ok()?;
            return Some(Answer::Ready { protocol });
        }
        match line.strip_prefix(ERROR) {
            Some(why) => Some(Answer::Error(why.into())),
            None => (line == DONE).then_some(Answer::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let frames = [
            Frame::Data {
                offset: 1 << 40,
                length: 3,
            },
            Frame::End { length: 7 },
            Frame::Commit { mode: Some(0o640) },
            Frame::Commit { mode: None },
        ];
        for frame in frames {
            let read = Frame::read(&mut &frame.to_bytes()[..]).expect("a frame");
            assert_eq!(read, Some(frame));
        }
        assert_eq!(Frame::read(&mut &[][..]).expect("an end"), None);
    }

    #[test]
    fn malformed_and_truncated_frames_are_errors() {
        let read = |bytes: &[u8]| Frame::read(&mut { bytes }).expect_err("an error").kind();
        let data = Frame::Data {
            offset: 0,
            length: FRAME_BYTES + 1,
        };
        assert_eq!(read(&data.to_bytes()), io::ErrorKind::InvalidData);
        assert_eq!(read(b"GET / HTTP/1.1\r\n"), io::ErrorKind::InvalidData);
        let end = Frame::End { length: 0 }.to_bytes();
        for length in 1..HEADER_BYTES {
            assert_eq!(read(&end[..length]), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn answers_are_lines_and_other_lines_are_none() {
        for answer in [
            Answer::Ready { protocol: 12 },
            Answer::Done,
            Answer::Error("no room".into()),
        ] {
            assert_eq!(Answer::parse(&answer.to_line()), Some(answer));
        }
        assert_eq!(Answer::Error("a\nb".into()).to_line(), "error a b\n");
        for line in ["Welcome to host", "", "fifofs receive x", "done it"] {
            assert_eq!(Answer::parse(line), None);
        }
    }
}

//! `fifofs receive`: the other side of `fifofs run -o ssh://…`.
//!
//! Applies the frames of `transfer` to a file. Invariant: the file at the path stays as it was until
//! the sender says that the new one is whole.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use fifofs::{Error, Result};
use rustix::io::retry_on_intr;

use super::replacement::{self, Hidden, Replacement};
use super::transfer::{Answer, Frame, PROTOCOL};
use crate::cli::{Ended, links, status};

/// The most bytes of one read.
const BUFFER_BYTES: usize = 256 << 10;

/// Write a file that `fifofs run -o ssh://HOST/PATH` sends from another machine
///
/// It is run by ssh on HOST. FILE is written beside its place, and put there when
/// the sender has said that it is whole: if the program fails, the connection ends
/// or there is no room, FILE stays as it was.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  fifofs run -o ssh://host/srv/x.zip -- zip -q {out:x.zip} *.txt    \
                  # runs it on host"
)]
pub(crate) struct Arguments {
    /// The protocol that the sender speaks
    #[arg(long, value_name = "N", default_value_t = PROTOCOL)]
    protocol: u32,
    /// The file to write
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: OsString,
}

/// Receives a file from standard input.
pub(crate) fn run(arguments: &Arguments) -> Result<Ended> {
    if io::stdin().is_terminal() {
        return Err(Error::usage(
            "standard input is a terminal; fifofs receive is what `fifofs run -o ssh://HOST/FILE` \
             runs on HOST",
        ));
    }
    match receive(arguments) {
        Ok(()) => Ok(Ended::default()),
        Err(error) => {
            // The sender prints it, if it still exists.
            let _ = answer(&Answer::Error(error.to_string()));
            Ok(Ended {
                status: status::NOT_WHOLE,
                messages: Vec::new(),
            })
        }
    }
}

fn receive(arguments: &Arguments) -> Result<()> {
    if arguments.protocol != PROTOCOL {
        return Err(Error::usage(format!(
            "its fifofs (version {}) speaks protocol {PROTOCOL}, and was asked for {}; install the \
             same version on both sides",
            env!("CARGO_PKG_VERSION"),
            arguments.protocol
        )));
    }
    let path = PathBuf::from(&arguments.file);
    let failed = |error| Error::io("write to", &path, error);
    links::followed(&path).map_err(failed)?;
    if !replacement::is_replaceable(&path).map_err(failed)? {
        return Err(failed(io::Error::other("it is no regular file"))
            .with_remedy("give the path of a file, or of none"));
    }
    let (replacement, file) = Replacement::create(&path).map_err(failed)?;
    let said = |error| Error::io("answer", "the sender", error);
    answer(&Answer::Ready { protocol: PROTOCOL }).map_err(said)?;
    let mut incoming = Incoming {
        file,
        received: 0,
        whole: None,
    };
    let mode = incoming.take(&mut io::stdin().lock()).map_err(failed)?;
    let file = incoming.file;
    crate::cli::close_again(std::os::fd::AsFd::as_fd(&file))
        .map_err(|errno| failed(errno.into()))?;
    replacement
        .appear(&file, mode)
        .map_err(|Hidden { error, path: rest }| match rest {
            Some(rest) => failed(error).with_remedy(format!(
                "it is {}: move it to where it belongs",
                rest.display()
            )),
            None => failed(error),
        })?;
    // Whether the answer arrives or not.
    let _ = answer(&Answer::Done);
    Ok(())
}

fn answer(answer: &Answer) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(answer.to_line().as_bytes())?;
    output.flush()
}

/// A file that is being received.
struct Incoming {
    file: OwnedFd,
    /// The length that was written without a gap.
    received: u64,
    /// The length of the file, once the sender has said that all of it was sent.
    whole: Option<u64>,
}

impl Incoming {
    /// Writes frames until the file is whole; returns its mode.
    fn take(&mut self, input: &mut impl Read) -> io::Result<Option<u32>> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match Frame::read(input)? {
                Some(Frame::Data { offset, length }) => {
                    self.write(input, offset, length, &mut buffer)?;
                }
                Some(Frame::End { length }) if length <= self.received => {
                    rustix::fs::ftruncate(&self.file, length)?;
                    self.whole = Some(length);
                }
                Some(Frame::Commit { mode }) if self.whole.is_some() => return Ok(mode),
                Some(Frame::End { .. } | Frame::Commit { .. }) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the sender says that it is whole, and less has come",
                    ));
                }
                None => {
                    let reason =
                        "the connection ended before the sender said that the file is whole";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
                }
            }
        }
    }

    fn write(
        &mut self,
        input: &mut impl Read,
        mut offset: u64,
        mut length: usize,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        self.whole = None;
        if offset > self.received {
            let reason = "what came has a gap";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        while length > 0 {
            let piece = &mut buffer[..length.min(BUFFER_BYTES)];
            input.read_exact(piece)?;
            length -= piece.len();
            let mut rest = &*piece;
            while !rest.is_empty() {
                let written = retry_on_intr(|| rustix::io::pwrite(&self.file, rest, offset))?;
                rest = &rest[written..];
                offset += written as u64;
            }
            self.received = self.received.max(offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(offset: u64, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len();
        [&Frame::Data { offset, length }.to_bytes(), bytes].concat()
    }

    fn taken(frames: &[Vec<u8>]) -> (io::Result<Option<u32>>, Vec<u8>) {
        let file = tempfile::tempfile().expect("a file");
        let mut incoming = Incoming {
            file: file.try_clone().expect("again").into(),
            received: 0,
            whole: None,
        };
        let mode = incoming.take(&mut &frames.concat()[..]);
        let mut content = Vec::new();
        io::Seek::rewind(&mut &file).expect("seek");
        (&file).read_to_end(&mut content).expect("read");
        (mode, content)
    }

    fn end(length: u64) -> Vec<u8> {
        Frame::End { length }.to_bytes().to_vec()
    }

    fn commit() -> Vec<u8> {
        Frame::Commit { mode: Some(0o600) }.to_bytes().to_vec()
    }

    #[test]
    fn a_file_sent_again_and_shorter_is_as_it_was_sent_last() {
        let frames = [
            data(0, b"first"),
            data(5, b" try"),
            end(9),
            data(0, b"second"),
            end(6),
            commit(),
        ];
        let (mode, content) = taken(&frames);
        assert_eq!(mode.expect("whole"), Some(0o600));
        assert_eq!(content, b"second");
    }

    #[test]
    fn a_file_without_a_commit_or_with_fewer_bytes_is_not_whole() {
        for frames in [
            vec![],
            vec![data(0, b"bytes"), end(5)],
            vec![data(0, b"bytes"), commit()],
            vec![data(0, b"bytes"), end(6), commit()],
            vec![data(0, b"bytes"), end(5), data(5, b"more"), commit()],
            vec![data(1, b"gap"), end(4), commit()],
            vec![data(0, b"bytes")[..10].to_vec()],
        ] {
            assert!(taken(&frames).0.is_err(), "{frames:?}");
        }
    }
}

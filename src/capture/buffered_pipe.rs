//! Reads ahead from a FIFO for its reader.
//!
//! Knows how a FIFO's stream ends, and what that means for its reader.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use aligned_vec::{AVec, ConstAlign, avec};

use crate::core::spool;
use crate::error::Error;
use crate::fifo::{self, Outcome, Pipe, PipeReader};

/// The most bytes that one read takes from a FIFO.
const READ_BYTES: usize = 256 << 10;

const PAGE_BYTES: usize = spool::PAGE_BYTES as usize;

/// A FIFO's reader, and the bytes that it has read ahead.
pub(super) struct BufferedPipe {
    reader: PipeReader,
    /// The FIFO itself, while there is one.
    pipe: Weak<Pipe>,
    path: PathBuf,
    /// Page-aligned, as the kernel's pipes are: some processors then copy several times as fast.
    buffer: AVec<u8, ConstAlign<PAGE_BYTES>>,
    /// The part of `buffer` that the reader has not got yet.
    have: Range<usize>,
}

impl BufferedPipe {
    pub(super) fn new(reader: PipeReader, pipe: &Arc<Pipe>) -> BufferedPipe {
        BufferedPipe {
            reader,
            pipe: Arc::downgrade(pipe),
            path: pipe.path().to_owned(),
            buffer: avec![[PAGE_BYTES]| 0; READ_BYTES],
            have: 0..0,
        }
    }

    /// See `PipeReader::poll_fd`.
    pub(super) fn poll_fd(&mut self) -> io::Result<BorrowedFd<'_>> {
        self.reader.poll_fd()
    }

    pub(super) fn canceller(&self) -> fifo::Canceller {
        self.reader.canceller()
    }

    /// The bytes that were read ahead.
    pub(super) fn have(&self) -> &[u8] {
        &self.buffer[self.have.clone()]
    }

    /// The reader got `amount` bytes.
    pub(super) fn advance(&mut self, amount: usize) {
        self.have.start = self.have.end.min(self.have.start + amount);
    }

    /// The stream ends once no process has the FIFO open for writing.
    pub(super) fn finish(&mut self) {
        self.reader.end();
    }

    /// Waits for bytes; none at the end.
    pub(super) fn fill(&mut self, deadline: Option<Instant>) -> io::Result<&[u8]> {
        if self.have.is_empty() {
            self.have = 0..self.read(deadline)?;
        }
        Ok(self.have())
    }

    fn read(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let path = || self.path.clone();
        let error = match self.reader.read(&mut self.buffer, deadline)? {
            Outcome::Bytes(length) => return Ok(length),
            Outcome::End | Outcome::Unopened
                if self
                    .pipe
                    .upgrade()
                    .is_some_and(|pipe| !pipe.is_still_there()) =>
            {
                let reason = io::Error::other("the program removed or replaced the FIFO");
                Error::io("read", path(), reason)
                    .with_remedy("capture it by FUSE, where programs may do that")
            }
            Outcome::End => return Ok(0),
            Outcome::Unopened => Error::Missing { path: path() },
            Outcome::TimedOut => Error::TimedOut { path: path() },
            Outcome::Cancelled => Error::Cancelled { path: path() },
        };
        Err(error.into())
    }
}

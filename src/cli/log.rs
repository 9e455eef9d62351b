//! Where the log goes: to standard error, as long as somebody takes it.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Standard error, without ever waiting for whoever reads it: a mount that waited
/// for that would stand still, and everybody in it. What there is no room for is
/// lost.
pub(super) struct Impatient;

impl Write for Impatient {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
        // A pipe that is writable takes 4096 bytes (PIPE_BUF), more than a line has.
        match poll(&mut polled, Some(&Timespec::default())) {
            Ok(1) if polled[0].revents().contains(PollFlags::OUT) => stderr.lock().write(line),
            _ => Ok(line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

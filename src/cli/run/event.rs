//! What `fifofs run` waits for: whatever it may be, it is one of these.

use std::os::fd::OwnedFd;

use super::end::End;
use super::sink::Sink;

/// Something that happened.
pub(super) enum Event {
    /// Copying an output ended.
    Copied {
        output: usize,
        sink: Box<Sink>,
        end: End,
    },
    /// Somebody has come to read a destination, and may go again.
    Read { output: usize, descriptor: OwnedFd },
    /// Nobody reads a destination any more.
    HungUp { output: usize },
    /// A program that is a destination has ended, or an upload.
    RecipientEnded { output: usize },
    /// A signal was sent to this process; the terminal sends some to all of its foreground group.
    Signal { number: i32, for_the_group: bool },
    /// The program has exited.
    Exited,
    /// Somebody whom it left behind has, perhaps.
    ChildEnded,
}

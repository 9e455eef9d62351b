//! The events that `fifofs run` waits for.

use std::os::fd::OwnedFd;

use super::end::End;
use super::sink::Sink;

/// An event.
pub(super) enum Event {
    /// Copying an output ended.
    Copied {
        output: usize,
        sink: Box<Sink>,
        end: End,
    },
    /// A destination has got a reader, which may go again.
    Read { output: usize, descriptor: OwnedFd },
    /// A destination has no reader any more.
    HungUp { output: usize },
    /// A destination program has ended, or an upload.
    RecipientEnded { output: usize },
    /// A signal was sent to this process; the terminal sends some to all of its foreground group.
    Signal { number: i32, for_the_group: bool },
    /// The program has exited.
    Exited,
    /// A process that the program left behind may have ended.
    ChildEnded,
}

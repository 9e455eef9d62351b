//! An output of a run, from its start to its end.
//!
//! Knows the states of one output; `supervise`, which has the diagram, changes them.

use std::process::ExitStatus;

use fifofs::{Canceller, Error};

use super::destinations::Destination;
use super::end::End;
use super::recipient::{Recipient, Verdict};
use super::sink::Sink;
use super::source::Source;

/// How often an output is copied again. If a process that the program left behind rewrites it that
/// often, it may do so for ever.
const AGAIN_AT_MOST: u32 = 16;

/// An output that is being copied.
pub(super) struct Output {
    pub(super) source: Source,
    destination: Destination,
    /// The destination program or upload, if there is one.
    pub(super) recipient: Option<Recipient>,
    pub(super) state: State,
    /// How often it may still be copied again.
    pub(super) again: u32,
}

pub(super) enum State {
    ToRead(Sink),
    /// With the error to report if the sink cannot go back.
    ToReadAgain(Sink, Error),
    Copying(Option<Canceller>),
    /// Without the sink if a thread still has it.
    Ended(Option<Sink>, End),
}

impl Output {
    pub(super) fn new(source: Source, sink: Sink, recipient: Option<Recipient>) -> Self {
        Output {
            source,
            destination: sink.destination().clone(),
            recipient,
            state: State::ToRead(sink),
            again: AGAIN_AT_MOST,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(..))
    }

    /// Whether its recipient has ended, or there is none.
    pub(super) fn is_received(&self) -> bool {
        self.recipient.as_ref().is_none_or(Recipient::has_ended)
    }

    /// The verdict for its recipient, if that is known.
    pub(super) fn verdict(&self, program: Option<bool>, is_wanted: bool) -> Option<Verdict> {
        match (&self.state, program) {
            _ if !is_wanted => Some(Verdict::Abort),
            (State::Ended(_, End::Closed), _) => Some(Verdict::Release),
            (State::Ended(_, End::Whole), None) => None,
            (State::Ended(_, End::Whole), Some(true)) => Some(Verdict::Commit),
            (State::Ended(..), _) | (_, Some(false)) => Some(Verdict::Abort),
            _ => None,
        }
    }

    /// Its source, and how it ended.
    pub(super) fn into_end(self) -> Finished {
        let (sink, end) = match self.state {
            State::Ended(sink, end) => (sink, end),
            State::ToRead(sink) | State::ToReadAgain(sink, _) => (
                Some(sink),
                End::Unread(Error::cancelled(self.source.name())),
            ),
            State::Copying(_) => (None, End::Unread(Error::cancelled(self.source.name()))),
        };
        let early = self.recipient.as_ref().and_then(Recipient::ended_early);
        let status = self.recipient.as_ref().and_then(Recipient::status);
        let end = match self.recipient.map_or(Ok(()), Recipient::into_result) {
            Ok(()) => end,
            Err(Some(error)) => End::Unwritten(error),
            Err(None) => match end {
                End::Closed | End::Unread(Error::Cancelled { .. }) if status.is_none() => {
                    // The recipient was never started.
                    End::Withheld
                }
                End::Whole | End::Closed | End::Unread(Error::Cancelled { .. }) => End::Aborted,
                end => end,
            },
        };
        Finished {
            source: self.source,
            destination: self.destination,
            sink,
            end,
            early,
            status,
        }
    }
}

/// How an output ended.
pub(super) struct Finished {
    pub(super) source: Source,
    pub(super) destination: Destination,
    /// None if a thread still has it, or a recipient had it.
    pub(super) sink: Option<Sink>,
    pub(super) end: End,
    /// Set if a recipient ended before the output did: whether it succeeded.
    pub(super) early: Option<bool>,
    /// The exit status of the destination program.
    pub(super) status: Option<ExitStatus>,
}

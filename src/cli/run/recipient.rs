//! A recipient of an output that decides itself what becomes of it: the destination program, or the upload
//! of an object.
//!
//! Knows the verdict on a recipient and how it ended; `supervise` decides when. Invariant: it gets a commit
//! at most once, and no verdict after it has ended.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::ExitStatus;
use std::sync::Arc;

use fifofs::{Error, Result};

use super::child::describe;
use super::consumer::{self, Consumer, Forked, Outcome, Plan, Terminal};
use super::destinations::Destination;
use super::object::{self, Fate, Feed, Upload};
use super::remote::Answers;
use super::sink::{Form, Sink};
use super::transfer::Frame;

/// The recipient of an output.
#[derive(Debug)]
pub(super) struct Recipient {
    side: Side,
    destination: Destination,
    verdict: Option<Verdict>,
    ended: Option<Ended>,
}

#[derive(Debug)]
enum Side {
    Program {
        consumer: Arc<Consumer>,
        /// The answers of the other side of a connection.
        answers: Option<Answers>,
    },
    Upload(Arc<Upload>),
}

/// What was decided about its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its input is whole.
    Commit,
    /// It has closed its input, and may end when it likes.
    Release,
    /// Its input is not whole.
    Abort,
}

/// How it ended.
#[derive(Debug)]
struct Ended {
    result: Result<()>,
    /// The object exists, or may exist, although the upload was to be aborted.
    may_exist: bool,
    status: Option<ExitStatus>,
    /// It ended before a verdict, or had closed its input.
    is_early: bool,
}

/// Forks the guards of all destination programs, each at the index of its destination. The programs are not
/// started yet, and do not get the descriptors that are `taken`. Call this while the process has one thread,
/// and before anything exists that they must not see.
pub(super) fn fork<'a>(
    destinations: &[Destination],
    taken: impl Iterator<Item = &'a Destination>,
    is_stdout_taken: bool,
) -> Result<Vec<Option<Forked>>> {
    let descriptor = |destination: &Destination| match destination {
        Destination::Descriptor(number) if *number > libc::STDERR_FILENO => Some(*number),
        _ => None,
    };
    let closed: Vec<RawFd> = taken.filter_map(descriptor).collect();
    let mut forked: Vec<Option<Forked>> = Vec::new();
    for destination in destinations {
        let plan = match destination {
            Destination::Command(command) => Plan {
                words: vec!["sh".into(), "-c".into(), command.clone()],
                output: match is_stdout_taken {
                    true => consumer::Output::Error,
                    false => consumer::Output::Inherited,
                },
                terminal: Terminal::None,
            },
            Destination::Remote(address) => address.plan(),
            Destination::Descriptor(_) | Destination::File(_) | Destination::Object(_) => {
                forked.push(None);
                continue;
            }
        };
        let earlier: Vec<RawFd> = forked
            .iter()
            .flatten()
            .flat_map(Forked::descriptors)
            .collect();
        forked.push(Some(Forked::new(&plan, &[&closed[..], &earlier].concat())?));
    }
    Ok(forked)
}

impl Recipient {
    /// A forked program, and the sink for its input. A program that connects to another machine does so now,
    /// as long as that `is_wanted`.
    pub(super) fn new(
        destination: &Destination,
        forked: Forked,
        mut is_wanted: impl FnMut() -> bool,
    ) -> Result<(Self, Sink)> {
        let consumer = Arc::new(forked.consumer);
        let answers = match (destination, forked.answers) {
            (Destination::Remote(address), Some(pipe)) => {
                consumer.start();
                let answers = Answers::new(address.clone(), pipe);
                answers.wait_until_ready(&consumer, &mut is_wanted)?;
                Some(answers)
            }
            _ => None,
        };
        let form = match answers {
            Some(_) => Form::Frames,
            None => Form::Plain,
        };
        let sink = Sink::of_consumer(destination, forked.input, Arc::clone(&consumer), form)?;
        let side = Side::Program { consumer, answers };
        Ok((Self::of(side, destination.clone()), sink))
    }

    /// The upload of an object, one of `uploads`, which share `memory` if that was given. Checks now what
    /// the store can tell beforehand, as long as that `is_wanted`.
    pub(super) fn of_object(
        address: &object::Address,
        share: (usize, Option<u64>),
        mut is_wanted: impl FnMut() -> bool,
    ) -> Result<(Self, Sink)> {
        let upload = Arc::new(Upload::begin(address, share, &mut is_wanted)?);
        let destination = Destination::Object(address.clone());
        let sink = Sink::of_upload(&destination, &*upload, Feed::new(Arc::clone(&upload)))?;
        Ok((Self::of(Side::Upload(upload), destination), sink))
    }

    fn of(side: Side, destination: Destination) -> Self {
        Recipient {
            side,
            destination,
            verdict: None,
            ended: None,
        }
    }

    /// The descriptor that is readable when it has ended.
    pub(super) fn end(&self) -> Arc<dyn AsFd> {
        match &self.side {
            Side::Program { consumer, .. } => Arc::clone(consumer) as _,
            Side::Upload(upload) => Arc::clone(upload) as _,
        }
    }

    /// The number of sent parts, if it is an object.
    pub(super) fn parts(&self) -> Option<Parts> {
        match &self.side {
            Side::Program { .. } => None,
            Side::Upload(upload) => Some(Parts(Arc::clone(upload))),
        }
    }

    /// Gives it the verdict; a new file gets this mode. With a commit, this process must have closed the
    /// input.
    pub(super) fn give_verdict(&mut self, verdict: Verdict, mode: Option<u32>) {
        let was_given = [Some(verdict), Some(Verdict::Abort)].contains(&self.verdict);
        if was_given || self.ended.is_some() {
            return;
        }
        self.verdict = Some(verdict);
        match (&self.side, verdict) {
            (_, Verdict::Abort) => self.abort(),
            (Side::Program { consumer, answers }, Verdict::Commit) if answers.is_some() => {
                consumer.commit(&Frame::Commit { mode }.to_bytes());
            }
            (Side::Program { consumer, .. }, Verdict::Commit | Verdict::Release) => {
                consumer.commit(&[]);
            }
            (Side::Upload(upload), Verdict::Commit) => upload.commit(),
            // It has ended, and reports that once it has removed everything.
            (Side::Upload(_), Verdict::Release) => {}
        }
    }

    fn abort(&self) {
        match &self.side {
            Side::Program { consumer, .. } => consumer.abort(),
            Side::Upload(upload) => upload.abort(),
        }
    }

    /// A second request to end.
    pub(super) fn hurry(&self) {
        if self.verdict == Some(Verdict::Abort) && self.ended.is_none() {
            self.abort();
        }
    }

    /// Notes its end; returns true if the rest of the output is not wanted any more.
    pub(super) fn has_ended_now(&mut self) -> bool {
        let is_aborted = self.verdict == Some(Verdict::Abort);
        let is_early = matches!(self.verdict, None | Some(Verdict::Release));
        let (result, may_exist, status) = match &self.side {
            Side::Program { consumer, answers } => {
                let outcome = consumer.outcome(is_aborted);
                let result = match answers {
                    Some(answers) => answers.judge(outcome),
                    None => self.judge(outcome),
                };
                let status = match outcome {
                    Outcome::Ended(status) => Some(status),
                    _ => None,
                };
                (result, false, status)
            }
            Side::Upload(upload) => match upload.fate() {
                Fate::Published => (Ok(()), true, None),
                Fate::Removed => (Ok(()), false, None),
                Fate::Failed(error) => (Err(error), false, None),
                Fate::Unknown(error) => (Err(error), true, None),
            },
        };
        if self.verdict.is_none() {
            // No other reader may take the input's end, which comes now, for a whole input.
            self.abort();
        }
        self.ended = Some(Ended {
            result,
            may_exist,
            status,
            is_early,
        });
        is_early
    }

    fn judge(&self, outcome: Outcome) -> Result<()> {
        let why = match outcome {
            Outcome::Ended(status) if status.success() => return Ok(()),
            Outcome::Ended(status) => format!("it {}", describe(status)),
            Outcome::NotRun => "it was not started".into(),
            Outcome::NotStarted(errno) => {
                format!("sh cannot be started: {}", std::io::Error::from(errno))
            }
            Outcome::Lost => "the process that watches over it was killed".into(),
        };
        let destination = self.destination.to_string();
        Err(Error::io(
            "write to",
            destination,
            std::io::Error::other(why),
        ))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it ended before its input did, and if so, whether it succeeded.
    pub(super) fn ended_early(&self) -> Option<bool> {
        let ended = self.ended.as_ref().filter(|ended| ended.is_early)?;
        Some(ended.result.is_ok())
    }

    pub(super) fn status(&self) -> Option<ExitStatus> {
        self.ended.as_ref()?.status
    }

    /// `Err(None)` if it was ended before its input was whole, else the error if it failed.
    pub(super) fn into_result(self) -> std::result::Result<(), Option<Error>> {
        match (self.verdict, self.ended) {
            (Some(Verdict::Abort), Some(ended)) if ended.may_exist => ended.result.map_err(Some),
            (Some(Verdict::Abort), _) => Err(None),
            (_, Some(ended)) => ended.result.map_err(Some),
            (_, None) => Ok(()),
        }
    }
}

/// Counts the sent parts of an object.
#[derive(Debug, Clone)]
pub(super) struct Parts(Arc<Upload>);

impl Parts {
    pub(super) fn count(&self) -> u64 {
        self.0.parts()
    }
}

impl Forked {
    /// All descriptors of it that are open here.
    fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let answers = self.answers.as_ref().map(AsRawFd::as_raw_fd);
        [self.consumer.control(), self.input.as_raw_fd()]
            .into_iter()
            .chain(answers)
    }
}

//! The time between the start of a program and the end of its outputs.
//!
//! Knows who has to be told what when something happens; each thing that can happen is an
//! [`Event`]. The invariant: the main thread waits for events only, and whatever the program, a
//! destination or a user does is one.
//!
//! ```text
//!               its time has come            all is read
//!  to be read ───────────────────► copying ──────────────► ended
//!      ▲                              │  │                   ▲
//!      └──────────────────────────────┘  └───────────────────┘
//!        rewritten, can be written again     either side failed
//! ```

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fifofs::{Canceller, Error, Result};
use rustix::process::Signal;

use super::child::Program;
use super::copy::End;
use super::ears::Ears;
use super::progress::Counters;
use super::signals;
use super::sink::Sink;
use super::source::Source;
use crate::cli::text::say;

/// How long those whom the program left behind may hold an output open before they are named.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often an output is written again. One that is rewritten that often by somebody whom the
/// program left behind may be so for ever.
const AGAIN_AT_MOST: u32 = 16;

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
    /// A signal was sent to this process; the terminal sends some to all of its foreground group.
    Signal { number: i32, for_the_group: bool },
    /// The program has exited.
    Exited,
}

/// An output on its way.
pub(super) struct Output {
    pub(super) source: Source,
    state: State,
    /// How often it may still be written again.
    again: u32,
}

enum State {
    ToRead(Sink),
    /// The error to give if the sink cannot go back.
    ToReadAgain(Sink, Error),
    Copying(Option<Canceller>),
    /// There is no sink where a thread still has it.
    Ended(Option<Sink>, End),
}

impl Output {
    pub(super) fn new(source: Source, sink: Sink) -> Self {
        Output {
            source,
            state: State::ToRead(sink),
            again: AGAIN_AT_MOST,
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(..))
    }

    /// Where it came from and how it ended.
    pub(super) fn into_end(self) -> (Source, Option<Sink>, End) {
        match self.state {
            State::Ended(sink, end) => (self.source, sink, end),
            State::ToRead(_) | State::ToReadAgain(..) | State::Copying(_) => {
                let path = self.source.name().to_owned();
                (self.source, None, End::Unread(Error::Cancelled { path }))
            }
        }
    }
}

/// Waits for a program and its outputs.
pub(super) struct Supervisor<'a> {
    program: &'a mut Program,
    outputs: &'a mut [Output],
    counters: &'a Counters,
    ears: Ears,
    /// When those who still write are named; set once the program has exited.
    notice: Option<Instant>,
    has_noticed: bool,
    /// The signal that ends the wait for them.
    ended_by: Option<i32>,
    /// A signal asked for the end.
    was_told_to_end: bool,
    /// Set when it did, and the program has exited: nobody waits for readers of FIFOs any more.
    has_given_up: Arc<AtomicBool>,
}

/// Waits until the program has exited and every output has ended. Gives the signal that ended the
/// wait before that, if one did.
pub(super) fn supervise(
    program: &mut Program,
    outputs: &mut [Output],
    counters: &Counters,
    ears: Ears,
) -> Result<Option<i32>> {
    let mut supervisor = Supervisor {
        program,
        outputs,
        counters,
        ears,
        notice: None,
        has_noticed: false,
        ended_by: None,
        was_told_to_end: false,
        has_given_up: Arc::default(),
    };
    supervisor.begin()?;
    supervisor.run()?;
    Ok(supervisor.ended_by)
}

impl Supervisor<'_> {
    fn begin(&mut self) -> Result<()> {
        for (output, descriptor) in self.outputs.iter().enumerate().filter_map(watchable) {
            self.ears.watch_destination(output, descriptor);
        }
        for number in 0..self.outputs.len() {
            let output = &self.outputs[number];
            if let State::ToRead(sink) = &output.state
                && output.source.streams()
                && (output.source.must_be_read() || !sink.is_inside_file())
            {
                self.copy(number)?;
            }
        }
        self.ears.watch_program(self.program.pidfd()?);
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        while !self.is_done() {
            match self.next_event()? {
                Some(event) => self.handle(event)?,
                None => self.notice_writers(),
            }
            let has_given_up = self.was_told_to_end && self.program.has_exited();
            self.has_given_up.store(has_given_up, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_over = self.ended_by.is_some() && self.has_waited();
        let has_ended = || self.outputs.iter().all(Output::has_ended);
        self.program.has_exited() && (is_over || has_ended())
    }

    /// The program has been gone for a while: what is waited for now are those whom it left.
    fn has_waited(&self) -> bool {
        self.notice.is_some_and(|at| Instant::now() >= at)
    }

    /// The next event; none when it is time to name those who still write.
    fn next_event(&mut self) -> Result<Option<Event>> {
        self.ears.next(self.notice.filter(|_| !self.has_noticed))
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Copied { output, sink, end } => self.copied(output, *sink, end)?,
            Event::Read { output, descriptor } => self.ears.watch_destination(output, descriptor),
            Event::HungUp { output } => self.hung_up(output),
            Event::Signal {
                number,
                for_the_group,
            } => {
                self.was_told_to_end |= signals::ends(number);
                if self.program.has_exited() {
                    let ends = signals::ends(number);
                    self.ended_by = self.ended_by.or(ends.then_some(number));
                } else if !for_the_group || self.program.has_left_our_group() {
                    self.program.signal(number);
                }
            }
            Event::Exited => self.exited()?,
        }
        Ok(())
    }

    fn exited(&mut self) -> Result<()> {
        self.program.wait()?;
        self.counters.has_exited.store(true, Ordering::Relaxed);
        self.notice = Some(Instant::now() + PATIENCE);
        for number in 0..self.outputs.len() {
            if let State::ToRead(_) | State::ToReadAgain(..) = self.outputs[number].state {
                self.copy(number)?;
            }
        }
        Ok(())
    }

    /// Copies an output in a thread of its own: a slow destination is no other's affair.
    fn copy(&mut self, number: usize) -> Result<()> {
        let output = &mut self.outputs[number];
        let (mut sink, again) = match std::mem::replace(&mut output.state, State::Copying(None)) {
            State::ToRead(sink) => (sink, false),
            State::ToReadAgain(mut sink, error) => {
                if !sink.rewind() {
                    output.state = State::Ended(Some(sink), End::Unread(error));
                    return Ok(());
                }
                reset(&self.counters.delivered[number]);
                (sink, true)
            }
            state => {
                output.state = state;
                return Ok(());
            }
        };
        let (job, canceller) = output.source.read(self.program.child(), again)?;
        output.state = State::Copying(canceller);
        let delivered = Arc::clone(&self.counters.delivered[number]);
        let voice = self.ears.voice();
        let has_given_up = Arc::clone(&self.has_given_up);
        std::thread::Builder::new()
            .name(format!("fifofs-copy-{number}"))
            .spawn(move || {
                let was_unread = sink.is_unread();
                let end = match sink.wait_for_reader(|| !has_given_up.load(Ordering::Relaxed)) {
                    Ok(()) => {
                        if let Some(descriptor) = sink.watchable().filter(|_| was_unread) {
                            let output = number;
                            voice.tell(Event::Read { output, descriptor });
                        }
                        job(&mut sink, &delivered)
                    }
                    Err(stopped) => stopped.into(),
                };
                let (output, sink) = (number, Box::new(sink));
                voice.tell(Event::Copied { output, sink, end });
            })
            .map_err(|error| Error::io("copy", output.source.name(), error))?;
        Ok(())
    }

    fn copied(&mut self, number: usize, sink: Sink, end: End) -> Result<()> {
        let has_exited = self.program.has_exited();
        let output = &mut self.outputs[number];
        if output.has_ended() {
            return Ok(());
        }
        match end {
            End::Unread(error @ Error::Rewritten { .. }) if output.again > 0 => {
                output.again -= 1;
                output.state = State::ToReadAgain(sink, error);
                // While the program runs, it may be rewritten again and again.
                if has_exited {
                    self.copy(number)?;
                }
            }
            End::Closed => self.hung_up(number),
            end => {
                if let End::Unwritten(_) = end {
                    output.source.hang_up();
                }
                output.state = State::Ended(Some(sink), end);
            }
        }
        Ok(())
    }

    /// As of a pipe that nobody reads: writers get SIGPIPE, and so does the program, which may not
    /// have the file open yet. What becomes of it is its own affair.
    fn hung_up(&mut self, number: usize) {
        let output = &mut self.outputs[number];
        if output.has_ended() {
            return;
        }
        // First, so that it does not see an error where it would get the signal of a pipe.
        self.program.signal(Signal::PIPE.as_raw());
        output.source.hang_up();
        let state = std::mem::replace(&mut output.state, State::Ended(None, End::Closed));
        if let State::Copying(Some(canceller)) = state {
            canceller.cancel();
        }
    }

    /// One line that names those who hold an output open after the program has exited.
    fn notice_writers(&mut self) {
        self.has_noticed = true;
        for output in self.outputs.iter().filter(|output| !output.has_ended()) {
            let writers = output.source.writers();
            if writers.is_empty() {
                continue;
            }
            say(&format!(
                "{} has exited, but left {} behind with '{}' open: waiting for its end, or for Ctrl-C",
                self.program.name(),
                writers.join(", "),
                output.source.name().display()
            ));
        }
    }
}

fn reset(counter: &AtomicU64) {
    counter.store(0, Ordering::Relaxed);
}

fn watchable((number, output): (usize, &Output)) -> Option<(usize, std::os::fd::OwnedFd)> {
    match &output.state {
        State::ToRead(sink) => Some((number, sink.watchable()?)),
        _ => None,
    }
}

//! Supervises a run, from the start of a program to the end of its outputs.
//!
//! Knows what follows from each [`Event`]. Invariant: the main thread waits for events only, and
//! everything that the program, a destination or a user does is one.
//!
//! ```text
//!               its time has come            all is read
//!  to be read ───────────────────► copying ──────────────► ended
//!      ▲                              │  │                   ▲
//!      └──────────────────────────────┘  └───────────────────┘
//!        rewritten, can be written again     either side failed
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fifofs::{Error, Result};
use rustix::process::Signal;

use super::child::Program;
use super::end::End;
use super::event::Event;
use super::event_loop::EventLoop;
use super::output::{Output, State};
use super::progress::Counters;
use super::recipient::{Recipient, Verdict};
use super::signals;
use super::sink::Sink;
use super::source::{Source, Success};
use super::stage::Stage;
use crate::cli::text::say;

/// How long processes that the program left behind may hold an output open before a message names
/// them.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long processes that the program left behind are given to open an output.
const GRACE: Duration = Duration::from_millis(200);

/// How often to check whether any process still writes: soon at first, as the kernel reports the
/// last close a moment after the program has exited; then less and less often.
const FIRST_LOOK: Duration = Duration::from_micros(50);
const LAST_LOOK: Duration = Duration::from_millis(10);

/// Waits for a program and its outputs.
pub(super) struct Supervisor<'a> {
    program: &'a mut Program,
    outputs: &'a mut [Output],
    counters: &'a Counters,
    events: EventLoop,
    /// Where the program writes, unless fifofs provides nothing.
    stage: Option<&'a mut Stage>,
    /// Set from the program's exit until the outputs are closed.
    closing: Option<Closing>,
    /// When to name remaining writers; set once the program has exited.
    notice: Option<Instant>,
    has_noticed: bool,
    /// The signal that ended the wait for them.
    ended_by: Option<i32>,
    /// Whether a signal asked for the end.
    end_was_requested: bool,
    success: Success,
    /// Whether the outputs have all expected files; asked once the program has succeeded.
    is_complete: &'a dyn Fn() -> bool,
    /// Set when a signal asked for the end and the program has exited: FIFOs are not waited for any
    /// more.
    has_given_up: Arc<AtomicBool>,
}

/// The time between the exit of the program and the end of its outputs.
struct Closing {
    /// Until when processes that it left behind may open one.
    grace: Instant,
    /// When to check next, and the interval after that.
    at: Instant,
    interval: Duration,
}

/// Waits until the program has exited and every output has ended. Returns the signal that ended the
/// wait before that, if one did.
pub(super) fn supervise(
    program: &mut Program,
    outputs: &mut [Output],
    counters: &Counters,
    events: EventLoop,
    stage: Option<&mut Stage>,
    is_complete: &dyn Fn() -> bool,
) -> Result<Option<i32>> {
    let mut supervisor = Supervisor {
        program,
        outputs,
        counters,
        events,
        stage,
        closing: None,
        notice: None,
        has_noticed: false,
        ended_by: None,
        end_was_requested: false,
        success: Arc::default(),
        is_complete,
        has_given_up: Arc::default(),
    };
    supervisor.begin()?;
    supervisor.run()?;
    Ok(supervisor.ended_by)
}

impl Supervisor<'_> {
    fn begin(&mut self) -> Result<()> {
        for (output, descriptor) in self.outputs.iter().enumerate().filter_map(watchable) {
            self.events.watch_destination(output, descriptor);
        }
        for (number, output) in self.outputs.iter().enumerate() {
            if let Some(recipient) = &output.recipient {
                self.events.watch_recipient(number, recipient.end());
            }
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
        self.events.watch_program(self.program.pidfd()?);
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        while !self.is_done() {
            match self.next_event()? {
                Some(event) => self.handle(event)?,
                None => self.time_has_come()?,
            }
            self.notify_recipients();
            let has_given_up = self.end_was_requested && self.program.has_exited();
            self.has_given_up.store(has_given_up, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_over = self.is_ending() && self.has_waited();
        let has_ended = || self.outputs.iter().all(Output::has_ended);
        let are_received = || self.outputs.iter().all(Output::is_received);
        self.program.has_exited() && (is_over || has_ended()) && are_received()
    }

    /// Whether processes that the program left behind get only a moment more, and are not waited for
    /// until their end: a signal came after the program's end, or one was passed on to the program
    /// and the program failed. The sender of such a signal waits for the end and sends no other.
    fn is_ending(&self) -> bool {
        let has_failed = self.success.get() == Some(&false);
        self.ended_by.is_some() || (self.end_was_requested && has_failed)
    }

    /// Gives recipients their verdict, once that is known.
    fn notify_recipients(&mut self) {
        let succeeded = self.success.get().copied();
        let succeeded = succeeded.map(|succeeded| succeeded && (self.is_complete)());
        for (number, output) in self.outputs.iter_mut().enumerate() {
            let verdict = output.verdict(succeeded, self.ended_by.is_none());
            let (Some(verdict), Some(recipient)) = (verdict, &mut output.recipient) else {
                continue;
            };
            // Only the guard, which has the input open, too, may end it.
            self.events.forget_destination(number);
            match &mut output.state {
                State::Ended(sink, _) => *sink = None,
                State::Copying(Some(canceller)) if verdict == Verdict::Abort => canceller.cancel(),
                _ => {}
            }
            recipient.give_verdict(verdict, output.source.permissions());
        }
    }

    fn recipient_ended(&mut self, number: usize) {
        let recipient = self.outputs[number].recipient.as_mut();
        if recipient.is_some_and(Recipient::has_ended_now) {
            self.hung_up(number);
        }
    }

    /// Whether the program exited a while ago: the wait is now for processes that it left behind.
    fn has_waited(&self) -> bool {
        self.notice.is_some_and(|at| Instant::now() >= at)
    }

    /// The next event; none when a time has come.
    fn next_event(&mut self) -> Result<Option<Event>> {
        let notice = self.notice.filter(|_| !self.has_noticed);
        let look = self.closing.as_ref().map(|closing| closing.at);
        self.events.next(notice.into_iter().chain(look).min())
    }

    fn time_has_come(&mut self) -> Result<()> {
        self.close()?;
        if self.has_waited() && !self.has_noticed {
            self.notice_writers();
        }
        Ok(())
    }

    /// Closes the outputs once the grace period is over and no process writes.
    fn close(&mut self) -> Result<()> {
        let now = Instant::now();
        let Some(closing) = self.closing.as_mut() else {
            return Ok(());
        };
        let is_due = now >= closing.grace || !self.program.has_left_others();
        if !is_due || !self.stage.as_mut().is_none_or(|stage| stage.close()) {
            closing.interval = (closing.interval * 2).min(LAST_LOOK);
            closing.at = now + closing.interval;
            return Ok(());
        }
        self.closing = None;
        for number in 0..self.outputs.len() {
            self.copy_rest(number)?;
        }
        Ok(())
    }

    /// Starts copying an output, unless that was done.
    fn copy_rest(&mut self, number: usize) -> Result<()> {
        match self.outputs[number].state {
            State::ToRead(_) | State::ToReadAgain(..) => self.copy(number),
            State::Copying(_) | State::Ended(..) => Ok(()),
        }
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Copied { output, sink, end } => self.copied(output, *sink, end)?,
            Event::Read { output, descriptor } => self.events.watch_destination(output, descriptor),
            Event::HungUp { output } => self.hung_up(output),
            Event::RecipientEnded { output } => self.recipient_ended(output),
            Event::Signal {
                number,
                for_the_group,
            } => {
                self.end_was_requested |= signals::ends(number);
                if self.program.has_exited() {
                    let ends = signals::ends(number);
                    let recipients = self.outputs.iter().filter_map(|o| o.recipient.as_ref());
                    recipients.filter(|_| ends).for_each(Recipient::hurry);
                    self.ended_by = self.ended_by.or(ends.then_some(number));
                } else if !for_the_group || self.program.has_left_our_group() {
                    self.program.signal(number);
                }
            }
            Event::Exited => self.exited()?,
            Event::ChildEnded => {
                self.program.has_left_others();
                self.close()?;
            }
        }
        Ok(())
    }

    fn exited(&mut self) -> Result<()> {
        let status = self.program.wait()?;
        let _ = self.success.set(status.success());
        self.counters.has_exited.store(true, Ordering::Relaxed);
        let now = Instant::now();
        self.notice = Some(now + PATIENCE);
        self.closing = Some(Closing {
            grace: now + GRACE,
            at: now,
            interval: FIRST_LOOK,
        });
        for number in 0..self.outputs.len() {
            // All files of a directory are read once no process changes them.
            if self.outputs[number].source.streams() {
                self.copy_rest(number)?;
            }
        }
        self.close()
    }

    /// Copies an output in a thread of its own, so that a slow destination delays no other.
    fn copy(&mut self, number: usize) -> Result<()> {
        let output = &mut self.outputs[number];
        let mut sink = match std::mem::replace(&mut output.state, State::Copying(None)) {
            State::ToRead(sink) => sink,
            State::ToReadAgain(mut sink, error) => {
                if !sink.rewind() {
                    output.state = State::Ended(Some(sink), End::Unread(error));
                    return Ok(());
                }
                reset(&self.counters.delivered[number]);
                sink
            }
            state => {
                output.state = state;
                return Ok(());
            }
        };
        let (job, canceller) = output
            .source
            .read(self.program.child(), &sink, &self.success)?;
        output.state = State::Copying(canceller);
        let delivered = Arc::clone(&self.counters.delivered[number]);
        let sender = self.events.sender();
        let has_given_up = Arc::clone(&self.has_given_up);
        std::thread::Builder::new()
            .name(format!("fifofs-copy-{number}"))
            .spawn(move || {
                let was_unread = sink.is_unread();
                let end = match sink.wait_for_reader(|| !has_given_up.load(Ordering::Relaxed)) {
                    Ok(()) => {
                        if let Some(descriptor) = sink.watchable().filter(|_| was_unread) {
                            let output = number;
                            sender.send(Event::Read { output, descriptor });
                        }
                        job(&mut sink, &delivered)
                    }
                    Err(stopped) => stopped.into(),
                };
                let (output, sink) = (number, Box::new(sink));
                sender.send(Event::Copied { output, sink, end });
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
                // While the program runs, it could be rewritten again and again.
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

    /// Acts like a pipe without a reader: writers get SIGPIPE, and so does the program, which may
    /// not have the file open yet. What happens then is up to the program.
    fn hung_up(&mut self, number: usize) {
        let output = &mut self.outputs[number];
        if output.has_ended() {
            return;
        }
        // First, so that it gets the signal of a pipe and not an error.
        self.program.signal(Signal::PIPE.as_raw());
        output.source.hang_up();
        let state = std::mem::replace(&mut output.state, State::Ended(None, End::Closed));
        if let State::Copying(Some(canceller)) = state {
            canceller.cancel();
        }
    }

    /// Prints one line that names processes which hold an output open after the program has exited,
    /// or another file in the directory that may become an output.
    fn notice_writers(&mut self) {
        self.has_noticed = true;
        let waited_for = self.outputs.iter().filter(|output| !output.has_ended());
        let mut named = false;
        for source in waited_for.map(|output| &output.source) {
            named |= self.name_writers(source);
        }
        let view = self.stage.as_ref().and_then(|stage| stage.view());
        if let (false, Some(view)) = (named || self.closing.is_none(), view) {
            self.name_writers(&Source::Directory(view));
        }
    }

    /// Returns whether there were any.
    fn name_writers(&self, source: &Source) -> bool {
        let Some((writers, what)) = source.writers() else {
            return false;
        };
        let program = self.program.name();
        let waits = match self.is_ending() {
            true => "",
            false => ": waiting for its end, or for Ctrl-C",
        };
        let writers = writers.join(", ");
        say(&format!(
            "{program} has exited, but left {writers} behind with {what} open{waits}"
        ));
        true
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

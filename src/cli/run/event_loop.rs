//! The event loop of the main thread: signals, the program's end, destinations whose other end closes,
//! and messages of copying threads.
//!
//! Knows how each event is noticed; `supervise` handles them. Invariant: one poll(2) waits for all of
//! them, so that none takes a thread.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use fifofs::{Error, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::event::Event;
use super::signals::{self, Signals};

/// Sends events to the main thread from another one.
#[derive(Clone)]
pub(super) struct EventSender {
    events: Sender<Event>,
    bell: Arc<OwnedFd>,
}

impl EventSender {
    pub(super) fn send(&self, event: Event) {
        // If the main thread has stopped waiting, no event matters. A full counter has rung already.
        let _ = self.events.send(event);
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}

/// The main thread's side.
pub(super) struct EventLoop {
    signals: Signals,
    /// Readable when the program has exited; gone once that was reported.
    program: Option<OwnedFd>,
    /// Destinations whose readers may go, and the numbers of their outputs.
    watched: Vec<(usize, OwnedFd)>,
    /// Descriptors that become readable when a recipient has ended, with the same numbers.
    recipients: Vec<(usize, Arc<dyn AsFd>)>,
    received: Receiver<Event>,
    sender: EventSender,
    queue: VecDeque<Event>,
}

impl EventLoop {
    pub(super) fn new(signals: Signals) -> Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = bell.map_err(|errno| Error::io("wait for", "the program", errno.into()))?;
        let (events, received) = crossbeam_channel::unbounded();
        Ok(EventLoop {
            signals,
            program: None,
            watched: Vec::new(),
            recipients: Vec::new(),
            received,
            sender: EventSender {
                events,
                bell: Arc::new(bell),
            },
            queue: VecDeque::new(),
        })
    }

    pub(super) fn sender(&self) -> EventSender {
        self.sender.clone()
    }

    /// The signal that has asked for the end already, if one has. Earlier events are still reported.
    pub(super) fn end_signal(&mut self) -> Option<i32> {
        self.queue.extend(self.signals.pending());
        self.queue.iter().find_map(|event| match event {
            Event::Signal { number, .. } => signals::ends(*number).then_some(*number),
            _ => None,
        })
    }

    /// Reports once when the process of this pidfd has exited.
    pub(super) fn watch_program(&mut self, pidfd: OwnedFd) {
        self.program = Some(pidfd);
    }

    /// Reports once when a destination has no reader any more.
    pub(super) fn watch_destination(&mut self, output: usize, descriptor: OwnedFd) {
        self.watched.push((output, descriptor));
    }

    /// Drops all descriptors of a destination.
    pub(super) fn forget_destination(&mut self, output: usize) {
        self.watched.retain(|(watched, _)| *watched != output);
    }

    /// Reports once when the recipient of an output has ended: then `end` is readable.
    pub(super) fn watch_recipient(&mut self, output: usize, end: Arc<dyn AsFd>) {
        self.recipients.push((output, end));
    }

    /// The next event; none if there is none before `deadline`.
    ///
    /// # Errors
    ///
    /// If poll(2) fails.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self
                .queue
                .pop_front()
                .or_else(|| self.received.try_recv().ok())
            {
                return Ok(Some(event));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match self.poll(timeout.as_ref()) {
                Ok(true) | Err(Errno::INTR) => {}
                Ok(false) => return Ok(None),
                Err(errno) => return Err(Error::io("wait for", "the program", errno.into())),
            }
        }
    }

    /// Waits for events and queues them; returns whether any came.
    fn poll(&mut self, timeout: Option<&Timespec>) -> rustix::io::Result<bool> {
        // Errors and hangups are reported without being asked for.
        let destinations = self
            .watched
            .iter()
            .map(|(_, fd)| (fd.as_fd(), PollFlags::empty()));
        let program = self.program.iter().map(|fd| (fd.as_fd(), PollFlags::IN));
        let recipients = self
            .recipients
            .iter()
            .map(|(_, one)| (one.as_fd(), PollFlags::IN));
        let always = [self.signals.as_fd(), self.sender.bell.as_fd()].map(|fd| (fd, PollFlags::IN));
        let always = always.into_iter().chain(program);
        let mut polled: Vec<PollFd<'_>> = (always.chain(destinations).chain(recipients))
            .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags))
            .collect();
        let is_any = rustix::event::poll(&mut polled, timeout)? > 0;
        let mut happened = polled.iter().map(|polled| !polled.revents().is_empty());
        let mut next = || happened.next().unwrap_or(false);
        let (signalled, rung) = (next(), next());
        let exited = self.program.is_some() && next();
        let closed: Vec<bool> = self.watched.iter().map(|_| next()).collect();
        let ended: Vec<bool> = self.recipients.iter().map(|_| next()).collect();

        if rung {
            let _ = rustix::io::read(&*self.sender.bell, &mut [0; 8]);
        }
        // One that the program ended of was sent before that, though poll(2) may not have seen it.
        if signalled || exited {
            self.queue.extend(self.signals.pending());
        }
        let mut closed = closed.into_iter();
        self.watched.retain(|(output, _)| {
            let is_closed = closed.next().unwrap_or(false);
            if is_closed {
                self.queue.push_back(Event::HungUp { output: *output });
            }
            !is_closed
        });
        let mut ended = ended.into_iter();
        self.recipients.retain(|(output, _)| {
            let has_ended = ended.next().unwrap_or(false);
            if has_ended {
                self.queue
                    .push_back(Event::RecipientEnded { output: *output });
            }
            !has_ended
        });
        if exited {
            self.program = None;
            self.queue.push_back(Event::Exited);
        }
        Ok(is_any)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags};

    use super::*;

    fn events() -> EventLoop {
        EventLoop::new(Signals::watch().expect("signals")).expect("a bell")
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(10))
    }

    /// The next event. The end of a child of this process is skipped: it may be another test's.
    fn next(events: &mut EventLoop, until: Option<Instant>) -> Option<Event> {
        loop {
            match events.next(until).expect("polled") {
                Some(Event::ChildEnded) => {}
                event => return event,
            }
        }
    }

    #[test]
    fn a_pipe_is_reported_when_its_reader_goes_and_not_before() {
        let mut events = events();
        let (first_reader, first) = rustix::pipe::pipe().expect("a pipe");
        let (second_reader, second) = rustix::pipe::pipe().expect("a pipe");
        events.watch_destination(3, first);
        events.watch_destination(5, second);
        let moment = Some(Instant::now() + Duration::from_millis(20));
        assert!(next(&mut events, moment).is_none());
        for (output, reader) in [(5, second_reader), (3, first_reader)] {
            drop(reader);
            match next(&mut events, soon()) {
                Some(Event::HungUp { output: got }) => assert_eq!(got, output),
                _ => panic!("output {output} was not told of"),
            }
        }
        assert!(events.watched.is_empty(), "each is told of once");
    }

    #[test]
    fn the_end_of_the_program_is_reported_once_and_events_of_threads_arrive() {
        let mut events = events();
        let mut command = Command::new("cat");
        let mut child = command.stdin(Stdio::piped()).spawn().expect("started");
        let pid = Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd");
        events.watch_program(pidfd);
        let sender = events.sender();
        let thread = std::thread::spawn(move || sender.send(Event::HungUp { output: 7 }));
        let event = next(&mut events, soon());
        assert!(matches!(event, Some(Event::HungUp { output: 7 })));
        thread.join().expect("ended");
        drop(child.stdin.take());
        let event = next(&mut events, soon());
        assert!(matches!(event, Some(Event::Exited)));
        assert!(events.program.is_none());
        child.wait().expect("waited");
    }
}

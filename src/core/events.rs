//! Subscribers to the events of a mount: this process gets them as values, readers of `.fifofs/events`
//! as lines of JSON.
//!
//! Each subscriber gets all events since it subscribed. One that is too slow loses the oldest, and gets
//! their number.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Monotonic;
use super::effects::{Effects, Reply};
use super::event::{Event, FileEvent};
use super::ids::Unique;
use super::readers::pollers::{Pollers, Readiness};

/// The number of events that are kept for a subscriber that does not read.
const QUEUE_EVENTS: usize = 4096;

#[derive(Debug, Default)]
struct Subscriber {
    /// The only path whose events it gets; `None` for all.
    path: Option<PathBuf>,
    /// Whether it gets them as values instead of lines.
    by_value: bool,
    /// The part of a line that did not fit into the last read.
    rest: Vec<u8>,
    queue: VecDeque<Arc<FileEvent>>,
    /// The number of lost events, and the time of the last of them.
    lost: (u64, Duration),
    reads: VecDeque<(Unique, u32)>,
    /// The number of events for it so far.
    published: u64,
    /// Whether no more will come.
    over: bool,
    pollers: Pollers,
}

/// The subscribers of one mount.
#[derive(Debug)]
pub(crate) struct Events {
    start: Monotonic,
    subscribers: HashMap<u64, Subscriber>,
    next: u64,
}

impl Events {
    /// Without subscribers; times count from `start`.
    pub(crate) fn new(start: Monotonic) -> Self {
        Events {
            start,
            subscribers: HashMap::new(),
            next: 1,
        }
    }

    /// Time since `start`.
    pub(crate) fn age(&self, now: Monotonic) -> Duration {
        now.saturating_sub(self.start)
    }

    /// Whether events are wanted at all: making one is not free.
    pub(crate) fn wanted(&self) -> bool {
        !self.subscribers.is_empty() || log::log_enabled!(log::Level::Debug)
    }

    /// Gives an event to the subscribers; returns the requests that this answers.
    pub(crate) fn publish(
        &mut self,
        now: Monotonic,
        path: PathBuf,
        event: Event,
        effects: &mut Effects,
    ) -> Vec<(Unique, Reply)> {
        let event = Arc::new(FileEvent {
            time: self.age(now),
            path,
            event,
        });
        if log::log_enabled!(log::Level::Debug) {
            log::debug!("{}", String::from_utf8_lossy(&line(&event)).trim_end());
        }
        let mut answered = Vec::new();
        for subscriber in self.subscribers.values_mut() {
            if !subscriber.wants(&event) {
                continue;
            }
            while subscriber.queue.len() >= QUEUE_EVENTS
                && let Some(lost) = subscriber.queue.pop_front()
            {
                subscriber.lost = (subscriber.lost.0 + 1, lost.time);
            }
            subscriber.queue.push_back(Arc::clone(&event));
            subscriber.published += 1;
            subscriber.pollers.notify(subscriber.readiness(), effects);
            if let Some((unique, length)) = subscriber.reads.pop_front() {
                answered.push((unique, subscriber.take(length)));
            }
        }
        answered
    }

    /// Adds a subscriber to the events of one path, or of all, as values or as lines of JSON.
    pub(crate) fn subscribe(&mut self, path: Option<PathBuf>, by_value: bool) -> u64 {
        let id = self.next;
        self.next += 1;
        let subscriber = Subscriber {
            path,
            by_value,
            ..Subscriber::default()
        };
        self.subscribers.insert(id, subscriber);
        id
    }

    /// Removes a subscriber.
    pub(crate) fn unsubscribe(&mut self, id: u64) {
        self.subscribers.remove(&id);
    }

    /// The answer to a subscriber's READ, if there are events for it. Else the READ waits for the next
    /// one, unless it is nonblocking.
    pub(crate) fn read(
        &mut self,
        id: u64,
        unique: Unique,
        length: u32,
        nonblocking: bool,
    ) -> Option<Reply> {
        let subscriber = self.subscribers.get_mut(&id)?;
        if subscriber.is_empty() {
            if !nonblocking {
                subscriber.reads.push_back((unique, length));
            }
            return None;
        }
        Some(subscriber.take(length))
    }

    /// A POLL of a subscriber.
    pub(crate) fn poll(&mut self, id: u64, kernel_handle: Option<u64>) -> Readiness {
        let Some(subscriber) = self.subscribers.get_mut(&id) else {
            return Readiness::OVER;
        };
        let readiness = subscriber.readiness();
        subscriber.pollers.asked(kernel_handle, readiness);
        readiness
    }

    /// No more events will come; pollers are notified of that.
    pub(crate) fn shut_down(&mut self, effects: &mut Effects) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.over = true;
            subscriber.pollers.notify(subscriber.readiness(), effects);
        }
    }

    /// Gives up a READ that waits.
    pub(crate) fn cancel(&mut self, id: u64, unique: Unique) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.reads.retain(|(waiting, _)| *waiting != unique);
        }
    }
}

impl Subscriber {
    fn wants(&self, event: &FileEvent) -> bool {
        let Some(own) = &self.path else {
            return true;
        };
        let left = matches!(&event.event, Event::Renamed { from } if from == own);
        left || event.path == *own
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            ready: self.over || !self.is_empty(),
            limit: self.published,
            over: self.over,
        }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.queue.is_empty() && self.lost.0 == 0
    }

    /// The next event; first of all, if events were lost, their number.
    fn next(&mut self) -> Option<Arc<FileEvent>> {
        match std::mem::take(&mut self.lost) {
            (0, _) => self.queue.pop_front(),
            (lost, time) => Some(Arc::new(FileEvent {
                time,
                path: self.path.clone().unwrap_or_default(),
                event: Event::Lagged { lost },
            })),
        }
    }

    fn take(&mut self, length: u32) -> Reply {
        if self.by_value {
            let events = std::iter::from_fn(|| self.next()).collect();
            return Reply::Events(events);
        }
        Reply::Text(self.take_lines(length as usize))
    }

    /// Bytes that fit into `length`: whole lines, unless not even one fits.
    fn take_lines(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = match self.rest.is_empty() {
            true => self.next().map_or_else(Vec::new, |event| line(&event)),
            false => std::mem::take(&mut self.rest),
        };
        while bytes.len() < length
            && let Some(event) = self.next()
        {
            let next = line(&event);
            if bytes.len() + next.len() > length {
                self.rest = next;
                return bytes;
            }
            bytes.extend(next);
        }
        if bytes.len() > length {
            self.rest = bytes.split_off(length);
        }
        bytes
    }
}

fn line(event: &FileEvent) -> Vec<u8> {
    // Making JSON of an event cannot fail.
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::generation::Way;
    use super::*;

    /// A subscriber to all events, and so many of them.
    fn happened(count: usize, by_value: bool, path: &str) -> (Events, u64) {
        let mut events = Events::new(Monotonic::ZERO);
        let id = events.subscribe(None, by_value);
        for _ in 0..count {
            publish(&mut events, path);
        }
        (events, id)
    }

    fn publish(events: &mut Events, path: &str) {
        let path = PathBuf::from(path);
        events.publish(
            Monotonic::ZERO,
            path,
            Event::Closed,
            &mut Effects::default(),
        );
    }

    fn text(events: &mut Events, id: u64, length: u32) -> Option<Vec<u8>> {
        match events.read(id, Unique(1), length, true)? {
            Reply::Text(bytes) => Some(bytes),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slow_subscriber_gets_the_number_of_lost_events() {
        let (mut events, id) = happened(QUEUE_EVENTS + 3, false, "f");
        let text = String::from_utf8(text(&mut events, id, 1 << 20).unwrap()).unwrap();
        assert_eq!(text.lines().count(), QUEUE_EVENTS + 1);
        let first = text.lines().next().unwrap();
        assert_eq!(first, r#"{"time":0.0,"path":"","event":"lagged","lost":3}"#);

        let (mut events, id) = happened(QUEUE_EVENTS + 3, true, "f");
        let Some(Reply::Events(events)) = events.read(id, Unique(1), 0, true) else {
            panic!("there are some");
        };
        assert_eq!(events.len(), QUEUE_EVENTS + 1);
        assert_eq!(events[0].event, Event::Lagged { lost: 3 });
        assert_eq!(events[1].event, Event::Closed);
    }

    #[test]
    fn a_line_that_does_not_fit_comes_in_pieces_also_if_events_are_lost_meanwhile() {
        let (mut events, id) = happened(1, false, "ü");
        let mut all = text(&mut events, id, 1).unwrap();
        for _ in 0..QUEUE_EVENTS + 1 {
            publish(&mut events, "ü");
        }
        while let Some(more) = text(&mut events, id, 1) {
            assert_eq!(more.len(), 1);
            all.extend(more);
        }
        let text = String::from_utf8(all).unwrap();
        let line = r#"{"time":0.0,"path":"ü","event":"closed"}"#;
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(line));
        let lost = lines.next().unwrap();
        assert!(lost.contains(r#""event":"lagged","lost":1"#), "{lost}");
        assert!(lines.all(|other| other == line));
    }

    #[test]
    fn an_event_survives_the_way_through_json() {
        for event in [
            Event::Removed,
            Event::Chosen {
                way: Way::Follow,
                reason: "why".into(),
            },
            Event::Renamed { from: "a/b".into() },
        ] {
            let event = FileEvent {
                time: Duration::from_millis(1500),
                path: "c".into(),
                event,
            };
            let again: FileEvent = serde_json::from_slice(&line(&event)).unwrap();
            assert_eq!(again, event);
        }
    }
}

//! Who is told what happens in a mount: this process gets it as values,
//! who reads `.fifofs/events` as lines of JSON.
//!
//! Each subscriber gets everything from when it opened. One that is too slow
//! loses the oldest events and is told how many.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Monotonic;
use super::effects::{Effects, Reply};
use super::event::{Event, FileEvent};
use super::ids::Unique;
use super::readers::pollers::{Pollers, Readiness};

/// How many events are kept for a subscriber that does not read.
const QUEUE_EVENTS: usize = 4096;

#[derive(Debug, Default)]
struct Subscriber {
    /// The only path it is told of, if it is not told of all.
    path: Option<PathBuf>,
    /// Whether it takes them as values.
    by_value: bool,
    /// Of a line that did not fit into a read, what was not given yet.
    rest: Vec<u8>,
    queue: VecDeque<Arc<FileEvent>>,
    /// How many were lost, and when the last of them happened.
    lost: (u64, Duration),
    reads: VecDeque<(Unique, u32)>,
    /// How many events there were for it so far.
    told: u64,
    /// Whether there will be no more.
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
    /// Nobody yet; times count from `start`.
    pub(crate) fn new(start: Monotonic) -> Self {
        Events {
            start,
            subscribers: HashMap::new(),
            next: 1,
        }
    }

    /// How long ago that was.
    pub(crate) fn age(&self, now: Monotonic) -> Duration {
        now.saturating_sub(self.start)
    }

    /// Whether anybody listens: making a line is not free.
    pub(crate) fn wanted(&self) -> bool {
        !self.subscribers.is_empty() || log::log_enabled!(log::Level::Debug)
    }

    /// Tells everybody; returns the requests that were answered by it.
    pub(crate) fn publish(
        &mut self,
        now: Monotonic,
        path: PathBuf,
        event: Event,
        effects: &mut Effects,
    ) -> Vec<Unique> {
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
            if !subscriber.is_told(&event) {
                continue;
            }
            while subscriber.queue.len() >= QUEUE_EVENTS
                && let Some(lost) = subscriber.queue.pop_front()
            {
                subscriber.lost = (subscriber.lost.0 + 1, lost.time);
            }
            subscriber.queue.push_back(Arc::clone(&event));
            subscriber.told += 1;
            subscriber.pollers.notify(subscriber.readiness(), effects);
            if let Some((unique, length)) = subscriber.reads.pop_front() {
                answered.push(unique);
                effects.reply(unique, subscriber.take(length));
            }
        }
        answered
    }

    /// One more subscriber, to the events of one path or of all, which takes them as values or as
    /// lines of JSON.
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

    /// One less.
    pub(crate) fn unsubscribe(&mut self, id: u64) {
        self.subscribers.remove(&id);
    }

    /// The answer to a subscriber, if there is something for it; else a note that it waits for the
    /// next, unless it does not wait.
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

    /// No more will come, and whoever polls is to see that.
    pub(crate) fn shut_down(&mut self, effects: &mut Effects) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.over = true;
            subscriber.pollers.notify(subscriber.readiness(), effects);
        }
    }

    /// A request that waited is given up.
    pub(crate) fn cancel(&mut self, id: u64, unique: Unique) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.reads.retain(|(waiting, _)| *waiting != unique);
        }
    }
}

impl Subscriber {
    fn is_told(&self, event: &FileEvent) -> bool {
        let Some(own) = &self.path else {
            return true;
        };
        let left = matches!(&event.event, Event::Renamed { from } if from == own);
        left || event.path == *own
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            ready: self.over || !self.is_empty(),
            limit: self.told,
            over: self.over,
        }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.queue.is_empty() && self.lost.0 == 0
    }

    /// The next event; first of all how many were lost.
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

    /// As many bytes as fit, whole lines if one fits at all.
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
    // Nothing in it can fail.
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::generation::Way;
    use super::*;

    /// Subscribed to everything, and so many things that happened.
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
    fn a_slow_subscriber_is_told_what_it_lost() {
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
    fn a_line_that_does_not_fit_comes_in_pieces_and_is_not_torn_by_what_is_lost() {
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
    fn an_event_is_the_same_again_when_it_was_json() {
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

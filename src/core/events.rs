//! What happens in a mount, as lines of JSON for whoever reads
//! `.fifofs/events`.
//!
//! Each subscriber gets everything from when it opened. One that is too slow
//! loses the oldest lines and is told how many.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::clock::Monotonic;
use super::effects::{Effect, Effects, Unique};
use super::polling::{Pollers, Readiness};

/// How many lines are kept for a subscriber that does not read.
const QUEUE_LINES: usize = 4096;

/// One thing that happened to a file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(crate) enum Event<'a> {
    /// It was opened for writing.
    Opened {
        pid: i32,
        name: &'a str,
        generation: u64,
    },
    /// How it will be delivered was chosen.
    Chosen { way: &'static str, reason: &'a str },
    /// Bytes arrived.
    Wrote { offset: u64, bytes: u64 },
    /// It was set to a length.
    Truncated { length: u64 },
    /// It has another name.
    Renamed { from: &'a str },
    /// A name of it was removed.
    Removed,
    /// The last writer closed it.
    Closed,
    /// The generation is done.
    Done { bytes: u64 },
    /// A writer came to a bad end.
    Failed {
        pid: i32,
        name: &'a str,
        signal: Option<i32>,
        status: Option<i32>,
    },
    /// Bytes that a reader had were rewritten.
    Rewritten {
        pid: i32,
        name: &'a str,
        from: u64,
        to: u64,
    },
    /// Something users should know.
    Warning { message: &'a str },
}

#[derive(Serialize)]
struct Line<'a> {
    /// Seconds since the mount was made.
    time: f64,
    path: &'a str,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

#[derive(Debug, Default)]
struct Subscriber {
    /// The only path it is told of, if it is not told of all.
    path: Option<String>,
    /// Of a line that did not fit into a read, what was not given yet.
    rest: Vec<u8>,
    lines: VecDeque<Vec<u8>>,
    lost: u64,
    reads: VecDeque<(Unique, u32)>,
    /// How many lines there were for it so far.
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

    /// Whether anybody listens: making a line is not free.
    pub(crate) fn wanted(&self) -> bool {
        !self.subscribers.is_empty() || log::log_enabled!(log::Level::Debug)
    }

    /// Tells everybody; returns the requests that were answered by it.
    pub(crate) fn publish(
        &mut self,
        now: Monotonic,
        path: &str,
        event: &Event<'_>,
        effects: &mut Effects,
    ) -> Vec<Unique> {
        let line = Line {
            time: now.saturating_sub(self.start).as_secs_f64(),
            path,
            event,
        };
        let Ok(mut text) = serde_json::to_string(&line) else {
            return Vec::new();
        };
        log::debug!("{text}");
        text.push('\n');
        let mut answered = Vec::new();
        for subscriber in self.subscribers.values_mut() {
            if !subscriber.is_told(path, event) {
                continue;
            }
            while subscriber.lines.len() >= QUEUE_LINES {
                subscriber.lines.pop_front();
                subscriber.lost += 1;
            }
            subscriber.lines.push_back(text.clone().into_bytes());
            subscriber.told += 1;
            subscriber.pollers.notify(subscriber.readiness(), effects);
            if let Some((unique, length)) = subscriber.reads.pop_front() {
                answered.push(unique);
                effects.push(Effect::Text {
                    unique,
                    bytes: subscriber.take(length),
                });
            }
        }
        answered
    }

    /// One more subscriber, to the events of one path or of all.
    pub(crate) fn subscribe(&mut self, path: Option<String>) -> u64 {
        let id = self.next;
        self.next += 1;
        let subscriber = Subscriber {
            path,
            ..Subscriber::default()
        };
        self.subscribers.insert(id, subscriber);
        id
    }

    /// One less.
    pub(crate) fn unsubscribe(&mut self, id: u64) {
        self.subscribers.remove(&id);
    }

    /// What there is for a subscriber, or a note that it waits for the next unless
    /// it does not wait.
    pub(crate) fn read(
        &mut self,
        id: u64,
        unique: Unique,
        length: u32,
        nonblocking: bool,
    ) -> Option<Vec<u8>> {
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
    fn is_told(&self, path: &str, event: &Event<'_>) -> bool {
        self.path.as_deref().is_none_or(|own| {
            own == path || matches!(event, Event::Renamed { from } if *from == own)
        })
    }

    fn readiness(&self) -> Readiness {
        Readiness {
            ready: self.over || !self.is_empty(),
            limit: self.told,
            over: self.over,
        }
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.lines.is_empty()
    }

    /// As many bytes as fit, whole lines if one fits at all.
    fn take(&mut self, length: u32) -> Vec<u8> {
        let length = length as usize;
        if self.rest.is_empty() {
            if self.lost > 0 {
                let note = format!("{{\"event\":\"lagged\",\"lost\":{}}}\n", self.lost);
                self.lines.push_front(note.into_bytes());
                self.lost = 0;
            }
            self.rest = self.lines.pop_front().unwrap_or_default();
        }
        let mut bytes = std::mem::take(&mut self.rest);
        if bytes.len() > length {
            self.rest = bytes.split_off(length);
            return bytes;
        }
        while let Some(line) = self.lines.front()
            && bytes.len() + line.len() <= length
        {
            bytes.extend_from_slice(line);
            self.lines.pop_front();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_subscriber_is_told_what_it_lost() {
        let mut events = Events::new(Monotonic::ZERO);
        let id = events.subscribe(None);
        let mut effects = Effects::default();
        for _ in 0..QUEUE_LINES + 3 {
            events.publish(Monotonic::ZERO, "f", &Event::Closed, &mut effects);
        }
        let bytes = events.read(id, Unique(1), 1 << 20, true).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), QUEUE_LINES + 1);
        assert!(text.starts_with(r#"{"event":"lagged","lost":3}"#));
    }

    #[test]
    fn a_line_that_does_not_fit_comes_in_pieces_and_is_not_torn_by_what_is_lost() {
        let mut events = Events::new(Monotonic::ZERO);
        let id = events.subscribe(None);
        let mut effects = Effects::default();
        events.publish(Monotonic::ZERO, "ü", &Event::Closed, &mut effects);
        let mut text = events.read(id, Unique(1), 1, true).unwrap();
        for _ in 0..QUEUE_LINES + 1 {
            events.publish(Monotonic::ZERO, "ü", &Event::Closed, &mut effects);
        }
        while let Some(more) = events.read(id, Unique(1), 1, true) {
            assert_eq!(more.len(), 1);
            text.extend(more);
        }
        let text = String::from_utf8(text).unwrap();
        let line = r#"{"time":0.0,"path":"ü","event":"closed"}"#;
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(line));
        assert_eq!(lines.next(), Some(r#"{"event":"lagged","lost":1}"#));
        assert!(lines.all(|other| other == line));
    }
}

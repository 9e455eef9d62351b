//! What happens in a mount, as lines of JSON for whoever reads
//! `.fifofs/events`.
//!
//! Each subscriber gets everything from when it opened. One that is too slow
//! loses the oldest lines and is told how many.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::clock::Monotonic;
use super::effects::{Effect, Effects, Unique};

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
    lines: VecDeque<String>,
    lost: u64,
    reads: VecDeque<(Unique, u32)>,
}

/// The subscribers of one mount.
#[derive(Debug)]
pub(crate) struct Events {
    start: Monotonic,
    subscribers: HashMap<u64, Subscriber>,
    next: u64,
    answered: Vec<Unique>,
}

impl Events {
    /// Nobody yet; times count from `start`.
    pub(crate) fn new(start: Monotonic) -> Self {
        Events {
            start,
            subscribers: HashMap::new(),
            next: 1,
            answered: Vec::new(),
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
        for subscriber in self.subscribers.values_mut() {
            while subscriber.lines.len() >= QUEUE_LINES {
                subscriber.lines.pop_front();
                subscriber.lost += 1;
            }
            subscriber.lines.push_back(text.clone());
            if let Some((unique, length)) = subscriber.reads.pop_front() {
                self.answered.push(unique);
                effects.push(Effect::Text {
                    unique,
                    bytes: subscriber.take(length),
                });
            }
        }
        std::mem::take(&mut self.answered)
    }

    /// One more subscriber.
    pub(crate) fn subscribe(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        self.subscribers.insert(id, Subscriber::default());
        id
    }

    /// One less.
    pub(crate) fn unsubscribe(&mut self, id: u64) {
        self.subscribers.remove(&id);
    }

    /// What there is for a subscriber, or a note that it waits for the next.
    pub(crate) fn read(&mut self, id: u64, unique: Unique, length: u32) -> Option<Vec<u8>> {
        let subscriber = self.subscribers.get_mut(&id)?;
        if subscriber.lines.is_empty() {
            subscriber.reads.push_back((unique, length));
            return None;
        }
        Some(subscriber.take(length))
    }

    /// A request that waited is given up.
    pub(crate) fn cancel(&mut self, id: u64, unique: Unique) {
        if let Some(subscriber) = self.subscribers.get_mut(&id) {
            subscriber.reads.retain(|(waiting, _)| *waiting != unique);
        }
    }
}

impl Subscriber {
    /// As many bytes as fit, whole lines if one fits at all.
    fn take(&mut self, length: u32) -> Vec<u8> {
        let length = length as usize;
        let mut bytes = Vec::new();
        if self.lost > 0 {
            let note = format!("{{\"event\":\"lagged\",\"lost\":{}}}\n", self.lost);
            self.lines.push_front(note);
            self.lost = 0;
        }
        while let Some(line) = self.lines.front() {
            if bytes.len() + line.len() <= length {
                bytes.extend_from_slice(line.as_bytes());
                self.lines.pop_front();
            } else {
                if bytes.is_empty() {
                    // Not even one line fits: it is given in pieces.
                    let line = self.lines.pop_front().unwrap_or_default().into_bytes();
                    let (now, later) = line.split_at(length.min(line.len()));
                    bytes.extend_from_slice(now);
                    self.lines
                        .push_front(String::from_utf8_lossy(later).into_owned());
                }
                break;
            }
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
        let id = events.subscribe();
        let mut effects = Effects::default();
        for _ in 0..QUEUE_LINES + 3 {
            events.publish(Monotonic::ZERO, "f", &Event::Closed, &mut effects);
        }
        let bytes = events.read(id, Unique(1), 1 << 20).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), QUEUE_LINES + 1);
        assert!(text.starts_with(r#"{"event":"lagged","lost":3}"#));
    }
}

//! One reader of a replay, as `fifofs run` has one for each output that goes to a
//! pipe.
//!
//! Knows when its turn comes and what it got. There are three kinds:
//!
//! - at once: it always has a request waiting, and gets bytes as they come;
//! - late, of a stream: each request comes a while after the last was answered, and
//!   the first a while after there was something;
//! - late, of what the kernel writes back: it has what has been there for a while,
//!   which is what a reader has surely got by then.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::ops::Range;
use std::time::Duration;

use rustix::io::Errno;

use super::outcome::{Digest, End};
use crate::core::clock::Monotonic;
use crate::core::effects::{Reply, Unique};
use crate::core::request::Wanted;
use crate::core::rules::Deliver;

/// How much it reads at once.
const READ_BYTES: u64 = 1 << 20;

/// How long a reader of a stream may need to come again.
const STREAM_LAG: Duration = Duration::from_millis(5);

/// How long it may need to come for the first time.
const STREAM_START: Duration = Duration::from_millis(2);

/// How long bytes may need from a program to a reader: 5 ms until they are written
/// back, and the rest for a machine that is busy.
const CACHE_LAG: Duration = Duration::from_millis(30);

/// When its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Always,
    AfterRest,
    LookingBack,
}

/// A reader.
pub(super) struct Reader {
    pub(super) handle: u64,
    /// Which of its bytes were rewritten, and when.
    pub(super) rewritten: Option<(Range<u64>, Monotonic)>,
    turn: Turn,
    pending: Option<Unique>,
    /// For who rests: until when; at first until there is something.
    rests_until: Monotonic,
    /// For who looks back: up to where it could have read, and since when.
    limits: VecDeque<(Monotonic, u64)>,
    position: u64,
    hash: DefaultHasher,
    ended: Option<Result<(), Errno>>,
}

impl Reader {
    /// At once, or late with what is delivered in this way.
    pub(super) fn new(handle: u64, late: Option<Deliver>) -> Self {
        Reader {
            handle,
            rewritten: None,
            turn: match late {
                None => Turn::Always,
                Some(Deliver::Stream) => Turn::AfterRest,
                Some(_) => Turn::LookingBack,
            },
            pending: None,
            rests_until: Monotonic::MAX,
            limits: VecDeque::from([(Monotonic::ZERO, 0)]),
            position: 0,
            hash: DefaultHasher::new(),
            ended: None,
        }
    }

    pub(super) fn asked(&self, unique: Unique) -> bool {
        self.pending == Some(unique)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    pub(super) fn looks_back(&self) -> bool {
        self.turn == Turn::LookingBack && !self.has_ended()
    }

    /// Whether it asks now.
    pub(super) fn may_ask(&self, now: Monotonic) -> bool {
        let has_turn = match self.turn {
            Turn::Always => true,
            Turn::AfterRest => now >= self.rests_until,
            Turn::LookingBack => false,
        };
        has_turn && self.pending.is_none() && !self.has_ended()
    }

    /// When it will, if only time must pass for that.
    pub(super) fn turn(&self) -> Option<Monotonic> {
        let rests = self.turn == Turn::AfterRest && self.pending.is_none() && !self.has_ended();
        rests.then_some(self.rests_until)
    }

    pub(super) fn ask(&mut self, unique: Unique) {
        self.pending = Some(unique);
    }

    /// What it asks for, up to an offset.
    pub(super) fn wanted(&self, limit: u64) -> Wanted {
        let length = limit.saturating_sub(self.position).min(READ_BYTES);
        Wanted {
            offset: self.position,
            length: length as u32,
            nonblocking: false,
        }
    }

    pub(super) fn take(&mut self, reply: Reply, now: Monotonic) {
        self.pending = None;
        self.rests_until = now + STREAM_LAG;
        match reply {
            Reply::Bytes(bytes) => match bytes.to_vec() {
                Ok(copy) => {
                    self.hash.write(&copy);
                    self.position += copy.len() as u64;
                }
                Err(_) => self.ended = Some(Err(Errno::NOSPC)),
            },
            Reply::Text(_) => self.ended = Some(Ok(())),
            Reply::Refused(errno) => self.ended = Some(Err(errno)),
            _ => {}
        }
    }

    /// Whether it rests until there is something.
    pub(super) fn is_to_come(&self) -> bool {
        self.turn == Turn::AfterRest && self.rests_until == Monotonic::MAX && !self.has_ended()
    }

    /// It could read up to here from now on.
    pub(super) fn note_limit(&mut self, now: Monotonic, limit: u64) {
        if limit > 0 && self.is_to_come() {
            self.rests_until = now + STREAM_START;
        }
        if self.limits.back().is_none_or(|(_, last)| *last != limit) {
            self.limits.push_back((now, limit));
        }
    }

    /// Up to where it could read all the while, if that is further than it is.
    pub(super) fn old_limit(&mut self, now: Monotonic) -> Option<u64> {
        if !self.looks_back() || self.pending.is_some() {
            return None;
        }
        let since = now.checked_sub(CACHE_LAG)?;
        while self.limits.get(1).is_some_and(|(at, _)| *at <= since) {
            self.limits.pop_front();
        }
        let limit = self.limits.iter().map(|(_, limit)| *limit).min()?;
        (limit > self.position).then_some(limit)
    }

    /// From now on it reads whatever there is.
    pub(super) fn hurry(&mut self) {
        self.turn = Turn::Always;
    }

    pub(super) fn end(&self) -> End {
        let rewritten = |(range, at): &(Range<u64>, Monotonic)| End::Rewritten {
            range: Some(range.clone()),
            at: *at,
        };
        match (&self.ended, &self.rewritten) {
            (Some(Ok(())), _) => End::Whole,
            (_, Some(found)) => rewritten(found),
            (Some(Err(Errno::STALE)), None) => End::Rewritten {
                range: None,
                at: Duration::ZERO,
            },
            (Some(Err(Errno::NOENT)), _) => End::Missing,
            (Some(Err(_)), _) => End::Failed,
            (None, _) => End::Missing,
        }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest {
            bytes: self.position,
            hash: self.hash.finish(),
        }
    }
}

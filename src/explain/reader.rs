//! One reader of a replay, like the one that `fifofs run` has for each output that goes to a pipe.
//!
//! Knows when it reads and what it got. There are three kinds:
//!
//! - immediate: always has a request waiting, and gets bytes as they come;
//! - late, for a stream: each request comes a while after the last reply, and the first a while
//!   after the first bytes;
//! - late, for what the kernel writes back: gets the bytes that have been there for a while, which
//!   any reader has surely got by then.

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

/// The most bytes of one read.
const READ_BYTES: u64 = 1 << 20;

/// How long a reader of a stream may take to ask again.
const STREAM_LAG: Duration = Duration::from_millis(5);

/// How long it may take to ask for the first time.
const STREAM_START: Duration = Duration::from_millis(2);

/// How long bytes may take from a program to a reader: 5 ms until they are written back, and the
/// rest for a busy machine.
const CACHE_LAG: Duration = Duration::from_millis(30);

/// When it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Always,
    AfterRest,
    LookingBack,
}

/// A reader.
pub(super) struct Reader {
    pub(super) handle: u64,
    /// The first range of its bytes that was changed after it got them, and when.
    pub(super) rewritten: Option<(Range<u64>, Monotonic)>,
    turn: Turn,
    pending: Option<Unique>,
    /// With `AfterRest`: when it asks next; `MAX` until there are bytes.
    rests_until: Monotonic,
    /// If it looks back: how far it could have read, and since when.
    limits: VecDeque<(Monotonic, u64)>,
    position: u64,
    hash: DefaultHasher,
    ended: Option<Result<(), Errno>>,
}

impl Reader {
    /// An immediate reader, or a late one for files that are delivered in this way.
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

    /// When it will ask, if that depends on time only.
    pub(super) fn turn(&self) -> Option<Monotonic> {
        let rests = self.turn == Turn::AfterRest && self.pending.is_none() && !self.has_ended();
        rests.then_some(self.rests_until)
    }

    pub(super) fn ask(&mut self, unique: Unique) {
        self.pending = Some(unique);
    }

    /// The read that it asks for, up to an offset.
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

    /// Whether it waits for its first bytes.
    pub(super) fn is_to_come(&self) -> bool {
        self.turn == Turn::AfterRest && self.rests_until == Monotonic::MAX && !self.has_ended()
    }

    /// Notes that it could read up to `limit` from now on.
    pub(super) fn note_limit(&mut self, now: Monotonic, limit: u64) {
        if limit > 0 && self.is_to_come() {
            self.rests_until = now + STREAM_START;
        }
        if self.limits.back().is_none_or(|(_, last)| *last != limit) {
            self.limits.push_back((now, limit));
        }
    }

    /// How far it could have read all the while, if that is beyond its position.
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

    /// From now on it reads all available bytes at once.
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

//! Replays a recording, with readers that were not there.
//!
//! Drives a core as the router would, with the recorded times as the clock, and reads each output
//! as `fifofs run` does when it writes to a pipe. Judges nothing: `verdict` does. Invariant: the
//! bytes that readers get come from the core, by the same rules as in a mount.
//!
//! The speed of the machine and the moment at which a reader reads cannot be recorded. So there are
//! two [`Pace`]s, and a result counts as certain if both give it.

mod requests;

use std::collections::HashMap;
use std::ffi::OsString;
use std::time::Duration;

use rustix::io::Errno;

use super::observer::Observer;
use super::outcome::{End, Outcome, Refusal, Refused};
use super::reader::Reader;
use crate::core::clock::{Moment, Monotonic, Timestamp};
use crate::core::effects::{Effect, Reply, Unique};
use crate::core::generation::{Ending, Processes};
use crate::core::namespace::{Creator, ROOT};
use crate::core::patching::Reading;
use crate::core::recording::Recording;
use crate::core::request::{Caller, Loaded, Opener, Request, Wanted};
use crate::core::rules::{Deliver, FailOn, Linger, Rules};
use crate::core::spool::Pool;
use crate::core::{CaptureId, Core, Env, Settings};
use crate::mount::DEFAULT_WINDOW_BYTES;

/// How many bytes `fifofs run` keeps of what it has written to a pipe: as in `cli::run::stage`.
const KEPT_BYTES: u64 = 64 << 20;

/// More alarms than this after the last operation mean a bug.
const ALARMS_MAX: usize = 100_000;

/// The creator of all files; permissions are not checked.
const CREATOR: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

/// How fast the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Half the recorded speed, and a reader that gets each byte as it is written.
    Slow,
    /// Twice the recorded speed, and a reader that reads late.
    Fast,
}

impl Pace {
    fn scaled(self, time: Monotonic) -> Monotonic {
        match self {
            Pace::Slow => time * 2,
            Pace::Fast => time / 2,
        }
    }
}

/// The recorded processes.
#[derive(Default)]
struct RecordedProcesses(HashMap<i32, Ending>);

impl Processes for RecordedProcesses {
    fn ending(&self, pid: i32) -> Ending {
        self.0.get(&pid).copied().unwrap_or(Ending::Running)
    }
    fn group_is_empty(&self, _group: i32) -> bool {
        false
    }
}

/// A replay in progress.
pub(super) struct Replay<'a> {
    core: Core,
    recording: &'a Recording,
    processes: RecordedProcesses,
    pace: Pace,
    now: Monotonic,
    /// The recorded time of the present operation.
    recorded: Monotonic,
    /// From recorded inode numbers to those of this core.
    inos: HashMap<u64, u64>,
    handles: HashMap<u64, u64>,
    unique: u64,
    captures: Vec<(CaptureId, Reader)>,
    refusals: Vec<Option<Refusal>>,
    are_held: bool,
    /// Whether writes come as pages of the kernel's cache; streams have no cache.
    in_pages: bool,
}

impl<'a> Replay<'a> {
    /// A replay with a reader of each output, and files that are delivered in this way.
    pub(super) fn new(
        recording: &'a Recording,
        pool: &Pool,
        deliver: Deliver,
        pace: Pace,
        outputs: &[Vec<OsString>],
    ) -> Result<Self, Errno> {
        let mut rules = Rules::new();
        // A rule without a glob cannot fail.
        let _ = rules.push(None, deliver);
        let settings = Settings {
            rules,
            linger: Linger::Auto,
            fail_on: FailOn::Never,
            window_bytes: DEFAULT_WINDOW_BYTES,
            patience: Duration::MAX,
            unseen_bytes: 0,
            readers_wait: false,
            consume: false,
            require_visible: false,
            fifos: Rules::new(),
            splice_ends_at_size: false,
            records: false,
            owner: CREATOR,
            place: None,
        };
        let start = moment(Monotonic::ZERO);
        let mut replay = Replay {
            core: Core::new(settings, pool.clone(), ROOT + 1, start),
            recording,
            processes: RecordedProcesses::default(),
            pace,
            now: Monotonic::ZERO,
            recorded: Monotonic::ZERO,
            inos: HashMap::from([(ROOT, ROOT)]),
            handles: HashMap::new(),
            unique: 0,
            captures: Vec::new(),
            refusals: vec![None; outputs.len()],
            are_held: true,
            // A reader that waits for the end never sees the difference.
            in_pages: deliver != Deliver::Settled,
        };
        for path in outputs {
            let late = pace == Pace::Fast && deliver != Deliver::Settled;
            replay.capture(path, late.then_some(deliver))?;
        }
        Ok(replay)
    }

    /// Makes a reader of an output, like that of `fifofs run`.
    fn capture(&mut self, path: &[OsString], late: Option<Deliver>) -> Result<(), Errno> {
        let capture = Request::Capture {
            path: path.to_vec(),
        };
        let id = match self.ask(capture) {
            Some(Reply::Captured(id)) => id,
            Some(Reply::Refused(errno)) => return Err(errno),
            _ => return Err(Errno::IO),
        };
        self.ask(Request::Hold { id, again: false });
        let bytes = KEPT_BYTES;
        self.ask(Request::KeepAtMost { id, bytes });
        let reading = Reading {
            of_holders: true,
            by_position: false,
        };
        let open = Request::OpenCaptured {
            id,
            reading,
            opener: Opener::default(),
        };
        let Some(Reply::Handle(handle)) = self.ask(open) else {
            return Err(Errno::IO);
        };
        self.captures.push((id, Reader::new(handle, late)));
        Ok(())
    }

    /// Replays everything, until `child` has ended and everything is read. The observer sees each
    /// operation before and after it.
    pub(super) fn play(
        mut self,
        child: Option<i32>,
        mut observer: Option<&mut Observer>,
    ) -> Result<Vec<Outcome>, Errno> {
        self.read();
        for entry in &self.recording.entries {
            self.advance(self.pace.scaled(entry.at));
            self.recorded = entry.at;
            let ino = |ino: &u64| self.inos.get(ino).copied();
            if let Some(observer) = observer.as_deref_mut() {
                observer.before(&self.core, entry, self.recording, ino);
            }
            self.apply(entry)?;
            let ino = |ino: &u64| self.inos.get(ino).copied();
            if let Some(observer) = observer.as_deref_mut() {
                observer.after(&self.core, entry, ino);
            }
            if let Request::ProcessEnded { pid, .. } = entry.request
                && Some(pid) == child
            {
                self.release_captures();
            }
            self.read();
        }
        // Processes that still have it open did nothing more in the recording.
        for handle in std::mem::take(&mut self.handles).into_values() {
            self.ask(Request::Release { handle });
        }
        self.release_captures();
        self.finish();
        Ok(self.outcomes())
    }

    /// Makes the core handle a request; returns its reply if there is one already. Replies to
    /// readers are passed to them.
    fn handle<'b>(&mut self, caller: Caller, request: impl Into<Loaded<'b>>) -> Option<Reply> {
        let env = Env {
            now: moment(self.now),
            processes: &self.processes,
        };
        let mut own = None;
        for effect in self.core.handle(env, caller, request) {
            let Effect::Reply { unique, reply } = effect else {
                continue;
            };
            let reader = self.captures.iter_mut().find(|(_, r)| r.asked(unique));
            match reader {
                Some((_, reader)) => reader.take(reply, self.now),
                None if unique == caller.unique => own = Some(reply),
                None => {}
            }
        }
        self.note_rewritten();
        own
    }

    /// Makes a request as the recorded caller; returns its reply if there is one already.
    fn ask<'b>(&mut self, request: impl Into<Loaded<'b>>) -> Option<Reply> {
        let caller = self.caller();
        self.handle(caller, request)
    }

    fn caller(&mut self) -> Caller {
        self.unique += 1;
        Caller {
            unique: Unique(self.unique),
            thread: 1,
            internal: false,
            user: None,
            incarnation: None,
        }
    }

    fn note_rewritten(&mut self) {
        for (_, reader) in &mut self.captures {
            if reader.rewritten.is_none()
                && let Some(range) = self.core.rewritten_range(reader.handle)
            {
                reader.rewritten = Some((range, self.recorded));
            }
        }
    }

    /// Advances the clock, and fires every alarm that is due on the way.
    fn advance(&mut self, until: Monotonic) {
        loop {
            let alarm = self.core.next_alarm();
            let turns = self.captures.iter().filter_map(|(_, r)| r.turn());
            let next = alarm.into_iter().chain(turns).min();
            let Some(next) = next.filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(next);
            self.ask(Request::Tick);
            self.read();
        }
        self.now = self.now.max(until);
        self.read_what_is_old();
    }

    /// Lets every reader that may ask read what is available.
    fn read(&mut self) {
        for number in 0..self.captures.len() {
            while self.captures[number].1.may_ask(self.now) {
                let wanted = self.captures[number].1.wanted(u64::MAX);
                self.read_one(number, wanted);
            }
            let handle = self.captures[number].1.handle;
            let reader = &self.captures[number].1;
            if reader.looks_back() || reader.is_to_come() {
                let env = Env {
                    now: moment(self.now),
                    processes: &self.processes,
                };
                let limit = self.core.readable(env, handle);
                self.captures[number].1.note_limit(self.now, limit);
            }
        }
    }

    /// Lets readers that look back read the bytes that have been there for long.
    fn read_what_is_old(&mut self) {
        for number in 0..self.captures.len() {
            while let Some(limit) = self.captures[number].1.old_limit(self.now) {
                let wanted = self.captures[number].1.wanted(limit);
                self.read_one(number, wanted);
                if self.captures[number].1.is_waiting() {
                    break;
                }
            }
        }
    }

    fn read_one(&mut self, number: usize, wanted: Wanted) {
        let caller = self.caller();
        let reader = &mut self.captures[number].1;
        let handle = reader.handle;
        reader.ask(caller.unique);
        let read = Request::Read {
            ino: 0,
            handle,
            wanted,
            fills_pages: false,
        };
        self.handle(caller, read);
    }

    fn release_captures(&mut self) {
        if !std::mem::replace(&mut self.are_held, false) {
            return;
        }
        let ids: Vec<CaptureId> = self.captures.iter().map(|(id, _)| *id).collect();
        for id in ids {
            let left_others = false;
            self.ask(Request::LetGo { id, left_others });
        }
    }

    /// Ends the recording: the readers read everything to its end.
    fn finish(&mut self) {
        for (_, reader) in &mut self.captures {
            reader.hurry();
        }
        for _ in 0..ALARMS_MAX {
            self.read();
            if self.captures.iter().all(|(_, reader)| reader.has_ended()) {
                break;
            }
            let Some(alarm) = self.core.next_alarm() else {
                break;
            };
            self.now = self.now.max(alarm);
            self.ask(Request::Tick);
        }
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |((id, reader), refusal): (&(CaptureId, Reader), &Option<Refusal>)| {
            let way = self
                .core
                .captured_file(*id)
                .and_then(|ino| self.core.way_of(ino));
            let end = match refusal {
                Some(refusal) => End::Refused(refusal.clone()),
                None => reader.end(),
            };
            Outcome {
                end,
                way: way.map(|(way, reason)| (way, reason.to_owned())),
                digest: reader.digest(),
            }
        };
        self.captures
            .iter()
            .zip(&self.refusals)
            .map(outcome)
            .collect()
    }

    /// Notes that an operation was refused to the program.
    fn refused(&mut self, ino: u64, what: Refused, offset: u64) {
        for ((id, _), refusal) in self.captures.iter().zip(&mut self.refusals) {
            if refusal.is_none() && self.core.captured_file(*id) == Some(ino) {
                let at = self.recorded;
                *refusal = Some(Refusal { what, offset, at });
            }
        }
    }
}

fn moment(now: Monotonic) -> Moment {
    Moment {
        monotonic: now,
        wall: Timestamp::default(),
    }
}

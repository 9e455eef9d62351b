//! The progress line of each output.
//!
//! Turns counters and the state of the mount into text; shows nothing. Invariant: the kernel is not
//! asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fifofs::{FileState, FileStatus, MountView, Way};
use indicatif::{BinaryBytes, HumanDuration};

use super::Counters;
use crate::cli::run::recipient::Parts;
use crate::cli::run::report::{OutputReport, OutputState};

/// The period over which the rate is measured.
const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// The outputs to watch.
pub(in crate::cli::run) struct Watched {
    /// The program's name in messages.
    pub(in crate::cli::run) program: String,
    /// Each output's name in messages, and its path in the mount; none for all files together.
    pub(in crate::cli::run) outputs: Vec<(String, Option<PathBuf>)>,
    pub(in crate::cli::run) counters: Arc<Counters>,
    /// The view of the mount, if there is one.
    pub(in crate::cli::run) view: Option<MountView>,
}

pub(super) struct Meter {
    watched: Watched,
    /// One for each output.
    rates: Vec<Rate>,
    started: Instant,
}

/// How fast an output is delivered.
struct Rate {
    /// When it was measured last, and the bytes delivered by then.
    since: Instant,
    bytes: u64,
    /// The rate of the period before.
    per_second: u64,
}

impl Rate {
    fn update(&mut self, delivered: u64) {
        let elapsed = self.since.elapsed();
        if elapsed >= RATE_INTERVAL || self.bytes == 0 {
            let grown = delivered.saturating_sub(self.bytes) as f64;
            self.per_second = (grown / elapsed.as_secs_f64().max(0.001)) as u64;
        }
        if elapsed >= RATE_INTERVAL {
            (self.since, self.bytes) = (Instant::now(), delivered);
        }
    }
}

impl Meter {
    pub(super) fn new(watched: Watched) -> Self {
        let started = Instant::now();
        let rate = || Rate {
            since: started,
            bytes: 0,
            per_second: 0,
        };
        let rates = std::iter::repeat_with(rate).take(watched.outputs.len());
        Meter {
            rates: rates.collect(),
            watched,
            started,
        }
    }

    /// The lines of all outputs.
    pub(super) fn lines(&mut self) -> Vec<String> {
        let Watched {
            program,
            outputs,
            counters,
            view,
        } = &self.watched;
        let files = view.as_ref().map(|view| view.status().files);
        let has_exited = counters.has_exited.load(Ordering::Relaxed);
        let is_output = |file: &&FileStatus| {
            let mut paths = outputs.iter().filter_map(|(_, path)| path.as_ref());
            paths.any(|path| *path == file.path)
        };
        let elsewhere = files.iter().flatten().filter(|file| !is_output(file));
        let elsewhere: u64 = elsewhere.map(|file| file.size).sum();
        let mut lines = Vec::new();
        for (number, (name, path)) in outputs.iter().enumerate() {
            let delivered = counters.delivered[number].load(Ordering::Relaxed);
            self.rates[number].update(delivered);
            let moment = Moment {
                program,
                has_exited,
                delivered,
                parts: counters.parts[number].as_ref().map(Parts::count),
                rate: self.rates[number].per_second,
                elsewhere,
            };
            let text = match (&files, path) {
                (None, _) => moment.of_fifo(),
                (Some(files), None) => moment.of_all(files),
                (Some(files), Some(path)) => {
                    moment.of_file(files.iter().find(|file| file.path == *path))
                }
            };
            lines.push(format!("{name}: {text}"));
        }
        lines
    }

    /// The elapsed time, at the start of a line.
    pub(super) fn time(&self) -> String {
        let seconds = self.started.elapsed().as_secs();
        format!("[{}:{:02}]", seconds / 60, seconds % 60)
    }
}

/// The state of an output at one moment.
struct Moment<'a> {
    program: &'a str,
    has_exited: bool,
    delivered: u64,
    /// The number of sent parts, if it is an object.
    parts: Option<u64>,
    /// Bytes per second.
    rate: u64,
    /// The bytes in files that are no output.
    elsewhere: u64,
}

impl Moment<'_> {
    fn of_file(&self, file: Option<&FileStatus>) -> String {
        let program = self.program;
        let size = file.map_or(0, |file| file.size.max(self.delivered));
        let is_open = file.is_some_and(|file| file.state == FileState::Writing);
        // An object is uploaded before the file is settled.
        let is_settled =
            self.parts.is_none() && file.is_some_and(|file| file.way == Some(Way::Settled));
        let written = match (size.max(self.delivered), file) {
            (0, None) if self.elsewhere > 0 => {
                let elsewhere = BinaryBytes(self.elsewhere);
                format!("not there yet; {elsewhere} in other files beside it")
            }
            (0, None) => "nothing written yet".into(),
            (0, Some(_)) if is_open => "open, nothing written yet".into(),
            (0, Some(_)) => "empty".into(),
            (size, _) if !self.has_exited && is_settled => {
                let size = BinaryBytes(size);
                format!("{size} written; delivered when {program} has exited (settled)")
            }
            (size, _) => format!("{} written, {}", BinaryBytes(size), self.delivery(file)),
        };
        match file {
            _ if !self.has_exited => written,
            Some(file) if is_open => {
                let running = file.writers.iter().filter(|writer| writer.running);
                let names = running.map(|writer| format!("{} ({})", writer.name, writer.pid));
                let names: Vec<String> = names.collect();
                let names = names.join(", ");
                format!("{written}; {program} has exited, but not {names}, which has it open")
            }
            _ => format!("{written}; {program} has exited"),
        }
    }

    fn delivery(&self, file: Option<&FileStatus>) -> String {
        let delivered = BinaryBytes(self.delivered);
        let is_blocked = file.is_some_and(|file| file.frontier > self.delivered)
            && self.rate == 0
            && self.delivered > 0;
        match is_blocked {
            true => format!("{delivered} delivered; its destination takes no more at the moment"),
            false => format!(
                "{delivered} delivered{}, {}/s",
                self.parts(),
                BinaryBytes(self.rate)
            ),
        }
    }

    fn parts(&self) -> String {
        match self.parts {
            None => String::new(),
            Some(1) => " in 1 part".into(),
            Some(parts) => format!(" in {parts} parts"),
        }
    }

    /// The line of `--tar`.
    fn of_all(&self, files: &[FileStatus]) -> String {
        let program = self.program;
        let bytes = BinaryBytes(files.iter().map(|file| file.size).sum());
        let count = match files.len() {
            1 => "1 file".into(),
            count => format!("{count} files"),
        };
        if self.has_exited {
            let delivered = BinaryBytes(self.delivered);
            return format!(
                "{count}, {bytes} written, {delivered} of archive delivered; {program} has exited"
            );
        }
        format!("{count}, {bytes} written; packed when {program} has exited (--tar)")
    }

    /// How many bytes were written to a FIFO is not known.
    fn of_fifo(&self) -> String {
        let delivered = BinaryBytes(self.delivered);
        let program = self.program;
        match (self.has_exited, self.delivered) {
            (false, 0) => "nothing written yet".into(),
            (false, _) => format!("{delivered} delivered, {}/s", BinaryBytes(self.rate)),
            (true, _) => format!("{delivered} delivered; {program} has exited"),
        }
    }
}

/// The last line of an output, after `elapsed`.
pub(super) fn conclusion(output: &OutputReport, elapsed: Duration) -> String {
    let delivered = BinaryBytes(output.bytes);
    let how = match output.state {
        OutputState::Whole => {
            let seconds = elapsed.as_secs_f64();
            let rate = BinaryBytes((output.bytes as f64 / seconds.max(0.001)) as u64);
            let time = match seconds < 60.0 {
                true => format!("{seconds:.1} s"),
                false => HumanDuration(elapsed).to_string(),
            };
            format!("whole, {delivered} delivered in {time}, {rate}/s")
        }
        OutputState::Withheld => "not passed on".into(),
        OutputState::Missing => "missing".into(),
        OutputState::Closed => format!("its reader wanted no more than {delivered}"),
        OutputState::Failed => format!("not whole, {delivered} delivered"),
        OutputState::Rewritten => format!("rewritten after {delivered} were delivered"),
        OutputState::Cancelled => format!("no longer waited for, {delivered} delivered"),
        OutputState::Unwritten => format!("not taken by its destination after {delivered}"),
        OutputState::Unread => format!("not readable after {delivered}"),
    };
    format!("{}: {how}", output.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(has_exited: bool, delivered: u64, elsewhere: u64) -> Moment<'static> {
        Moment {
            program: "zip",
            has_exited,
            delivered,
            parts: None,
            rate: 3,
            elsewhere,
        }
    }

    fn file(size: u64, way: Option<Way>, state: &str) -> FileStatus {
        let way = serde_json::to_string(&way).expect("JSON");
        let json = format!(
            r#"{{"path":"x","state":"{state}","generation":1,"way":{way},"reason":null,"size":{size},
                "frontier":{size},"delivered":0,"dropped":0,"readers":[],"warning":null,
                "writers":[{{"pid":7,"name":"tee","running":true,"failure":null}}]}}"#
        );
        serde_json::from_str(&json).expect("a status")
    }

    #[test]
    fn the_line_says_why_no_bytes_come() {
        let running =
            |elsewhere, file: Option<&FileStatus>| moment(false, 0, elsewhere).of_file(file);
        assert_eq!(running(0, None), "nothing written yet");
        assert_eq!(
            running(9, None),
            "not there yet; 9 B in other files beside it"
        );
        let open = file(0, None, "writing");
        assert_eq!(running(9, Some(&open)), "open, nothing written yet");
        let settled = file(5, Some(Way::Settled), "writing");
        assert_eq!(
            running(0, Some(&settled)),
            "5 B written; delivered when zip has exited (settled)"
        );
        let left = moment(true, 0, 0).of_file(Some(&settled));
        assert_eq!(
            left,
            "5 B written, 0 B delivered, 3 B/s; zip has exited, but not tee (7), which has it open"
        );
        let follow = file(5, Some(Way::Follow), "writing");
        let blocked = Moment {
            rate: 0,
            ..moment(false, 4, 0)
        };
        assert_eq!(
            blocked.of_file(Some(&follow)),
            "5 B written, 4 B delivered; its destination takes no more at the moment"
        );
        let files = [file(5, None, "writing"), file(6, None, "done")];
        assert_eq!(
            moment(false, 0, 0).of_all(&files),
            "2 files, 11 B written; packed when zip has exited (--tar)"
        );
        assert_eq!(moment(false, 0, 0).of_fifo(), "nothing written yet");
    }

    #[test]
    fn delivered_bytes_are_counted() {
        let follow = file(5, Some(Way::Follow), "writing");
        assert_eq!(
            moment(false, 4, 0).of_file(Some(&follow)),
            "5 B written, 4 B delivered, 3 B/s"
        );
        let object = Moment {
            parts: Some(2),
            ..moment(false, 4, 0)
        };
        assert_eq!(
            object.of_file(Some(&file(5, Some(Way::Settled), "writing"))),
            "5 B written, 4 B delivered in 2 parts, 3 B/s"
        );
        // Dropped or removed bytes count as written.
        assert_eq!(
            moment(false, 6, 0).of_file(None),
            "6 B written, 6 B delivered, 3 B/s"
        );
        let done = file(5, Some(Way::Settled), "done");
        assert_eq!(
            moment(true, 4, 0).of_file(Some(&done)),
            "5 B written, 4 B delivered, 3 B/s; zip has exited"
        );
        assert_eq!(
            moment(true, 4, 0).of_fifo(),
            "4 B delivered; zip has exited"
        );
    }
}

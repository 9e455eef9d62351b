//! Numbers for whoever watches many mounts: `.fifofs/metrics`, in the text format of OpenMetrics.
//!
//! What can be counted by looking is counted when the text is made; of what has passed there is a
//! [`Tally`]. Every sample names the mount, since those of several end up in one collector.
//!
//! Prometheus' older text format is read from it too, which is what node_exporter does: so there
//! are no types but `gauge` and `counter`.

use std::fmt::{Display, Write as _};
use std::path::Path;

use super::generation::{Ending, Phase};
use super::{Core, Env, File};

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Requests handled.
    pub(super) requests: u64,
    /// Bytes written.
    pub(super) written: u64,
    /// Generations that ended well.
    pub(super) done: u64,
    /// Generations that failed.
    pub(super) failed: u64,
    /// Readers whose bytes were rewritten.
    pub(super) rewritten: u64,
}

/// A metric without its samples.
struct Family {
    name: &'static str,
    kind: &'static str,
    /// With which the name ends.
    unit: Option<&'static str>,
    help: &'static str,
}

/// A value that only goes up.
const fn counter(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Family {
    let kind = "counter";
    Family {
        name,
        kind,
        unit,
        help,
    }
}

/// A value as it is now.
const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Family {
    let kind = "gauge";
    Family {
        name,
        kind,
        unit,
        help,
    }
}

/// A text that grows.
struct Exposition {
    text: String,
    /// The label of every sample, if the tree is mounted.
    mount: Option<String>,
}

impl Exposition {
    /// Of nothing yet.
    fn new(place: Option<&Path>) -> Self {
        let label = |place: &Path| format!("mount=\"{}\"", escaped(&place.to_string_lossy()));
        Exposition {
            text: String::new(),
            mount: place.map(label),
        }
    }

    /// One more metric, of which there is one for each label, or just one.
    fn metric(&mut self, family: &Family, samples: &[(Option<&str>, &dyn Display)]) {
        let Family {
            name,
            kind,
            unit,
            help,
        } = family;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if let Some(unit) = unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name} {help}");
        let suffix = if *kind == "counter" { "_total" } else { "" };
        for (label, value) in samples {
            let labels = [self.mount.as_deref(), *label];
            let labels: Vec<&str> = labels.into_iter().flatten().collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            let _ = writeln!(self.text, "{name}{suffix}{labels} {value}");
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.text += "# EOF\n";
        self.text.into_bytes()
    }
}

/// As it stands between the quotes of a label.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    value.replace('\n', r"\n")
}

impl Core {
    /// The text, made now.
    pub(super) fn metrics_text(&self, env: Env<'_>) -> Vec<u8> {
        let files: Vec<&File> = self
            .names
            .files()
            .filter_map(|ino| self.files.get(&ino))
            .collect();
        let phases: Vec<Phase> = files
            .iter()
            .map(|file| file.phase().unwrap_or(Phase::Done))
            .collect();
        let count = |is: fn(&Phase) -> bool| phases.iter().filter(|phase| is(phase)).count();
        let writing = count(|phase| *phase == Phase::Writing);
        let closed = count(|phase| matches!(phase, Phase::Closed { .. }));
        let done = count(|phase| *phase == Phase::Done);
        let failed = count(|phase| *phase == Phase::Failed);
        let size: u64 = files.iter().map(|file| file.spool().len()).sum();
        let runs = |w: &&super::Writer| w.ending == Ending::Running;
        let writers: usize = files
            .iter()
            .filter(|file| file.phase() == Some(Phase::Writing))
            .map(|file| file.writers().iter().filter(runs).count())
            .sum();
        let bytes = Some("bytes");
        let mut page = Exposition::new(self.settings.place.as_deref());
        page.metric(
            &gauge("fifofs_files", None, "Files, by their state."),
            &[
                (Some("state=\"writing\""), &writing),
                (Some("state=\"closed\""), &closed),
                (Some("state=\"done\""), &done),
                (Some("state=\"failed\""), &failed),
            ],
        );
        let tally = &self.tally;
        let uptime = self.events.age(env.now.monotonic).as_secs_f64();
        let single: [(Family, &dyn Display); 15] = [
            (
                gauge("fifofs_files_bytes", bytes, "Size of all files."),
                &size,
            ),
            (
                gauge(
                    "fifofs_writers",
                    None,
                    "Running processes that wrote files which are being written, for each file.",
                ),
                &writers,
            ),
            (
                gauge(
                    "fifofs_readers",
                    None,
                    "Readers that wait for a file, or follow one.",
                ),
                &self.readers.len(),
            ),
            (
                gauge(
                    "fifofs_waits",
                    None,
                    "Requests that wait for an answer: of readers, and of writers ahead of them.",
                ),
                &self.waiting.len(),
            ),
            (
                gauge(
                    "fifofs_memory_contents_bytes",
                    bytes,
                    "Memory used by contents.",
                ),
                &self.pool.memory_used(),
            ),
            (
                gauge(
                    "fifofs_memory_kept_bytes",
                    bytes,
                    "Memory used by names, attributes and open files.",
                ),
                &self.pool.kept(),
            ),
            (
                gauge(
                    "fifofs_memory_limit_bytes",
                    bytes,
                    "Memory that both may use, see --memory.",
                ),
                &self.pool.memory_limit(),
            ),
            (
                gauge("fifofs_spilled_bytes", bytes, "Contents on disk."),
                &self.pool.spilled(),
            ),
            (
                gauge(
                    "fifofs_available_bytes",
                    bytes,
                    "How much more can be written.",
                ),
                &self.pool.available(),
            ),
            (
                gauge(
                    "fifofs_uptime_seconds",
                    Some("seconds"),
                    "Time since the mount was made.",
                ),
                &uptime,
            ),
            (
                counter("fifofs_written_bytes", bytes, "Bytes written to files."),
                &tally.written,
            ),
            (
                counter("fifofs_done", None, "Writings of files that ended well."),
                &tally.done,
            ),
            (
                counter("fifofs_failed", None, "Writings of files that failed."),
                &tally.failed,
            ),
            (
                counter(
                    "fifofs_rewritten",
                    None,
                    "Readers whose bytes were rewritten after they had them.",
                ),
                &tally.rewritten,
            ),
            (
                counter(
                    "fifofs_requests",
                    None,
                    "Requests handled, those of the daemon itself among them.",
                ),
                &tally.requests,
            ),
        ];
        for (family, value) in &single {
            page.metric(family, &[(None, value)]);
        }
        page.into_bytes()
    }
}

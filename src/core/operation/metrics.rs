//! Metrics for monitoring: `.fifofs/metrics`, in the text format of OpenMetrics.
//!
//! Gauges are computed from the state when the text is made; counters are kept in a
//! [`Tally`](crate::core::tally::Tally). Every sample has the mount as a label, since samples of several mounts
//! end up in one collector.
//!
//! The text can also be read as Prometheus' older format, as node_exporter does: so there are no types but
//! `gauge` and `counter`.

use std::fmt::{Display, Write as _};
use std::path::Path;

use super::Operation;
use crate::core::File;
use crate::core::generation::{Ending, Writer};
use crate::core::status::FileState;

/// The text under construction.
struct Exposition {
    text: String,
    /// The label of every sample, if the tree is mounted.
    mount: Option<String>,
}

impl Exposition {
    fn new(place: Option<&Path>) -> Self {
        let label = |place: &Path| format!("mount=\"{}\"", escaped(&place.to_string_lossy()));
        Exposition {
            text: String::new(),
            mount: place.map(label),
        }
    }

    /// Adds a present value. Its name ends with its unit, if it has one.
    fn gauge(&mut self, name: &str, unit: &str, help: &str, value: &dyn Display) {
        self.metric((name, "gauge", unit), help, &[("", value)]);
    }

    /// Adds a value that only goes up.
    fn counter(&mut self, name: &str, unit: &str, help: &str, value: &dyn Display) {
        self.metric((name, "counter", unit), help, &[("", value)]);
    }

    /// Adds a metric, with a sample for each label.
    fn metric(
        &mut self,
        (name, kind, unit): (&str, &str, &str),
        help: &str,
        samples: &[(&str, &dyn Display)],
    ) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# TYPE fifofs_{name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT fifofs_{name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP fifofs_{name} {help}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (label, value) in samples {
            let labels = [self.mount.as_deref().unwrap_or_default(), label];
            let labels: Vec<&str> = labels.into_iter().filter(|l| !l.is_empty()).collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            let _ = writeln!(self.text, "fifofs_{name}{suffix}{labels} {value}");
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.text += "# EOF\n";
        self.text.into_bytes()
    }
}

/// Escapes a label's value.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    value.replace('\n', r"\n")
}

impl Operation<'_> {
    /// The text of all metrics.
    pub(super) fn metrics_text(&self) -> Vec<u8> {
        let files: Vec<&File> = self
            .names
            .files()
            .filter_map(|ino| self.files.get(&ino))
            .collect();
        let states = [
            FileState::Writing,
            FileState::Closed,
            FileState::Done,
            FileState::Failed,
        ];
        let states = states.map(|state| {
            let count = files.iter().filter(|file| file.state() == state).count();
            (format!("state=\"{state}\""), count)
        });
        let size: u64 = files.iter().map(|file| file.spool().len()).sum();
        let runs = |w: &&Writer| w.ending == Ending::Running;
        let writers: usize = files
            .iter()
            .filter(|file| file.state() == FileState::Writing)
            .map(|file| file.writers().iter().filter(runs).count())
            .sum();
        let mut page = Exposition::new(self.settings.place.as_deref());
        let states = states
            .each_ref()
            .map(|(label, count)| (label.as_str(), count as &dyn Display));
        page.metric(("files", "gauge", ""), "Files, by their state.", &states);
        page.gauge("files_bytes", "bytes", "Size of all files.", &size);
        let help = "Running processes that wrote files which are being written, for each file.";
        page.gauge("writers", "", help, &writers);
        let help = "Readers that wait for a file, or follow one.";
        page.gauge("readers", "", help, &self.readers.len());
        let help = "Requests that wait for an answer: of readers, and of writers ahead of them.";
        page.gauge("waits", "", help, &self.waiting.len());
        let (used, help) = (self.pool.memory_used(), "Memory used by contents.");
        page.gauge("memory_contents_bytes", "bytes", help, &used);
        let help = "Memory used by names, attributes and open files.";
        page.gauge("memory_kept_bytes", "bytes", help, &self.pool.kept());
        let help = "Memory that both may use, see --memory.";
        let limit = self.pool.memory_limit();
        page.gauge("memory_limit_bytes", "bytes", help, &limit);
        let (spilled, help) = (self.pool.spilled(), "Contents on disk.");
        page.gauge("spilled_bytes", "bytes", help, &spilled);
        let help = "How much more can be written.";
        page.gauge("available_bytes", "bytes", help, &self.pool.available());
        let uptime = self.events.age(self.now).as_secs_f64();
        let help = "Time since the mount was made.";
        page.gauge("uptime_seconds", "seconds", help, &uptime);
        let tally = &self.tally;
        let help = "Bytes written to files.";
        page.counter("written_bytes", "bytes", help, &tally.written);
        let help = "Writings of files that ended well.";
        page.counter("done", "", help, &tally.done);
        page.counter(
            "failed",
            "",
            "Writings of files that failed.",
            &tally.failed,
        );
        let help = "Readers whose bytes were rewritten after they had them.";
        page.counter("rewritten", "", help, &tally.rewritten);
        let help = "Requests handled, those of the daemon itself among them.";
        page.counter("requests", "", help, &tally.requests);
        page.into_bytes()
    }
}

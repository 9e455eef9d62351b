//! Puts facts into sentences, for users that know programs and files but not fifofs.

use std::path::{Path, PathBuf};

use super::facts::{Facts, Opened};

/// The most names in one list.
const NAMED_MAX: usize = 4;

/// What was done to an output, one sentence for each kind of operation.
pub(super) fn describe(path: &Path, facts: &Facts, size: Option<u64>) -> Vec<String> {
    let mut said = Vec::new();
    if facts.opened.is_empty() && facts.workers.is_empty() {
        said.push(match size {
            Some(_) => "made it, and never opened it".into(),
            None => "never made it".into(),
        });
    }
    opened(facts, &mut said);
    names(path, facts, &mut said);
    written(facts, &mut said);
    lengths(facts, &mut said);
    if facts.mapped {
        said.push("mapped it into memory".into());
    }
    if facts.read_bytes > 0 {
        said.push(format!("read {} of it back", bytes(facts.read_bytes)));
    }
    for worker in &facts.workers {
        if let Some(signal) = worker.signal {
            said.push(format!(
                "{} ({}) was killed by signal {signal}: there may be more that was never written",
                worker.name, worker.pid
            ));
        }
    }
    said
}

fn opened(facts: &Facts, said: &mut Vec<String>) {
    let writers = facts.openings;
    if writers > 0 {
        let mut modes: Vec<String> = Vec::new();
        for opening in facts.opened.iter().filter(|opened| opened.mode != "read") {
            let mode = mode(opening);
            if !modes.contains(&mode) {
                modes.push(mode);
            }
        }
        let again = match facts.reopenings {
            0 => String::new(),
            count => format!("; {} when it had been closed", times(count)),
        };
        said.push(format!(
            "opened it {}{}{again}",
            match writers {
                1 => String::new(),
                count => format!("{}: ", times(count)),
            },
            modes.join("; "),
        ));
    }
    if facts.read_openings > 0 {
        said.push(format!(
            "opened it {} for reading",
            times(facts.read_openings)
        ));
    }
    if facts.workers.len() > 1 {
        let mut names: Vec<(&str, usize)> = Vec::new();
        for worker in &facts.workers {
            match names.iter_mut().find(|(name, _)| *name == worker.name) {
                Some((_, count)) => *count += 1,
                None => names.push((&worker.name, 1)),
            }
        }
        let named = |(name, count): &(&str, usize)| match count {
            1 => (*name).to_owned(),
            count => format!("{name} ({count} of them)"),
        };
        let names: Vec<String> = names.iter().map(named).collect();
        said.push(format!(
            "{} processes had it open: {}",
            facts.workers.len(),
            some(&names)
        ));
    }
}

fn mode(opened: &Opened) -> String {
    let mut mode = match opened.mode {
        "read and write" => "for reading and writing".to_owned(),
        _ => "for writing".to_owned(),
    };
    if opened.appends {
        mode += ", to append";
    }
    if opened.exclusive {
        mode += ", insisting that it be new";
    }
    mode
}

fn names(path: &Path, facts: &Facts, said: &mut Vec<String>) {
    if !facts.moved_from.is_empty() {
        said.push(format!(
            "wrote {} and moved that into its place{}",
            some(&different(&facts.moved_from)),
            match facts.moved_from.len() {
                1 => String::new(),
                count => format!(", {}", times(count as u64)),
            }
        ));
    }
    if !facts.moved_to.is_empty() {
        let to = some(&different(&facts.moved_to));
        said.push(format!("moved what was there to {to}"));
    }
    if facts.removed > 0 {
        said.push(format!(
            "removed '{}' {}",
            path.display(),
            times(facts.removed)
        ));
    }
    if facts.replaced > 0 {
        said.push(format!(
            "put another file in its place {}",
            times(facts.replaced)
        ));
    }
}

/// Paths in quotes, each once.
fn different(paths: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for path in paths {
        let name = format!("'{}'", path.display());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn written(facts: &Facts, said: &mut Vec<String>) {
    if facts.writes > 0 {
        let order = if facts.writes_back == 0 && facts.gaps == 0 {
            ", each after the last"
        } else {
            ""
        };
        let count = match facts.writes {
            1 => "one write".to_owned(),
            count => format!("{count} writes"),
        };
        let order = if facts.writes == 1 { "" } else { order };
        said.push(format!(
            "wrote {} in {count}{order}, within {}",
            bytes(facts.written_bytes),
            duration(facts.seconds)
        ));
    }
    if facts.gaps > 0 {
        said.push(format!(
            "left gaps {}, writing beyond the end{}",
            times(facts.gaps),
            match facts.filled {
                0 => String::new(),
                count => format!(", and filled them by {count} later writes"),
            }
        ));
    }
    if let Some(rewritten) = &facts.rewritten {
        let (start, end) = rewritten.first;
        said.push(format!(
            "went back {}, up to {} before the end, and changed {}; the first time bytes {start} to \
             {end}, {} after it had begun, when {} had been written",
            times(facts.writes_back.max(rewritten.writes)),
            bytes(facts.furthest_back),
            bytes(rewritten.bytes),
            duration(rewritten.first_after_seconds),
            bytes(rewritten.first_after_bytes),
        ));
    } else if facts.writes_back > facts.filled {
        said.push(format!(
            "went back {}, up to {} before the end, to write the same bytes again",
            times(facts.writes_back),
            bytes(facts.furthest_back),
        ));
    }
}

fn lengths(facts: &Facts, said: &mut Vec<String>) {
    if !facts.resized.is_empty() {
        let lengths: Vec<String> = facts.resized.iter().map(|length| bytes(*length)).collect();
        said.push(format!("set its length to {}", some(&lengths)));
    }
    if facts.allocated_bytes > 0 {
        said.push(format!(
            "reserved {} for it beforehand",
            bytes(facts.allocated_bytes)
        ));
    }
    if facts.punched > 0 {
        said.push(format!("made holes in it {}", times(facts.punched)));
    }
}

/// `once`, `twice`, `17 times`.
fn times(count: u64) -> String {
    match count {
        1 => "once".into(),
        2 => "twice".into(),
        count => format!("{count} times"),
    }
}

/// Rounded to what matters.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => "less than 1 ms".into(),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds => format!("{seconds:.1} s"),
    }
}

fn bytes(count: u64) -> String {
    match count {
        1 => "1 byte".into(),
        count => format!("{count} bytes"),
    }
}

fn list(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn some(words: &[String]) -> String {
    match words.len().checked_sub(NAMED_MAX) {
        Some(more @ 1..) => format!("{} and {more} more", words[..NAMED_MAX].join(", ")),
        _ => list(words),
    }
}

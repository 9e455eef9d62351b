//! What this program does when it is started again as a writer or a reader of a measurement: `fifofs-bench hand
//! WHAT …`.
//!
//! A reader prints `ready` on standard output just before it begins to wait, and every hand ends with one line of
//! results.

mod captures;
mod readers;
mod writers;

use std::io::{self, Write};

use rustix::process::{Resource, Rlimit, Signal};

use crate::Outcome;
use crate::processes::{MOST_BYTES, now};
pub(crate) use readers::{Seen, read_all};

/// How much each of many readers reads, and their writer writes, at a time.
const PART_BYTES: usize = 64 << 10;

/// Does what the words say, and returns the last line.
pub(crate) fn run(words: &[String]) -> Outcome<String> {
    // So that no hand is left behind if the measurement is killed.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| format!("cannot ask to die with the parent: {errno}"))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["read", path, pipe_bytes] => readers::read(path, parse(pipe_bytes)?),
        ["hash", path] => readers::hash(path),
        ["read-lines", path] => readers::read_lines(path),
        ["gather", template, files] => readers::gather(template, parse(files)?),
        ["wait", template, count] => readers::wait(template, parse(count)?),
        ["poll", path, count] => readers::poll(path, parse(count)?),
        ["make", template, files] => writers::make(template, parse(files)?),
        ["write", path, block, total] => writers::write(path, parse(block)?, parse(total)?, true),
        ["write-same", path, block, total] => {
            writers::write(path, parse(block)?, parse(total)?, false)
        }
        ["stdio", lines, path] => writers::stdio(path, parse(lines)?),
        ["write-lines", path, count] => writers::write_lines(path, parse(count)?),
        ["scatter", template, files, total] => {
            writers::scatter(template, parse(files)?, parse(total)?)
        }
        ["hold", template, files] => writers::hold(template, parse(files)?),
        ["log", path, count, pause_us] => writers::log(path, parse(count)?, parse(pause_us)?),
        ["first-capture", mebibytes, pages] => captures::first(parse(mebibytes)?, pages),
        _ => Err(format!("there is no hand {words:?}")),
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Outcome<T> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn failed(what: &'static str, path: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot {what} {path}: {error}")
}

fn ready() -> Outcome<()> {
    println!("ready");
    io::stdout().flush().map_err(failed("write to", "stdout"))
}

/// One of many paths: replaces `%` by the index.
fn nth(template: &str, index: usize) -> String {
    template.replace('%', &index.to_string())
}

fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = |maximum| Rlimit {
        current: maximum,
        maximum,
    };
    // Only root may raise the hard limit, and by default no further than fs.nr_open. If that fails, opening too
    // many files reports it.
    if rustix::process::setrlimit(Resource::Nofile, raised(Some(1 << 20))).is_err() {
        let _ = rustix::process::setrlimit(Resource::Nofile, raised(limit.maximum));
    }
}

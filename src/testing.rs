//! How tests wait: for a condition, with a deadline, and print the state of the processes when it
//! passes. And a child that does not outlive its test.
//!
//! Unit tests share it with integration tests, which include this file; so it knows nothing of the
//! crate. Invariant: a deadline here means "it hangs", never "it is slow", so that a busy machine
//! fails no test. Tests of time itself are in `tests/timing`.

// Every test binary is a crate of its own and uses only a part of this.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// For everything that should take moments: long enough for a busy machine, short enough to wait
/// for.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Waits until `condition` holds; otherwise fails and prints what this process's children were
/// doing.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(SOON, what, condition, children);
}

/// The same with another deadline and another state to print when it passes.
#[track_caller]
pub(crate) fn until_within(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
    state: impl FnOnce() -> String,
) {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            panic!("waited {limit:?} in vain for {what}\n{}", state());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The children of this process, and the kernel function in which each of them waits.
pub(crate) fn children() -> String {
    let own = std::process::id().to_string();
    let mut text = String::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let field = |key| status.lines().find_map(|line| line.strip_prefix(key));
        if field("PPid:\t") == Some(&own) {
            let name = field("Name:\t").unwrap_or_default();
            let state = field("State:\t").unwrap_or_default();
            let waits = fs::read_to_string(entry.path().join("wchan")).unwrap_or_default();
            let _ = writeln!(
                text,
                "child {:?} {name}, {state}, in {waits}",
                entry.file_name()
            );
        }
    }
    text
}

/// A child that is killed and reaped with the test.
pub(crate) struct Guard(pub(crate) Child);

impl Guard {
    /// A child that only sleeps.
    pub(crate) fn sleeping() -> Self {
        Self::of(Command::new("sleep").arg("600"))
    }

    /// Runs `command` with its standard output discarded.
    pub(crate) fn of(command: &mut Command) -> Self {
        Guard(command.stdout(Stdio::null()).spawn().expect("it starts"))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

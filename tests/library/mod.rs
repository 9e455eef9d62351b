//! The harness of the tests of the library.
//!
//! Knows the public interface of the crate and what `/proc` shows; does not know the implementation. Invariant: **no
//! test hangs.** Calls that might hang run in [`within`], and [`until`] waits for conditions; both print the state of
//! the world when the time is over.

// Every test file is a crate of its own and uses only a part of this.
#![allow(dead_code, unused_imports)]

#[path = "../../src/testing.rs"]
mod testing;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use fifofs::{Error, Reader, Target};

pub(crate) use testing::{Guard, SOON};
use testing::{children, until_within};

/// Both backends, by name.
pub(crate) const BACKENDS: [fifofs::Backend; 2] = [fifofs::Backend::Fuse, fifofs::Backend::Fifo];

/// A shell that runs `script`, with the target's path as `$1`.
pub(crate) fn sh(script: &str, target: &dyn Target) -> Command {
    sh_at(script, target.path())
}

/// The same with a path.
pub(crate) fn sh_at(script: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(path);
    command.stdin(Stdio::null());
    command
}

/// The result of `act`, which must come soon.
#[track_caller]
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, result) = mpsc::channel();
    let acting = thread::spawn(move || done.send(act()));
    match result.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Disconnected) => match acting.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it sends or panics"),
        },
        Err(RecvTimeoutError::Timeout) => {
            panic!("after {limit:?} still not over: {what}\n{}", world())
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(SOON, what, condition, world);
}

/// The children of this process and where they wait, and all mounts.
fn world() -> String {
    format!("mounts: {:?}\n{}", fifofs::mounts(), children())
}

/// Everything that a reader returns, and how it ended.
pub(crate) fn read_out(reader: &mut Reader) -> (Vec<u8>, Option<Error>) {
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).err();
    (
        bytes,
        error.map(|error| Error::io("read", reader.path(), error)),
    )
}

/// A directory for the plain files of a test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

/// Whether something is mounted at a directory, or below it.
pub(crate) fn is_mounted_below(directory: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the list of mounts");
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    places
        .map(PathBuf::from)
        .any(|place| place.starts_with(directory))
}

/// The names in a directory.
pub(crate) fn listing(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).map(|entries| {
        let names =
            entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<Vec<_>>>()
    });
    entries.and_then(|names| names).unwrap_or_default()
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains("Z (zombie)"))
}

/// The processes, without zombies, that have this text in their environment or arguments.
pub(crate) fn processes_with(text: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has_text = |pid: &i32| {
        ["environ", "cmdline"].iter().any(|file| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        })
    };
    pids.filter(|pid| *pid != std::process::id().cast_signed() && is_alive(*pid))
        .filter(has_text)
        .collect()
}

/// This test binary again, to run one test in a process of its own. None in that process, and in the parent the command
/// that starts it.
pub(crate) fn in_own_process(test: &str, role: &str) -> Option<Command> {
    if std::env::var("FIFOFS_TEST_ROLE").is_ok_and(|given| given == role) {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("FIFOFS_TEST_ROLE", role)
        .stdin(Stdio::null());
    Some(command)
}

/// Runs a command to its end, which must come soon; it must succeed.
#[track_caller]
pub(crate) fn succeed(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = within(3 * SOON, "a process of the test", move || {
        command.output().expect("it starts")
    });
    assert!(
        output.status.success(),
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

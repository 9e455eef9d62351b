//! What `fifofs-bench compare` prints, and that it leaves nothing. Speeds depend on the machine, and are not
//! tested.
//!
//! It measures the `fifofs` beside it, which `cargo test --workspace` builds.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// For all rows with `--quick`, on a busy machine.
const LONG: &str = "300";

/// For what should take moments, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn compare(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args([LONG, env!("CARGO_BIN_EXE_fifofs-bench"), "compare"]);
    command.args(arguments).env("TMPDIR", directory);
    command
}

fn place() -> TempDir {
    tempfile::Builder::new()
        .prefix("fifofs-test-")
        .tempdir()
        .unwrap()
}

#[track_caller]
fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect()
}

/// Whether something is mounted below a directory.
fn has_mount(directory: &Path) -> bool {
    let mounts = fifofs::mounts().unwrap();
    mounts.iter().any(|mount| mount.starts_with(directory))
}

#[test]
fn every_row_has_a_figure_with_its_spread_or_says_why_not() {
    let place = place();
    let output = compare(place.path(), &["--quick", "--json"])
        .output()
        .unwrap();
    let document: Value = serde_json::from_str(&text(&output)).expect("JSON");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["quick"], true);
    let rows = document["rows"].as_array().expect("rows");
    // One of each kind.
    for words in [
        "stream, library reader, 1 MiB",
        "follow, library reader, 1 MiB",
        "follow, path to path, dd, 64 KiB",
        "auto, path to path, C stdio",
        "auto, path to path, geometric mean",
        "fifofs run to a pipe",
        "fifofs run -- true {out}",
        "settled, dd, 4 KiB",
        "latency of a line, stream",
        "latency of a line, follow",
        "1,000 captures",
        "1,000 files at once, a reader each",
        "idle: memory of each",
    ] {
        let is_meant = |row: &&Value| {
            row["what"]
                .as_str()
                .is_some_and(|what| what.contains(words))
        };
        let row = rows.iter().find(is_meant);
        let row = row.unwrap_or_else(|| panic!("there is no row {words}: {document:#}"));
        assert!(row["figure"].is_f64(), "{row:#}");
    }
    for row in rows {
        let number = |field: &str| row[field].as_f64();
        match (number("min"), number("figure"), number("max")) {
            (Some(least), Some(figure), Some(most)) => {
                assert!(least <= figure && figure <= most, "{row:#}");
                assert_eq!(row["met"].is_boolean(), row["goal"].is_string(), "{row:#}");
            }
            (None, None, None) => assert_ne!(row["note"], "", "{row:#}"),
            _ => panic!("{row:#}"),
        }
    }
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn rows_are_chosen_by_words_and_shown_as_a_table() {
    let place = place();
    let words = ["--quick", "--runs", "1", "latency", "nothing-is-named-so"];
    let text = text(&compare(place.path(), &words).output().unwrap());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("what "), "{text}");
    assert!(lines.len() > 1, "{text}");
    assert!(
        lines[1..].iter().all(|line| line.starts_with("latency ")),
        "{text}"
    );
    let refused = compare(place.path(), &["nothing-is-named-so"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("fifofs run -- true {out}"), "{said}");
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn a_row_that_cannot_be_measured_says_why_and_is_no_failure() {
    let place = place();
    let output = Command::new(env!("CARGO_BIN_EXE_fifofs-bench"))
        .args(["compare", "--quick", "auto"])
        .env("TMPDIR", place.path())
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let text = text(&output);
    for words in [
        "auto, path to path, perl                       not measured: perl is not installed",
        "not measured: it is over all of these programs",
    ] {
        assert!(text.contains(words), "{text}");
    }
    assert_eq!(entries(place.path()), [""; 0]);
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let place = place();
    let mut running = Command::new(env!("CARGO_BIN_EXE_fifofs-bench"))
        .args(["compare", "--runs", "1000", "follow, path"])
        .env("TMPDIR", place.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it to mount", || has_mount(place.path()));
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    let mut ended = None;
    wait_until("it to end", || {
        ended = running.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(128 + 15));
    wait_until("its directories to go", || {
        entries(place.path()).is_empty() && !has_mount(place.path())
    });
}

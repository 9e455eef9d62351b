//! `fifofs bench`: the form of what it prints, and that it leaves nothing. How fast anything is depends on the machine.

#![cfg(feature = "cli")]

mod common;

use std::time::Duration;

use common::{Place, needs, signal};
use rustix::process::Signal;
use serde_json::Value;

/// For all rows at the size that says whether it works, on a busy machine.
const LONG: Duration = Duration::from_secs(180);

fn bench(place: &std::sync::Arc<Place>, arguments: &[&str]) -> common::Process {
    let mut command = std::process::Command::new(common::FIFOFS);
    let temporary = place.at("flags");
    command.arg("bench").args(arguments);
    command.env("TMPDIR", temporary);
    place.spawn(command)
}

/// Nothing that it made is left: its directories would be here.
fn assert_nothing_left(place: &std::sync::Arc<Place>) {
    place.wait_for("its directories to go", common::SOON, || {
        std::fs::read_dir(place.at("flags")).is_ok_and(|mut entries| entries.next().is_none())
    });
}

#[test]
fn every_row_has_a_figure_with_its_spread_or_says_why_not() {
    needs(&[("perl", "perl"), ("dd", "coreutils")]);
    let place = Place::new();
    let finished = bench(&place, &["--quick", "--json"])
        .finish(LONG)
        .succeeded();
    let document: Value = serde_json::from_slice(&finished.stdout).expect("JSON");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["quick"], true);
    let rows = document["rows"].as_array().expect("rows");
    let measured = |words: &str| {
        let row = rows
            .iter()
            .find(|row| {
                row["what"]
                    .as_str()
                    .is_some_and(|what| what.contains(words))
            })
            .unwrap_or_else(|| panic!("there is no row {words}: {document:#}"));
        assert!(row["figure"].is_f64(), "{row:#}");
    };
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
        measured(words);
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
    assert_nothing_left(&place);
}

#[test]
fn rows_are_chosen_by_words_and_shown_as_a_table() {
    let place = Place::new();
    let words = ["--quick", "--runs", "1", "latency", "nothing-is-named-so"];
    let text = bench(&place, &words).finish(LONG).succeeded().text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("what "), "{text}");
    assert!(lines.len() > 1, "{text}");
    assert!(
        lines[1..].iter().all(|line| line.starts_with("latency ")),
        "{text}"
    );
    bench(&place, &["nothing-is-named-so"])
        .finish(LONG)
        .failed_saying("fifofs run -- true {out}");
    assert_nothing_left(&place);
}

#[test]
fn what_cannot_be_measured_says_why_and_is_no_failure() {
    let place = Place::new();
    let mut command = std::process::Command::new(common::FIFOFS);
    command.args(["bench", "--quick", "auto"]);
    command
        .env("TMPDIR", place.at("flags"))
        .env("PATH", "/nonexistent");
    let text = place.spawn(command).finish(LONG).succeeded().text();
    for words in [
        "auto, path to path, perl                       not measured: perl is not installed",
        "not measured: it is over all of these programs",
    ] {
        assert!(text.contains(words), "{text}");
    }
    assert_nothing_left(&place);
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let place = Place::new();
    let running = bench(&place, &["--runs", "1000", "follow, path"]);
    place.wait_for("it to mount", common::SOON, || {
        let entries = std::fs::read_dir(place.at("flags"));
        let mut entries = entries.into_iter().flatten().flatten();
        entries.any(|entry| common::connection_of(&entry.path().join("mount")).is_some())
    });
    signal(running.pid(), Signal::TERM);
    let ended = running.finish(common::SOON);
    assert_eq!(ended.status.code(), Some(128 + 15));
    assert_nothing_left(&place);
}

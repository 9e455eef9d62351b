//! Bytes that a program changes, or cuts off, after they were delivered: an error in a pipe, corrected
//! in a file.

use crate::common::assert_same;
use crate::{Ended, LIMIT, Runs};

/// Writes `head`, waits until that was delivered, and then patches the first byte.
const PATCHER: &str = r#"sh -c 'printf "head and body" > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done; printf X | dd of="$1" conv=notrunc status=none' sh {out:x.txt}"#;

#[test]
fn a_patch_of_bytes_delivered_to_a_pipe_is_an_error_that_says_how_to_avoid_it() {
    let runs = Runs::new();
    let writer = runs.start(&format!("run -- {PATCHER}"));
    writer.wait_output(b"head and body");
    runs.place.raise("go");
    writer
        .finish(LIMIT)
        .with_status(74)
        .saying("x.txt: the program rewrote bytes 0 to 1")
        .saying("--deliver settled");
}

#[test]
fn a_patch_of_delivered_bytes_reaches_a_file() {
    let runs = Runs::new();
    let writer = runs.start(&format!(
        "{{ echo before; run -- {PATCHER}; echo after; }} > got"
    ));
    runs.wait_for("the bytes to be delivered", || {
        runs.exists("got") && runs.read("got") == b"before\nhead and body"
    });
    runs.place.raise("go");
    assert_eq!(writer.finish(LIMIT).succeeded().stderr, "");
    assert_same(&runs.read("got"), b"before\nXead and bodyafter\n");
}

#[test]
fn an_output_that_becomes_shorter_after_delivery_is_cut_in_a_file() {
    let runs = Runs::new();
    let writer = runs.start(r#"{ echo before; run -- sh -c 'echo long text > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done; printf x > "$1"' sh {out:x.txt}; } > got"#);
    runs.wait_for("the bytes to be delivered", || {
        runs.exists("got") && runs.read("got") == b"before\nlong text\n"
    });
    runs.place.raise("go");
    writer.finish(LIMIT).succeeded();
    assert_same(&runs.read("got"), b"before\nx");
}

#[test]
fn bytes_behind_the_output_in_a_file_stay() {
    let runs = Runs::new();
    runs.run(r#"printf 0123456789 > got; run -- sh -c 'printf abcdef > "$1"; sleep 0.3; printf abc > "$1"' sh {out:x.txt} 1<> got"#)
        .succeeded();
    assert_same(&runs.read("got"), b"abc3456789");
}

#[test]
fn an_output_to_the_same_file_as_messages_does_not_hide_them() {
    let runs = Runs::new();
    runs.run(r#"run -- sh -c 'echo message; echo output > "$1"; echo another >&2' sh {out:x.txt} > got 2>&1"#)
        .succeeded();
    let got = String::from_utf8(runs.read("got")).expect("UTF-8");
    let mut lines: Vec<_> = got.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["another", "message", "output"]);
}

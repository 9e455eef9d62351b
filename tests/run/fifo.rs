//! `--backend fifo`: a FIFO instead of a mount.

use crate::common::assert_same;
use crate::{Ended, Runs, YES, run};

#[test]
fn through_a_fifo_several_openings_are_one_stream() {
    run(r#"run --backend fifo -- sh -c 'echo one > "$1"; echo two > "$1"' sh {out:x.txt} | cat"#)
        .succeeded()
        .printed("one\ntwo\n");
}

#[test]
fn a_program_that_dies_before_it_opens_its_fifo_does_not_hang() {
    run("run --backend fifo -- sh -c 'exit 6' sh {out}")
        .with_status(6)
        .printed("");
}

#[test]
fn a_fifo_goes_to_files_and_several_destinations_too() {
    let runs = Runs::new();
    runs.run(r#"run --backend fifo --to a=A --to sub/b=- -- sh -c 'echo a > "$1"; echo b > "$2"; [ -p "$1" ]' sh {out:a} {out:sub/b}"#)
        .succeeded()
        .printed("b\n");
    assert_same(&runs.read("A"), b"a\n");
    runs.run(r#"printf 0123456789 > got; run --backend fifo -- sh -c 'printf abc > "$1"' sh {out} 1<> got"#)
        .succeeded();
    assert_same(&runs.read("got"), b"abc3456789");
}

#[test]
fn a_reader_of_a_fifo_that_has_enough_ends_the_program() {
    run(&format!(
        "run --backend fifo -- {YES} | head -n 1; echo ${{PIPESTATUS[0]}}"
    ))
    .succeeded()
    .printed("line\n141\n");
}

/// Nothing came, and the file was replaced by an empty one.
#[test]
fn a_fifo_that_was_never_opened_is_no_output() {
    let runs = Runs::new();
    runs.run(r#"echo old > x; run --backend fifo -o x -- true {out}"#)
        .with_status(74)
        .saying("true did not open 'out' to write");
    assert_same(&runs.read("x"), b"old\n");
    runs.run(r#"run --backend fifo -o x -- sh -c ': > "$1"' sh {out}"#)
        .succeeded();
    assert_same(&runs.read("x"), b"");
}

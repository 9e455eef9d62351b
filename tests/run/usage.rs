//! Usage: what is refused, what placeholders become, and what else the program gets.

use crate::{Ended, Runs, run};

#[test]
fn wrong_usage_is_refused_before_anything_starts() {
    let runs = Runs::new();
    for (arguments, words) in [
        ("-- touch started", "fifofs run -- touch started {out}"),
        ("-- touch started {dir}", "use --tar to get all files"),
        ("-- touch started {out:../x}", "it has .. in it"),
        ("--to b=x -- touch started {out:a}", "the outputs are 'a'"),
        (
            "-- touch started {out:a} {out:b}",
            "several outputs ('a', 'b')",
        ),
        ("-o x -- touch started {out:a} {out:b}", "--to NAME=x"),
        (
            "-o /nowhere/x -- touch started {out}",
            "cannot write to /nowhere/x: No such file",
        ),
        (
            "-o . -- touch started {out}",
            "cannot write to .: Is a directory",
        ),
        ("-o fd:9 -- touch started {out}", "9>FILE"),
        ("-o fd:2 -- touch started {out}", "a number above 2"),
        ("--deliver bad -- touch started {out}", "bad"),
        (
            "--tar --deliver stream -- touch started {dir}",
            "not kept until then",
        ),
        (
            "--backend fifo --tar -- touch started {out}",
            "no directory for {dir} and --tar",
        ),
        (
            "--backend fifo -- touch started {out} {dir}",
            "no directory for {dir} and --tar",
        ),
        (
            "--backend fifo --deliver settled -- touch started {out}",
            "always a stream",
        ),
        (
            "--backend fifo --shared -- touch started {out}",
            "--shared is for --backend fuse",
        ),
        ("--no-such-option touch started {out}", "--no-such-option"),
    ] {
        runs.run(&format!("run {arguments}"))
            .with_status(125)
            .saying(words)
            .printed("");
        assert!(!runs.exists("started"), "{arguments} has started it");
    }
}

#[test]
fn a_placeholder_may_be_another_and_stand_inside_a_word() {
    run(r#"run --placeholder @@ -- sh -c 'echo "{out}" > ${1#x}' sh x@@"#)
        .succeeded()
        .printed("{out}\n");
}

#[test]
fn the_paths_are_in_the_environment() {
    let runs = Runs::new();
    runs.run(r#"run -- sh -c '[ "$1" = "$FIFOFS_OUT" ] && [ "$2" = "$FIFOFS_DIR" ] && echo yes > "$2/a b/x"' sh '{out:a b/x}' {dir}"#)
        .succeeded()
        .printed("yes\n");
}

#[test]
fn the_program_keeps_its_own_directory_and_streams() {
    // Its directory, input and error are its own; its standard output goes to standard error if an output goes to
    // standard output.
    let ended =
        run(r#"echo input | run -- sh -c 'cat; pwd >&2; echo x > "$1"' sh {out}"#).succeeded();
    assert!(
        ended.stderr.starts_with("input\n") && ended.stderr.ends_with("/plain\n"),
        "{}",
        ended.stderr
    );
    ended.printed("x\n");
    run(r#"run -o x -- sh -c 'echo own; echo x > "$1"' sh {out}"#)
        .succeeded()
        .printed("own\n");
}

#[test]
fn the_program_has_no_descriptor_of_ours() {
    let runs = Runs::new();
    runs.run(r#"ls -l /proc/self/fd > plain; run --to out=fd:8 -- sh -c 'ls -l /proc/self/fd > "$1"' sh {out} 8> got"#)
        .succeeded();
    let lines = |name: &str| String::from_utf8_lossy(&runs.read(name)).lines().count();
    assert_eq!(
        lines("got"),
        lines("plain"),
        "{}",
        String::from_utf8_lossy(&runs.read("got"))
    );
}

#[test]
fn a_closed_standard_output_is_refused_before_anything_starts() {
    let runs = Runs::new();
    runs.run("run -- touch started {out} >&-")
        .with_status(125)
        .saying("cannot write to standard output: Bad file descriptor");
    assert!(!runs.exists("started"));
    // No output goes to standard output.
    runs.run("run -o x -- sh -c 'echo hi > {out}' >&- && cat x")
        .with_status(0)
        .printed("hi\n");
}

#[test]
fn control_characters_in_names_are_escaped() {
    run(r#"run -- sh -c 'exit 3' "$(printf '{out:e\033[31m\nfake: x}')""#)
        .with_status(3)
        .saying(r"made no 'e\x1b[31m\nfake: x'");
}

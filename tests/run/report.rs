//! `--report`: the results of a run, as JSON.

use serde_json::{Value, json};

use crate::{Ended, Runs};

/// Runs a script that reports to `r.json`, and returns that report.
#[track_caller]
fn reported(runs: &Runs, script: &str, status: i32) -> Value {
    let ended = runs.run(script).with_status(status);
    let report = runs.read("r.json");
    let mut report: Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["status"], status);
    let seconds = report["seconds"].take();
    assert!(seconds.as_f64().is_some_and(|seconds| seconds > 0.0));
    let messages = report["messages"].as_array().expect("messages");
    for message in messages {
        let message = message.as_str().expect("text");
        assert!(ended.stderr.contains(message), "{message}");
    }
    report
}

#[test]
fn a_report_says_how_the_program_and_each_output_ended() {
    let runs = Runs::new();
    let program = r#"sh -c 'echo a > "$1"; echo bb > "$2"; echo ccc > "$3"; exit ${4:-0}' sh {out:a} {out:b} {out:c}"#;
    let to = "--report r.json --to 'a=|cat > A; exit 4' --to b=B --to c=fd:7";
    let report = reported(&runs, &format!("run {to} -- {program} 7> C"), 74);
    let said = "cannot write to '|cat > A; exit 4': it ended with status 4";
    let place = |kind: &str, to: &str, status: Value| json!({"kind": kind, "to": to, "status": status, "signal": null});
    let output = |name: &str, destination: Value, bytes: u64, state: &str, error: Value| json!({"name": name, "destination": destination, "bytes": bytes, "state": state, "error": error});
    let expected = json!({
        "schema": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "status": 74,
        "seconds": null,
        "messages": [said],
        "program": {
            "command": report["program"]["command"],
            "started": true,
            "status": 0,
            "signal": null,
        },
        "outputs": [
            output("a", place("command", "cat > A; exit 4", json!(4)), 2, "unwritten", json!(said)),
            output("b", place("file", "B", Value::Null), 3, "whole", Value::Null),
            output("c", place("descriptor", "fd:7", Value::Null), 4, "whole", Value::Null),
        ],
    });
    assert_eq!(report, expected);
    assert_eq!(report["program"]["command"][4], "{out:a}");

    // An existing report is replaced.
    let to = "--report r.json --to a=A --to 'b=|cat >&2' --to c=-";
    let report = reported(&runs, &format!("run {to} -- {program} 3"), 3);
    assert_eq!(report["program"]["status"], 3);
    let state = |number: usize| &report["outputs"][number]["state"];
    assert_eq!([state(0), state(1)], ["withheld", "withheld"]);
}

#[test]
fn every_state_of_an_output_is_reported() {
    let runs = Runs::new();
    for (options, program, status, state) in [
        ("-o x", "true", 74, "missing"),
        ("-o x", r#"echo > "$1"; kill -9 $$"#, 137, "withheld"),
        ("", r#"echo > "$1"; kill -9 $$"#, 137, "failed"),
        ("-o /dev/full", r#"echo > "$1""#, 74, "unwritten"),
        ("-o '|head -n 1'", r#"exec yes > "$1""#, 0, "closed"),
        (
            "-o '|cat > got'",
            r#"echo one > "$1"; sleep 0.5; printf x | dd of="$1" conv=notrunc 2> dd"#,
            74,
            "rewritten",
        ),
    ] {
        let script = format!("run --report r.json {options} -- sh -c '{program}' sh {{out:x.log}}");
        let report = reported(&runs, &script, status);
        assert_eq!(report["outputs"][0]["state"], state, "{program}");
    }
}

#[test]
fn a_report_is_written_even_if_no_program_was_run() {
    let runs = Runs::new();
    let script = "run --report fd:7 -o x -- no-such-program {out} 7> r.json";
    let report = reported(&runs, script, 127);
    assert_eq!(report["program"]["started"], false);
    assert_eq!(report["outputs"], json!([]));
    let report = reported(&runs, "run --report r.json -o /no/x -- touch {out}", 125);
    assert_eq!(report["program"]["started"], false);
}

/// The report replaced the output, with status 0.
#[test]
fn a_report_does_not_go_where_an_output_goes_however_that_is_spelt() {
    let runs = Runs::new();
    runs.run("echo old > x; ln -s x to_x; ln -s . here; ln -s new to_new")
        .succeeded();
    for (output, report) in [
        ("x", "./x"),
        ("x", "to_x"),
        ("here/x", "x"),
        ("new", "here/new"),
        ("new", "to_new"),
    ] {
        runs.run(&format!(
            "run -o {output} --report {report} -- touch {{out}}"
        ))
        .with_status(125)
        .saying(&format!("--report {report}: an output goes there"));
    }
    assert_eq!(runs.read("x"), b"old\n");
    assert!(!runs.exists("new"));
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_before_anything_starts() {
    let runs = Runs::new();
    for (report, saying) in [
        ("fd:99", "99>FILE"),
        ("fd:x", "invalid destination"),
        ("/no/such/x", "/no/such/x: No such file"),
        ("'|cat'", "a report is no output"),
        ("ssh://h/x", "a report is no output"),
        ("-", "an output goes there"),
    ] {
        runs.run(&format!("run --report {report} -- touch started {{out}}"))
            .with_status(125)
            .saying(saying);
    }
    assert!(!runs.exists("started"));
    // And an error at the end of writing it is reported.
    runs.run("run --report /dev/full -o x -- touch {out}")
        .with_status(74)
        .saying("cannot write to /dev/full");
}

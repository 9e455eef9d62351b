//! Destinations that are commands: they publish everything, or nothing.

use std::time::Duration;

use rustix::process::Signal;

use crate::common::{self, assert_same};
use crate::{Ended, LIMIT, Runs, run};

/// Commands that publish their input only at its end, as uploaders do, and raise `begun` with the first bytes: one
/// program, a script, a program that has a process group of its own, a database.
const COMMANDS: [&str; 4] = [
    r#"exec "$PYTHON" -c 'import os, sys
data = b""
while piece := os.read(0, 65536):
    data += piece
    open(os.environ["F"] + "/begun", "w").write("yes")
open("got", "wb").write(data)'"#,
    r#"tee "$F/begun" > got.t && mv got.t got"#,
    r#"timeout 100 tee "$F/begun" > got.t && mv got.t got"#,
    r#"{ echo 'create table t(x); begin; insert into t values(0);'
        tee "$F/begun" | sed 's/.*/insert into t values(&);/'; echo 'commit;'; } | sqlite3 db &&
        sqlite3 db 'select x from t where x > 0 order by x' > got.t && mv got.t got"#,
];

/// Writes two lines and waits until the command has some.
const BEGIN: &str = r#"seq 100001 > "$1"; until [ -s "$F/begun" ]; do sleep 0.01; done"#;

/// Runs a program with each command, and returns what it published.
#[track_caller]
fn published(program: &str, status: i32, saying: &str) -> Vec<Option<String>> {
    let with = |command: &str| {
        let runs = Runs::new();
        runs.place.raise("begun");
        let quoted = command.replace('\'', r"'\''");
        let script = format!(
            "run -o '|{quoted}' -- sh -c '{}' sh {{out:x.log}}",
            program.replace('\'', r"'\''")
        );
        runs.run(&script).with_status(status).saying(saying);
        runs.exists("got")
            .then(|| String::from_utf8(runs.read("got")).expect("text"))
    };
    COMMANDS.map(with).into()
}

#[test]
fn a_command_gets_all_of_a_whole_output() {
    let lines: String = (1..=100_001).map(|line| format!("{line}\n")).collect();
    for got in published(BEGIN, 0, "") {
        assert_eq!(got.as_deref(), Some(&*lines));
    }
}

/// With a plain pipe all of them publish the half.
#[test]
fn a_command_publishes_nothing_of_an_output_that_is_not_whole() {
    for (end, status, saying) in [
        (
            "exit 3",
            3,
            "was ended before its input: sh ended with status 3",
        ),
        (
            "kill -9 $$",
            137,
            "was ended before its input: sh was killed by signal 9",
        ),
        (
            r#"printf x | dd of="$1" conv=notrunc 2> dd"#,
            74,
            "the program rewrote bytes 0 to 1",
        ),
        (r#"rm "$1""#, 74, ""),
    ] {
        let got = published(&format!("{BEGIN}; {end}"), status, saying);
        assert!(got.iter().all(Option::is_none), "{end}: {got:?}");
    }
}

#[test]
fn a_command_is_not_started_for_an_output_that_is_withheld() {
    let runs = Runs::new();
    let command = r#"-o '|touch started; cat > got'"#;
    for (program, status, saying) in [
        (
            r#"sh -c 'seq 9 > "$1"; exit 3' sh {out:x.zip}"#,
            3,
            "is not passed on",
        ),
        ("true {out:x.log}", 74, "did not make"),
        ("no-such-program {out:x.log}", 127, "not found"),
    ] {
        runs.run(&format!("run {command} -- {program}"))
            .with_status(status)
            .saying(saying);
    }
    runs.run(&format!(
        "run --tar {command} -- sh -c 'echo > \"$1\"; exit 3' sh {{dir}}/x"
    ))
    .with_status(3);
    runs.run(&format!(
        "run --tar {command} -- sh -c 'echo > \"$1\"' sh {{dir}}/x {{out:y}}"
    ))
    .with_status(74);
    assert!(!runs.exists("started"));
    // But an empty output is an output.
    runs.run(&format!("run {command} -- touch {{out:x.log}}"))
        .succeeded();
    assert_same(&runs.read("got"), b"");
    runs.run(&format!(
        "run --tar {command} -- sh -c 'echo > \"$1\"' sh {{dir}}/x"
    ))
    .succeeded();
    runs.run("tar -tf got").printed("x\n");
}

#[test]
fn the_end_of_a_command_decides_the_status() {
    let write = r#"sh -c 'seq 9 > "$1"' sh {out:x.log}"#;
    run(&format!("run -o '|cat > got; exit 5' -- {write}"))
        .with_status(74)
        .saying("cannot write to '|cat > got; exit 5': it ended with status 5");
    run(&format!("run -o '|cat > got; kill -9 $$' -- {write}"))
        .with_status(74)
        .saying("it was killed by signal 9");
    run(&format!(
        "run -o '|sleep 1; cat > got' -- {write}; cat got | wc -l"
    ))
    .succeeded()
    .printed("9\n");
    // A command that exits with 0 has read enough; one that fails early is an error, even if the program succeeds.
    run(&format!("run -o '|head -n 2' -- {}", crate::YES))
        .with_status(0)
        .printed("line\nline\n");
    for command in [
        "exit 5",
        "head -n 2 > got; exit 5",
        "exec < /dev/null; sleep 0.5; exit 5",
    ] {
        run(&format!("run -o '|{command}' -- {}", crate::YES))
            .with_status(74)
            .saying("it ended with status 5");
    }
}

#[test]
fn commands_are_destinations_like_others() {
    let write = r#"sh -c 'echo a > "$1"; echo b > "$2"; echo said' sh {out:a} {out:b}"#;
    // If standard output carries an output, a command's own output goes to standard error.
    let ended = run(&format!(
        "run --to 'a=|cat >&2' --to 'b=|cat; sleep 0.5; touch c' -- {write} > o; cat o; ls"
    ));
    ended.succeeded().saying("a\n").printed("said\nb\nc\no\n");
    run(&format!(
        "run --to 'a=|cat; sleep 0.5' --to b=- -- {write} > o 2> e; sort e; cat o"
    ))
    .succeeded()
    .printed("a\nsaid\nb\n");
    // Other outputs arrive, though one destination fails.
    let ended = run(&format!(
        "run --to 'a=|cat > got; exit 4' --to b=got-b -- {write}; echo $?; cat got-b"
    ));
    ended
        .succeeded()
        .saying("status 4")
        .printed("said\n74\nb\n");
    for empty in ["|", "|  "] {
        run(&format!("run -o '{empty}' -- touch {{out}}"))
            .with_status(125)
            .saying("the destination '|' has no command");
    }
}

/// It must not hold a descriptor for whose end other readers wait.
#[test]
fn a_command_does_not_have_the_descriptors_of_other_outputs() {
    let script = r#"run --to 'a=|ls -l /proc/self/fd > fds' --to b=fd:7 -- sh -c 'echo a > "$1"; echo b > "$2"' sh {out:a} {out:b} 7> got 8> other
        cat got; sed -n 's/.* \([78]\) -> .*/\1/p' fds"#;
    run(script).succeeded().printed("b\n8\n");
}

/// The end of fifofs once was the end of the command's input, as in any pipe.
#[test]
fn when_fifofs_is_killed_a_command_dies_before_its_input_ends() {
    for command in COMMANDS {
        let runs = Runs::new();
        let quoted = command.replace('\'', r"'\''");
        let script = format!(
            r#"exec "$FIFOFS" run -o '|echo $$ > command; {quoted}' -- sh -c '{BEGIN}; echo > "$F/ready"; exec sleep 600' sh {{out:x.log}}"#
        );
        let process = runs.start(&script);
        runs.flag("ready");
        common::signal(process.pid(), Signal::KILL);
        runs.place.assert_nothing_left();
        drop(process);
        assert!(!runs.exists("got"), "{command}");
    }
}

#[test]
fn a_command_that_outlives_its_guard_gets_no_end_either() {
    let runs = Runs::new();
    let script = r#"exec "$FIFOFS" run -o '|echo $PPID > "$F/guard"; cat > got.t && mv got.t got' -- sh -c 'seq 9 > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done' sh {out:x.log}"#;
    let process = runs.start(script);
    let guard = runs.flag("guard").parse().expect("a number");
    common::signal(guard, Signal::KILL);
    process
        .finish(LIMIT)
        .with_status(74)
        .saying("the process that watches over it was killed");
    assert!(!runs.exists("got"));
}

/// Ctrl-C: while the program writes, and while the command is slow; also with a command that ignores it.
#[test]
fn ending_the_wait_publishes_nothing() {
    for (command, program) in [
        (
            r#"echo > "$F/ready"; cat > got.t && mv got.t got"#,
            "exec sleep 600",
        ),
        (
            r#"cat > got.t; echo > "$F/ready"; sleep 600; mv got.t got"#,
            "",
        ),
        (
            r#"trap "" INT; cat > got.t; echo > "$F/ready"; sleep 600; mv got.t got"#,
            "",
        ),
    ] {
        let runs = Runs::new();
        let script = format!(
            r#"exec "$FIFOFS" run -o '|{command}' -- sh -c 'seq 9 > "$1"; {program}' sh {{out:x.log}}"#
        );
        let process = runs.start(&script);
        runs.flag("ready");
        // A second one ends the wait for a command that ignores it.
        let mut process = process;
        while process.is_running() {
            common::signal(process.pid(), Signal::INT);
            std::thread::sleep(Duration::from_millis(300));
        }
        process.finish(LIMIT).with_status(130);
        assert!(!runs.exists("got"), "{command}");
    }
}

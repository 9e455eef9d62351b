//! How programs end: the status, the message for a missing output, and which processes are waited for.

use rustix::process::Signal;

use crate::common::{self, assert_same, needs, process};
use crate::{Ended, INPUTS, LIMIT, Runs, run};

#[test]
fn the_status_is_the_programs_own() {
    run(r#"run -- sh -c 'echo x > "$1"; exit 3' sh {out:x.txt}"#)
        .with_status(3)
        .printed("x\n");
}

#[test]
fn a_program_that_fails_before_it_writes_has_its_status() {
    let ended = run("run -- sh -c 'exit 5' sh {out:x.zip}");
    ended
        .with_status(5)
        .saying("sh ended with status 5 and made no 'x.zip'")
        .printed("");
}

#[test]
fn a_program_that_is_killed_has_128_and_the_number_of_the_signal() {
    let ended =
        run(r#"run -- bash -c 'echo x > "$1"; exec 3>> "$1"; kill -KILL $$' sh {out:x.txt}"#);
    ended
        .with_status(137)
        .saying("'x.txt' may not be whole: bash was killed by signal 9")
        .printed("x\n");
    let ended =
        run(r#"run -o x -- bash -c 'echo x > "$1"; exec 3>> "$1"; kill -KILL $$' sh {out}"#);
    ended
        .with_status(137)
        .saying("x is left as it was: bash was killed by signal 9");
}

/// Python's `with multiprocessing.Pool()` ends its workers by SIGTERM.
#[test]
fn workers_that_are_terminated_after_they_have_written_are_no_failure() {
    let writes = r#"def work(path):
    with open(path, "w") as out: out.write("one\n")
with multiprocessing.get_context("fork").Pool(2) as pool: pool.map(work, [sys.argv[1]])"#;
    let computes = r#"with open(sys.argv[1], "w") as out, multiprocessing.get_context("fork").Pool(2) as pool:
    out.writelines(pool.map(str.lower, ["ONE\n"]))"#;
    for workers in [writes, computes] {
        for name in ["x.txt", "x.zip"] {
            run(&format!(
                "run -- $PYTHON -c 'import multiprocessing, sys\n{workers}' {{out:{name}}}"
            ))
            .with_status(0)
            .printed("one\n");
        }
    }
}

/// `fifofs run -- prog {out:a.zip} | aws s3 cp - …` published half an object.
#[test]
fn a_settled_output_of_a_program_that_fails_is_not_passed_on() {
    for (end, status) in [
        ("exit 3", 3),
        ("kill -KILL $$", 137),
        ("exec 3>> \"$1\"; kill -KILL $$", 137),
    ] {
        let runs = Runs::new();
        let program =
            format!("bash -c 'head -c 3000000 /dev/zero > \"$1\"; {end}' sh {{out:x.zip}}");
        let ended = runs.run(&format!(
            "run -- {program} | cat > piped; echo ${{PIPESTATUS[0]}}
            run -- {program} > written; echo $?
            echo old > kept; run -o kept -- {program}; echo $?
            run --to x.zip=fd:7 -- {program} 7> seventh; echo $?"
        ));
        ended
            .saying("'x.zip' is not passed on: bash ")
            .saying("kept is left as it was: bash ")
            .printed(format!("{status}\n").repeat(4));
        for name in ["piped", "written", "seventh"] {
            assert_same(&runs.read(name), b"");
        }
        assert_same(&runs.read("kept"), b"old\n");
    }
}

/// A process that fails within a program that does not.
#[test]
fn a_settled_output_whose_writer_was_killed_is_not_passed_on() {
    let runs = Runs::new();
    runs.run(
        r#"run -- sh -c 'bash -c "exec > \$0; head -c 3000000 /dev/zero; kill -9 \$\$" "$1"; true' sh {out:x.zip} > written"#,
    )
    .with_status(74)
    .saying("x.zip");
    assert_same(&runs.read("written"), b"");
}

#[test]
fn a_program_that_never_opens_its_output_is_an_error_that_names_shared() {
    run("run -- true {out}")
        .with_status(74)
        .saying("fifofs: true did not make 'out': it left no file at all")
        .saying("--shared");
}

#[test]
fn a_program_that_writes_a_file_of_another_name_is_an_error_that_says_what_to_type() {
    needs(&[("zip", "zip")]);
    run(&format!("{INPUTS} run -- zip -qr {{out}} src"))
        .with_status(74)
        .saying("it left 'out.zip'; use {out:out.zip}")
        .printed("");
}

#[test]
fn a_name_that_is_no_file_is_no_output() {
    run("run -- mkdir {out}")
        .with_status(74)
        .saying("mkdir made 'out' a directory");
    run("run -- ln -s /etc/passwd {out}")
        .with_status(74)
        .saying("ln made 'out' a symbolic link")
        .printed("");
    run("run -- mkfifo {out}")
        .with_status(74)
        .saying("mkfifo made 'out' a special file");
}

#[test]
fn an_empty_file_is_a_result() {
    let ended = run("run -- touch {out}").succeeded();
    assert_eq!(ended.stderr, "");
    ended.printed("");
}

#[test]
fn a_program_that_cannot_be_started_ends_as_in_a_shell() {
    run("run -- no-such-program {out}")
        .with_status(127)
        .saying("fifofs: no-such-program: command not found");
    run("run -- ./no-such-program {out}")
        .with_status(127)
        .saying("fifofs: ./no-such-program: No such file or directory");
    run("touch x; run -- ./x {out}")
        .with_status(126)
        .saying("fifofs: ./x: Permission denied");
    run("run -- / {out}")
        .with_status(126)
        .saying("fifofs: /: Is a directory");
}

#[test]
fn a_script_without_an_interpreter_runs_as_in_a_shell() {
    run(r#"echo 'echo fine > "$1"' > x; chmod +x x; run -- ./x {out}"#)
        .succeeded()
        .printed("fine\n");
}

#[test]
fn a_process_that_the_program_leaves_behind_is_named_and_waited_for() {
    let runs = Runs::new();
    let ended = runs.run(
        r#"run -- bash -c 'exec 3> "$1"; echo one >&3; (sleep 3; echo two >&3) & exit 0' sh {out:x.txt} | cat"#,
    );
    ended
        .succeeded()
        .saying("bash has exited, but left ")
        .saying("sleep (")
        .saying("with 'x.txt' open")
        .printed("one\ntwo\n");
}

#[test]
fn a_daemon_with_a_session_of_its_own_is_waited_for() {
    run(r#"run -- bash -c 'exec 3> "$1"; setsid bash -c "sleep 0.5; echo late >&3" & exit 0' sh {out:x.txt} | cat"#)
        .succeeded()
        .printed("late\n");
}

#[test]
fn a_daemon_that_opens_the_output_only_after_the_program_has_exited_is_too_late() {
    run(r#"run -- bash -c 'echo > "$1.log"; setsid bash -c "sleep 0.5; echo late > $1" & exit 0' sh {out:x.txt} | cat; exit ${PIPESTATUS[0]}"#)
        .with_status(74)
        .saying("bash did not make 'x.txt': it left 'x.txt.log'");
}

#[test]
fn the_wait_for_processes_left_behind_ends_with_a_signal() {
    let runs = Runs::new();
    let waiting = runs.start(
        r#"exec "$FIFOFS" run -- bash -c 'exec 3> "$1"; sleep 60 > /dev/null 2>&1 & echo $! > "$F/sleeper"; exit 0' sh {out:x.txt}"#,
    );
    let sleeper: i32 = runs.flag("sleeper").parse().expect("a number");
    let fifofs = waiting.pid();
    let child = || {
        common::processes()
            .into_iter()
            .any(|process| process.ppid == fifofs && process.comm == "bash")
    };
    runs.wait_for("the program to exit", || !child());
    common::signal(fifofs, Signal::TERM);
    waiting
        .finish(LIMIT)
        .with_status(128 + 15)
        .saying("'x.txt' is not whole: the wait for it was ended");
    // It is not fifofs's process to end.
    assert!(process(sleeper).is_some());
    common::signal(sleeper, Signal::KILL);
}

/// The file was replaced with status 143, without a message; a command in its place was ended.
#[test]
fn a_file_does_not_appear_if_a_signal_came_before_all_was_there() {
    for destination in ["-o x", "-o '|cat > x.new; mv x.new x'"] {
        let runs = Runs::new();
        let script = format!(
            r#"echo old > x; exec "$FIFOFS" run --report r.json {destination} -- bash -c '
                exec 3> "$1"; (until [ -e "$F/go" ]; do sleep 0.01; done; echo new >&3) &
                echo $$ > "$F/program"; exit 0' sh {{out:x.txt}}"#
        );
        let waiting = runs.start(&script);
        let program: i32 = runs.flag("program").parse().expect("a number");
        runs.wait_for("the program to exit", || process(program).is_none());
        common::signal(waiting.pid(), Signal::TERM);
        // The signal came first, as it was sent first.
        runs.run("raise go").succeeded();
        waiting
            .finish(LIMIT)
            .with_status(128 + 15)
            .saying("the wait for it was ended");
        assert_same(&runs.read("x"), b"old\n");
        let report = runs.read("r.json");
        let report = String::from_utf8_lossy(&report);
        assert!(
            report.contains("\"state\":\"cancelled\"") || report.contains("\"state\":\"withheld\""),
            "{report}"
        );
    }
}

/// A supervisor sends one signal and waits. The program died of it, and a process that it left was waited for, for
/// ever.
#[test]
fn one_signal_ends_a_program_and_the_wait_for_processes_that_it_leaves() {
    let program = r#"sh -c 'sleep 600 > "$1" 2> /dev/null & echo $! > "$F/sleeper"; wait' sh"#;
    for command in [
        format!("run {program} {{out:x.txt}}"),
        format!("run -o x {program} {{out:x.txt}}"),
        format!("run -o '|cat > x' {program} {{out:x.txt}}"),
        format!("run --tar {program} {{out:x.txt}}"),
        format!("run --backend fifo {program} {{out:x.txt}}"),
        r#"exec sh -c 'mkfifo "$TMPDIR/p"; yes > "$TMPDIR/p" 2> /dev/null & echo $! > "$F/sleeper"; wait'"#.to_owned(),
    ] {
        let runs = Runs::new();
        let script = command.replacen(" sh -c", " -- sh -c", 1);
        let process_of_script = runs.start(&format!(r#"exec "$FIFOFS" {script}"#));
        let sleeper: i32 = runs.flag("sleeper").parse().expect("a number");
        common::signal(process_of_script.pid(), Signal::TERM);
        let ended = process_of_script.finish(LIMIT);
        let _ = rustix::process::Pid::from_raw(sleeper)
            .map(|pid| rustix::process::kill_process(pid, Signal::KILL));
        ended.with_status(128 + 15);
        assert!(!runs.exists("x"), "{command}");
    }
}

/// Only processes that had opened a file themselves were named: the wait for an archive had no reason.
#[test]
fn a_process_that_inherited_the_descriptor_of_a_file_is_named_too() {
    for (options, what) in [("run --tar", "'x.txt'"), ("exec", "'$TMPDIR/x.txt'")] {
        let runs = Runs::new();
        let directory = if options == "exec" {
            "$TMPDIR"
        } else {
            "$FIFOFS_DIR"
        };
        let program = format!(
            r#"sh -c 'exec 3> "{directory}/x.txt"; sh -c "until [ -e \"$F/go\" ]; do sleep 0.01; done" > /dev/null & exit 0' sh"#
        );
        let placeholder = if options == "exec" { "" } else { "{dir}" };
        let script =
            format!(r#"exec "$FIFOFS" {options} -- {program} {placeholder} 2> said > got"#);
        let waiting = runs.start(&script);
        let named = format!(" behind with {what} open: waiting");
        runs.wait_for("the message", || {
            runs.exists("said") && String::from_utf8_lossy(&runs.read("said")).contains(&named)
        });
        runs.run("raise go").succeeded();
        waiting.finish(LIMIT).succeeded();
    }
}

/// No child could be waited for then, and a run that had succeeded failed.
#[test]
fn children_are_waited_for_though_sigchld_was_inherited_as_ignored() {
    let runs = Runs::new();
    runs.run(r#"(trap '' CHLD; exec "$FIFOFS" run -o x -- sh -c 'echo x > "$1"' sh {out})"#)
        .succeeded();
    assert_same(&runs.read("x"), b"x\n");
}

/// The shell exits before its background processes have opened their output.
#[test]
fn a_process_that_the_program_leaves_behind_may_open_an_output_a_moment_later() {
    for script in [
        "(sleep 0.5; echo late) > {out} & echo started >&2",
        "(sleep 0.05; echo late > {out}) &",
        ": > {out}; (sleep 0.05; echo late >> {out}; sleep 0.1; echo >&2) &",
        "setsid sh -c 'sleep 0.05; echo late > {out}' & exit 0",
        // Not an output yet, and not closed for longer than the time that processes are given.
        "(exec 3> {dir}/part; sleep 0.5; echo late >&3; mv {dir}/part {out}) &",
    ] {
        run(&format!("run -- sh -c \"{script}\""))
            .with_status(0)
            .printed("late\n");
    }
    run("run --tar -- sh -c '(sleep 0.05; echo late > {dir}/x) &' | tar -xO")
        .with_status(0)
        .printed("late\n");
}

/// `place` fails if a file is left in the directory for temporary files.
#[test]
fn a_process_that_comes_later_than_that_changes_nothing_and_leaves_nothing() {
    let runs = Runs::new();
    runs.run(
        r#"
        run -- sh -c 'echo good > "$1"
            (while [ ! -e "$F/stop" ]; do sleep 0.3; for i in $(seq 200); do echo bad >> "$1"; done; done) 2>&1 &
        ' sh {out}
        sleep 0.5; raise stop"#,
    )
    .with_status(0)
    .printed("good\n");
}

/// Between the unmount and the removal of the directory files could be made there, also by root.
#[test]
fn a_process_that_never_stops_making_files_makes_none_below_the_mount() {
    let runs = Runs::new();
    runs.run(
        r#"
        late='import os, sys
name, stop = os.path.dirname(sys.argv[1]) + "/late", os.environ["F"] + "/stop"
while not os.path.exists(stop):
    for i in range(100):
        try: os.mkdir(name)
        except OSError: pass'
        export late
        for i in 1 2 3 4 5; do
            run -- sh -c 'echo good > "$1"; for i in 1 2; do "$PYTHON" -S -c "$late" "$1" & done' sh {out}
        done
        ls "$TMPDIR"; raise stop"#,
    )
    .with_status(0)
    .printed("good\n".repeat(5));
}

/// A batch system kills all processes of a job at once; none is left then that could clean up.
#[test]
fn the_next_run_clears_away_what_is_left_when_run_and_its_helpers_are_killed_together() {
    for backend in ["fuse", "fifo"] {
        let runs = Runs::new();
        // The job's processes are those of its session, and the helpers, which have their own.
        let done = runs.run(&format!(
            r#"
            setsid "$FIFOFS" run --backend {backend} -- sh -c 'raise() {{ : > "$F/$1"; }}; raise there; exec sleep 1000' sh {{out}} &
            await there
            mark() {{ tr '\0' '\n' < /proc/$1/environ | grep -qx "TMPDIR=$TMPDIR" && [ "$(cat /proc/$1/comm)" != bash ]; }}
            job=$(for d in /proc/[0-9]*; do mark ${{d#/proc/}} 2> /dev/null && echo ${{d#/proc/}}; done)
            kill -STOP $job; kill -KILL $job; wait
            until ! kill -0 $job; do sleep 0.01; done 2> /dev/null
            ls "$TMPDIR" | wc -l
            run --backend {backend} -- sh -c 'echo next > "$1"' sh {{out}}
            ls "$TMPDIR" | wc -l"#
        ));
        done.with_status(0).printed("1\nnext\n0\n");
    }
}

#[test]
fn a_signal_at_any_moment_of_the_start_leaves_nothing() {
    let runs = Runs::new();
    runs.run(
        r#"
        for delay in 0 0.001 0.002 0.003 0.004 0.006 0.008 0.01 0.015 0.02; do
            # A shell ignores INT and QUIT in its background processes.
            for signal in TERM HUP USR1; do
                "$FIFOFS" run -- sh -c 'exec sleep 1000' sh {out} & run=$!
                sleep $delay; kill -$signal $run; kill $run 2> /dev/null; wait $run
                ls "$TMPDIR"
            done
        done
        exit 0"#,
    )
    .with_status(0)
    .printed("");
}

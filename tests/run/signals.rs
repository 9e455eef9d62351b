//! Signals and Ctrl-C: which of them reach the program, and that nothing of it is left, even when fifofs is
//! killed.

use rustix::process::Signal;

use crate::common::{self, MARKER, Process, assert_same, process};
use crate::{Ended, LIMIT, Runs, run};

#[test]
fn signals_are_passed_on_and_the_program_decides() {
    let runs = Runs::new();
    let script = r#"exec "$FIFOFS" run -- bash -c 'for name in TERM HUP USR1 USR2 INT QUIT; do trap "echo $name >> \"$1\"" $name; done
        echo ready >> "$F/ready"
        until [ -e "$F/go" ]; do sleep 0.01; done; exit 3' sh {out:x.txt}"#;
    let program = runs.start(script);
    runs.flag("ready");
    let fifofs = program.pid();
    let mut expected = String::new();
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
    ] {
        common::signal(fifofs, signal);
        expected += name;
        expected += "\n";
        program.wait_output(expected.as_bytes());
    }
    runs.place.raise("go");
    program.finish(LIMIT).with_status(3).printed(expected);
}

#[test]
fn a_signal_that_was_ignored_or_blocked_stays_so_for_the_program() {
    // Signals above 31 belong to the C library.
    let show = r#"$PYTHON -c '
import sys
for line in sys.stdin:
    name, mask = line.split()
    print(name, [n for n in range(1, 32) if int(mask, 16) >> n - 1 & 1])'"#;
    let signals = r#"grep -E "Sig(Ign|Blk)" /proc/self/status"#;
    // 13 is SIGPIPE, which the runtime of fifofs ignores.
    run(&format!(
        "trap '' HUP INT PIPE; run -- sh -c '{signals} > \"$1\"' sh {{out}} | {show}"
    ))
    .succeeded()
    .printed("SigBlk: []\nSigIgn: [1, 2, 13]\n");
    // Shells unblock inherited blocked signals; Python also ignores SIGXFSZ, which is 25.
    run(&format!(
        r#"$PYTHON -c '
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
os.execv(os.environ["FIFOFS"], ["fifofs", "run", "--", "dd", "status=none", "if=/proc/self/status", "of={{out}}"])' \
    | grep -E "Sig(Ign|Blk)" | {show}"#
    ))
    .succeeded()
    .printed("SigBlk: [28]\nSigIgn: [13, 25]\n");
    run(&format!(
        "run -- sh -c '{signals} > \"$1\"' sh {{out}} | {show}"
    ))
    .succeeded()
    .printed("SigBlk: []\nSigIgn: []\n");
}

#[test]
fn ctrl_c_reaches_the_program_once() {
    let runs = Runs::new();
    let mount = runs.place.mount_point();
    let script = format!(
        r#"
import pty
os.environ["{MARKER}"] = "{}"
os.environ["TMPDIR"] = F + "/../tmp"
os.mkdir(F + "/../tmp")
program = '''trap 'echo interrupted >> "$1"' INT; echo > "$F/ready"; until [ -e "$F/go" ]; do sleep 0.01; done'''
pid, terminal = pty.fork()
if pid == 0:
    os.execv(os.environ["FIFOFS"], ["fifofs", "run", "-o", "got", "--", "bash", "-c", program, "sh", "{{out:x.txt}}"])
wait_flag("ready")
for count in (1, 2):
    os.write(terminal, b"\x03")
    time.sleep(0.3)
raise_flag("go")
_, status = os.waitpid(pid, 0)
say(os.waitstatus_to_exitcode(status))
"#,
        mount.display()
    );
    runs.place
        .python(&script)
        .finish(LIMIT)
        .succeeded()
        .printed("0\n");
    assert_same(&runs.read("got"), b"interrupted\ninterrupted\n");
}

/// Ctrl-C in a terminal ends a long program that these words of Python start.
#[track_caller]
fn ctrl_c_ends(words: &str) {
    let runs = Runs::new();
    let mount = runs.place.mount_point();
    let script = format!(
        r#"
import pty
os.environ["{MARKER}"] = "{}"
os.environ["TMPDIR"] = F + "/../tmp"
os.mkdir(F + "/../tmp")
pid, terminal = pty.fork()
if pid == 0:
    os.execv(os.environ["FIFOFS"], ["fifofs", "run", "-o", "got", "--", {words} 'echo > "$F/ready"; exec sleep 60 > "$1"', "sh", "{{out:x.txt}}"])
wait_flag("ready")
os.write(terminal, b"\x03")
_, status = os.waitpid(pid, 0)
say(os.waitstatus_to_exitcode(status))
"#,
        mount.display()
    );
    runs.place
        .python(&script)
        .finish(LIMIT)
        .succeeded()
        .printed("130\n");
    assert!(!runs.exists("got"));
}

#[test]
fn ctrl_c_ends_a_long_program_and_nothing_is_left() {
    ctrl_c_ends(r#""sh", "-c","#);
}

/// The terminal's signal does not reach it.
#[test]
fn ctrl_c_ends_a_program_in_a_session_of_its_own() {
    ctrl_c_ends(r#""setsid", "sh", "-c","#);
}

/// A program that writes for ever, and the processes that must end: fifofs, the program, and a child of it.
fn long_program(runs: &Runs, options: &str) -> (Process, i32, Vec<i32>) {
    let process = runs.start(&format!(
        r#"exec "$FIFOFS" run {options} -- bash -c 'sleep 600 & echo $! > "$F/sleeper"; echo $$ > "$F/program"; while echo line; do sleep 0.001; done > "$1"' sh {{out:x.txt}}"#
    ));
    let number = |name| runs.flag(name).parse().expect("a number");
    let (sleeper, program, fifofs) = (number("sleeper"), number("program"), process.pid());
    // The program does not end the last one.
    (process, fifofs, vec![program, fifofs, sleeper])
}

#[test]
fn term_ends_a_long_program_and_nothing_is_left() {
    let runs = Runs::new();
    let (process_of_script, fifofs, others) = long_program(&runs, "");
    common::signal(fifofs, Signal::TERM);
    runs.wait_for("the program to die", || process(others[0]).is_none());
    // It has the script's standard error.
    common::signal(others[2], Signal::KILL);
    process_of_script.finish(LIMIT).with_status(143);
}

#[test]
fn when_fifofs_alone_is_killed_the_program_dies_and_nothing_is_left() {
    for options in ["", "--deliver stream", "--deliver settled"] {
        let runs = Runs::new();
        let (script, fifofs, others) = long_program(&runs, options);
        common::signal(fifofs, Signal::KILL);
        runs.wait_for("the program to die", || {
            others[..2]
                .iter()
                .all(|pid| process(*pid).is_none_or(|process| process.state == 'Z'))
        });
        common::signal(others[2], Signal::KILL);
        drop(script);
        // The watchdog removes the mount point, and does so.
    }
}

/// The output was discarded with status 0.
#[test]
fn a_fifo_without_a_reader_is_reported_when_the_wait_for_one_is_ended() {
    let runs = Runs::new();
    let script = r#"mkfifo pipe; run -o pipe -- sh -c 'echo x > "$1"; trap "exit 0" TERM; echo $PPID > "$F/pid"; while :; do sleep 0.01; done' sh {out}"#;
    let process = runs.start(script);
    let pid: i32 = runs.flag("pid").parse().expect("a number");
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("a signal");
    process
        .finish(LIMIT)
        .with_status(74)
        .saying("nobody has opened it to read");
}

//! `fifofs run` with real programs: what arrives, when, with which status and message, and that nothing is left.
//!
//! Every script here runs with `run` for `fifofs run`, in a directory of its own; when it has ended there must be no
//! mount, no process and no temporary file of it.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::{
    FIFOFS, Finished, MARKER, Place, Process, SOON, assert_same, needs, needs_root, process,
};
use rustix::process::Signal;

/// For whole programs on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Temporary files, mount points among them, are where they can be found.
const PRELUDE: &str = r#"
export TMPDIR="$F/../tmp"; unset XDG_RUNTIME_DIR
mkdir -p "$TMPDIR"
run() { "$FIFOFS" run "$@"; }
"#;

/// Where programs are run.
struct Runs {
    place: Arc<Place>,
}

impl Runs {
    fn new() -> Self {
        Runs {
            place: Place::new(),
        }
    }

    /// Starts a script. Everything it starts is marked as of this place.
    fn start(&self, script: &str) -> Process {
        let mount = self.place.mount_point();
        let mark = format!("export {MARKER}='{}'", mount.display());
        self.place.shell(&format!("{PRELUDE}\n{mark}\n{script}"))
    }

    /// Runs a script to its end.
    #[track_caller]
    fn run(&self, script: &str) -> Finished {
        self.start(script).finish(LIMIT)
    }

    /// What a script left in its directory.
    #[track_caller]
    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.place.at("plain").join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn exists(&self, name: &str) -> bool {
        self.place.at("plain").join(name).exists()
    }

    fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        self.place.wait_for(what, SOON, condition);
    }

    /// Waits for a flag, and gives what the script wrote into it.
    fn flag(&self, name: &str) -> String {
        let path = self.place.at("flags").join(name);
        let mut content = String::new();
        self.wait_for(&format!("the flag {name}"), || {
            content = fs::read_to_string(&path).unwrap_or_default();
            content.ends_with('\n')
        });
        content.trim().to_owned()
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.place.assert_nothing_left();
        let left = || -> Vec<_> {
            let entries = fs::read_dir(self.place.at("tmp")).into_iter().flatten();
            entries.flatten().map(|entry| entry.path()).collect()
        };
        self.wait_for("the temporary files to be gone", || left().is_empty());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let root = self.place.at("tmp").display().to_string();
        assert!(!mounts.contains(&root), "still mounted:\n{mounts}");
    }
}

/// One script in a place of its own.
#[track_caller]
fn run(script: &str) -> Finished {
    Runs::new().run(script)
}

trait Ended {
    /// It must have exited with this status.
    fn with_status(self, status: i32) -> Self;
    /// And have said this on standard error.
    fn saying(self, words: &str) -> Self;
}

impl Ended for Finished {
    #[track_caller]
    fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status.code(), Some(status), "it said {}", self.stderr);
        self
    }

    #[track_caller]
    fn saying(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no '{words}' in: {}",
            self.stderr
        );
        self
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Real programs, to every kind of standard output

/// What the programs work on.
const INPUTS: &str = r#"
set -e -o pipefail
mkdir -p src/deep
seq 1 20000 > src/numbers; echo hello > src/deep/hello; head -c 300000 /dev/zero > src/zeros
find src -exec touch -d 2020-02-02T02:02:02 {} +
seq 1 50000 | shuf --random-source=src/numbers > lines
printf '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' > hello.c
"#;

/// Runs `command`, in which `@` is its output, into a plain file and in every way that there is to redirect the
/// output of `fifofs run`: the bytes must be the same.
#[track_caller]
fn is_right_every_way(output: &str, command: &str) {
    let runs = Runs::new();
    let plain = command.replace('@', &format!("plain-{output}"));
    let captured = command.replace('@', &format!("{{out:{output}}}"));
    let script = format!(
        r#"{INPUTS}
        {plain}
        captured() {{ run "$@" -- {captured}; }}
        captured | cat > by-pipe
        captured > by-redirection
        echo header > by-appending; captured >> by-appending
        {{ echo header; captured; echo trailer; }} > by-group
        captured -o by-option
        captured --to {output}=fd:7 7> by-descriptor
        captured --deliver settled | cat > by-settled
        "#
    );
    runs.run(&script).succeeded();
    let plain = runs.read(&format!("plain-{output}"));
    for name in [
        "by-pipe",
        "by-redirection",
        "by-option",
        "by-descriptor",
        "by-settled",
    ] {
        assert_same(&runs.read(name), &plain);
    }
    let headed = [b"header\n", &plain[..]].concat();
    assert_same(&runs.read("by-appending"), &headed);
    assert_same(
        &runs.read("by-group"),
        &[&headed[..], b"trailer\n"].concat(),
    );
}

#[test]
fn zip_is_right_every_way() {
    needs(&[("zip", "zip")]);
    is_right_every_way("x.zip", "zip -qrX @ src");
}

#[test]
fn ffmpeg_is_right_every_way() {
    needs(&[("ffmpeg", "ffmpeg")]);
    is_right_every_way(
        "x.mp4",
        "ffmpeg -v error -nostdin -f lavfi -i testsrc=d=1:s=64x64 -fflags +bitexact -flags +bitexact -y @",
    );
}

#[test]
fn gcc_is_right_every_way() {
    needs(&[("gcc", "gcc")]);
    is_right_every_way("hello", "gcc -o @ hello.c");
}

#[test]
fn sort_is_right_every_way() {
    is_right_every_way("sorted.txt", "sort -n -o @ lines");
}

#[test]
fn a_script_that_writes_appends_and_edits_in_place_is_right_and_into_a_pipe_right_or_refused() {
    let script =
        r#"sh -c 'seq 1 9 > "$1"; seq 10 19 >> "$1"; sed -i s/1/one/ "$1"; grep -q one9 "$1"' sh"#;
    let runs = Runs::new();
    runs.run(&format!(
        r#"
        {script} plain
        captured() {{ run "$@" -- {script} {{out:x.txt}}; }}
        captured > by-redirection
        captured -o by-option
        captured --deliver settled | cat > by-settled
        # Whether sed comes within the 100 ms in which nothing is passed on is the machine's affair.
        {{ captured && echo 0 > status || echo $? > status; }} | cat > by-pipe
        "#
    ))
    .succeeded();
    let plain = runs.read("plain");
    for name in ["by-redirection", "by-option", "by-settled"] {
        assert_same(&runs.read(name), &plain);
    }
    match &runs.read("status")[..] {
        b"0\n" => assert_same(&runs.read("by-pipe"), &plain),
        status => assert_same(status, b"74\n"),
    }
}

#[test]
fn a_program_that_writes_from_start_to_end_can_be_streamed() {
    let runs = Runs::new();
    runs.run(&format!("{INPUTS} sort -n -o plain lines; run --deliver stream -- sort -n -o {{out}} lines | cat > got"))
        .succeeded();
    assert_same(&runs.read("got"), &runs.read("plain"));
}

#[test]
fn a_zip_goes_through_a_pipe_to_a_consumer() {
    needs(&[("zip", "zip"), ("unzip", "unzip")]);
    run(&format!(
        "{INPUTS} run -- zip -qr {{out:x.zip}} src | $PYTHON -c '
import io, sys, zipfile
archive = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read()))
print(archive.testzip(), archive.read(\"src/deep/hello\"))'"
    ))
    .succeeded()
    .printed("None b'hello\\n'\n");
}

#[test]
fn lines_arrive_while_the_program_runs() {
    let runs = Runs::new();
    let writer = runs.start(r#"run --deliver follow -- bash -c 'echo one > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done; echo two >> "$1"' sh {out}"#);
    writer.wait_output(b"one\n");
    runs.place.raise("go");
    writer.finish(LIMIT).succeeded().printed("one\ntwo\n");
}

// ---------------------------------------------------------------------------------------------------------------
// Patches

/// Writes `head`, is seen to have been delivered, and then patches the first byte.
const PATCHER: &str = r#"sh -c 'printf "head and body" > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done; printf X | dd of="$1" conv=notrunc status=none' sh {out:x.txt}"#;

#[test]
fn a_patch_of_what_a_pipe_was_given_is_an_error_that_says_how_to_avoid_it() {
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
fn a_patch_reaches_a_file_though_it_was_delivered() {
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
fn what_becomes_shorter_after_it_was_delivered_is_cut_in_a_file() {
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
fn what_stands_behind_the_output_in_a_file_stays() {
    let runs = Runs::new();
    runs.run(r#"printf 0123456789 > got; run -- sh -c 'printf abcdef > "$1"; sleep 0.3; printf abc > "$1"' sh {out:x.txt} 1<> got"#)
        .succeeded();
    assert_same(&runs.read("got"), b"abc3456789");
}

#[test]
fn what_goes_to_the_same_file_as_messages_does_not_hide_them() {
    let runs = Runs::new();
    runs.run(r#"run -- sh -c 'echo message; echo output > "$1"; echo another >&2' sh {out:x.txt} > got 2>&1"#)
        .succeeded();
    let got = String::from_utf8(runs.read("got")).expect("UTF-8");
    let mut lines: Vec<_> = got.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["another", "message", "output"]);
}

// ---------------------------------------------------------------------------------------------------------------
// How programs end

#[test]
fn the_status_is_the_programs_own() {
    run(r#"run -- sh -c 'echo x > "$1"; exit 3' sh {out}"#)
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
    let ended = run(r#"run -- bash -c 'echo x > "$1"; exec 3>> "$1"; kill -KILL $$' sh {out}"#);
    ended
        .with_status(137)
        .saying("'out' may not be whole: bash was killed by signal 9")
        .printed("x\n");
    let ended =
        run(r#"run -o x -- bash -c 'echo x > "$1"; exec 3>> "$1"; kill -KILL $$' sh {out}"#);
    ended
        .with_status(137)
        .saying("x is left as it was: bash was killed by signal 9");
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
fn what_is_no_file_is_no_output() {
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
fn the_wait_for_those_left_behind_ends_with_a_signal() {
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
    // It was not ours to end.
    assert!(process(sleeper).is_some());
    common::signal(sleeper, Signal::KILL);
}

// ---------------------------------------------------------------------------------------------------------------
// Usage

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
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
            "not kept till then",
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
fn what_is_the_programs_own_stays_its_own() {
    // Its directory, input and error are its own; its output goes to standard error, where an output goes to standard
    // output.
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

// ---------------------------------------------------------------------------------------------------------------
// Files that appear

#[test]
fn a_file_appears_whole_and_only_if_the_program_succeeds() {
    let runs = Runs::new();
    let writer = runs.start(r#"umask 027; run -o x -- bash -c 'echo one > "$1"; echo > "$F/written"; until [ -e "$F/go" ]; do sleep 0.01; done; echo two >> "$1"' sh {out}"#);
    runs.wait_for("the program to write", || {
        runs.place.at("flags/written").exists()
    });
    assert!(!runs.exists("x"));
    let listed = fs::read_dir(runs.place.at("plain"))
        .expect("the directory")
        .count();
    assert_eq!(listed, 0, "nothing can be seen before it is whole");
    runs.place.raise("go");
    writer.finish(LIMIT).succeeded().printed("");
    runs.run("stat -c %a x; cat x").printed("640\none\ntwo\n");

    runs.run(r#"run -o x -- sh -c 'echo three > "$1"; exit 1' sh {out}"#)
        .with_status(1)
        .saying("x is left as it was: sh ended with status 1");
    assert_same(&runs.read("x"), b"one\ntwo\n");
    runs.run("run -o x -- true {out}").with_status(74);
    assert_same(&runs.read("x"), b"one\ntwo\n");

    runs.run(r#"run -o x -- sh -c 'echo three > "$1"' sh {out}"#)
        .succeeded();
    runs.run("stat -c %a x; cat x; ls -A")
        .printed("640\nthree\nx\n");
}

/// A private key once appeared for all to read, and what a linker had made could not be executed.
#[test]
fn a_new_file_has_the_mode_that_the_program_gave_it() {
    let runs = Runs::new();
    let program = |mode: &str| {
        format!(r#"run -o x -- sh -c 'umask 0; echo x > "$1"; chmod {mode} "$1"' sh {{out}}"#)
    };
    runs.run(&program("600")).succeeded();
    runs.run("stat -c %a x; rm x").printed("600\n");
    runs.run(&program("4755")).succeeded();
    runs.run("stat -c %a x").printed("755\n");
    runs.run(&program("600")).succeeded();
    runs.run("stat -c %a x").printed("755\n");
}

/// A file on standard output was once replaced, with what others had written to it.
#[test]
fn a_destination_that_is_a_name_of_a_descriptor_is_that_descriptor() {
    let runs = Runs::new();
    let program = r#"sh -c 'echo noise; echo x > "$1"' sh {out}"#;
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        runs.run(&format!(
            "{{ echo header; run -o {name} -- {program}; echo trailer; }} > got; cat got"
        ))
        .printed("header\nx\ntrailer\n");
    }
    runs.run("run --to out=>(cat > got; echo > \"$F/read\") -- cp /etc/passwd {out}; await read; cmp got /etc/passwd")
        .succeeded();
}

/// Opened one after the other, and before the program, they once waited for a reader that waited for another of them.
#[test]
fn fifos_may_be_opened_in_any_order() {
    let script = r#"mkfifo 1 2
        paste 2 1 & run --to a=1 --to b=2 -- sh -c 'echo a > "$1"; echo b > "$2"' sh {out:a} {out:b}; wait"#;
    run(script).succeeded().printed("b\ta\n");
}

#[test]
fn a_fifo_without_a_reader_holds_up_no_other_output() {
    let runs = Runs::new();
    let process = runs.start(
        r#"mkfifo 1; run --to a=1 --to b=- -- sh -c 'echo a > "$1"; echo b > "$2"' sh {out:a} {out:b} > got"#,
    );
    runs.wait_for("the other output", || {
        runs.exists("got") && runs.read("got") == b"b\n"
    });
    runs.run("cat 1").printed("a\n");
    process.finish(LIMIT).succeeded();
}

#[test]
fn who_comes_late_to_the_fifo_of_a_program_that_failed_gets_the_end() {
    run("mkfifo 1; run -o 1 -- sh -c 'exit 3' sh {out} & sleep 0.3; cat 1; wait $!")
        .with_status(3)
        .printed("");
}

#[test]
fn a_signal_ends_the_wait_for_the_reader_of_a_fifo() {
    let runs = Runs::new();
    let process = runs.start(
        r#"mkfifo 1; exec "$FIFOFS" run -o 1 -- sh -c 'echo > "$F/ready"; exec sleep 60' sh {out}"#,
    );
    runs.flag("ready");
    process.signal(Signal::TERM);
    process.finish(LIMIT).with_status(143);
}

#[test]
fn a_fifo_whose_reader_leaves_ends_the_program() {
    let program = "sh -c 'exec sleep 60' sh {out}";
    run(&format!(
        "mkfifo 1; {{ sleep 0.3; : < 1; }} & run -o 1 -- {program}; echo $?; wait"
    ))
    .succeeded()
    .printed("141\n");
}

#[test]
fn what_is_no_regular_file_is_written_to_in_its_place() {
    let runs = Runs::new();
    runs.run(r#"mkfifo pipe; cat pipe > got & run -o pipe -- sh -c 'echo x > "$1"' sh {out}; wait; [ -p pipe ]"#)
        .succeeded();
    assert_same(&runs.read("got"), b"x\n");
    runs.run(r#"run -o /dev/null -- sh -c 'echo x > "$1"' sh {out}; [ -c /dev/null ]"#)
        .succeeded();
}

#[test]
fn a_destination_that_is_full_is_an_error() {
    run(r#"run -- sh -c 'echo x > "$1"' sh {out} > /dev/full"#)
        .with_status(74)
        .saying("cannot write to standard output: No space left on device");
}

// ---------------------------------------------------------------------------------------------------------------
// Several outputs

#[test]
fn a_slow_destination_does_not_make_others_wait() {
    let runs = Runs::new();
    // More than any pipe holds, to a reader that does not read before the others are done.
    let script = r#"
        mkfifo slow quick
        { await read; cat > slow-got; } < slow &
        { head -c 3000000 > quick-got; raise quick-done; cat > quick-rest; } < quick &
        run --to a=slow --to b=quick --to c=- --deliver '*=follow' -- bash -c '
            for name; do head -c 3000000 /dev/zero > "$name"; done
            until [ -e "$F/quick-done" ]; do sleep 0.01; done
            touch "$F/read"' sh {out:a} {out:b} {out:c} | wc -c
        wait
        stat -c %s slow-got quick-got quick-rest"#;
    runs.run(script)
        .succeeded()
        .printed("3000000\n3000000\n3000000\n0\n");
}

#[test]
fn outputs_go_to_files_descriptors_and_standard_output() {
    let runs = Runs::new();
    runs.run(r#"run --to a.txt=A --to sub/b=- --to c=fd:3 -- sh -c 'for name; do echo "$(basename "$name")" > "$name"; done; echo own >&2' sh {out:a.txt} {out:sub/b} {out:c} 3> C"#)
        .succeeded()
        .printed("b\n");
    assert_same(&runs.read("A"), b"a.txt\n");
    assert_same(&runs.read("C"), b"c\n");
}

#[test]
fn of_several_outputs_the_one_that_is_missing_is_named() {
    let runs = Runs::new();
    runs.run(
        r#"run --to a=A --to b=B -- sh -c 'echo x > "$1"; echo y > "$2.bak"' sh {out:a} {out:b}"#,
    )
    .with_status(74)
    .saying("did not make 'b': it left 'b.bak'; use {out:b.bak}");
    assert!(runs.exists("A") && !runs.exists("B"));
}

#[test]
fn all_that_a_program_leaves_comes_as_tar() {
    let runs = Runs::new();
    runs.run(&format!(
        "{INPUTS} mkdir plain-parts tar-parts; split -b 50000 lines plain-parts/part-
        run --tar -- split -b 50000 lines {{dir}}/part- | tar -x -C tar-parts
        diff -r plain-parts tar-parts
        run -o x.tar --tar -- split -b 50000 lines {{dir}}/part-; tar -tf x.tar | sed -n 1,2p"
    ))
    .succeeded()
    .printed("part-aa\npart-ab\n");
}

#[test]
fn tar_keeps_links_and_modes_and_reads_nothing_outside() {
    let listed = run(
        r#"run --tar -- bash -c 'cd "$1"; echo x > a; ln a b; ln -s /etc/passwd c; mkdir d; chmod 4711 a; chmod 700 d
        exec 3> d/late; (sleep 0.3; echo late >&3) &' sh {dir} > x.tar; tar -tvf x.tar | awk '{ print $1, $6, $7, $8 }'
        tar -xOf x.tar d/late"#,
    );
    listed.succeeded().printed(
        "-rws--x--x a  \nhrws--x--x b link to\nlrwxrwxrwx c -> /etc/passwd\ndrwx------ d  \n-rw-r--r-- d/late  \nlate\n",
    );
}

#[test]
fn tar_of_nothing_and_of_a_program_that_fails() {
    run("run --tar -- true {dir}")
        .with_status(74)
        .saying("true left no file in {dir}; if another process");
    run("run --tar -- true {out:x/y} > /dev/null")
        .with_status(74)
        .saying("did not make 'x/y': it left no file at all");
    run(r#"run --tar -- sh -c 'echo x > "$1/x"; exit 4' sh {dir} | tar -tf -; exit ${PIPESTATUS[0]}"#)
        .with_status(4)
        .printed("x\n");
}

// ---------------------------------------------------------------------------------------------------------------
// Ends from outside

/// Writes for ever; what it says when it cannot is not of interest.
const YES: &str = r#"bash -c 'while echo line; do :; done > "$1" 2> /dev/null' sh {out}"#;

#[test]
fn a_reader_that_has_enough_ends_the_program() {
    let ended = run(&format!(
        "run -- {YES} | head -n 1; echo ${{PIPESTATUS[0]}}"
    ));
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    ended.succeeded().printed("line\n141\n");
}

#[test]
fn a_reader_that_has_enough_ends_a_program_that_does_not_write() {
    let ended = run("run -- sh -c 'exec sleep 60' sh {out} | true; echo ${PIPESTATUS[0]}");
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    ended.printed("141\n");
}

#[test]
fn a_program_that_ignores_sigpipe_gets_an_error_when_it_writes_and_has_its_status() {
    run(r#"run -- $PYTHON -c '
import errno, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
output = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o666)
try:
    while True: os.write(output, b"line\n" * 1000)
except OSError as error:
    sys.exit(9 if error.errno == errno.EPIPE else 1)' {out:x.txt} | head -n 1; echo ${PIPESTATUS[0]}"#)
        .printed("line\n9\n");
}

#[test]
fn a_program_that_comes_to_write_after_its_reader_has_gone_gets_an_error() {
    for options in ["", "--deliver stream"] {
        run(&format!(
            r#"run {options} -- bash -c 'trap "" PIPE; echo > "$F/ready"; until [ -e "$F/go" ]; do sleep 0.01; done
            head -c 3000000 /dev/zero > "$1"' sh {{out:x.txt}} | {{ await ready; {{ exec <&-; sleep 0.3; raise go; }} & }}; echo ${{PIPESTATUS[0]}}"#
        ))
        .saying("Broken pipe")
        .printed("1\n");
    }
}

#[test]
fn a_stream_may_be_written_to_another_file_and_renamed() {
    run(r#"run --deliver stream -- sh -c 'head -c 3000000 /dev/zero > "$1.tmp"; mv "$1.tmp" "$1"' sh {out} | wc -c"#)
        .succeeded()
        .printed("3000000\n");
}

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
fn a_signal_that_was_ignored_stays_ignored_for_the_program() {
    // Those above 31 are the C library's.
    let show = r#"$PYTHON -c '
import sys
for line in sys.stdin:
    name, mask = line.split()
    print(name, [n for n in range(1, 32) if int(mask, 16) >> n - 1 & 1])'"#;
    let signals = r#"grep -E "Sig(Ign|Blk)" /proc/self/status"#;
    run(&format!(
        "trap '' HUP INT; run -- sh -c '{signals} > \"$1\"' sh {{out}} | {show}"
    ))
    .succeeded()
    .printed("SigBlk: []\nSigIgn: [1, 2]\n");
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

/// Ctrl-C in a terminal ends a long program that is started by these words of Python.
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

/// A program that writes for ever, and the processes that must be gone: fifofs, the program, one that it started.
fn long_program(runs: &Runs, options: &str) -> (Process, i32, Vec<i32>) {
    let process = runs.start(&format!(
        r#"exec "$FIFOFS" run {options} -- bash -c 'sleep 600 & echo $! > "$F/sleeper"; echo $$ > "$F/program"; while echo line; do sleep 0.001; done > "$1"' sh {{out:x.txt}}"#
    ));
    let number = |name| runs.flag(name).parse().expect("a number");
    let (sleeper, program, fifofs) = (number("sleeper"), number("program"), process.pid());
    // The last one is not the program's to end.
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
        // The directory that was mounted at is the watchdog's to remove; that it does.
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Where it runs

#[test]
fn the_mount_is_private_for_root_and_shared_on_demand() {
    needs_root();
    let runs = Runs::new();
    let script = |options: &str| {
        format!(
            r#"run {options} -- bash -c 'echo "$2" > "$F/path"; grep -c "$2" /proc/$PPID/mountinfo > "$1"; until [ -e "$F/go" ]; do sleep 0.01; done' sh {{out}} {{dir}}; rm "$F/path""#
        )
    };
    for (options, seen) in [("", false), ("--shared", true)] {
        let process = runs.start(&script(options));
        let path = runs.flag("path");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        assert_eq!(mounts.contains(&path), seen, "with '{options}'");
        runs.place.raise("go");
        process.finish(LIMIT).succeeded().printed("1\n");
        fs::remove_file(runs.place.at("flags/go")).expect("the flag");
    }
}

#[test]
fn another_process_can_write_a_shared_output() {
    let runs = Runs::new();
    let script = r#"
        { await path; echo by another > "$(cat "$F/path")"; raise go; } &
        run --shared -- bash -c 'echo "$1" > "$F/p"; mv "$F/p" "$F/path"; until [ -e "$F/go" ]; do sleep 0.01; done' sh {out}
        wait"#;
    runs.run(script).succeeded().printed("by another\n");
}

/// Its root is no mount point, so that its mounts cannot be kept in.
#[test]
fn in_a_chroot_it_works_though_not_privately() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let script = r#"
        cat > script <<'END'
        set -e
        mkdir root; cd root
        for directory in bin lib lib64 usr dev proc tmp "$(dirname "$FIFOFS")"; do
            [ ! -e "/$directory" ] || { mkdir -p "./$directory"; mount --rbind "/$directory" "./$directory"; }
        done
        TMPDIR=/tmp exec chroot . "$FIFOFS" run -- sh -c 'echo x > "$1"' sh {out}
END
        unshare -m bash script; status=$?; rm -r root; exit $status"#;
    run(script).succeeded().printed("x\n");
}

/// What a user without rights gets, in a mount namespace where all may open /dev/fuse.
fn as_nobody(setup: &str) -> Finished {
    needs_root();
    needs(&[
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
        ("zip", "zip"),
    ]);
    let runs = Runs::new();
    // The build directory may be closed to others.
    fs::copy(FIFOFS, runs.place.at("fifofs")).expect("a copy that others may run");
    runs.run(&format!(
        r#"{INPUTS}
        mkdir devices; chmod 777 . "$TMPDIR"
        cat > script <<'END'
        set -e -o pipefail
        {setup}
        mount -t tmpfs none devices; mknod -m 666 devices/fuse c 10 229; mount --bind devices/fuse /dev/fuse
        exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '
            set -o pipefail
            "$F/../fifofs" run -- zip -qrX {{out:x.zip}} src | cat > by-pipe && cmp by-pipe expected || exit 1
            "$F/../fifofs" run -o by-option -- zip -qrX {{out:x.zip}} src && cmp by-option expected || exit 1
            "$F/../fifofs" run -- sh -c "id -u > \"\$1\"" sh {{out}}
            "$F/../fifofs" run -- true {{out}}; echo $?'
END
        zip -qrX expected src; mv expected.zip expected
        unshare -m bash script
        rm -f by-option"#
    ))
}

#[test]
fn an_ordinary_user_with_fusermount3_gets_the_same() {
    needs(&[("fusermount3", "fuse3")]);
    as_nobody("").succeeded().printed("65534\n74\n");
}

#[test]
fn an_ordinary_user_without_fusermount3_gets_the_same() {
    as_nobody("mount --bind /dev/null \"$(command -v fusermount3)\"")
        .succeeded()
        .printed("65534\n74\n");
}

#[test]
fn without_dev_fuse_the_message_says_what_to_do_and_a_fifo_works() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let without = |script: &str| {
        run(&format!(
            "unshare -m bash -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && {script}'"
        ))
    };
    without("exec $FIFOFS run -- touch {out}")
        .with_status(125)
        .saying("/dev/fuse")
        .saying("--backend fifo");
    without(r#"exec $FIFOFS run --backend fifo -- sh -c "echo fine > \$1" sh {out}"#)
        .succeeded()
        .printed("fine\n");
}

// ---------------------------------------------------------------------------------------------------------------
// The FIFO

#[test]
fn through_a_fifo_several_openings_are_one_stream() {
    run(r#"run --backend fifo -- sh -c 'echo one > "$1"; echo two > "$1"' sh {out:x.txt} | cat"#)
        .succeeded()
        .printed("one\ntwo\n");
}

#[test]
fn a_program_that_dies_before_it_opens_its_fifo_does_not_hang() {
    let ended = run("run --backend fifo -- sh -c 'exit 6' sh {out}");
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    ended.with_status(6).printed("");
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

// ---------------------------------------------------------------------------------------------------------------
// Progress

#[test]
fn progress_is_shown_only_if_asked_for() {
    let ended = run(
        "run --progress -- sh -c 'head -c 3000000 /dev/zero > \"$1\"; sleep 1.2' sh {out} | wc -c",
    );
    ended
        .succeeded()
        .saying("2.86 MiB written")
        .saying("/s, running")
        .saying("2.86 MiB delivered")
        .printed("3000000\n");
    let silent = run("run --progress=auto -- sh -c 'echo x > \"$1\"' sh {out}").succeeded();
    assert_eq!(silent.stderr, "");
}

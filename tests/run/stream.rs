//! With `--deliver stream` an output is only a pipe: what a pipe does not allow fails it, whatever its
//! destination.

use crate::common::assert_same;
use crate::{Ended, Runs, run};

/// Programs that do what a pipe does not allow after the first bytes were passed on, and go on all the same.
const PROGRAMS: [(&str, &str); 8] = [
    (
        "opened anew",
        r#"echo one > "$1"; sleep 0.3; echo two > "$1"; :"#,
    ),
    (
        "made anew",
        r#"head -c 1000000 /dev/zero > "$1"; rm "$1"; sleep 0.3; head -c 1500000 /dev/zero > "$1"; true"#,
    ),
    // This one blocked for ever.
    (
        "made anew twice",
        r#"head -c 1M /dev/zero > "$1"; sleep 0.3; rm "$1"; head -c 8K /dev/zero > "$1"; rm -f "$1"
        head -c 1500K /dev/zero > "$1"; rm -f "$1"; sleep 0.3; head -c 3M /dev/zero > "$1"; true"#,
    ),
    (
        "replaced",
        r#"echo one > "$1"; sleep 0.3; echo one, two > "$1.t"; mv "$1.t" "$1"; true"#,
    ),
    (
        "the same again",
        r#"echo one > "$1"; sleep 0.3; printf o | dd of="$1" conv=notrunc status=none; true"#,
    ),
    (
        "cut",
        r#"echo one > "$1"; sleep 0.3; truncate -s 2 "$1"; true"#,
    ),
    ("read back", r#"echo one > "$1"; sleep 0.3; cat "$1"; true"#),
    (
        "read back by its writer",
        r#"python3 -c 'import os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.write(fd, b"one\n")
time.sleep(0.3)
try: os.pread(fd, 1, 0)
except OSError: pass' "$1""#,
    ),
];

#[test]
fn what_a_pipe_does_not_allow_fails_the_output_wherever_it_goes() {
    for (what, program) in PROGRAMS {
        let runs = Runs::new();
        let program = program.replace('\'', r"'\''");
        let command = format!("run --deliver stream -O -- bash -c '{program}' sh {{out:x.txt}}");
        let script = format!(
            "echo old > kept; echo old > old
            {}; echo $? > status-file
            {} > written; echo $? > status-written
            {} | cat > piped; echo ${{PIPESTATUS[0]}} > status-piped",
            command.replace("-O", "-o kept"),
            command.replace("-O ", ""),
            command.replace("-O ", ""),
        );
        let ended = runs.run(&script).saying("is not whole: ");
        for way in ["file", "written", "piped"] {
            let status = runs.read(&format!("status-{way}"));
            assert_eq!(status, b"74\n", "{what}, {way}: {}", ended.stderr);
        }
        assert_same(&runs.read("kept"), b"old\n");
    }
}

#[test]
fn a_streams_name_may_be_removed() {
    run(r#"run --deliver stream -o x -- sh -c 'exec > "$1"; echo one; sleep 0.2; rm "$1"; echo two' sh {out}; cat x"#)
        .succeeded()
        .printed("one\ntwo\n");
}

#[test]
fn a_stream_may_be_written_to_in_several_openings() {
    run(r#"run --deliver stream -o x -- sh -c 'seq 300000 > "$1"; sleep 0.2; seq 300000 >> "$1"' sh {out}; cat x | wc -l"#)
        .succeeded()
        .printed("600000\n");
}

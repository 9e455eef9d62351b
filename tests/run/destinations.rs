//! The destination of an output: files that appear whole, descriptors by name, FIFOs and devices.

use std::fs;

use rustix::process::Signal;

use crate::common::assert_same;
use crate::{Ended, LIMIT, Runs, run};

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

/// A private key once became readable for all users, and a linker's output could not be executed.
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

/// A file on standard output was once replaced, with what other processes had written to it.
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

/// They were once opened one after the other, before the program, and waited for a reader that waited for another
/// one.
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
fn a_late_reader_of_the_fifo_of_a_program_that_failed_gets_the_end() {
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
fn a_destination_that_is_no_regular_file_is_written_in_place() {
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

/// It was overwritten by an empty archive first.
#[test]
fn an_archive_of_nothing_replaces_nothing() {
    let runs = Runs::new();
    for words in ["true {dir}", "true {out:made}"] {
        runs.run(&format!("echo old > x.tar; run --tar -o x.tar -- {words}"))
            .with_status(74);
        assert_same(&runs.read("x.tar"), b"old\n");
    }
}

/// It was packed as if it were whole, if it had been closed a moment before.
#[test]
fn an_archive_with_the_file_of_a_killed_program_does_not_appear() {
    let runs = Runs::new();
    runs.run(r#"echo old > x.tar; run --tar -o x.tar -- sh -c 'bash -c "echo half > \$0/x; sleep 0.3; kill -9 \$\$" "$1"; true' sh {dir}"#)
        .with_status(74)
        .saying("x");
    assert_same(&runs.read("x.tar"), b"old\n");
}

/// The program once ran to its end first, and then its output was lost.
#[test]
fn a_file_that_cannot_be_replaced_is_refused_before_anything_runs() {
    let runs = Runs::new();
    let program = r#"sh -c 'echo ran > ran; echo x > "$1"' sh {out}"#;
    runs.run(&format!("run -o new/ -- {program}"))
        .with_status(125)
        .saying("new/");
    runs.run(&format!(
        "echo old > log; run -o /proc/$$/fd/7 -- {program} 7>> log"
    ))
    .with_status(125);
    assert_same(&runs.read("log"), b"old\n");
    assert!(!runs.exists("ran"));
    if rustix::process::geteuid().is_root() {
        for attribute in ["a", "i"] {
            let script = format!(
                "echo old > fixed; chattr +{attribute} fixed || {{ rm fixed; exit 0; }}
                run -o fixed -- {program}; echo $?; chattr -{attribute} fixed; cat fixed"
            );
            let ended = runs.run(&script);
            if !ended.stdout.is_empty() {
                ended.saying("fixed: its attributes").printed("125\nold\n");
            }
        }
    }
    assert!(!runs.exists("ran"));
    // But /dev/stderr can be written to by every process.
    runs.run(&format!("run -o /dev/stderr -- {program} 2>> log"))
        .succeeded();
    assert_same(&runs.read("log"), b"old\nx\n");
}

#[test]
fn a_file_that_is_replaced_keeps_its_owner_but_no_set_id() {
    crate::common::needs_root();
    let runs = Runs::new();
    runs.run(r#"echo old > x; chown 12:34 x; chmod 6755 x; run -o x -- sh -c 'echo new > "$1"' sh {out}; stat -c %u:%g:%a x; cat x"#)
        .printed("12:34:755\nnew\n");
}

/// A filesystem may report only at close that it could not write what it accepted; that was not checked.
#[test]
fn an_error_at_the_close_of_a_destination_is_reported() {
    let runs = Runs::new();
    let ended = runs.run(
        r#"mkdir full; "$FIFOFS" mount -d --max-size 1M full
        run -- sh -c 'head -c 5M /dev/zero > "$1"' sh {out} > full/x; echo $?
        rm full/x; run -- sh -c 'head -c 5k /dev/zero > "$1"' sh {out} > full/y; echo $?
        "$FIFOFS" unmount full"#,
    );
    ended.succeeded().saying("No space left").printed("74\n0\n");
}

//! Where one writing of a file ends and the next begins: opening again, lingering, several writers, removal.

use std::time::Duration;

use crate::common::{Mount, SOON, assert_same};

#[test]
fn next_waits_for_the_next_generation() {
    let mount = Mount::start(&[]);
    mount.shell("echo old > $D/x.txt").finish(SOON).succeeded();
    assert_same(&mount.finished("x.txt"), b"old\n");
    let by_path = mount.reader(".fifofs/next/pipe/x.txt");
    mount.wait_parked(&by_path);
    let by_command = mount.next_reader("x.txt");
    mount.shell("echo new > $D/x.txt").finish(SOON).succeeded();
    by_path.finish(SOON).succeeded().printed("new\n");
    by_command.finish(SOON).succeeded().printed("new\n");
    mount.unmount();
}

#[test]
fn a_later_reopen_starts_a_second_generation_that_readers_wait_for_again() {
    let mount = Mount::start(&[]);
    mount
        .shell("echo first > $D/x.txt")
        .finish(SOON)
        .succeeded();
    assert_same(&mount.finished("x.txt"), b"first\n");
    let writer = mount.shell("exec > $D/x.txt; echo second; await end; echo end");
    mount.wait_for("the second generation", || {
        mount.file("x.txt").metadata().is_ok_and(|x| x.len() == 7)
    });
    let reader = mount.reader("x.txt");
    reader.wait_output(b"second\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("second\nend\n");
    mount.unmount();
}

#[test]
fn a_program_may_close_and_reopen_its_output_as_often_as_it_likes() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("x.log");
    mount
        .shell("for i in 1 2 3 4 5; do /bin/echo $i >> $D/x.log; done")
        .finish(SOON)
        .succeeded();
    reader.finish(SOON).succeeded().printed("1\n2\n3\n4\n5\n");
    mount.unmount();
}

#[test]
fn with_linger_exit_the_end_comes_when_all_writers_have_exited() {
    let mount = Mount::start(&["--linger", "exit"]);
    let mut reader = mount.waiting_reader("x.log");
    let writer = mount.python(
        r#"
with open(D + "/x.log", "a") as file: file.write("one\n")
wait_flag("more")
with open(D + "/x.log", "a") as file: file.write("two\n")
"#,
    );
    reader.wait_output(b"one\n");
    // Longer than the second that auto would wait: nothing must happen in this time.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(reader.is_running(), "ended though its writer lives");
    mount.raise("more");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn with_linger_exit_a_writer_of_a_file_does_not_wait_for_its_own_exit() {
    let mount = Mount::start(&["--linger", "exit"]);
    let writer = mount.python(
        r#"
for door in "pipe", "wait":
    with open(D + "/" + door, "w") as file: file.write("own\n")
    say(open(D + f"/.fifofs/{door}/{door}").read().strip())
"#,
    );
    writer.finish(SOON).succeeded().printed("own\nown\n");
    let script = "echo own > $D/x; cat $D/.fifofs/pipe/x; echo more >> $D/x; cat $D/.fifofs/wait/x";
    let shell = mount.shell(script).finish(SOON).succeeded();
    shell.printed("own\nown\nmore\n");
    mount.unmount();
}

#[test]
fn a_reader_gets_enoent_when_every_writer_is_gone_and_there_is_no_file_at_the_path() {
    let mount = Mount::start(&[]);
    let waits_for_ever = mount.reader(".fifofs/pipe/x.txt");
    mount.wait_parked(&waits_for_ever);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x.txt", os.O_WRONLY | os.O_CREAT, 0o644)
other = os.open(D + "/x.zip", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"one\n")
os.write(other, b"one\n")
wait_flag("go")
os.unlink(D + "/x.txt")
os.unlink(D + "/x.zip")
"#,
    );
    mount.wait_exists("x.zip");
    let follows = mount.reader("x.txt");
    let settled = mount.reader("x.zip");
    follows.wait_output(b"one\n");
    waits_for_ever.wait_output(b"one\n");
    mount.wait_parked(&settled);
    mount.raise("go");
    writer.finish(SOON).succeeded();
    follows
        .finish(SOON)
        .failed_saying("No such file or directory")
        .printed("one\n");
    settled
        .finish(SOON)
        .failed_saying("No such file or directory")
        .printed("");
    mount.wait_parked(&waits_for_ever);
    mount
        .shell("printf 'one\\ntwo\\n' > $D/x.txt")
        .finish(SOON)
        .succeeded();
    waits_for_ever
        .finish(SOON)
        .succeeded()
        .printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn two_unrelated_writers_of_one_path_are_merged_and_an_event_reports_the_file() {
    let mount = Mount::start(&[]);
    let events = mount.reader(".fifofs/events");
    mount.wait_parked(&events);
    let reader = mount.waiting_reader("x.txt");
    let first = mount.python(
        r#"
fd = os.open(D + "/x.txt", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"first\n")
wait_flag("end")
"#,
    );
    reader.wait_output(b"first\n");
    let second = mount.python(
        r#"
fd = os.open(D + "/x.txt", os.O_WRONLY)
os.pwrite(fd, b"second\n", 6)
wait_flag("end")
"#,
    );
    reader.wait_output(b"first\nsecond\n");
    mount.raise("end");
    first.finish(SOON).succeeded();
    second.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("first\nsecond\n");
    mount.wait_for("events that name the file", || {
        String::from_utf8_lossy(&events.output()).contains("x.txt")
    });
    let lines = String::from_utf8(events.output()).expect("UTF-8");
    for line in lines.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert!(event.is_object(), "{line}");
    }
    drop(events);
    mount.unmount();
}

#[test]
fn with_consume_a_file_is_removed_once_it_was_read() {
    let mount = Mount::start(&["--consume", "--linger", "0s"]);
    let waiting = mount.waiting_reader("first");
    mount
        .shell("echo one > $D/first; echo two > $D/second")
        .finish(SOON)
        .succeeded();
    waiting.finish(SOON).succeeded().printed("one\n");
    mount
        .shell("cat $D/second")
        .finish(SOON)
        .succeeded()
        .printed("two\n");
    mount.place().wait_for("the files to be gone", SOON, || {
        mount.shell("ls $D").finish(SOON).stdout.is_empty()
    });
    mount
        .shell("echo again > $D/first && cat $D/first")
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

#[test]
fn the_next_step_of_a_script_may_seek_in_the_file_of_the_step_before_and_rewrite_it() {
    let mount = Mount::start(&[]);
    for name in ["x.png", "x.log", "x.zip"] {
        let reader = mount.waiting_reader(name);
        let script = r#"cp first $D/NAME && exec $PYTHON -c 'import sys
with open(sys.argv[1], "rb") as old:
    size = old.seek(0, 2); old.seek(size // 2); end = old.read(); old.seek(0); whole = old.read()
with open(sys.argv[1], "wb") as new: new.write(end + whole)' $D/NAME"#;
        mount
            .shell(&format!(
                "echo abcdefg > first; {}",
                script.replace("NAME", name)
            ))
            .finish(SOON)
            .succeeded();
        let whole = "efg\nabcdefg\n";
        reader.finish(SOON).succeeded().printed(whole);
    }
    mount.unmount();
}

#[test]
fn an_empty_file_is_not_done_while_the_process_that_made_it_may_write_it() {
    let mount = Mount::start(&[]);
    for (name, script) in [
        (
            "touched.txt",
            "touch $D/touched.txt; raise made; await write; seq 3 > $D/touched.txt",
        ),
        (
            "made.txt",
            r#"exec $PYTHON -c 'import os, sys, time
open(sys.argv[1], "w").close()
open(os.environ["F"] + "/made", "w").close()
while not os.path.exists(os.environ["F"] + "/write"): time.sleep(0.01)
open(sys.argv[1], "w").write("1\n2\n3\n")' $D/made.txt"#,
        ),
    ] {
        let reader = mount.waiting_reader(name);
        let by_path = mount.shell(&format!("await made; cat $D/{name}"));
        let writer = mount.shell(script);
        mount.wait_flag("made");
        // Longer than fifofs waits for a second opening.
        std::thread::sleep(Duration::from_millis(1500));
        mount.raise("write");
        writer.finish(SOON).succeeded();
        for reader in [reader, by_path] {
            reader.finish(SOON).succeeded().printed("1\n2\n3\n");
        }
        for flag in ["made", "write"] {
            std::fs::remove_file(mount.place().at("flags").join(flag)).unwrap();
        }
    }
    mount.unmount();
}

#[test]
fn no_process_waits_for_an_empty_file_that_it_or_its_script_made() {
    let mount = Mount::start(&[]);
    let wait = "cat $D/.fifofs/wait/x; echo over";
    let scripts = [
        format!("grep nothing /dev/null > $D/x; {wait}"),
        format!(": > $D/x; {wait}"),
        format!("touch $D/x; {wait}"),
        // In a process group of its own.
        "touch $D/x; timeout 60 cat $D/x; echo over".to_owned(),
        format!("touch $D/x; setsid -w sh -c '{wait}'"),
        "exec $PYTHON -c 'import os, subprocess, tempfile
D = os.environ[\"D\"]
made, path = tempfile.mkstemp(dir=D); os.close(made)
print(open(os.path.join(D, \".fifofs/wait\", os.path.basename(path))).read(), end=\"\")
child = subprocess.Popen([\"touch\", D + \"/x\"])
print(open(D + \"/.fifofs/wait/x\").read() + \"over\")'"
            .to_owned(),
    ];
    for script in scripts {
        mount
            .shell(&script)
            .finish(SOON)
            .succeeded()
            .printed("over\n");
        mount.shell("rm -f $D/x").finish(SOON).succeeded();
    }
    mount.unmount();
}

#[test]
fn a_settled_file_that_is_written_again_after_its_end_is_warned_of_too() {
    let mount = Mount::start(&["--deliver", "settled"]);
    for (name, wait) in [("x", ".fifofs/wait/x"), ("y", ".fifofs/pipe/y"), ("z", "z")] {
        let writer = mount.shell(&format!(
            "exec 3> $D/{name}; echo one >&3; raise begun; await end; exec 3>&-"
        ));
        mount.wait_flag("begun");
        let reader = mount.reader(wait);
        mount.wait_parked(&reader);
        mount.raise("end");
        writer.finish(SOON).succeeded();
        reader.finish(SOON).succeeded().printed("one\n");
        mount
            .shell(&format!("echo two > $D/{name}; rm $F/begun $F/end"))
            .finish(SOON);
        let shown = mount.ls();
        let words = "it is written again after readers were told";
        assert_eq!(shown.matches(words).count(), 1, "{name}: {shown}");
        mount.shell(&format!("rm $D/{name}")).finish(SOON);
    }
    mount.unmount();
}

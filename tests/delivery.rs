//! What waiting readers get: bytes as they are written, every one of them, to the true end, and never a stale one
//! passed off as whole.

#![cfg(feature = "cli")]

mod common;

use std::time::{Duration, Instant};

use common::{Mount, SOON, assert_same, needs};

#[test]
fn a_line_arrives_at_once_the_next_two_seconds_later_and_then_the_reader_ends() {
    let mount = Mount::start(&[]);
    let started = Instant::now();
    let writer = mount.shell("(echo a; sleep 2; echo b) > $D/log");
    mount.wait_exists("log");
    let reader = mount.reader("log");
    reader.wait_output(b"a\n");
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "the first line took {:?}",
        started.elapsed()
    );
    reader.wait_output(b"a\nb\n");
    let chunks = reader.chunks();
    let between = chunks[chunks.len() - 1].at - chunks[0].at;
    assert!(
        between > Duration::from_millis(1_500) && between < Duration::from_secs(3),
        "the second line came {between:?} after the first"
    );
    let written = Instant::now();
    reader.finish(SOON).succeeded().printed("a\nb\n");
    assert!(
        written.elapsed() < Duration::from_secs(2),
        "the end came {:?} after the last line",
        written.elapsed()
    );
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn two_readers_started_at_different_moments_of_one_writing_each_get_every_byte() {
    let mount = Mount::start(&[]);
    let writer = mount.shell(
        "exec > $D/numbers.txt; seq 1 100000; await second; seq 100001 200000; await end; seq 200001 300000",
    );
    mount.wait_exists("numbers.txt");
    let first = mount.reader("numbers.txt");
    mount.wait_for("the first reader to get something", || {
        !first.output().is_empty()
    });
    mount.raise("second");
    mount.wait_for("the first reader to get the second part", || {
        first.output().ends_with(b"\n200000\n")
    });
    let second = mount.reader("numbers.txt");
    second_gets_something(&mount, &second);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    first.finish(SOON).succeeded().printed(&expected);
    second.finish(SOON).succeeded().printed(&expected);
    assert_same(&mount.finished("numbers.txt"), expected.as_bytes());
    mount.unmount();
}

fn second_gets_something(mount: &Mount, second: &common::Process) {
    mount.wait_for("the second reader to get something", || {
        !second.output().is_empty()
    });
}

#[test]
fn a_text_program_that_rewrites_its_first_line_within_100_ms_is_captured_right() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("report.txt");
    let writer = mount.python(
        r#"
fd = os.open(D + "/report.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, b"lines: ?\nfirst\n")
os.pwrite(fd, b"lines: 3\n", 0)
os.write(fd, b"second\n")
time.sleep(0.3)
os.write(fd, b"third\n")
"#,
    );
    writer.finish(SOON).succeeded();
    reader
        .finish(SOON)
        .succeeded()
        .printed("lines: 3\nfirst\nsecond\nthird\n");
    mount.unmount();
}

const REWRITES_LATE: &str = r#"
fd = os.open(D + "/report.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, b"lines: ?\nfirst\n")
wait_flag("rewrite")
os.pwrite(fd, b"lines: 1\n", 0)
os.close(fd)
"#;

#[test]
fn rewriting_what_a_reader_has_gives_it_estale_and_leaves_the_file_right() {
    let mount = Mount::start(&[]);
    let early = mount.waiting_reader("report.txt");
    let writer = mount.python(REWRITES_LATE);
    mount.wait_exists("report.txt");
    let reader = mount.reader("report.txt");
    early.wait_output(b"lines: ?\nfirst\n");
    reader.wait_output(b"lines: ?\nfirst\n");
    mount.raise("rewrite");
    writer.finish(SOON).succeeded();
    reader
        .finish(SOON)
        .failed_saying("Stale file handle")
        .printed("lines: ?\nfirst\n");
    early
        .finish(SOON)
        .failed_saying("report.txt")
        .printed("lines: ?\nfirst\n");
    assert_same(&mount.finished("report.txt"), b"lines: 1\nfirst\n");
    mount.unmount();
}

#[test]
fn with_deliver_settled_a_late_rewrite_is_captured_right() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let early = mount.waiting_reader("report.txt");
    let writer = mount.python(REWRITES_LATE);
    mount.wait_exists("report.txt");
    let reader = mount.reader("report.txt");
    mount.wait_parked(&reader);
    assert!(reader.output().is_empty(), "settled gives nothing early");
    mount.raise("rewrite");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("lines: 1\nfirst\n");
    early.finish(SOON).succeeded().printed("lines: 1\nfirst\n");
    mount.unmount();
}

#[test]
fn a_rule_for_a_glob_chooses_the_way_and_the_last_that_matches_wins() {
    let mount = Mount::start(&["--deliver", "*.txt=follow", "--deliver", "report*=settled"]);
    let writer = mount.shell(
        "exec 3> $D/report.txt 4> $D/other.txt; echo one >&3; echo one >&4; await end; echo two >&3; echo two >&4",
    );
    mount.wait_exists("other.txt");
    let settled = mount.reader("report.txt");
    let follows = mount.reader("other.txt");
    follows.wait_output(b"one\n");
    mount.wait_parked(&settled);
    assert!(settled.output().is_empty());
    mount.raise("end");
    writer.finish(SOON).succeeded();
    settled.finish(SOON).succeeded().printed("one\ntwo\n");
    follows.finish(SOON).succeeded().printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn rewriting_the_same_bytes_changes_nothing() {
    let mount = Mount::start(&[]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/same.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, b"one\ntwo\n")
wait_flag("rewrite")
os.pwrite(fd, b"one\ntwo\nthree\n", 0)
os.close(fd)
"#,
    );
    mount.wait_exists("same.txt");
    let reader = mount.reader("same.txt");
    reader.wait_output(b"one\ntwo\n");
    mount.raise("rewrite");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("one\ntwo\nthree\n");
    mount.unmount();
}

#[test]
fn truncating_below_what_a_reader_has_gives_it_estale() {
    let mount = Mount::start(&[]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/short.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, b"one\ntwo\n")
wait_flag("cut")
os.ftruncate(fd, 2)
os.close(fd)
"#,
    );
    mount.wait_exists("short.txt");
    let reader = mount.reader("short.txt");
    reader.wait_output(b"one\ntwo\n");
    mount.raise("cut");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).failed_saying("Stale file handle");
    assert_same(&mount.finished("short.txt"), b"on");
    mount.unmount();
}

#[test]
fn readers_of_a_writer_killed_by_sigkill_get_every_byte_and_then_eio() {
    let mount = Mount::start(&[]);
    let early = mount.waiting_reader("killed.txt");
    let writer = mount.shell("exec > $D/killed.txt; echo one; await kill; echo two; kill -KILL $$");
    mount.wait_exists("killed.txt");
    let reader = mount.reader("killed.txt");
    reader.wait_output(b"one\n");
    mount.raise("kill");
    let ended = writer.finish(SOON);
    assert!(ended.status.code().is_none(), "killed by a signal");
    reader
        .finish(SOON)
        .failed_saying("Input/output error")
        .printed("one\ntwo\n");
    early
        .finish(SOON)
        .failed_saying("killed.txt")
        .printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn a_settled_reader_of_a_killed_writer_gets_eio_and_not_a_whole_file() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let early = mount.waiting_reader("killed.zip");
    let writer = mount.shell("exec > $D/killed.zip; echo one; kill -KILL $$");
    writer.finish(SOON);
    early.finish(SOON).failed_saying("killed.zip");
    mount.unmount();
}

#[test]
fn fail_on_never_makes_a_killed_writer_an_end_and_fail_on_status_a_nonzero_exit_a_failure() {
    let mount = Mount::start(&["--fail-on", "never"]);
    let reader = mount.waiting_reader("killed.txt");
    mount
        .shell("exec > $D/killed.txt; echo one; kill -KILL $$")
        .finish(SOON);
    reader.finish(SOON).succeeded().printed("one\n");
    mount.unmount();

    let mount = Mount::start(&["--fail-on", "status"]);
    let reader = mount.waiting_reader("failed.txt");
    mount
        .shell("exec > $D/failed.txt; echo one; exit 3")
        .finish(SOON);
    reader
        .finish(SOON)
        .failed_saying("failed.txt")
        .printed("one\n");
    mount.unmount();
}

#[test]
fn a_process_that_holds_the_file_open_and_its_children_read_it_without_waiting() {
    let mount = Mount::start(&[]);
    mount
        .shell("exec 3>$D/x; echo a >&3; cat $D/x")
        .finish(Duration::from_secs(3))
        .succeeded()
        .printed("a\n");
    mount
        .shell("exec > $D/script.log; echo start; echo error: x; grep -c error $D/script.log >&2; bash -c 'tail -n 1 $D/script.log' >&2")
        .finish(Duration::from_secs(3))
        .succeeded();
    mount
        .python(
            r#"
with open(D + "/held.zip", "wb") as file:
    file.write(b"PK and so on")
    file.flush()
    assert open(D + "/held.zip", "rb").read() == b"PK and so on"
    child = os.fork()
    if child == 0:
        os._exit(0 if open(D + "/held.zip", "rb").read() == b"PK and so on" else 1)
    assert os.waitpid(child, 0)[1] == 0
assert open(D + "/held.zip", "rb").read() == b"PK and so on", "it has opened this generation for writing"
"#,
        )
        .finish(Duration::from_secs(3))
        .succeeded();
    mount.unmount();
}

#[test]
fn who_opens_for_reading_and_writing_never_waits() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.zip; echo one; await end");
    mount.wait_for("the first line", || {
        mount.file("x.zip").metadata().is_ok_and(|x| x.len() == 4)
    });
    mount
        .python(
            "fd = os.open(D + '/x.zip', os.O_RDWR); assert os.read(fd, 100) == b'one\\n'; assert os.read(fd, 100) == b''",
        )
        .finish(Duration::from_secs(3))
        .succeeded();
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn metadata_of_a_file_that_is_being_written_never_waits() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.zip; printf 12345; await end");
    mount.wait_for("the first bytes", || {
        mount.file("x.zip").metadata().is_ok_and(|x| x.len() == 5)
    });
    mount
        .shell("stat -c '%F %s' $D/x.zip; ls -l $D >&2; find $D -size -10k >&2; du -a $D >&2; [ -f $D/x.zip ]")
        .finish(Duration::from_secs(2))
        .succeeded()
        .printed("regular file 5\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_nonblocking_reader_gets_eagain_where_there_is_nothing_yet_and_poll_works() {
    let mount = Mount::start(&[]);
    let writer = mount.shell(
        "exec > $D/x.log; await reading; echo one; await again; echo two; await end; echo three",
    );
    mount.wait_exists("x.log");
    let reader = mount.python(
        r#"
fd = os.open(D + "/x.log", os.O_RDONLY | os.O_NONBLOCK)
poll = select.poll()
poll.register(fd, select.POLLIN)
def again():
    try: return os.read(fd, 100)
    except BlockingIOError: return "EAGAIN"
say(again())
raise_flag("reading")
assert poll.poll(10000), "poll says that there is something"
say(again(), again())
raise_flag("again")
assert poll.poll(10000)
say(again(), again())
raise_flag("end")
assert poll.poll(10000)
say(again())
assert poll.poll(10000), "the end is something too"
say(again())
"#,
    );
    reader
        .finish(SOON)
        .succeeded()
        .printed("EAGAIN\nb'one\\n' EAGAIN\nb'two\\n' EAGAIN\nb'three\\n'\nb''\n");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_nonblocking_open_of_a_settled_file_does_not_wait() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer = mount.shell("exec > $D/x; echo one; await end");
    mount.wait_exists("x");
    mount
        .python(
            r#"
fd = os.open(D + "/x", os.O_RDONLY | os.O_NONBLOCK)
try: os.read(fd, 100)
except BlockingIOError: say("EAGAIN")
"#,
        )
        .finish(Duration::from_secs(3))
        .succeeded()
        .printed("EAGAIN\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_path_that_does_not_exist_gives_enoent_but_below_wait_it_waits() {
    let mount = Mount::start(&[]);
    mount
        .reader("nothing")
        .finish(SOON)
        .failed_saying("No such file or directory");
    let waiting = mount.reader(".fifofs/wait/later.txt");
    mount.wait_parked(&waiting);
    mount
        .shell("echo here > $D/later.txt")
        .finish(SOON)
        .succeeded();
    waiting.finish(SOON).succeeded().printed("here\n");
    mount
        .reader(".fifofs/wait/later.txt")
        .finish(SOON)
        .succeeded()
        .printed("here\n");
    mount.unmount();
}

#[test]
fn next_waits_for_the_next_generation() {
    let mount = Mount::start(&[]);
    mount.shell("echo old > $D/x.txt").finish(SOON).succeeded();
    assert_same(&mount.finished("x.txt"), b"old\n");
    let by_path = mount.reader(".fifofs/next/x.txt");
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
fn with_linger_exit_the_end_comes_when_all_who_wrote_have_exited() {
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
    // Longer than the second that auto would wait: what is shown here is that nothing happens.
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(reader.is_running(), "ended though its writer lives");
    mount.raise("more");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn a_reader_gets_enoent_when_every_writer_is_gone_and_nothing_stands_at_the_path() {
    let mount = Mount::start(&[]);
    let waits_for_ever = mount.reader(".fifofs/wait/x.txt");
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
fn a_file_written_under_another_name_and_renamed_into_place_is_delivered_under_its_last_name() {
    let mount = Mount::start(&[]);
    let text = mount.waiting_reader("final.txt");
    let zip = mount.waiting_reader("final.zip");
    let writer = mount.shell(
        "seq 1000 > $D/.final.tmp; mv $D/.final.tmp $D/final.txt; seq 2000 > $D/zi1234; mv $D/zi1234 $D/final.zip",
    );
    writer.finish(SOON).succeeded();
    let numbers = |last| -> String { (1..=last).map(|n| format!("{n}\n")).collect() };
    text.finish(SOON).succeeded().printed(numbers(1000));
    zip.finish(SOON).succeeded().printed(numbers(2000));
    mount.unmount();
}

#[test]
fn renaming_the_directory_above_changes_the_path() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("final/x.txt");
    mount
        .shell("mkdir $D/building && seq 10 > $D/building/x.txt && mv $D/building $D/final")
        .finish(SOON)
        .succeeded();
    reader
        .finish(SOON)
        .succeeded()
        .printed("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
    mount.unmount();
}

/// A writer that writes `alpha`, waits until that has been read, and then replaces what stands at the path, as
/// `replace` does it, by `content`. Gives what the reader's fate is to be checked with.
fn replace_while_a_reader_follows(replace: &str, content: &str, goes_on: bool) {
    let mount = Mount::start(&[]);
    let early = mount.waiting_reader("x.txt");
    let script = format!(
        r#"
path = D + "/x.txt"
old = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(old, b"alpha\n")
wait_flag("received")
content = {content:?}.encode()
{replace}
os.close(old)
"#
    );
    let writer = mount.python(&script);
    mount.wait_exists("x.txt");
    let reader = mount.reader("x.txt");
    reader.wait_output(b"alpha\n");
    early.wait_output(b"alpha\n");
    mount.raise("received");
    writer.finish(SOON).succeeded();
    let (reader, early) = (reader.finish(SOON), early.finish(SOON));
    if goes_on {
        reader.succeeded().printed(content);
        early.succeeded().printed(content);
    } else {
        reader.failed_saying("Stale file handle").printed("alpha\n");
        early.failed_saying("x.txt").printed("alpha\n");
    }
    assert_same(&mount.finished("x.txt"), content.as_bytes());
    mount.unmount();
}

const BY_RENAME: &str = r#"
new = os.open(D + "/x.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.write(new, content)
os.close(new)
os.rename(D + "/x.tmp", path)
"#;

const BY_UNLINK: &str = r#"
os.unlink(path)
new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
os.write(new, content)
os.close(new)
"#;

const BY_TRUNCATION: &str = r#"
new = os.open(path, os.O_WRONLY | os.O_TRUNC)
os.write(new, content)
os.close(new)
"#;

#[test]
fn a_reader_goes_on_with_what_was_renamed_over_its_file_if_that_begins_with_what_it_has() {
    replace_while_a_reader_follows(BY_RENAME, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_if_what_was_renamed_over_its_file_begins_otherwise() {
    replace_while_a_reader_follows(BY_RENAME, "omega\nbeta\n", false);
}

#[test]
fn a_reader_goes_on_with_the_file_created_after_an_unlink_if_that_begins_with_what_it_has() {
    replace_while_a_reader_follows(BY_UNLINK, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_if_the_file_created_after_an_unlink_begins_otherwise() {
    replace_while_a_reader_follows(BY_UNLINK, "omega\nbeta\n", false);
}

#[test]
fn a_reader_goes_on_after_o_trunc_if_the_new_content_begins_with_what_it_has() {
    replace_while_a_reader_follows(BY_TRUNCATION, "alpha\nbeta\n", true);
}

#[test]
fn a_reader_gets_estale_after_o_trunc_if_the_new_content_begins_otherwise() {
    replace_while_a_reader_follows(BY_TRUNCATION, "omega\nbeta\n", false);
}

#[test]
fn a_reader_gets_estale_if_the_new_content_ends_before_what_it_has() {
    replace_while_a_reader_follows(BY_RENAME, "alp", false);
}

#[test]
fn hard_links_share_a_generation() {
    let mount = Mount::start(&[]);
    let writer = mount
        .shell("exec 3>$D/a.txt; echo one >&3; ln $D/a.txt $D/b.txt; await received; echo two >&3");
    mount.wait_exists("b.txt");
    let by_new_name = mount.reader("b.txt");
    let by_old_name = mount.reader("a.txt");
    by_new_name.wait_output(b"one\n");
    mount.raise("received");
    writer.finish(SOON).succeeded();
    by_new_name.finish(SOON).succeeded().printed("one\ntwo\n");
    by_old_name.finish(SOON).succeeded().printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn a_file_in_a_directory_that_does_not_exist_yet_can_be_waited_for() {
    let mount = Mount::start(&[]);
    let by_command = mount.waiting_reader("new/deep er/x.txt");
    let by_path = mount.reader(".fifofs/wait/new%2Fdeep er%2Fx.txt");
    mount.wait_parked(&by_path);
    mount
        .shell("mkdir -p \"$D/new/deep er\"; echo here > \"$D/new/deep er/x.txt\"")
        .finish(SOON)
        .succeeded();
    by_command.finish(SOON).succeeded().printed("here\n");
    by_path.finish(SOON).succeeded().printed("here\n");
    mount
        .reader(".fifofs/wait/new/deep er/x.txt")
        .finish(SOON)
        .succeeded()
        .printed("here\n");
    mount.unmount();
}

#[test]
fn the_open_of_a_settled_reader_waits_so_its_fstat_is_true_and_it_can_map_the_file() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer =
        mount.shell("exec > $D/x; head -c 5000 /dev/zero; await end; head -c 5000 /dev/zero");
    mount.wait_exists("x");
    let reader = mount.python(
        r#"
fd = os.open(D + "/x", os.O_RDONLY)
size = os.fstat(fd).st_size
mapped = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
say(size, len(mapped), mapped[:] == bytes(size), os.lseek(fd, -1, os.SEEK_END), os.read(fd, 10))
"#,
    );
    mount.wait_parked(&reader);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader
        .finish(SOON)
        .succeeded()
        .printed("10000 10000 True 9999 b'\\x00'\n");
    mount.unmount();
}

#[test]
fn two_unrelated_writers_of_one_path_are_merged_and_an_event_tells_of_the_file() {
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
fn bytes_written_out_of_order_arrive_in_order_and_gaps_end_as_zeros() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let reader = mount.waiting_reader("x");
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
os.pwrite(fd, b"3" * 4096, 8192)
os.pwrite(fd, b"1" * 4096, 0)
raise_flag("gap")
wait_flag("close the gap")
os.pwrite(fd, b"2" * 4096, 4096)
os.pwrite(fd, b"end", 16384)
"#,
    );
    mount.wait_flag("gap");
    reader.wait_output(&[b'1'; 4096]);
    mount.raise("close the gap");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed(
        [[b'1'; 4096], [b'2'; 4096], [b'3'; 4096], [0; 4096]]
            .concat()
            .into_iter()
            .chain(*b"end")
            .collect::<Vec<u8>>(),
    );
    mount.unmount();
}

#[test]
fn an_empty_file_is_an_empty_result() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("empty");
    mount.shell(": > $D/empty").finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("");
    mount.unmount();
}

#[test]
fn a_tar_that_follows_is_right_even_if_its_trailing_zeros_are_overwritten() {
    needs(&[("tar", "tar")]);
    let mount = Mount::start(&[]);
    mount
        .shell("seq 10000 > a; seq 5 > b")
        .finish(SOON)
        .succeeded();
    let reader = mount.waiting_reader("x.tar");
    mount
        .shell("tar cf $D/x.tar a; tar rf $D/x.tar b")
        .finish(SOON)
        .succeeded();
    let captured = reader.finish(SOON).succeeded().stdout;
    assert_same(&captured, &mount.finished("x.tar"));
    std::fs::write(mount.place().at("plain").join("got.tar"), captured).expect("written");
    mount
        .shell("tar tf got.tar")
        .finish(SOON)
        .succeeded()
        .printed("a\nb\n");
    mount.unmount();
}

/// Once, the daemon read of the caller what the kernel guards with the lock that
/// execve holds while it closes such descriptors: the mount stood still, and every
/// `ps` of the machine with it.
#[test]
fn a_writer_may_start_programs_with_its_output_open_and_close_on_exec() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
import subprocess
f = open(D + "/x", "wb")
for i in range(20):
    f.write(b"line\n")
    f.flush()
    assert subprocess.Popen(["/bin/true"], close_fds=False).wait() == 0
"#,
        )
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

/// Once, descriptors were recognised by small inode numbers that `/dev/null` and
/// terminals have as well: their holders did not wait.
#[test]
fn a_reader_with_dev_null_open_waits_as_everybody() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("for i in 1 2 3 4 5 6; do exec 3>$D/f$i; echo a >&3; done; raise made; await end; echo b >&3");
    mount.wait_flag("made");
    let reader = mount.shell("exec 5>/dev/null; cat $D/f6");
    reader.wait_output(b"a\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("a\nb\n");
    mount.unmount();
}

/// Once, `cp` looked for holes in a file that grew, and took its size for its end.
#[test]
fn cp_of_a_file_that_is_being_written_copies_all_of_it() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
for i in range(20):
    write_all(fd, b"x" * 100000)
    if i == 5: raise_flag("some")
    time.sleep(0.03)
"#,
    );
    mount.wait_flag("some");
    let copies =
        mount.shell("cp $D/x one & cp --sparse=always $D/x two & wait; stat -c %s one two");
    writer.finish(SOON).succeeded();
    copies
        .finish(SOON)
        .succeeded()
        .printed("2000000\n2000000\n");
    mount.unmount();
}

#[test]
fn a_reader_of_what_there_was_no_space_for_gets_an_error_at_the_end() {
    let mount = Mount::start(&["--deliver", "follow", "--max-size", "16M"]);
    let reader = mount.waiting_reader("x");
    mount
        .shell("head -c 40M /dev/zero | tr '\\0' x > $D/x")
        .finish(SOON)
        .failed_saying("No space left on device");
    reader.finish(SOON).failed_saying("not whole");
    mount.unmount();
}

#[test]
fn a_link_can_be_waited_for_by_its_name() {
    let mount = Mount::start(&[]);
    mount.shell("ln -s real $D/link").finish(SOON).succeeded();
    let reader = mount.waiting_reader("link");
    mount.shell("echo hi > $D/real").finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("hi\n");
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

/// Once, the reader went along with the file that was moved away, and took it for
/// what stands at its path.
#[test]
fn a_reader_does_not_go_along_when_its_file_is_moved_away() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer = mount.shell(
        "exec 3>$D/out; echo old >&3; raise made; await go; mv $D/out $D/out.bak; exec 3>&-; echo new > $D/out",
    );
    mount.wait_flag("made");
    let reader = mount.reader("out");
    mount.wait_parked(&reader);
    mount.raise("go");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("new\n");
    mount.unmount();
}

#[test]
fn a_file_with_two_names_can_be_waited_for_by_either() {
    let mount = Mount::start(&[]);
    mount
        .shell("echo one > $D/a.txt; ln $D/a.txt $D/b.txt")
        .finish(SOON)
        .succeeded();
    mount.finished("a.txt");
    let readers = ["a.txt", "b.txt"].map(|name| mount.next_reader(name));
    mount.shell("echo two >> $D/b.txt").finish(SOON).succeeded();
    for reader in readers {
        reader.finish(SOON).succeeded().printed("one\ntwo\n");
    }
    mount.unmount();
}

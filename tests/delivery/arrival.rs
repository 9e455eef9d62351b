//! When bytes arrive, that each reader gets all of them in order, and that the end is the right one.

use crate::common::{self, Mount, SOON, assert_same};

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

/// `cp` once looked for holes in a growing file, and took its size for its end.
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
fn a_format_that_is_read_from_its_end_is_whole_by_its_path_and_comes_as_written_through_pipe() {
    let mount = Mount::start(&[]);
    for name in ["x.parquet", "x.pdf"] {
        let writer = mount.shell(&format!(
            "exec > $D/{name}; echo one; raise begun; await end; echo two; rm $F/begun $F/end"
        ));
        mount.wait_flag("begun");
        let through_pipe = mount.reader(&format!(".fifofs/pipe/{name}"));
        let by_path = mount.python(&format!(
            "file = open(D + '/{name}', 'rb'); say(file.seek(0, 2)); file.seek(0); say(file.read())"
        ));
        through_pipe.wait_output(b"one\n");
        mount.wait_parked(&by_path);
        mount.raise("end");
        writer.finish(SOON).succeeded();
        through_pipe.finish(SOON).succeeded().printed("one\ntwo\n");
        let whole = "8\nb'one\\ntwo\\n'\n";
        by_path.finish(SOON).succeeded().printed(whole);
    }
    mount.unmount();
}

#[test]
fn a_file_named_as_text_that_is_none_is_settled() {
    let mount = Mount::start(&[]);
    mount
        .shell("printf 'a\\0b' > $D/binary.log; printf 'a\\nb' > $D/text.log")
        .finish(SOON);
    let ways = mount.ls();
    assert!(ways.contains("settled: named binary.log"), "{ways}");
    assert!(ways.contains("follow: named text.log"), "{ways}");
    mount.unmount();
}

#[test]
fn a_file_is_never_found_empty_while_it_is_made() {
    let mount = Mount::start(&[]);
    // The kernel may make the inode anew from attributes of before the write: this failed once in some hundred
    // rounds on a busy machine.
    let script = r#"
import os
def look(path):
    while True:
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        os._exit(os.read(fd, 100) != b"12345678" or os.fstat(fd).st_size != 8)
for n in range(40):
    path = f"{D}/f{n}"
    for _ in range(3):
        os.fork() or look(path)
    if not os.fork():
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"12345678")
        os.close(fd)
        os._exit(0)
    for _ in range(4):
        _, status = os.wait()
        assert status == 0, (n, status)
    assert os.stat(path).st_size == 8, n
    os.unlink(path)
"#;
    mount.python(script).finish(SOON).succeeded().printed("");
    mount.unmount();
}

//! A writer that changes bytes it has written: captured right, or an error for a reader that has the old
//! bytes.

use crate::common::{Mount, SOON, assert_same, needs};

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
fn rewriting_bytes_that_a_reader_has_gives_it_estale_and_leaves_the_file_right() {
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
fn truncating_below_the_bytes_that_a_reader_has_gives_it_estale() {
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

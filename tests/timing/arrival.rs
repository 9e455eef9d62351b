//! How soon bytes and ends arrive, and how long a writer waits.

use std::time::{Duration, Instant};

use crate::common::{Mount, SOON, assert_same};

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
fn each_line_of_a_stream_arrives_at_once() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.waiting_reader("x");
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"one\n")
for line in b"two\n", b"three\n":
    wait_flag(line.decode().strip())
    os.write(fd, line)
wait_flag("end")
"#,
    );
    mount.wait_exists("x");
    let mut text = String::new();
    for line in ["one", "two", "three"] {
        // The first is written at once.
        mount.raise(line);
        let written = Instant::now();
        text += &format!("{line}\n");
        reader.wait_output(text.as_bytes());
        let took = written.elapsed();
        assert!(took < Duration::from_millis(500), "{line} took {took:?}");
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed(&text);
    mount.unmount();
}

#[test]
fn a_writer_runs_ahead_by_the_window_and_then_waits_for_a_reader_but_a_second_a_write_at_most() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
def timed(data):
    start = time.monotonic()
    write_all(fd, data)
    return time.monotonic() - start
ahead = timed(bytes(1 << 20))
assert ahead < 0.5, f"the window took {ahead} s"
beyond = timed(bytes(65536))
assert 0.1 < beyond < 1.0, f"without a reader a write beyond the window took {beyond} s"
raise_flag("waited")
wait_flag("reader")
with_reader = timed(bytes(4 << 20))
assert with_reader < 1.5, f"with a reader 4 MiB took {with_reader} s"
"#,
    );
    mount.wait_flag("waited");
    let reader = mount.shell("cat $D/x | wc -c");
    mount.raise("reader");
    writer.finish(SOON).succeeded();
    let expected = (1 << 20) + (64 << 10) + (4 << 20);
    reader
        .finish(SOON)
        .succeeded()
        .printed(format!("{expected}\n"));
    mount.unmount();
}

#[test]
fn bytes_beyond_a_gap_never_make_a_writer_wait() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.place().shell("$FIFOFS cat $D/x > got");
    mount.wait_parked(&reader);
    mount
        .python(
            r#"
data = random.Random(1).randbytes(8 << 20)
open("sent", "wb").write(data)
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
start = time.monotonic()
for offset in range(1 << 20, 8 << 20, 1 << 16):
    os.pwrite(fd, data[offset:offset + (1 << 16)], offset)
took = time.monotonic() - start
assert took < 2, f"beyond the gap it took {took} s"
os.pwrite(fd, data[:1 << 20], 0)
"#,
        )
        .finish(SOON)
        .succeeded();
    reader.finish(SOON).succeeded();
    let read = |name| std::fs::read(mount.place().at("plain").join(name)).expect("a file");
    assert_same(&read("got"), &read("sent"));
    mount.unmount();
}

#[test]
fn a_parent_that_reads_before_it_reaps_has_the_file_when_its_child_has_exited() {
    let mount = Mount::start(&[]);
    // The child is in a group of its own, of which only a zombie is left until it is reaped.
    let script = r#"import subprocess
worst = 0
for name in "one.zip", "two.txt", "three":
    path = os.path.join(D, name)
    command = ["sh", "-c", 'echo whole > "$1"; sleep .1', "sh", path]
    child = subprocess.Popen(command, start_new_session=True)
    with open(os.path.join(D, ".fifofs/wait", name)) as output: text = output.read()
    # It has exited by then, and had not been reaped.
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    assert ended and text == "whole\n", (ended, text)
    worst = max(worst, time.time() - os.stat(path).st_mtime)
    child.wait()
assert worst < 0.7, worst
say("in time")"#;
    mount
        .python(script)
        .finish(SOON)
        .succeeded()
        .printed("in time\n");
    mount.unmount();
}

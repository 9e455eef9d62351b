//! `--deliver stream`: like a pipe. A fast writer waits for a slow reader, nothing is kept, and what a pipe does not
//! allow is refused.

#![cfg(feature = "cli")]

mod common;

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Mount, Place, SOON};

const BLOCK: usize = 1 << 20;

/// How many bytes go through: `FIFOFS_TEST_BYTES`, or 1 GiB.
fn bytes() -> u64 {
    env::var("FIFOFS_TEST_BYTES")
        .ok()
        .map_or(1 << 30, |text| text.parse().expect("FIFOFS_TEST_BYTES"))
}

/// Writes `$N` blocks of a mebibyte: each begins with its own number, and the rest is the same random pattern.
const WRITER: &str = r#"
pattern = bytes(random.Random(1).randbytes(1 << 20))
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
for i in range(N):
    write_all(fd, i.to_bytes(8, "little") + pattern[8:])
os.close(fd)
"#;

/// Reads `path` to its end, at most `bytes_per_second` if given, and checks that blocks come in order and complete.
/// Returns the length, or the error.
fn read_checked(path: PathBuf, bytes_per_second: Option<f64>) -> Result<u64, String> {
    let mut file = File::open(path).map_err(|error| format!("open: {error}"))?;
    let started = Instant::now();
    let mut first: Option<Vec<u8>> = None;
    let mut length = 0;
    let mut block = vec![0; BLOCK];
    loop {
        let mut filled = 0;
        while filled < BLOCK {
            match file.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) => return Err(format!("read at {}: {error}", length + filled as u64)),
            }
        }
        if filled == 0 {
            return Ok(length);
        }
        if filled < BLOCK {
            return Err(format!(
                "ends within a block, at {}",
                length + filled as u64
            ));
        }
        let number = u64::from_le_bytes(block[..8].try_into().expect("eight bytes"));
        if number != length / BLOCK as u64 {
            return Err(format!("block {number} at {length}"));
        }
        match &first {
            None => first = Some(block.clone()),
            Some(first) if first[8..] != block[8..] => {
                return Err(format!("other bytes in block {number}"));
            }
            Some(_) => {}
        }
        length += filled as u64;
        if let Some(rate) = bytes_per_second {
            let due = Duration::from_secs_f64(length as f64 / rate);
            thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
}

/// Sends `length` bytes to a reader of that rate; returns how long it took and the most memory that the daemon had.
fn send(length: u64, bytes_per_second: Option<f64>) -> (Duration, u64) {
    let blocks = length / BLOCK as u64;
    let limit = Duration::from_secs(90 + length / (10 << 20));
    let place = Place::new();
    let mount = Mount::start_for(limit, &place, &["--deliver", "stream"]);
    let path = mount.file(".fifofs/pipe/x");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(read_checked(path, bytes_per_second)));
    let started = Instant::now();
    let writer = mount.python(&format!("N = {blocks}\n{WRITER}"));
    let mut most = 0;
    let mut outcome = None;
    place.wait_for("the reader to get everything", limit, || {
        most = most.max(mount.memory_rss());
        outcome = receiver.recv_timeout(Duration::from_millis(20)).ok();
        outcome.is_some()
    });
    let took = started.elapsed();
    writer.finish(SOON).succeeded();
    assert_eq!(outcome, Some(Ok(blocks * BLOCK as u64)));
    mount.unmount();
    (took, most)
}

#[test]
fn a_reader_held_to_a_third_of_the_writers_speed_gets_it_all_and_the_daemon_stays_below_64_mib() {
    let trial = 256 << 20;
    let (took, _) = send(trial, None);
    let free_speed = trial as f64 / took.as_secs_f64();
    let (took, most) = send(bytes(), Some(free_speed / 3.0));
    println!(
        "free {:.0} MB/s; {} bytes at a third of that in {took:?}, the daemon had at most {} KiB",
        free_speed / 1e6,
        bytes(),
        most >> 10
    );
    assert!(most < 64 << 20, "the daemon had {most} bytes");
}

#[test]
fn a_reader_that_quits_early_gives_the_writer_epipe() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.shell("head -c 1000 $D/.fifofs/pipe/x | wc -c");
    mount.wait_parked(&reader);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
try:
    while True: os.write(fd, bytes(65536))
except OSError as error:
    say(errno.errorcode[error.errno])
"#,
    );
    reader.finish(SOON).succeeded().printed("1000\n");
    writer.finish(SOON).succeeded().printed("EPIPE\n");
    mount.unmount();
}

#[test]
fn real_programs_whose_reader_quits_say_broken_pipe() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.shell("head -n 1 $D/.fifofs/pipe/x");
    mount.wait_parked(&reader);
    let writer = mount.shell("exec yes > $D/x");
    reader.finish(SOON).succeeded().printed("y\n");
    writer.finish(SOON).failed_saying("Broken pipe");
    mount.unmount();
}

#[test]
fn a_writer_goes_on_while_one_of_two_readers_is_left() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let quits = mount.shell("head -c 1000 $D/.fifofs/pipe/x | wc -c");
    let stays = mount.shell("cat $D/.fifofs/pipe/x | sha256sum");
    mount.wait_parked(&quits);
    mount.wait_parked(&stays);
    mount.shell("seq 1000000 > $D/x").finish(SOON).succeeded();
    quits.finish(SOON).succeeded().printed("1000\n");
    let expected = mount
        .shell("seq 1000000 | sha256sum")
        .finish(SOON)
        .succeeded()
        .stdout;
    stays.finish(SOON).succeeded().printed(expected);
    mount.unmount();
}

#[test]
fn two_readers_from_the_start_each_get_every_byte_and_the_slower_sets_the_pace() {
    let mount = Mount::start(&["--deliver", "stream", "--window", "64K"]);
    let fast = mount.shell("cat $D/.fifofs/pipe/x | sha256sum");
    let slow = mount.shell(
        "cat $D/.fifofs/pipe/x | (while read -r -N 65536 block; do printf %s \"$block\"; sleep 0.01; done; printf %s \"$block\") | sha256sum",
    );
    mount.wait_parked(&fast);
    mount.wait_parked(&slow);
    mount.shell("seq 200000 > $D/x").finish(SOON).succeeded();
    let expected = mount
        .shell("seq 200000 | sha256sum")
        .finish(SOON)
        .succeeded()
        .stdout;
    fast.finish(SOON).succeeded().printed(&expected);
    slow.finish(SOON).succeeded().printed(&expected);
    mount.unmount();
}

#[test]
fn a_write_to_bytes_already_dropped_gets_espipe_and_is_no_clean_end() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.shell("$FIFOFS cat $D/x > copy; echo $?");
    mount.wait_parked(&reader);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
for i in range(64): write_all(fd, bytes(65536))
try: os.pwrite(fd, b"too late", 0)
except OSError as error: say(errno.errorcode[error.errno])
"#,
    );
    writer.finish(SOON).succeeded().printed("ESPIPE\n");
    // Many programs do not check: ffmpeg, for one, exits with 0.
    reader.finish(SOON).printed("125\n");
    mount.unmount();
}

/// The first reader got an error and left, later bytes were lost, and the next reader took the rest for the whole.
#[test]
fn what_a_pipe_does_not_allow_is_an_error_for_every_reader_and_for_later_ones() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let acts = [
        ("patch", "os.pwrite(fd, b'X', 0)"),
        // ld, for one, goes on with what it cannot read back.
        ("read-back", "os.pread(fd, 4, 0)"),
        ("cut", "os.ftruncate(fd, 2)"),
        ("empty", "open(p, 'w')"),
        (
            "rename",
            "open(p + '.t', 'w').write('other'); os.rename(p + '.t', p)",
        ),
        ("anew", "os.unlink(p); open(p, 'w')"),
        (
            "link",
            "os.unlink(p); open(p + '.t', 'w'); os.link(p + '.t', p)",
        ),
        (
            "punch",
            "libc.fallocate(fd, 3, 0, 4) == 0 or fail(ctypes.get_errno())",
        ),
    ];
    for (name, act) in acts {
        let first = mount.waiting_reader(name);
        let writer = mount.python(&format!(
            r#"
p = D + "/{name}"
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
def fail(number): raise OSError(number, "")
fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o644)
os.write(fd, b"head and body\n")
wait_flag("{name}-read")
try: {act}
except OSError as error: say(errno.errorcode[error.errno])
raise_flag("{name}-done")
wait_flag("{name}-told")
try: os.write(fd, b"tail\n")
except OSError as error: say(errno.errorcode[error.errno])
wait_flag("{name}-late")
"#
        ));
        first.wait_output(b"head and body\n");
        mount.raise(&format!("{name}-read"));
        first
            .finish(SOON)
            .failed_saying(name)
            .printed("head and body\n");
        mount.raise(&format!("{name}-told"));
        mount.wait_flag(&format!("{name}-done"));
        if !["anew", "link"].contains(&name) {
            let late = mount.reader(name).finish(SOON);
            assert!(!late.status.success(), "{name}: {:?}", late.stdout);
        }
        mount.raise(&format!("{name}-late"));
        writer.finish(SOON).succeeded().printed("ESPIPE\nEPIPE\n");
        if !["anew", "link"].contains(&name) {
            let late = mount.shell(&format!("$FIFOFS cat $D/{name}")).finish(SOON);
            assert!(!late.status.success(), "{name}: {:?}", late.stdout);
        }
    }
    mount.unmount();
}

#[test]
fn the_next_reader_gets_an_error_for_bytes_written_when_every_reader_had_gone() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
raise_flag("open")
wait_flag("left")
try: os.write(fd, b"missed\n")
except OSError as error: say(errno.errorcode[error.errno])
"#,
    );
    mount.wait_flag("open");
    mount
        .python("os.close(os.open(D + '/x', os.O_RDONLY))")
        .finish(SOON)
        .succeeded();
    mount.raise("left");
    writer.finish(SOON).succeeded().printed("EPIPE\n");
    mount
        .shell("$FIFOFS cat $D/x")
        .finish(SOON)
        .failed_saying("x")
        .printed("");
    mount.unmount();
}

#[test]
fn a_stream_whose_name_is_removed_goes_on() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.waiting_reader("x");
    let writer = mount.shell("exec > $D/x; echo one; await read; rm $D/x; echo two");
    reader.wait_output(b"one\n");
    mount.raise("read");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("one\ntwo\n");
    mount.unmount();
}

#[test]
fn a_reader_that_opens_after_bytes_were_dropped_gets_estale() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let reader = mount.shell("$FIFOFS cat $D/x | wc -c");
    mount.wait_parked(&reader);
    let writer = mount.shell("exec > $D/x; head -c 4M /dev/zero; raise written; await end");
    mount.wait_flag("written");
    mount
        .reader("x")
        .finish(SOON)
        .failed_saying("Stale file handle")
        .printed("");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("4194304\n");
    mount.unmount();
}

/// The processors on which the mount's thread that answers the kernel may run, as `0-1`.
fn processors_of_the_front(mount: &Mount) -> String {
    let tasks = PathBuf::from(format!("/proc/{}/task", mount.pid()));
    let threads = tasks.read_dir().expect("its threads");
    let status = threads
        // A thread may have ended meanwhile.
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).ok())
        .find(|status| status.starts_with("Name:\tfifofs-front\n"))
        .expect("the front loop");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:\t"));
    line.expect("its processors").to_owned()
}

#[test]
fn the_front_loop_runs_on_the_processor_of_a_repeated_writer_and_no_longer() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let before = processors_of_the_front(&mount);
    // With a single processor all of this holds trivially.
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
# No more than the window, so that no write waits.
for _ in range(1 << 20):
    os.write(fd, b".")
    if os.path.exists(F + "/enough"):
        break
raise_flag("written")
wait_flag("end")
"#,
    );
    let is_tied = || !processors_of_the_front(&mount).contains(['-', ',']);
    mount.wait_for("a single processor", is_tied);
    mount.raise("enough");
    mount.wait_flag("written");
    mount.wait_for("all processors", || {
        processors_of_the_front(&mount) == before
    });
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn without_any_reader_a_short_stream_ends_and_its_bytes_are_there_for_the_first() {
    let mount = Mount::start(&["--deliver", "stream"]);
    mount.shell("echo short > $D/x").finish(SOON).succeeded();
    mount
        .reader("x")
        .finish(SOON)
        .succeeded()
        .printed("short\n");
    mount.unmount();
}

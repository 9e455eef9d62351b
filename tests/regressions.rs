//! Faults of the past that belong to no other file: each test describes its fault.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use common::{Mount, Place, SOON, assert_same, mount_command, signal};
use rustix::process::Signal;

/// Page faults of a reader's mapping were answered like its reads: cut at the frontier, which filled the shared page
/// cache with zeros, or left waiting with the page locked, so that the writer waited for that page, unkillably.
#[test]
fn a_reader_that_maps_the_file_neither_spoils_it_for_others_nor_locks_the_writer_up() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"A" * 8192)
os.pwrite(fd, b"B" * 8192, 16384)
os.fsync(fd)
raise_flag("gap")
wait_flag("mapped")
os.pwrite(fd, b"C" * 8192, 8192)
os.close(fd)
"#,
    );
    mount.wait_flag("gap");
    mount
        .python(
            r#"
fd = os.open(D + "/x", os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
view = mmap.mmap(fd, 24576, prot=mmap.PROT_READ)
say(view[20000:20001], view[12000:12001])
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("b'B' b'\\x00'\n");
    mount.raise("mapped");
    writer.finish(SOON).succeeded();
    let whole = [[b'A'; 8192], [b'C'; 8192], [b'B'; 8192]].concat();
    assert_same(&mount.finished("x"), &whole);
    mount.unmount();
}

/// The bytes that a stream's reader had of a replaced file were compared with bytes that were dropped already.
#[test]
fn a_streams_reader_whose_file_is_replaced_by_another_gets_an_error() {
    let mount = Mount::start(&["--deliver", "stream", "--window", "4M"]);
    let writer = mount.python(
        r#"
a = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(a, bytes(1 << 20))
wait_flag("read")
b = os.open(D + "/new", os.O_WRONLY | os.O_CREAT, 0o644)
write_all(b, b"1" * (1 << 20) + b"tail")
try: os.rename(D + "/new", D + "/x")
except OSError as error: say(errno.errorcode[error.errno])
raise_flag("replaced")
wait_flag("end")
os.close(a)
os.close(b)
"#,
    );
    mount.wait_exists("x");
    let idle = mount.python(
        r#"
fd = os.open(D + "/x", os.O_RDONLY)
raise_flag("idle")
wait_flag("replaced")
os.close(fd)
raise_flag("left")
"#,
    );
    let reader = mount.python(
        r#"
fd = os.open(D + "/x", os.O_RDONLY)
left = 1 << 20
wait_flag("idle")
while left: left -= len(os.read(fd, left))
raise_flag("read")
wait_flag("left")
raise_flag("end")
try:
    while os.read(fd, 1 << 20): pass
    say("a clean end")
except OSError as error:
    say(errno.errorcode[error.errno])
"#,
    );
    reader.finish(SOON).succeeded().printed("EIO\n");
    idle.finish(SOON).succeeded();
    writer.finish(SOON).succeeded().printed("ESPIPE\n");
    mount.unmount();
}

#[test]
fn punching_a_hole_in_dropped_bytes_of_a_stream_fails_as_writing_there_does() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, bytes([1]) * (1 << 20))
wait_flag("read")
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
for mode in 3, 16:
    done = libc.fallocate(fd, mode, 0, 4096)
    say(done, errno.errorcode[ctypes.get_errno()])
os.close(fd)
"#,
    );
    mount.wait_exists("x");
    let reader = mount.python(
        r#"
fd = os.open(D + "/x", os.O_RDONLY)
left = 1 << 20
while left: left -= len(os.read(fd, left))
raise_flag("read")
try: os.read(fd, 1)
except OSError as error: say(errno.errorcode[error.errno])
"#,
    );
    writer
        .finish(SOON)
        .succeeded()
        .printed("-1 ESPIPE\n-1 ESPIPE\n");
    reader.finish(SOON).succeeded().printed("EIO\n");
    mount.unmount();
}

/// Only rewriting in place was reported: `ls` and the events did not know of this.
#[test]
fn ls_reports_bytes_rewritten_by_a_file_renamed_into_place() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let writer =
        mount.shell("exec 3> $D/x; echo one >&3; await read; echo two > $D/new; mv $D/new $D/x");
    mount.wait_exists("x");
    let reader = mount.reader("x");
    reader.wait_output(b"one\n");
    mount.raise("read");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).failed_saying("Stale file handle");
    let listing = mount.ls();
    assert!(listing.contains("bytes 0 to 4 were rewritten"), "{listing}");
    mount.unmount();
}

#[test]
fn o_nonblock_counts_as_it_is_now_and_events_can_be_polled() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; echo a; await end");
    mount.wait_exists("x.log");
    mount
        .python(
            r#"
fd = os.open(D + "/x.log", os.O_RDONLY)
say(os.read(fd, 100))
fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
def attempt(fd):
    try: say(os.read(fd, 100))
    except OSError as error: say(errno.errorcode[error.errno])
attempt(fd)
events = os.open(D + "/.fifofs/events", os.O_RDONLY | os.O_NONBLOCK)
attempt(events)
poll = select.poll()
poll.register(events, select.POLLIN)
say(poll.poll(0))
open(D + "/other", "w").close()
say(len(poll.poll(10000)))
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("b'a\\n'\nEAGAIN\nEAGAIN\n[]\n1\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

/// The daemon waited for its own mount.
#[test]
fn spilling_into_the_mount_itself_is_refused() {
    let place = Place::new();
    let directory = place.mount_point();
    let directory = directory.to_str().expect("UTF-8");
    place
        .fifofs(&["mount", "--spill", directory, directory])
        .finish(SOON)
        .failed_saying("give another spill directory");
    place.assert_nothing_left();
}

/// Warnings went to standard error with the core locked: once the pipe was full, the whole mount hung.
#[test]
fn a_log_without_a_reader_delays_no_process() {
    let place = Place::new();
    let mut daemon = mount_command(&place, &[])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    place.wait_for("the mount", SOON, || {
        fs::read_to_string("/proc/mounts")
            .is_ok_and(|mounts| mounts.contains(place.mount_point().to_str().expect("UTF-8")))
    });
    // Each file makes several lines; a pipe holds 64 KiB.
    place
        .shell("for i in $(seq 500); do : > $D/$i; done; ls $D | wc -l")
        .finish(SOON)
        .succeeded()
        .printed("500\n");
    place.shell("$FIFOFS unmount $D").finish(SOON).succeeded();
    place.wait_for("the daemon to end", SOON, || {
        daemon.try_wait().expect("waited").is_some()
    });
    place.assert_nothing_left();
}

/// sendfile(2) takes the page cache, and the present size for the final one: Python's `shutil.copy`, Rust's
/// `fs::copy` and others made short copies without an error. `tail` sought to the present end.
#[test]
fn copying_a_file_that_is_being_written_is_never_short_however_it_is_done() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let writer = mount.shell("exec > $D/x; echo one; await end; echo two");
    mount.wait_exists("x");
    let readers = [
        mount.python("import shutil; shutil.copyfile(D + '/x', 'a'); say(open('a').read())"),
        mount.python(
            "import shutil; shutil.copyfile(D + '/.fifofs/wait/x', 'b'); say(open('b').read())",
        ),
        mount.shell("tail -n 5 $D/x; echo"),
    ];
    for reader in &readers {
        mount.wait_parked(reader);
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    for reader in readers {
        reader.finish(SOON).succeeded().printed("one\ntwo\n\n");
    }
    mount.unmount();
}

/// The id of a mount is free as soon as it is gone, and the next one on the same directory got it.
#[test]
fn a_daemon_that_comes_late_to_its_end_leaves_the_next_mount_alone() {
    let place = Place::new();
    let mut old = mount_command(&place, &[])
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let is_mounted = || {
        fs::read_to_string("/proc/mounts")
            .is_ok_and(|mounts| mounts.contains(place.mount_point().to_str().expect("UTF-8")))
    };
    place.wait_for("the mount", SOON, is_mounted);
    let pid = i32::try_from(old.id()).expect("a pid");
    signal(pid, Signal::STOP);
    place
        .shell("$FIFOFS unmount $D && $FIFOFS mount -d $D && echo new > $D/new")
        .finish(SOON)
        .succeeded();
    signal(pid, Signal::CONT);
    place.wait_for("the old daemon to end", SOON, || {
        old.try_wait().expect("waited").is_some()
    });
    place
        .shell("cat $D/new; $FIFOFS unmount $D")
        .finish(SOON)
        .succeeded()
        .printed("new\n");
    place.assert_nothing_left();
}

/// Late readers got zeros for bytes that were lost for lack of space.
#[test]
fn a_file_of_which_bytes_were_lost_cannot_be_read_until_it_is_written_anew() {
    let mount = Mount::start(&["--max-size", "8M"]);
    mount
        .shell(
            "head -c 32M /dev/urandom > $D/x; $FIFOFS cat $D/x > /dev/null; cat $D/x || echo refused
            echo again > $D/x && cat $D/x",
        )
        .finish(SOON)
        .succeeded()
        .printed("refused\nagain\n");
    mount.unmount();
}

/// The flusher flushed mapped files, for whose changes there are no events, only while nothing else was written.
#[test]
fn writes_to_a_mapping_are_delivered_while_other_files_are_written() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let (reader, other) = (mount.waiting_reader("mapped"), mount.waiting_reader("log"));
    let busy = mount.python(
        r#"
fd = os.open(D + "/log", os.O_WRONLY | os.O_CREAT, 0o644)
while not os.path.exists(F + "/end"):
    os.write(fd, b"line\n")
    time.sleep(0.005)
"#,
    );
    let mapper = mount.python(
        r#"
fd = os.open(D + "/mapped", os.O_RDWR | os.O_CREAT, 0o644)
os.write(fd, b"A" * 4096)
os.ftruncate(fd, 8192)
view = mmap.mmap(fd, 8192)
wait_flag("read")
view[4096:] = b"B" * 4096
wait_flag("end")
"#,
    );
    reader.wait_output(&[b'A'; 4096]);
    // By now it is only watched, and not flushed all the time.
    std::thread::sleep(Duration::from_millis(500));
    mount.raise("read");
    reader.wait_output(&[[b'A'; 4096], [b'B'; 4096]].concat());
    mount.raise("end");
    for process in [busy, mapper, reader, other] {
        process.finish(SOON).succeeded();
    }
    mount.unmount();
}

/// A shell's child closed the inherited file before it ran a program with another output, and counted as a writer for
/// that: when the program was killed, the file failed.
#[test]
fn the_end_of_a_program_that_closed_its_inherited_output_does_not_affect_the_file() {
    let mount = Mount::start(&["--deliver", "follow"]);
    let reader = mount.waiting_reader("x");
    mount
        .shell("( yes | head -n 1; echo done ) > $D/x")
        .finish(SOON)
        .succeeded();
    reader.finish(SOON).succeeded().printed("y\ndone\n");
    // A process that had it until its end may have written, and more was to come.
    let reader = mount.waiting_reader("killed");
    mount
        .shell("exec > $D/killed; sleep 60 & sleep 0.3; kill -KILL $!; wait; echo done")
        .finish(SOON)
        .succeeded();
    reader
        .finish(SOON)
        .printed("done\n")
        .failed_saying("killed");
    mount.unmount();
}

/// It was killed by the signal for that (SIGXFSZ), and the mount went with it.
#[test]
fn a_daemon_whose_files_may_not_grow_lives_on_and_reports_it_to_writers() {
    let place = Place::new();
    let ended = place
        .shell(
            r#"mkdir m spill; (ulimit -f 100; "$FIFOFS" mount -d --memory 64k --spill "$PWD/spill" m)
            head -c 2M /dev/zero | dd of=m/x bs=64k conv=fsync status=none || echo refused
            "$FIFOFS" ls m > listed && "$FIFOFS" unmount m"#,
        )
        .finish(SOON);
    assert!(ended.stderr.contains("No space left"), "{}", ended.text());
    ended.succeeded().printed("refused\n");
}

//! Signals: any wait in the mount can be ended, harmless signals disturb nothing, and no other process hangs
//! meanwhile.

#![cfg(feature = "cli")]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use common::waiting::{self, Starts};
use common::{Mount, Process, SOON, process};
use rustix::process::Signal;

/// Each deadly signal must end a waiting process. `timing` measures how soon.
fn dies_of_deadly_signals(waiting: Starts<'_>) {
    for which in [
        Signal::TERM,
        Signal::INT,
        Signal::KILL,
        Signal::HUP,
        Signal::QUIT,
    ] {
        let waiting = waiting();
        waiting.signal(which);
        dies_of(waiting, which);
    }
}

fn dies_of(waiting: Process, which: Signal) {
    let ended = waiting.finish(SOON);
    assert_eq!(
        ended.status.signal(),
        Some(which.as_raw()),
        "should have died of {which:?}"
    );
}

#[test]
fn a_reader_that_waits_for_more_dies_of_a_deadly_signal() {
    waiting::for_more(dies_of_deadly_signals);
}

#[test]
fn a_reader_whose_open_waits_dies_of_a_deadly_signal() {
    waiting::in_open(dies_of_deadly_signals);
}

#[test]
fn a_reader_that_waits_for_a_file_to_appear_dies_of_a_deadly_signal() {
    waiting::for_a_file(dies_of_deadly_signals);
}

#[test]
fn a_writer_that_waits_for_a_reader_dies_of_a_deadly_signal() {
    waiting::for_readers(dies_of_deadly_signals);
}

/// The kernel reports only the first signal of a waiting caller; the daemon does not learn of the next ones.
#[test]
fn a_process_that_waits_on_after_a_harmless_signal_still_dies_of_a_deadly_one() {
    let mount = Mount::start(&["--deliver", "*.zip=settled", "--deliver", "*.stream=stream"]);
    let writer = mount.shell("exec > $D/x.log 3> $D/x.zip; echo a; echo a >&3; await end");
    mount.wait_exists("x.zip");
    for call in [
        "os.open(D + '/x.zip', os.O_RDONLY)",
        "os.open(D + '/.fifofs/pipe/nothing', os.O_RDONLY)",
        "open(D + '/x.log', 'rb', buffering=0).readall()",
        "write_all(os.open(D + '/x.stream', os.O_WRONLY | os.O_CREAT), bytes(1 << 30))",
    ] {
        let waiting = mount.python(&format!(
            "signal.signal(signal.SIGWINCH, lambda *_: None)\n{call}"
        ));
        mount.wait_parked(&waiting);
        waiting.signal(Signal::WINCH);
        mount.wait_parked(&waiting);
        waiting.signal(Signal::TERM);
        dies_of(waiting, Signal::TERM);
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_python_reader_gets_keyboardinterrupt() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; echo a; await end");
    mount.wait_exists("x.log");
    let reader = mount.python(
        r#"
try:
    with open(D + "/x.log", "rb", buffering=0) as file:
        while file.read(100): pass
except KeyboardInterrupt:
    say("KeyboardInterrupt")
"#,
    );
    mount.wait_parked(&reader);
    reader.signal(Signal::INT);
    reader.wait_output(b"KeyboardInterrupt\n");
    reader.finish(SOON).succeeded();
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

/// Calls of the C library as they are: Python's own repeat a call that was interrupted, and hide it.
const RAW_CALLS: &str = r#"
libc = ctypes.CDLL(None, use_errno=True)
def checked(result, what):
    if result < 0: sys.exit(what + ": " + os.strerror(ctypes.get_errno()))
    return result
def raw_open(path): return checked(libc.open(path.encode(), os.O_RDONLY), "open")
def raw_read(fd):
    buffer = ctypes.create_string_buffer(65536)
    length = checked(libc.read(fd, buffer, 65536), "read")
    return buffer.raw[:length]
def raw_write(fd, data): return checked(libc.write(fd, data, len(data)), "write")
signals = 0
def count(*_):
    global signals
    signals += 1
"#;

const STORM: &str = r#"
signal.signal(signal.SIGALRM, count)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
# Python removes its handlers before it ends.
import atexit
atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
"#;

#[test]
fn a_reader_under_a_10_ms_sigalrm_storm_reads_on_undisturbed() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done");
    mount.wait_exists("x.log");
    let reader = mount.python(&format!(
        r#"
{RAW_CALLS}
{STORM}
fd = raw_open(D + "/x.log")
data = b""
while chunk := raw_read(fd): data += chunk
assert signals > 0, "there was no storm"
say(data)
"#
    ));
    reader
        .finish(SOON)
        .succeeded()
        .printed("b'1\\n2\\n3\\n4\\n5\\n6\\n'\n");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

/// A reader that is woken by a poll has the same guarantees for the reads that follow.
#[test]
fn a_reader_that_polls_reads_on_under_a_storm_and_dies_of_a_deadly_signal() {
    let mount = Mount::start(&[]);
    let writer = mount.shell(
        "exec > $D/x.log; for i in 1 2 3 4 5; do echo $i; sleep 0.3; done; raise all; await end",
    );
    mount.wait_exists("x.log");
    for which in [Signal::TERM, Signal::KILL] {
        let reader = mount.python(&format!(
            r#"
{RAW_CALLS}
{STORM}
fd = raw_open(D + "/x.log")
epoll = select.epoll()
epoll.register(fd, select.EPOLLIN | select.EPOLLET)
while True:
    epoll.poll()
    write_all(1, raw_read(fd))
    # This one waits.
    write_all(1, raw_read(fd))
"#
        ));
        reader.wait_output(b"1\n2\n3\n4\n5\n");
        mount.wait_flag("all");
        reader.signal(which);
        dies_of(reader, which);
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn an_open_under_a_sigalrm_storm_waits_undisturbed() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer = mount.shell("exec > $D/x; echo 1; await end");
    mount.wait_exists("x");
    let reader = mount.python(&format!(
        "{RAW_CALLS}\n{STORM}\nraise_flag('storm')\nfd = raw_open(D + '/x')\nsay(raw_read(fd))"
    ));
    mount.wait_flag("storm");
    mount.wait_parked(&reader);
    // Fifty signals of the storm.
    std::thread::sleep(Duration::from_millis(500));
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("b'1\\n'\n");
    mount.unmount();
}

#[test]
fn a_stream_writer_under_a_sigalrm_storm_writes_on_undisturbed() {
    let mount = Mount::start(&["--deliver", "stream", "--window", "256K"]);
    let reader = mount.place().shell(
        "$FIFOFS cat $D/x | \"$PYTHON\" -c 'import os, time\ntotal = 0\nwhile chunk := os.read(0, 65536):\n  total += len(chunk); time.sleep(0.02)\nprint(total)'",
    );
    mount.wait_parked(&reader);
    let writer = mount.python(&format!(
        r#"
{RAW_CALLS}
{STORM}
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
for i in range(64):
    data = bytes(65536)
    while data: data = data[raw_write(fd, data):]
assert signals > 0, "there was no storm"
"#
    ));
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("4194304\n");
    mount.unmount();
}

#[test]
fn other_harmless_signals_make_no_read_fail() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; echo 1; await end; echo 2");
    mount.wait_exists("x.log");
    let reader = mount.python(&format!(
        r#"
{RAW_CALLS}
for each in (signal.SIGURG, signal.SIGCHLD, signal.SIGWINCH, signal.SIGPROF): signal.signal(each, count)
fd = raw_open(D + "/x.log")
data = b""
while chunk := raw_read(fd): data += chunk
say(data)
"#
    ));
    mount.wait_parked(&reader);
    for which in [Signal::URG, Signal::CHILD, Signal::WINCH, Signal::PROF] {
        for _ in 0..5 {
            reader.signal(which);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("b'1\\n2\\n'\n");
    mount.unmount();
}

/// Ctrl-Z for `waiting`, which must stop, and then `fg`.
fn stop_and_continue(mount: &Mount, waiting: &Process) {
    waiting.signal(Signal::TSTP);
    mount.place().wait_for("Ctrl-Z to stop it", SOON, || {
        process(waiting.pid()).is_some_and(|process| process.state == 'T')
    });
    waiting.signal(Signal::CONT);
    mount.place().wait_for("fg to let it go on", SOON, || {
        process(waiting.pid()).is_some_and(|process| process.state != 'T')
    });
}

#[test]
fn a_waiting_reader_can_be_stopped_by_ctrl_z_and_goes_on_after_fg() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; echo a; await end; echo b");
    mount.wait_exists("x.log");
    let reader = mount.reader("x.log");
    reader.wait_output(b"a\n");
    mount.wait_parked(&reader);
    stop_and_continue(&mount, &reader);
    mount.wait_parked(&reader);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("a\nb\n");
    mount.unmount();
}

#[test]
fn a_waiting_stream_writer_can_be_stopped_by_ctrl_z_and_goes_on_after_fg() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let writer = mount.python(
        r#"
fd = os.open(D + "/x", os.O_WRONLY | os.O_CREAT, 0o644)
for i in range(64): write_all(fd, bytes([i]) * 65536)
"#,
    );
    mount.wait_parked(&writer);
    stop_and_continue(&mount, &writer);
    let reader = mount.reader("x");
    let expected: Vec<u8> = (0..64u8).flat_map(|i| [i; 65536]).collect();
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed(expected);
    mount.unmount();
}

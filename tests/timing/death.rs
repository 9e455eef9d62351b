//! How soon waiting processes die of a signal.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::common::waiting::{self, Starts};
use crate::common::{Mount, Process, SOON, parked_in_group};

/// The goal of "death of a waiting reader" in docs/performance.md.
const DIES_WITHIN: Duration = Duration::from_millis(200);

/// How long `waiting` lives after the signal.
fn dies_after(waiting: Process, which: Signal) -> Duration {
    let sent = Instant::now();
    waiting.signal(which);
    let ended = waiting.finish(SOON);
    let took = sent.elapsed();
    assert_eq!(
        ended.status.signal(),
        Some(which.as_raw()),
        "should have died of the signal"
    );
    took
}

/// The median of three deaths must be in time; a single one may be late, but not by much.
fn dies_in_time(waiting: Starts<'_>) {
    for which in [Signal::TERM, Signal::INT, Signal::KILL] {
        let mut times: Vec<_> = (0..3).map(|_| dies_after(waiting(), which)).collect();
        times.sort();
        assert!(
            times[1] <= DIES_WITHIN && times[2] <= Duration::from_secs(1),
            "{which:?}: died after {times:?}"
        );
    }
}

#[test]
fn a_reader_that_waits_for_more_dies_within_200_ms() {
    waiting::for_more(dies_in_time);
}

#[test]
fn a_reader_whose_open_waits_dies_within_200_ms() {
    waiting::in_open(dies_in_time);
}

#[test]
fn a_reader_that_waits_for_a_file_to_appear_dies_within_200_ms() {
    waiting::for_a_file(dies_in_time);
}

#[test]
fn a_writer_that_waits_for_a_reader_dies_within_200_ms() {
    waiting::for_readers(dies_in_time);
}

#[test]
fn a_python_reader_gets_keyboardinterrupt_within_400_ms() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; echo a; await end");
    mount.wait_exists("x.log");
    let reader = mount.python(
        r#"
try: open(D + "/x.log", "rb", buffering=0).readall()
except KeyboardInterrupt: say("KeyboardInterrupt")
"#,
    );
    mount.wait_parked(&reader);
    let sent = Instant::now();
    reader.signal(Signal::INT);
    reader.wait_output(b"KeyboardInterrupt\n");
    let took = sent.elapsed();
    assert!(
        took <= Duration::from_millis(400),
        "the interrupt took {took:?}"
    );
    reader.finish(SOON).succeeded();
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn more_than_200_waiting_readers_die_within_a_second_of_sigterm() {
    let mount = Mount::start(&[]);
    let readers = mount.shell("for i in $(seq 300); do cat $D/.fifofs/pipe/nothing & done; wait");
    mount.place().wait_for("300 to wait", SOON, || {
        parked_in_group(readers.pid()) >= 300
    });
    let group = rustix::process::Pid::from_raw(readers.pid()).expect("a process");
    let sent = Instant::now();
    rustix::process::kill_process_group(group, Signal::TERM).expect("sent");
    mount.wait_for("them to be gone", || parked_in_group(readers.pid()) == 0);
    let took = sent.elapsed();
    assert!(
        took < Duration::from_millis(1_300),
        "300 waiting readers lived for {took:?} after SIGTERM"
    );
    drop(readers);
    mount.unmount();
}

//! Captured paths held by a process.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::*;
use crate::core::patching::Reading;
use crate::testing::{Guard, SOON};

fn capture(bench: &Bench, path: &[&str]) -> CaptureId {
    let path: Vec<OsString> = path.iter().map(OsString::from).collect();
    bench.router.capture(&path).unwrap()
}

/// Whether the file at a capture is done.
fn is_done(bench: &Bench, id: CaptureId) -> bool {
    !bench.router.look(|core| core.is_left_undone(id))
}

fn by_pidfd(child: &Guard) -> (OwnedFd, i32) {
    let pid = Pid::from_child(&child.0);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    (pidfd, child.pid())
}

fn watched(bench: &Bench) -> usize {
    bench.router.processes.watched().len()
}

#[test]
fn the_file_at_a_held_path_is_done_when_the_process_has_exited() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench, &["x"]);
    let mut child = Guard::sleeping();
    let _held = bench
        .router
        .hold_until_exit(id, by_pidfd(&child), false)
        .unwrap();
    let (_, handle) = bench.create("x");
    bench.release(handle);
    assert!(!is_done(&bench, id), "its holder lives");
    child.0.kill().unwrap();
    // Not reaped: its exit is what counts.
    until("it to be done", || is_done(&bench, id));
    until("no process is watched", || watched(&bench) == 0);
    assert!(bench.router.processes.is_empty());
}

#[test]
fn the_last_holder_of_a_path_lets_go_of_it() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench, &["x"]);
    let (mut first, mut second) = (Guard::sleeping(), Guard::sleeping());
    let _first = bench
        .router
        .hold_until_exit(id, by_pidfd(&first), false)
        .unwrap();
    let _second = bench
        .router
        .hold_until_exit(id, by_pidfd(&second), false)
        .unwrap();
    first.0.kill().unwrap();
    until("the first to be let go of", || watched(&bench) == 1);
    assert!(!is_done(&bench, id));
    second.0.kill().unwrap();
    until("it to be done", || is_done(&bench, id));
}

/// Once, a path whose hold was dropped was still held as long as the process ran.
#[test]
fn a_process_that_is_waited_for_no_longer_keeps_nothing_from_being_done() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench, &["x"]);
    let (mut first, second) = (Guard::sleeping(), Guard::sleeping());
    let of_first = bench
        .router
        .hold_until_exit(id, by_pidfd(&first), false)
        .unwrap();
    let of_second = bench
        .router
        .hold_until_exit(id, by_pidfd(&second), false)
        .unwrap();
    let mut reader = bench.router.read_capture(id, Reading::default()).unwrap();
    let (ino, handle) = bench.create("x");
    bench.write(ino, 0, b"x");
    bench.release(handle);
    let late = Some(Instant::now() + SOON);
    assert!(matches!(reader.read(0, 1, late), Ok(Given::Bytes(_))));
    let ends = |reader: &mut LocalReader, time: Duration| {
        matches!(
            reader.read(1, 1, Some(Instant::now() + time)),
            Ok(Given::End)
        )
    };
    drop(of_first);
    assert!(!ends(&mut reader, Duration::from_millis(100)));
    drop(of_second);
    assert!(ends(&mut reader, SOON));

    // The file may still be their work until they have exited.
    assert!(!is_done(&bench, id));
    assert_eq!(watched(&bench), 2);
    first.0.kill().unwrap();
    until("one to be taken note of", || watched(&bench) == 1);
    until("it to be done", || is_done(&bench, id));
    bench.router.end_capture(id, None);
    assert!(bench.router.processes.hangs_nothing());
}

#[test]
fn the_exit_of_a_process_that_is_given_up_meanwhile_is_noticed() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench, &["x"]);
    for _ in 0..50 {
        let mut child = Guard::sleeping();
        let held = bench
            .router
            .hold_until_exit(id, by_pidfd(&child), false)
            .unwrap();
        assert!(!is_done(&bench, id));
        child.0.kill().unwrap();
        drop(held);
        until("its exit to be told", || is_done(&bench, id));
        until("no process is watched", || watched(&bench) == 0);
    }
}

#[test]
fn a_process_that_is_gone_holds_nothing() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    // A zombie is watched, and its end is noticed at the next check.
    let mut child = Guard::sleeping();
    let watch = ExitWatch::open(child.pid()).unwrap();
    child.0.kill().unwrap();
    until("it to be dead", || watch.state() != Ending::Running);
    let _held = bench
        .router
        .hold_until_exit(id, by_pidfd(&child), false)
        .unwrap();
    assert!(!is_done(&bench, id));
    bench.router.settle_capture(id);
    assert!(is_done(&bench, id));
}

/// The kernel reports the last close of a process a moment after it is gone.
#[test]
fn to_settle_waits_for_the_last_close_of_exited_processes_but_not_for_running_ones() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    let mut child = Guard::sleeping();
    let _held = bench
        .router
        .hold_until_exit(id, by_pidfd(&child), false)
        .unwrap();
    let writer = bench.router.writer(child.pid()).unwrap();
    let (_, handle) = bench.create_by("x", writer);
    // Its holder runs: its output is not waited for.
    let start = Instant::now();
    bench.router.settle_capture(id);
    let took = start.elapsed();
    assert!(!is_done(&bench, id) && watched(&bench) == 1, "{took:?}");

    child.0.kill().unwrap();
    child.0.wait().unwrap();
    std::thread::scope(|scope| {
        let closes = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            bench.release(handle);
        });
        bench.router.settle_capture(id);
        assert!(is_done(&bench, id), "it did not wait for the close");
        assert_eq!(watched(&bench), 0, "its holder was let go of");
        closes.join().unwrap();
    });
}

#[test]
fn to_settle_a_file_that_is_never_closed_takes_a_second() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    bench.router.release_capture(id, false);
    let _open = bench.create("x");
    let start = Instant::now();
    bench.router.settle_capture(id);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert!(!is_done(&bench, id));
}

#[test]
fn a_capture_that_ends_takes_its_file_and_its_directory_with_it() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench, &["d", "x"]);
    let directory = bench
        .router
        .look(|core| core.names().find(ROOT, OsStr::new("d")))
        .unwrap();
    for name in ["x", "beside"] {
        bench.release(bench.create_at(directory, name, unseen_writer()).1);
    }
    bench.router.end_capture(id, Some("d".into()));
    let found = |name: &str| {
        bench
            .router
            .look(|core| core.names().find(ROOT, OsStr::new(name)))
    };
    assert_eq!(found("d"), Err(Errno::NOENT));
    let mut names: Vec<_> = bench.outbox.done();
    names.retain(|done| matches!(done, Done::ForgotName(..)));
    // By a thread that answers no requests, which may wait for the kernel.
    let forgot = |name: &str| Done::ForgotName(name.into(), true);
    assert_eq!(names, ["x", "beside", "d"].map(forgot));
    bench.router.settle_names();
    assert!(bench.outbox.settled.load(Ordering::Acquire));
}

/// Once, now and then, the output of one program was taken for that of the next.
#[test]
fn the_output_of_one_holder_is_not_that_of_the_next() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench, &["x"]);
    let mut first = Guard::sleeping();
    let _first = bench
        .router
        .hold_until_exit(id, by_pidfd(&first), false)
        .unwrap();
    let (ino, handle) = bench.create("x");
    bench.write(ino, 0, b"first");
    bench.release(handle);
    first.0.kill().unwrap();
    until("it to be done", || is_done(&bench, id));

    let mut second = Guard::sleeping();
    let _second = bench
        .router
        .hold_until_exit(id, by_pidfd(&second), false)
        .unwrap();
    let of_holders = Reading {
        of_holders: true,
        by_position: false,
    };
    let mut of_second = bench.router.read_capture(id, of_holders).unwrap();
    let mut of_any = bench.router.read_capture(id, Reading::default()).unwrap();
    for reader in [&mut of_second, &mut of_any] {
        let soon = Some(Instant::now() + Duration::from_millis(50));
        let early = reader.read(0, 100, soon);
        assert!(matches!(early, Err(Failure::TimedOut)), "{early:?}");
    }
    // It leaves nothing.
    second.0.kill().unwrap();
    let late = Some(Instant::now() + SOON);
    let nothing = of_second.read(0, 100, late);
    assert!(
        matches!(nothing, Err(Failure::Errno(Errno::NOENT))),
        "{nothing:?}"
    );
    match of_any.read(0, 100, late) {
        Ok(Given::Bytes(bytes)) => assert_eq!(bytes.to_vec().unwrap(), b"first"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_process_that_has_a_captured_file_open_for_writing_is_named() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    assert_eq!(bench.router.writers_of(id), []);
    // No process has a descriptor of a file that is in no mount.
    let (ino, _) = bench.create("x");
    assert_eq!(bench.router.writers_of(id), []);

    // So a captured file gets the number of a plain file, which stands for it.
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("file")).unwrap();
    let number = file.metadata().unwrap().ino();
    let from = FIRST_INO + number - ino;
    let bench = Bench::numbering_from(from, Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    assert_eq!(bench.create("x").0, number);
    let child = Guard::of(Command::new("sleep").arg("600").stderr(file));
    until("it to run sleep", || process::name(child.pid()) == "sleep");
    assert_eq!(
        bench.router.writers_of(id),
        [(child.pid(), "sleep".to_owned())]
    );
}

#[test]
fn after_its_readers_have_gone_writes_to_a_captured_path_fail() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    let (ino, _) = bench.create("x");
    bench.router.tell(Request::HangUp { id });
    let refused = bench.write(ino, 0, b"x");
    assert_eq!(bench.answer(refused), Some(Answer::Error(Errno::PIPE)));
}

#[test]
fn with_a_bound_a_writer_waits_for_the_reader_of_the_path() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let id = capture(&bench, &["x"]);
    bench.router.tell(Request::KeepAtMost { id, bytes: 8 });
    let mut reader = bench.router.read_capture(id, Reading::default()).unwrap();
    let (ino, _) = bench.create("x");
    let held = bench.write(ino, 0, &[0; 20]);
    assert_eq!(bench.answer(held), None);
    assert!(matches!(reader.read(0, 20, None), Ok(Given::Bytes(_))));
    // The next read tells the core how much was read.
    let soon = Some(Instant::now() + Duration::from_millis(50));
    assert!(matches!(reader.read(20, 20, soon), Err(Failure::TimedOut)));
    assert_eq!(bench.answer(held), Some(Answer::Written(20)));
}

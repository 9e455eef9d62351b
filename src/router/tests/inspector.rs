//! Processes that open a file being written: inspected by a separate thread, remembered for a while, and
//! never in the way of the end.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Instant;

use super::super::inspector::Found;
use super::*;
use crate::testing::Guard;

/// A plain file, its inode number, and a child that has it open for writing.
fn held() -> (tempfile::TempDir, u64, Guard) {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("file")).unwrap();
    let ino = file.metadata().unwrap().ino();
    let child = Guard::of(Command::new("sleep").arg("600").stderr(file));
    (directory, ino, child)
}

#[test]
fn a_process_that_holds_a_file_is_found_each_time() {
    let (_directory, ino, child) = held();
    let mut found = Found::default();
    for _ in 0..3 {
        let opener = found.opener(child.pid(), ino);
        assert!(opener.holds);
        assert_eq!(opener.lineage[..2], [child.pid(), own()]);
        assert_eq!(opener.group, process::process_group(child.pid()));
    }
}

#[test]
fn that_a_process_does_not_hold_a_file_is_believed_for_a_while_only() {
    let (_directory, ino, child) = held();
    let mut found = Found::default();
    // For another file it is found out anew.
    assert!(!found.opener(child.pid(), ino + 1).holds);
    assert!(found.opener(child.pid(), ino).holds);
    let at = (child.pid(), ino);
    found.without.insert(at, Instant::now() + FOR_EVER);
    assert!(!found.opener(child.pid(), ino).holds, "it is believed");
    found.without.insert(at, Instant::now());
    assert!(
        found.opener(child.pid(), ino).holds,
        "it is no longer believed"
    );
    assert!(!found.without.contains_key(&at));
}

fn own() -> i32 {
    std::process::id().cast_signed()
}

/// Opens as the device does.
fn opened(bench: &Bench, ino: u64, thread: i32) -> Unique {
    let caller = bench.caller(thread);
    open_by(bench, caller, ino);
    caller.unique
}

fn open_by(bench: &Bench, caller: Caller, ino: u64) {
    let request = Request::Open {
        ino,
        flags: libc::O_RDONLY,
        writer: None,
        opener: Opener::default(),
        kills_set_id: false,
    };
    bench.router.handle_by_opener(caller, ino, request);
}

#[test]
fn a_writer_and_its_children_open_what_it_writes_at_once_and_others_wait() {
    let bench = Bench::at_rest(Deliver::Settled, |_| {});
    let (child, other) = (Guard::sleeping(), Guard::sleeping());
    let writer = bench.router.writer(child.pid()).unwrap();
    let (ino, _) = bench.create_by("x", writer);
    bench.handle(opened(&bench, ino, child.pid()));
    let waits = opened(&bench, ino, other.pid());
    until("it to wait", || {
        bench.router.look(|core| core.waiting_thread(waits)) == Some(other.pid())
    });
    assert_eq!(bench.answer(waits), None);
    until("the inspector to be done with it", || {
        bench.router.inspector.is_done()
    });

    // Both are children of this process.
    let writer = bench.router.writer(own()).unwrap();
    let (ino, _) = bench.create_by("y", writer);
    bench.handle(opened(&bench, ino, other.pid()));
}

#[test]
fn where_the_opener_does_not_matter_no_process_is_inspected() {
    let bench = Bench::at_rest(Deliver::Settled, |_| {});
    let writer = bench.router.writer(own()).unwrap();
    let (ino, handle) = bench.create_by("x", writer);
    // A process that cannot be seen, and the flusher.
    let waits = opened(&bench, ino, 0);
    assert_eq!(bench.answer(waits), None);
    let caller = Caller {
        internal: true,
        ..bench.caller(own())
    };
    open_by(&bench, caller, ino);
    assert!(matches!(
        bench.answer(caller.unique),
        Some(Answer::Handle(..))
    ));
    bench.release(handle);
    let done = opened(&bench, ino, own());
    assert!(matches!(bench.answer(done), Some(Answer::Handle(..))));
    assert!(bench.router.inspector.is_idle(), "a thread was started");
}

#[test]
fn a_signal_during_the_inspection_ends_the_wait_that_follows_if_it_must() {
    let bench = Bench::at_rest(Deliver::Settled, |_| {});
    let (ino, _) = bench.create("x");
    let child = Guard::sleeping();
    let pid = rustix::process::Pid::from_raw(child.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    until("it to be stopped", || process::must_interrupt(child.pid()));

    // It does not wait yet: the signal is kept for when it does.
    let early = Unique(1 << 20);
    bench.router.inspector.pretend(early);
    bench.router.interrupted(early);
    assert_eq!(bench.router.inspector.was_signalled(early), Some(true));
    assert_eq!(bench.answer(early), None);

    // It may come during the inspection or after it.
    for _ in 0..50 {
        let waits = opened(&bench, ino, child.pid());
        bench.router.interrupted(waits);
        assert_eq!(bench.answered(waits), Answer::Error(Errno::INTR));
    }
}

#[test]
fn stopping_answers_requests_under_inspection_too() {
    let mut bench = Bench::new(Deliver::Settled);
    let (ino, _) = bench.create("x");
    let child = Guard::sleeping();
    let waiting: Vec<_> = (0..50).map(|_| opened(&bench, ino, child.pid())).collect();
    bench.stop();
    for unique in waiting {
        let answer = bench.answer(unique);
        assert_eq!(answer, Some(Answer::Error(Errno::NOTCONN)));
    }
    let late = opened(&bench, ino, child.pid());
    assert_eq!(bench.answer(late), Some(Answer::Error(Errno::NOTCONN)));
}

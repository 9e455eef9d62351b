//! The one thread that waits: alarms, callers that had a signal, processes that end, the flusher's answers,
//! and its own end.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::testing::Guard;

#[test]
fn an_alarm_wakes_an_event_loop_that_sleeps_without_one() {
    let bench = Bench::with(Deliver::Stream, |settings| {
        settings.patience = Duration::from_millis(50);
    });
    bench.until_it_sleeps();
    let (ino, _) = bench.create("s");
    let held = bench.write(ino, 0, &[0; 17]);
    assert_eq!(bench.answered(held), Answer::Written(17));
    assert!(!bench.router.event_loop.was_woken(), "or it never sleeps");
}

#[test]
fn an_alarm_that_becomes_earlier_wakes_an_event_loop_that_sleeps_for_a_later_one() {
    let bench = Bench::with(Deliver::Stream, |settings| {
        settings.patience = Duration::from_millis(50);
        settings.linger = Linger::After(FOR_EVER);
    });
    let (_, handle) = bench.create("lingers");
    bench.release(handle);
    until("it to sleep for an hour", || {
        let until = bench.router.event_loop.sleeps_until();
        (nanoseconds(FOR_EVER / 2)..NEVER).contains(&until)
    });
    let (ino, _) = bench.create("s");
    let held = bench.write(ino, 0, &[0; 17]);
    assert_eq!(bench.answered(held), Answer::Written(17));
}

#[test]
fn an_event_loop_without_anything_to_wait_for_sleeps() {
    let bench = Bench::new(Deliver::Follow);
    bench.until_it_sleeps();
    assert_eq!(bench.router.event_loop.sleeps_until(), NEVER);
    // Neither a later alarm than the one it sleeps for wakes it, nor an operation without one.
    bench.router.tell(Request::Tick);
    assert!(!bench.router.event_loop.was_woken());
}

#[test]
fn a_caller_that_had_a_harmless_signal_is_checked_until_it_has_one_that_ends_its_wait() {
    let bench = Bench::new(Deliver::Settled);
    let (ino, _) = bench.create("x");
    let child = Guard::sleeping();
    until("the child to have no signal", || {
        !process::must_interrupt(child.pid())
    });
    let waits = bench.open(ino, child.pid());
    let other = bench.open(ino, NO_PROCESS);
    bench.until_it_sleeps();
    bench.router.interrupted(waits);
    // The kernel does not report the next signal.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(bench.answer(waits), None, "its signal ends nothing");
    kill_process(Pid::from_raw(child.pid()).unwrap(), Signal::STOP).unwrap();
    assert_eq!(bench.answered(waits), Answer::Error(Errno::INTR));
    assert_eq!(bench.answer(other), None, "another's wait goes on");
    until("no caller is checked any more", || {
        bench.router.event_loop.signalled().is_empty()
    });
}

#[test]
fn every_signal_ends_the_wait_of_a_caller_that_cannot_be_seen() {
    let bench = Bench::new(Deliver::Settled);
    let (ino, _) = bench.create_by_own("x");
    let waits = bench.open(ino, 0);
    assert_eq!(bench.answer(waits), None);
    bench.router.interrupted(waits);
    assert_eq!(bench.answer(waits), Some(Answer::Error(Errno::INTR)));
}

#[test]
fn a_caller_whose_wait_is_over_is_not_checked_any_more() {
    let bench = Bench::new(Deliver::Settled);
    let (ino, handle) = bench.create("x");
    let child = Guard::sleeping();
    until("the child to have no signal", || {
        !process::must_interrupt(child.pid())
    });
    let waits = bench.open(ino, child.pid());
    bench.router.interrupted(waits);
    bench.release(handle);
    bench.handle(waits);
    until("no caller is checked", || {
        bench.router.event_loop.signalled().is_empty()
    });
}

#[test]
fn a_writer_that_is_killed_fails_its_file_and_is_watched_no_more() {
    let bench = Bench::with(Deliver::Follow, |settings| {
        settings.linger = Linger::After(FOR_EVER);
    });
    let mut child = Guard::sleeping();
    let writer = bench.router.writer(child.pid()).unwrap();
    bench.router.processes.remember(NO_PROCESS, child.pid());
    let (ino, handle) = bench.create_by("x", writer);
    let reader = bench.open(ino, NO_PROCESS);
    let reader = bench.handle(reader);
    bench.write(ino, 0, b"half");
    bench.read(reader, 0, NO_PROCESS);
    let end = bench.read(reader, 4, NO_PROCESS);
    child.0.kill().unwrap();
    until("its end to be heard of", || {
        bench.router.processes.is_empty()
    });
    assert_eq!(bench.answer(end), None, "its last close is still to come");
    bench.release(handle);
    let settings = Linger::After(FOR_EVER);
    assert_eq!(bench.answer(end), None, "{settings:?}");
    // Pretends that the hour is over.
    let mut now = bench.router.now();
    now.monotonic += 2 * FOR_EVER;
    let env = Env {
        now,
        processes: &bench.router.processes,
    };
    let effects = lock(&bench.router.core).handle(env, Caller::SELF, Request::Tick);
    bench.carry_out(effects);
    assert_eq!(bench.answer(end), Some(Answer::Error(Errno::IO)));
}

/// As long as a zombie is left its group exists for the kernel. No event tells that no other process is left.
#[test]
fn an_empty_file_is_done_when_only_zombies_are_left_of_the_group_that_made_it() {
    let bench = Bench::with(Deliver::Follow, |settings| settings.linger = Linger::Auto);
    let mut child = Guard::of(Command::new("sleep").arg("600").process_group(0));
    let writer = bench.router.writer(child.pid()).unwrap();
    let (ino, handle) = bench.create_by("x", writer);
    let reader = bench.open(ino, NO_PROCESS);
    let reader = bench.handle(reader);
    let end = bench.read(reader, 0, NO_PROCESS);
    bench.release(handle);
    child.0.kill().unwrap();
    assert_eq!(bench.answered(end), Answer::Error(Errno::IO));
}

/// A file with a reader that is written through the page cache.
fn followed(bench: &Bench, name: &str) -> u64 {
    let (ino, _) = bench.create(name);
    bench.handle(bench.open(ino, NO_PROCESS));
    ino
}

/// The messages that the flusher got.
fn asked(bench: &Bench) -> Vec<Done> {
    let done = bench.outbox.done().into_iter();
    done.filter(|done| matches!(done, Done::Flush(..)))
        .collect()
}

#[test]
fn files_that_the_flusher_refused_are_asked_for_again_however_many() {
    let bench = Bench::new(Deliver::Follow);
    let files = ["x", "y", "z"].map(|name| followed(&bench, name));
    let begun = files.map(|ino| Done::Flush(ino, true));
    until("it to be asked", || asked(&bench) == begun);
    // All answers are read, though the descriptor becomes readable once.
    lock(&bench.flusher.says).extend(files[1..].iter().map(|ino| Ok(Refused(*ino))));
    bench.flusher.say(Ok(Refused(files[0])));
    let refused = |ino| {
        let of_it = asked(&bench).into_iter();
        let of_it = of_it.filter(|done| matches!(done, Done::Flush(of, _) if *of == ino));
        of_it.collect::<Vec<_>>()
    };
    for ino in files {
        until("it to be asked again", || {
            refused(ino) == [true, false, true].map(|on| Done::Flush(ino, on))
        });
    }
}

#[test]
fn when_the_flusher_is_gone_it_is_not_asked_again_and_the_event_loop_lives() {
    let bench = Bench::with(Deliver::Stream, |settings| {
        settings.patience = Duration::from_millis(50);
    });
    bench.until_it_sleeps();
    bench.flusher.say(Err(Gone));
    let heard = || bench.flusher.asked.load(Ordering::Acquire);
    until("it to be heard", || lock(&bench.flusher.says).is_empty());
    bench.until_it_sleeps();
    let before = heard();
    (&bench.flusher.other_end).write_all(b"!").unwrap();
    bench.router.event_loop.wake();
    // The event loop handles other events after that.
    let (ino, _) = bench.create("s");
    let held = bench.write(ino, 0, &[0; 17]);
    assert_eq!(bench.answered(held), Answer::Written(17));
    assert_eq!(heard(), before);
}

#[test]
fn stopping_answers_all_requests_and_ends_the_event_loop_though_the_flusher_is_gone() {
    let mut bench = Bench::with(Deliver::Settled, |settings| {
        let follows = Some("*.log");
        settings.rules.push(follows, Deliver::Follow).unwrap();
    });
    let (ino, _) = bench.create_by_own("x");
    bench.write(ino, 0, b"data");
    let reader = {
        let followed = followed(&bench, "x.log");
        bench.handle(bench.open(followed, NO_PROCESS))
    };
    let child = Guard::sleeping();
    let mut waiting = vec![bench.open(ino, child.pid()), bench.open(ino, 0)];
    bench.router.interrupted(waiting[0]);
    waiting.push(bench.read(reader, 4, NO_PROCESS));
    lock(&bench.flusher.says).push_back(Err(Gone));
    bench.stop();
    for unique in &waiting {
        let answer = bench.answer(*unique);
        assert_eq!(answer, Some(Answer::Error(Errno::NOTCONN)));
    }
    // Later requests, too: no thread is left that would answer them.
    let late = bench.open(ino, child.pid());
    assert_eq!(bench.answer(late), Some(Answer::Error(Errno::NOTCONN)));
}

#[test]
fn stopping_answers_held_writes_with_their_lengths() {
    let mut bench = Bench::new(Deliver::Stream);
    let (ino, _) = bench.create("s");
    let held = bench.write(ino, 0, &[0; 100]);
    assert_eq!(bench.answer(held), None);
    bench.stop();
    assert_eq!(bench.answer(held), Some(Answer::Written(100)));
}

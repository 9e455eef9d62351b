//! Effects of one operation in order, and the processes that write.

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::testing::Guard;

#[test]
fn messages_to_the_flusher_go_first_and_all_else_in_order() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let names = ["1", "2", "3"].map(Unique::of);
    let refusal = |unique, errno| Effect::Reply {
        unique,
        reply: Reply::Refused(errno),
    };
    let mut effects = Effects::default();
    effects.push(refusal(names[0], Errno::INTR));
    effects.flushes.push(Flush { ino: 7, on: true });
    effects.push(refusal(names[1], Errno::IO));
    effects.flushes.push(Flush { ino: 8, on: true });
    effects.flushes.push(Flush { ino: 7, on: false });
    effects.push(refusal(names[2], Errno::NOENT));
    bench.carry_out(effects);
    let refused = |unique, errno| Done::Answered(unique, Answer::Error(errno));
    assert_eq!(
        bench.outbox.done(),
        [
            Done::Flush(7, true),
            Done::Flush(8, true),
            Done::Flush(7, false),
            refused(names[0], Errno::INTR),
            refused(names[1], Errno::IO),
            refused(names[2], Errno::NOENT),
        ]
    );
}

impl Unique {
    fn of(text: &str) -> Unique {
        Unique(text.parse().unwrap())
    }
}

#[test]
fn pages_of_a_file_that_is_gone_are_forgotten_with_the_operation_that_removed_it() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let (ino, handle) = bench.create("x");
    bench.router.tell(Request::Forget { ino, lookups: 1 });
    bench.release(handle);
    assert_eq!(bench.outbox.done(), []);
    let at = at(ROOT, OsStr::new("x"));
    let removed = bench.router.ask(Caller::SELF, Request::Unlink { at });
    removed.unwrap();
    assert_eq!(bench.outbox.done(), [Done::Forgot(ino)]);
}

#[test]
fn a_process_that_cannot_be_seen_or_is_gone_writes_as_an_unseen_one() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    for thread in [0, NO_PROCESS] {
        assert_eq!(bench.router.writer(thread).unwrap().pid, 0);
    }
    assert!(bench.router.processes.is_empty());
}

#[test]
fn a_writer_is_watched_once_and_known_by_its_threads_too() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let own = std::process::id().cast_signed();
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    assert_ne!(thread, own, "tests run in threads of their own");
    for id in [thread, own, thread] {
        let writer = bench.router.writer(id).unwrap();
        assert_eq!(writer.pid, own);
        assert_eq!(writer.ending, Ending::Running);
        assert_eq!(bench.router.processes.running_process(id), Some(own));
    }
    assert_eq!(bench.router.processes.watched().len(), 1);
    assert_eq!(bench.router.processes.remembered_process(thread), Some(own));
}

/// The id of a thread that has ended may be another process's by now.
#[test]
fn a_thread_that_belongs_to_another_process_by_now_is_not_known_by_the_old_one() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let child = Guard::sleeping();
    assert_eq!(bench.router.watch(child.pid()), Ok(Some(child.pid())));
    assert_eq!(
        bench.router.processes.running_process(child.pid()),
        Some(child.pid())
    );
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    bench.router.processes.remember(thread, child.pid());
    assert_eq!(bench.router.processes.running_process(thread), None);
    // Its process is found anew and remembered.
    let own = std::process::id().cast_signed();
    assert_eq!(bench.router.writer(thread).unwrap().pid, own);
    assert_eq!(bench.router.processes.remembered_process(thread), Some(own));
}

/// A process id is used again once its process was reaped: how that one ended must be noted before the new
/// one takes its place, or its readers would never learn it.
#[test]
fn when_an_id_is_used_again_how_its_last_owner_ended_is_noted_first() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let mut killed = Guard::sleeping();
    let watch = ExitWatch::open(killed.pid()).unwrap();
    killed.0.kill().unwrap();
    until("it to be dead", || watch.state() != Ending::Running);

    // Pretends that the second has the id of the first, whose end the event loop has not seen.
    let second = Guard::sleeping();
    let writer = Writer {
        pid: second.pid(),
        ..bench.router.writer(killed.pid()).unwrap()
    };
    bench.router.processes.pretend(second.pid(), watch);
    let writer = Writer {
        ending: Ending::Running,
        ..writer
    };
    let (ino, handle) = bench.create_by("x", writer);
    let reader = bench.open(ino, NO_PROCESS);
    bench.release(handle);
    assert_eq!(bench.router.watch(second.pid()), Ok(Some(second.pid())));

    let ended = Ending::Signal(libc::SIGKILL);
    let reader = bench.handle(reader);
    let end = bench.read(reader, 0, NO_PROCESS);
    let failed = Answer::Error(Errno::IO);
    assert_eq!(bench.answer(end), Some(failed), "it ended by {ended:?}");
    let watched = bench.router.processes.watched();
    assert!(
        watched.contains(&(second.pid(), Ending::Running)),
        "{watched:?}"
    );
}

/// A stop must end a process's wait: the kernel does not report it twice.
fn stop(child: &Guard) {
    kill_process(Pid::from_raw(child.pid()).unwrap(), Signal::STOP).unwrap();
    until("it to be stopped", || process::must_interrupt(child.pid()));
}

#[test]
fn a_signal_that_must_end_a_wait_ends_it_and_another_does_not() {
    let bench = Bench::at_rest(Deliver::Settled, |_| {});
    let (ino, _) = bench.create("x");
    let child = Guard::sleeping();
    let waits = bench.open(ino, child.pid());
    until("the child to have no signal", || {
        !process::must_interrupt(child.pid())
    });
    bench.router.interrupted(waits);
    assert_eq!(bench.answer(waits), None);
    assert_eq!(bench.router.event_loop.signalled(), [waits]);

    let waits = bench.open(ino, child.pid());
    stop(&child);
    bench.router.interrupted(waits);
    assert_eq!(bench.answer(waits), Some(Answer::Error(Errno::INTR)));
    assert_eq!(bench.router.event_loop.signalled().len(), 1);
    // The kernel may interrupt a request that was answered meanwhile.
    bench.router.interrupted(waits);
    bench.router.interrupted(Unique(12345));
    assert_eq!(bench.router.event_loop.signalled().len(), 1);
}

#[test]
fn an_interrupt_ends_the_wait_of_a_caller_that_cannot_be_seen() {
    let bench = Bench::at_rest(Deliver::Settled, |_| {});
    let (ino, _) = bench.create_by_own("x");
    let waits = bench.open(ino, 0);
    bench.router.interrupted(waits);
    assert_eq!(bench.answer(waits), Some(Answer::Error(Errno::INTR)));
}

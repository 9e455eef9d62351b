//! Readers in this process.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use super::*;
use crate::core::patching::Reading;
use crate::testing::SOON;

fn capture(bench: &Bench) -> CaptureId {
    bench.router.capture(&[OsString::from("x")]).unwrap()
}

fn waiting(bench: &Bench) -> usize {
    bench.router.look(Core::waiting_count)
}

fn text(given: Result<Given, Failure>) -> Vec<u8> {
    match given {
        Ok(Given::Bytes(bytes)) => bytes.to_vec().unwrap(),
        Ok(Given::End) => Vec::new(),
        other => panic!("{other:?}"),
    }
}

/// A deadline that passes only if the answer never comes.
fn soon() -> Option<Instant> {
    Some(Instant::now() + SOON)
}

fn failure(given: Result<Given, Failure>) -> Failure {
    match given {
        Ok(given) => panic!("{given:?}"),
        Err(failure) => failure,
    }
}

#[test]
fn a_reader_here_gets_bytes_and_the_end_and_the_kernel_is_told_of_neither() {
    let bench = Bench::new(Deliver::Follow);
    let id = capture(&bench);
    let mut reader = bench.router.read_capture(id, Reading::default()).unwrap();
    std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            let first = text(reader.read(0, 100, soon()));
            let second = text(reader.read(first.len() as u64, 100, soon()));
            let all = [first, second].concat();
            let end = text(reader.read(all.len() as u64, 100, soon()));
            (all, end)
        });
        let (ino, handle) = bench.create("x");
        bench.write(ino, 0, b"one");
        until("it to wait for more", || waiting(&bench) > 0);
        bench.write(ino, 3, b"two");
        bench.release(handle);
        bench.router.release_capture(id, false);
        let (all, end) = read.join().unwrap();
        assert_eq!((&all[..], &end[..]), (&b"onetwo"[..], &b""[..]));
    });
    for done in bench.outbox.done() {
        let Done::Answered(unique, _) = done else {
            continue;
        };
        assert!(unique.0 < 1 << 32, "{unique:?} is none of the kernel's");
    }
}

#[test]
fn a_deadline_ends_one_read_and_the_next_goes_on() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let mut reader = bench
        .router
        .read_capture(capture(&bench), Reading::default())
        .unwrap();
    let (ino, _) = bench.create("x");
    for deadline in [Instant::now(), Instant::now() + Duration::from_millis(20)] {
        let given = reader.read(0, 10, Some(deadline));
        assert_eq!(failure(given), Failure::TimedOut);
        assert!(Instant::now() >= deadline);
    }
    bench.write(ino, 0, b"late");
    assert_eq!(
        text(reader.read(0, 10, Some(Instant::now() + FOR_EVER))),
        b"late"
    );
}

#[test]
fn to_cancel_ends_this_wait_and_all_to_come() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let mut reader = bench
        .router
        .read_capture(capture(&bench), Reading::default())
        .unwrap();
    let canceller = reader.canceller();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until("it to wait", || waiting(&bench) > 0);
            canceller.cancel();
        });
        assert_eq!(failure(reader.read(0, 10, soon())), Failure::Cancelled);
    });
    assert_eq!(failure(reader.read(0, 10, soon())), Failure::Cancelled);
    let (ino, _) = bench.create("x");
    bench.write(ino, 0, b"late");
    assert_eq!(failure(reader.read(0, 10, soon())), Failure::Cancelled);
}

#[test]
fn when_the_mount_ends_so_does_the_wait() {
    let mut bench = Bench::new(Deliver::Follow);
    let mut reader = bench
        .router
        .read_capture(capture(&bench), Reading::default())
        .unwrap();
    let mut events = bench.router.read_events(Some("x".into())).unwrap();
    let router = bench.router.clone();
    let waits = std::thread::spawn(move || {
        let ended = failure(reader.read(0, 10, soon()));
        // And one that begins only then.
        (ended, failure(reader.read(0, 10, soon())))
    });
    let hears = std::thread::spawn(move || failure(events.read(0, 100, soon())));
    until("both to wait", || router.look(Core::waiting_count) == 2);
    bench.stop();
    let gone = Failure::Errno(Errno::NOTCONN);
    assert_eq!(waits.join().unwrap(), (gone, gone));
    assert_eq!(hears.join().unwrap(), gone);
}

#[test]
fn a_reader_of_the_events_of_a_path_gets_no_others() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let mut events = bench.router.read_events(Some("x".into())).unwrap();
    bench.create("other");
    let at_once = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(failure(events.read(0, 4096, at_once)), Failure::TimedOut);
    bench.create("x");
    match events.read(0, 4096, soon()) {
        Ok(Given::Events(events)) => assert_eq!(events[0].path, Path::new("x")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reader_that_is_dropped_is_closed_and_gets_no_answers() {
    let bench = Bench::at_rest(Deliver::Stream, |_| {});
    let reader = bench
        .router
        .read_capture(capture(&bench), Reading::default())
        .unwrap();
    let (ino, _) = bench.create("x");
    assert_eq!(bench.router.locals.count(), 1);
    drop(reader);
    assert_eq!(bench.router.locals.count(), 0);
    // It was the only reader of the stream.
    let refused = bench.write(ino, 0, b"x");
    assert_eq!(bench.answer(refused), Some(Answer::Error(Errno::PIPE)));
}

#[test]
fn changes_of_bytes_that_a_reader_had_are_reported() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let mut reader = bench
        .router
        .read_capture(capture(&bench), Reading::default())
        .unwrap();
    let (ino, _) = bench.create("x");
    bench.write(ino, 0, b"0123456789");
    text(reader.read(0, 100, soon()));
    assert_eq!(reader.look(Core::rewritten_range), None);
    bench.write(ino, 4, b"45xy");
    let stale = failure(reader.read(10, 100, soon()));
    assert_eq!(stale, Failure::Errno(Errno::STALE));
    assert_eq!(reader.look(Core::rewritten_range), Some(6..8));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Told(AtomicUsize);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn a_reader_that_does_not_wait_is_woken_when_trying_again_is_worthwhile() {
    let bench = Bench::at_rest(Deliver::Follow, |_| {});
    let mut reader = bench
        .router
        .read_capture(capture(&bench), Reading::default())
        .unwrap();
    let told = Arc::new(Told::default());
    let waker = Waker::from(Arc::clone(&told));
    let times = || told.0.load(Ordering::Acquire);
    for _ in 0..3 {
        assert!(reader.poll_read(0, 10, &waker).is_pending());
    }
    assert_eq!((waiting(&bench), times()), (1, 0), "one request waits");
    let (ino, _) = bench.create("x");
    bench.write(ino, 0, b"late");
    until("it to be told", || times() == 1);
    match reader.poll_read(0, 10, &waker) {
        Poll::Ready(given) => assert_eq!(text(given), b"late"),
        Poll::Pending => panic!("it was told too early"),
    }
    // A read that waits takes over the pending request, and vice versa.
    assert!(reader.poll_read(4, 10, &waker).is_pending());
    let at_once = Some(Instant::now());
    assert_eq!(failure(reader.read(4, 10, at_once)), Failure::TimedOut);
    assert_eq!(waiting(&bench), 1);
    reader.canceller().cancel();
    assert_eq!(times(), 2);
    match reader.poll_read(4, 10, &waker) {
        Poll::Ready(given) => assert_eq!(failure(given), Failure::Cancelled),
        Poll::Pending => panic!("it was cancelled"),
    }
}

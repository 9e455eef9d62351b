//! Readers and their files: what each keeps of the other, and for how long.

use std::time::Duration;

use rustix::io::Errno;

use super::super::effects::Flush;
use super::super::request::Request;
use super::super::rules::Deliver;
use super::{Answer, World, bytes};

impl World {
    fn knows(&self, ino: u64) -> bool {
        self.core.names.get(ino).is_ok()
    }
}

#[test]
fn the_file_that_a_reader_opened_and_the_one_that_it_reads_now_stay_until_it_closes() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (opened, writer) = world.create("f", libc::O_WRONLY);
    let open = world.open(opened);
    let reader = world.handle(open);
    world.release(writer);
    let (other, writer) = world.create("g", libc::O_WRONLY);
    world.write(other, 0, b"of the other");
    world.rename("g", "f");
    world.forget(opened, 1);
    assert!(world.knows(opened), "its mappings show it");
    let read = world.read(reader, 0, 12);
    assert_eq!(world.answer(read), Some(&bytes("of the other")));
    world.release(writer);
    world.unlink("f");
    world.forget(other, 1);
    assert!(world.knows(other), "it is read");
    world.release(reader);
    assert!(!world.knows(opened) && !world.knows(other));
}

#[test]
fn the_reads_of_a_reader_are_given_up_when_it_closes() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let reads = [0, 8].map(|offset| world.read(reader, offset, 4));
    world.release(reader);
    for read in reads {
        assert_eq!(world.error(read), Some(Errno::INTR));
    }
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"more");
    assert_eq!(world.read_now(reader, 0, 4), bytes("more"));
}

#[test]
fn a_flusher_that_refuses_a_file_is_told_to_leave_it_and_asked_again_a_second_later() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_WRONLY);
    world.tell(Request::NotFlushed { ino });
    assert_eq!(world.flushes, [], "it was not asked");
    let open = world.open(ino);
    world.handle(open);
    world.pass(Duration::from_millis(2));
    assert_eq!(world.flushes, [Flush { ino, on: true }]);
    world.tell(Request::NotFlushed { ino });
    assert_eq!(world.flushes, [Flush { ino, on: false }]);
    world.tell(Request::NotFlushed { ino });
    assert_eq!(world.flushes, [], "it has left it already");
    world.pass(Duration::from_millis(999));
    assert_eq!(world.flushes, []);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.flushes, [Flush { ino, on: true }]);
    world.release(writer);
    assert_eq!(world.flushes, [Flush { ino, on: false }]);
}

#[test]
fn the_flusher_works_only_on_files_that_readers_may_have_before_the_end() {
    for (deliver, is_wanted) in [(Deliver::Follow, true), (Deliver::Settled, false)] {
        let mut world = World::new(deliver, |_| {});
        let (ino, _) = world.create("f", libc::O_WRONLY);
        let open = world.open(ino);
        world.pass(Duration::from_millis(2));
        assert_eq!(!world.flushes.is_empty(), is_wanted, "{deliver}");
        assert_eq!(world.answer(open).is_some(), is_wanted, "{deliver}");
    }
}

#[test]
fn a_write_that_waits_for_a_reader_goes_on_when_that_one_leaves() {
    let mut world = World::new(Deliver::Stream, |settings| {
        settings.patience = Duration::MAX;
    });
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let opens = [world.open(ino), world.open(ino)];
    let [quick, slow] = opens.map(|open| world.handle(open));
    let held = world.write(ino, 0, &[1; 32]);
    assert_eq!(world.answer(held), None);
    world.read(quick, 0, 32);
    assert_eq!(world.answer(held), None, "the other has nothing yet");
    world.release(slow);
    assert_eq!(world.answer(held), Some(&Answer::Written(32)));
}

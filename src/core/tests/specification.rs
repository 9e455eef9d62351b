//! The promises to readers and writers, one sentence a test.

use std::time::Duration;

use rustix::io::Errno;

use super::super::effects::Transport;
use super::super::generation::Ending;
use super::super::namespace::ROOT;
use super::super::request::Opener;
use super::super::rules::Deliver;
use super::{Answer, LINGER, WRITER, World, bytes};

#[test]
fn a_reader_that_follows_gets_bytes_as_they_come_and_then_the_end() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let first = world.read(reader, 0, 3);
    assert_eq!(world.answer(first), None);
    world.write(ino, 0, b"one");
    assert_eq!(world.answer(first), Some(&bytes("one")));
    let end = world.read(reader, 3, 3);
    world.release(handle);
    assert_eq!(world.answer(end), None, "it may be opened again");
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&bytes("")));
}

#[test]
fn a_busy_readers_read_that_can_be_answered_in_part_waits_a_little_for_the_rest() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 100);
    world.write(ino, 0, b"a");
    assert_eq!(world.answer(read), Some(&bytes("a")));

    let read = world.read(reader, 1, 100);
    world.write(ino, 1, b"b");
    assert_eq!(world.answer(read), None);
    world.write(ino, 2, b"c");
    world.pass(Duration::from_millis(3));
    assert_eq!(world.answer(read), Some(&bytes("bc")));

    let read = world.read(reader, 3, 100);
    world.pass(Duration::from_millis(7));
    world.write(ino, 3, b"d");
    assert_eq!(world.answer(read), Some(&bytes("d")));
}

#[test]
fn truncating_a_closed_file_by_its_path_begins_the_wait_for_another_opening_anew() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"long");
    world.release(handle);
    let open = world.open(ino);
    world.pass(LINGER - Duration::from_millis(1));
    world.truncate(ino, 2).unwrap();
    world.pass(LINGER - Duration::from_millis(1));
    assert_eq!(world.answer(open), None);
    world.pass(Duration::from_millis(1));
    let reader = world.handle(open);
    let read = world.read(reader, 0, 9);
    assert_eq!(world.answer(read), Some(&bytes("lo")));
}

#[test]
fn a_settled_reader_is_opened_when_the_file_is_done() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    world.write(ino, 0, b"one");
    world.release(handle);
    assert_eq!(world.answer(open), None);
    world.pass(LINGER);
    let opened = world.answer(open);
    assert!(matches!(opened, Some(Answer::Handle(_, Transport::Cached))));
}

#[test]
fn auto_holds_the_first_bytes_back_for_a_tenth_of_a_second() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, _) = world.create("f.log", libc::O_WRONLY);
    world.write(ino, 0, b"draft");
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 5);
    world.pass(Duration::from_millis(60));
    assert_eq!(world.answer(read), None);
    world.write(ino, 0, b"final");
    world.pass(Duration::from_millis(40));
    assert_eq!(world.answer(read), Some(&bytes("final")));
}

#[test]
fn auto_settles_a_file_that_is_opened_for_reading_and_writing() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, _) = world.create("f.log", libc::O_RDWR);
    world.write(ino, 0, b"text\n");
    let open = world.open(ino);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.answer(open), None);
}

#[test]
fn the_end_of_a_killed_writer_is_an_error_and_not_an_end() {
    for deliver in [Deliver::Follow, Deliver::Stream] {
        let mut world = World::new(deliver, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        let open = world.open(ino);
        world.write(ino, 0, b"half");
        world.release(handle);
        world.end(WRITER, Ending::Signal(9));
        world.pass(LINGER);
        let reader = world.handle(open);
        let read = world.read(reader, 0, 4);
        assert_eq!(world.answer(read), Some(&bytes("half")));
        let end = world.read(reader, 4, 4);
        assert_eq!(world.answer(end), Some(&Answer::Error(Errno::IO)));
    }
}

#[test]
fn a_waiting_reader_cannot_read_bytes_a_second_time() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"once");
    world.read(reader, 0, 4);
    let again = world.read(reader, 0, 4);
    assert_eq!(world.answer(again), Some(&Answer::Error(Errno::SPIPE)));
    let next = world.read(reader, 4, 4);
    world.write(ino, 4, b"more");
    assert_eq!(world.answer(next), Some(&bytes("more")));
}

#[test]
fn readers_that_waited_for_a_settled_file_get_no_byte_of_a_failed_one() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let waits = world.open(ino);
    let asks = world.open_with(ino, libc::O_NONBLOCK, &Opener::default());
    let asks = world.handle(asks);
    world.write(ino, 0, b"half");
    world.release(handle);
    world.end(WRITER, Ending::Signal(9));
    world.pass(LINGER);
    let failed = Some(&Answer::Error(Errno::IO));
    assert_eq!(world.answer(waits), failed);
    let read = world.read(asks, 0, 4);
    assert_eq!(world.answer(read), failed);
    // By its own path it is an ordinary file, as a crash leaves it in any directory.
    let late = world.open(ino);
    let late = world.handle(late);
    let read = world.read(late, 0, 10);
    assert_eq!(world.answer(read), Some(&bytes("half")));
}

#[test]
fn a_failed_file_is_not_consumed() {
    let mut world = World::new(Deliver::Settled, |settings| settings.consume = true);
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"half");
    world.release(handle);
    world.end(WRITER, Ending::Signal(9));
    world.pass(LINGER);
    for _ in 0..2 {
        let open = world.open(ino);
        let reader = world.handle(open);
        let read = world.read(reader, 0, 10);
        assert_eq!(world.answer(read), Some(&bytes("half")));
        let end = world.read(reader, 4, 10);
        assert_eq!(world.answer(end), Some(&bytes("")));
        world.release(reader);
    }
}

#[test]
fn a_failed_file_cannot_be_opened_through_wait() {
    for deliver in [Deliver::Follow, Deliver::Settled, Deliver::Stream] {
        let mut world = World::new(deliver, |_| {});
        let control = world.look_up(ROOT, ".fifofs");
        let wait = world.look_up(control, "wait");
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        world.write(ino, 0, b"half");
        world.release(handle);
        world.end(WRITER, Ending::Signal(9));
        world.pass(LINGER);
        let name = world.look_up(wait, "f");
        let late = world.open(name);
        assert_eq!(world.answer(late), Some(&Answer::Error(Errno::IO)));
    }
}

#[test]
fn an_interrupted_read_is_gone_and_an_interrupted_write_has_happened() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 1);
    world.cancel(read);
    assert_eq!(world.answer(read), Some(&Answer::Error(Errno::INTR)));
    let write = world.write(ino, 0, &[0; 20]);
    assert_eq!(world.answer(write), None);
    world.cancel(write);
    assert_eq!(world.answer(write), Some(&Answer::Written(20)));
}

#[test]
fn a_reader_follows_its_path_to_the_file_that_is_renamed_there() {
    for (content, expected) in [
        ("first, second", bytes("second")),
        ("other, second", Answer::Error(Errno::STALE)),
        ("first", Answer::Error(Errno::STALE)),
    ] {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        world.write(ino, 0, b"first, ");
        let open = world.open(ino);
        let reader = world.handle(open);
        world.read(reader, 0, 7);
        let rest = world.read(reader, 7, 6);
        let (other, other_handle) = world.create("temporary", libc::O_WRONLY);
        world.write(other, 0, content.as_bytes());
        world.rename("temporary", "f");
        world.release(other_handle);
        world.release(handle);
        world.pass(LINGER);
        assert_eq!(world.answer(rest), Some(&expected), "{content}");
    }
}

#[test]
fn a_reader_of_a_removed_file_gets_enoent_when_its_writers_are_gone() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    world.unlink("f");
    assert_eq!(world.answer(open), None);
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(world.answer(open), None, "the writer may make it anew");
    world.end(WRITER, Ending::Status(0));
    assert_eq!(world.answer(open), Some(&Answer::Error(Errno::NOENT)));
}

#[test]
fn nothing_is_left_when_everything_is_closed_and_forgotten() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"x");
    world.read(reader, 0, 10);
    let read = world.read(reader, 1, 10);
    world.release(reader);
    assert_eq!(world.answer(read), Some(&Answer::Error(Errno::INTR)));
    world.release(handle);
    world.unlink("f");
    world.forget(ino, 1);
    world.pass(Duration::from_secs(60));
    let core = &world.core;
    assert!(core.readers.len() == 0 && core.handles.is_empty() && core.files.is_empty());
    assert!(
        core.waiting.is_empty()
            && core.alarms.is_empty()
            && core.readers.all_following().is_empty()
    );
    assert_eq!(core.names.count(), 1);
    assert_eq!(core.pool.memory_used(), 0);
}

#[test]
fn bytes_that_the_next_generation_overwrites_are_an_error_for_readers_of_the_last() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"old-old-");
    let open = world.open(ino);
    let reader = world.handle(open);
    world.read(reader, 0, 4);
    world.release(handle);
    world.pass(LINGER);
    world.reopen_for_writing(ino, libc::O_WRONLY);
    world.write(ino, 0, b"NEW+NEW+");
    let rest = world.read(reader, 4, 4);
    assert_eq!(world.answer(rest), Some(&Answer::Error(Errno::STALE)));
}

#[test]
fn truncating_a_done_file_below_the_position_of_a_slow_reader_is_an_error_for_it() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"01234567");
    let open = world.open(ino);
    let reader = world.handle(open);
    world.read(reader, 0, 4);
    world.release(handle);
    world.pass(LINGER);
    world.truncate(ino, 2).unwrap();
    let rest = world.read(reader, 4, 4);
    assert_eq!(world.answer(rest), Some(&Answer::Error(Errno::STALE)));
}

#[test]
fn once_a_file_is_done_its_readers_keep_it_whatever_happens_to_its_name() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"all of it");
    let open = world.open(ino);
    let reader = world.handle(open);
    world.read(reader, 0, 3);
    world.release(handle);
    world.pass(LINGER);
    world.unlink("f");
    let rest = world.read(reader, 3, 6);
    assert_eq!(world.answer(rest), Some(&bytes(" of it")));
    let end = world.read(reader, 9, 6);
    assert_eq!(world.answer(end), Some(&bytes("")));
}

#[test]
fn bytes_that_the_cache_could_not_hand_over_fail_the_generation() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"kept");
    let lost = world.write_back(ino, 4, &vec![1; 2 << 20]);
    assert_eq!(world.answer(lost), Some(&Answer::Error(Errno::NOSPC)));
    world.read(reader, 0, 4);
    let end = world.read(reader, 4, 4);
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&Answer::Error(Errno::IO)));
}

//! Of many small writes to a stream its readers are told together.

use super::*;

const RECENT: Duration = Duration::from_millis(1);

/// A stream, its writer's handle, and that of a reader that was given something just now.
fn busy_with_writer() -> (World, u64, u64, u64) {
    let mut world = World::new(Deliver::Stream, |settings| {
        settings.gathers = true;
        settings.window_bytes = 1 << 20;
    });
    let (ino, writer) = world.create("s", libc::O_WRONLY);
    let opened = world.open(ino);
    let reader = world.handle(opened);
    let read = world.read(reader, 0, 1 << 20);
    world.write(ino, 0, b"first");
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"first".to_vec())));
    (world, ino, writer, reader)
}

fn busy() -> (World, u64, u64) {
    let (world, ino, _, reader) = busy_with_writer();
    (world, ino, reader)
}

#[test]
fn a_busy_reader_gets_several_writes_at_once() {
    let (mut world, ino, reader) = busy();
    let read = world.read(reader, 5, 1 << 20);
    let write = world.write(ino, 5, b", second");
    assert_eq!(world.answer(write), Some(&Answer::Written(8)));
    world.write(ino, 13, b", third");
    assert!(world.answer(read).is_none() && world.gathers);
    world.tell(Request::EndBatch);
    let both = Answer::Bytes(b", second, third".to_vec());
    assert_eq!(world.answer(read), Some(&both));
    assert!(!world.gathers);
}

#[test]
fn a_busy_writer_is_answered_before_its_readers_and_another_after_them() {
    let (mut world, ino, reader) = busy();
    for (busy, at) in [(true, 5), (false, 5 + (300 << 10))] {
        let read = world.read(reader, at, 1 << 20);
        if !busy {
            world.pass(RECENT);
        }
        let write = world.write(ino, at, &[0; 300 << 10]);
        let order = match busy {
            true => [write, read],
            false => [read, write],
        };
        assert!(world.answered.ends_with(&order), "{busy}");
    }
}

#[test]
fn it_waits_neither_for_much_nor_for_what_is_there_already_nor_for_the_end() {
    let (mut world, ino, reader) = busy();
    world.write(ino, 5, b"there");
    let read = world.read(reader, 5, 1 << 20);
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"there".to_vec())));

    let read = world.read(reader, 10, 1 << 20);
    world.write(ino, 10, &vec![0; 300 << 10]);
    assert!(world.answer(read).is_some(), "it is much");

    let at = 10 + (300 << 10);
    let read = world.read(reader, at, 3);
    world.write(ino, at, b"all");
    assert!(world.answer(read).is_some(), "it is all that was asked for");

    let read = world.read(reader, at + 3, 1 << 20);
    let last = world.write(ino, at + 3, b"end");
    assert!(world.answer(last).is_some() && world.answer(read).is_none());
    world.pass(RECENT);
    world.write(ino, at + 6, b".");
    let end = Answer::Bytes(b"end.".to_vec());
    assert_eq!(world.answer(read), Some(&end), "the next write comes late");
}

#[test]
fn lines_now_and_then_are_given_as_they_come() {
    let (mut world, ino, reader) = busy();
    for line in 0..3 {
        world.pass(RECENT);
        let read = world.read(reader, 5 + line, 1 << 20);
        world.write(ino, 5 + line, b"x");
        assert_eq!(world.answer(read), Some(&Answer::Bytes(b"x".to_vec())));
    }
}

#[test]
fn a_writer_that_waits_for_the_reader_does_not_wait_for_its_gathering() {
    let (mut world, ino, reader) = busy();
    world.core.settings.window_bytes = 16;
    let read = world.read(reader, 5, 1 << 20);
    world.write(ino, 5, &[0; 8]);
    assert!(world.answer(read).is_some(), "half of the window");
}

#[test]
fn of_two_reads_at_once_the_answer_to_one_does_not_strand_the_other() {
    let (mut world, ino, reader) = busy();
    let long = world.read(reader, 8, 1 << 20);
    let short = world.read(reader, 5, 3);
    world.write(ino, 5, b"more");
    assert!(world.answer(short).is_some() && world.answer(long).is_none());
    assert!(world.gathers);
    world.tell(Request::EndBatch);
    assert_eq!(world.answer(long), Some(&Answer::Bytes(b"e".to_vec())));
}

#[test]
fn what_is_gathered_when_the_file_is_done_comes_with_it() {
    let (mut world, ino, writer, reader) = busy_with_writer();
    let read = world.read(reader, 5, 1 << 20);
    world.write(ino, 5, b"last");
    assert!(world.answer(read).is_none());
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"last".to_vec())));
}

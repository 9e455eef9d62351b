//! A stream is only a pipe.

use std::ffi::OsStr;
use std::time::Duration;

use rustix::io::Errno;

use super::super::namespace::Rename;
use super::super::rules::Deliver;
use super::super::timers::READER_RECENT;
use super::{Answer, LINGER, World, bytes};

#[test]
fn a_stream_writer_waits_for_the_slowest_reader_but_not_for_ever() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let opens = [world.open(ino), world.open(ino)];
    let readers = opens.map(|open| world.handle(open));
    let within = world.write(ino, 0, &[1; 16]);
    assert_eq!(world.answer(within), Some(&Answer::Written(16)));
    let beyond = world.write(ino, 16, &[2; 8]);
    world.read(readers[0], 0, 24);
    assert_eq!(world.answer(beyond), None, "the other reader has nothing");
    world.read(readers[1], 0, 8);
    assert_eq!(world.answer(beyond), Some(&Answer::Written(8)));
    let again = world.write(ino, 24, &[3; 8]);
    assert_eq!(world.answer(again), None);
    world.pass(Duration::from_millis(300));
    assert_eq!(world.answer(again), Some(&Answer::Written(8)));
}

#[test]
fn a_stream_is_a_pipe_for_late_readers_early_leavers_and_writers_that_go_back() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"0123");
    world.read(reader, 0, 4);
    let back = world.write(ino, 0, b"x");
    assert_eq!(world.answer(back), Some(&Answer::Error(Errno::SPIPE)));
    let late = world.open(ino);
    assert_eq!(world.answer(late), Some(&Answer::Error(Errno::STALE)));
    world.release(reader);
    let broken = world.write(ino, 4, b"x");
    assert_eq!(world.answer(broken), Some(&Answer::Error(Errno::PIPE)));
}

/// A stream `f` that has delivered four bytes to a reader.
fn streamed() -> (World, u64, u64) {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_RDWR);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"0123");
    world.read(reader, 0, 4);
    (world, ino, reader)
}

#[test]
fn what_a_pipe_cannot_do_fails_a_stream_for_good() {
    type Act = fn(&mut World, u64) -> Option<Errno>;
    let acts: [(&str, Act); 8] = [
        ("write", |world, ino| {
            let write = world.write(ino, 3, b"34");
            world.error(write)
        }),
        ("mapped", |world, ino| {
            let write = world.write_back(ino, 0, b"0123");
            world.error(write)
        }),
        ("read back", |world, ino| {
            let writer = world.reopen_for_writing(ino, libc::O_RDWR);
            let read = world.read(writer, 0, 4);
            world.error(read)
        }),
        ("punch", |world, ino| {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            world.try_to_allocate(ino, (1, 2), mode).err()
        }),
        ("cut", |world, ino| world.truncate(ino, 3).err()),
        ("empty", |world, ino| {
            let reopened = world.try_to_reopen(ino, libc::O_WRONLY | libc::O_TRUNC);
            world.error(reopened)
        }),
        ("replace", |world, _| {
            world.create("new", libc::O_WRONLY);
            world.try_to_rename("new", "f", Rename::Replace).err()
        }),
        ("make anew", |world, _| {
            world.unlink("f");
            world.try_to_create("f", libc::O_WRONLY).err()
        }),
    ];
    for (what, act) in acts {
        let (mut world, ino, reader) = streamed();
        let waits = world.read(reader, 4, 4);
        assert_eq!(act(&mut world, ino), Some(Errno::SPIPE), "{what}");
        assert_eq!(world.error(waits), Some(Errno::IO), "{what}");
        let goes_on = world.write(ino, 4, b"45");
        assert_eq!(world.error(goes_on), Some(Errno::PIPE), "{what}");
        let again = world.read(reader, 4, 4);
        assert_eq!(world.error(again), Some(Errno::IO), "{what}");
    }
}

#[test]
fn a_request_that_is_refused_anyway_does_no_harm_to_a_stream() {
    let (mut world, ino, reader) = streamed();
    let (other, _) = world.create("other", libc::O_WRONLY);
    let refused = world.try_to_rename("other", "f", Rename::KeepTarget);
    assert_eq!(refused, Err(Errno::EXIST));
    assert_eq!(world.try_to_link(other, "f"), Err(Errno::EXIST));
    assert_eq!(world.try_to_create("f", libc::O_WRONLY), Err(Errno::EXIST));
    world.write(ino, 4, b"45");
    let read = world.read(reader, 4, 4);
    assert_eq!(world.answer(read), Some(&bytes("45")));
}

#[test]
fn removing_a_streams_name_changes_nothing_for_its_reader() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.unlink("f");
    world.write(ino, 0, b"0123");
    let read = world.read(reader, 0, 4);
    assert_eq!(world.answer(read), Some(&bytes("0123")));
    let end = world.read(reader, 4, 4);
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&bytes("")));
}

#[test]
fn a_stream_that_all_readers_left_gives_the_next_reader_an_error() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let leaves = world.handle(open);
    world.release(leaves);
    let write = world.write(ino, 0, b"missed");
    assert_eq!(world.error(write), Some(Errno::PIPE));
    let late = world.open(ino);
    assert_eq!(world.error(late), Some(Errno::IO));
    world.release(handle);
    world.pass(LINGER);
    let late = world.open(ino);
    assert_eq!(world.error(late), Some(Errno::IO));
}

#[test]
fn a_stream_whose_path_leads_to_another_file_has_failed() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let [first, second] = ["first", "second"].map(|name| {
        let directory = world.try_to_make_directory(name).unwrap();
        let made = world.try_to_create_at((directory, OsStr::new("f")), libc::O_WRONLY);
        made.unwrap().0
    });
    let open = world.open(first);
    let reader = world.handle(open);
    world.write(first, 0, b"0123");
    world.write(second, 0, b"0123 and more");
    world.read(reader, 0, 4);
    let waits = world.read(reader, 4, 4);
    let mut rename = |from: &str, to: &str| {
        world.rename(from, to);
    };
    rename("first", "away");
    rename("second", "first");
    assert_eq!(world.error(waits), Some(Errno::IO));
    let write = world.write(first, 4, b"4567");
    assert_eq!(world.error(write), Some(Errno::PIPE));
}

#[test]
fn a_reader_with_an_error_keeps_no_later_generation_from_being_read() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"0123");
    world.read(reader, 0, 2);
    world.release(handle);
    world.pass(LINGER);
    // The next generation overwrites bytes that it has not read yet.
    world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_TRUNC);
    let rest = world.read(reader, 2, 2);
    assert_eq!(world.error(rest), Some(Errno::STALE));
    world.write(ino, 0, b"anew");
    let open = world.open(ino);
    let next = world.handle(open);
    let all = world.read(next, 0, 4);
    assert_eq!(world.answer(all), Some(&bytes("anew")));
}

#[test]
fn a_busy_writer_is_answered_before_its_readers_and_another_after_them() {
    let mut world = World::new(Deliver::Stream, |settings| settings.window_bytes = 1 << 20);
    let (ino, _) = world.create("s", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.read(reader, 0, 1 << 20);
    world.write(ino, 0, b"first");
    for (busy, at) in [(true, 5), (false, 10)] {
        let read = world.read(reader, at, 1 << 20);
        if !busy {
            world.pass(READER_RECENT);
        }
        let write = world.write(ino, at, b"again");
        let order = match busy {
            true => [write, read],
            false => [read, write],
        };
        assert!(world.answered.ends_with(&order), "{busy}");
    }
}

#[test]
fn a_waiting_write_is_answered_when_an_open_empties_the_file() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let held = world.write(ino, 0, &[1; 21]);
    assert_eq!(world.answer(held), None);
    world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_TRUNC);
    assert_eq!(world.answer(held), Some(&Answer::Written(21)));
}

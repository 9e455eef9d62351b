//! Changes of a file other than writes: the way of delivery that they choose, and copies.

use std::time::Duration;

use rustix::io::Errno;

use super::super::generation::{Ending, Way};
use super::super::request::{Request, User};
use super::super::rules::Deliver;
use super::{Answer, LINGER, WRITER, World};

fn way_after(act: impl FnOnce(&mut World, u64)) -> Option<Way> {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, _) = world.create("f.log", libc::O_WRONLY);
    act(&mut world, ino);
    world.write(ino, 0, b"line\n");
    world.core.files[&ino].way()
}

fn allocate(world: &mut World, ino: u64, length: u64) {
    world.try_to_allocate(ino, (0, length), 0).unwrap();
}

#[test]
fn auto_settles_only_files_that_have_a_length_before_they_are_written() {
    assert_eq!(way_after(|_, _| {}), Some(Way::Follow));
    let emptied = way_after(|world, ino| world.truncate(ino, 0).unwrap());
    assert_eq!(emptied, Some(Way::Follow));
    let longer = way_after(|world, ino| world.truncate(ino, 9).unwrap());
    assert_eq!(longer, Some(Way::Settled));
    let allocated = way_after(|world, ino| allocate(world, ino, 9));
    assert_eq!(allocated, Some(Way::Settled));
    // Once it is written it is too late for that.
    for act in [
        |world: &mut World, ino| world.truncate(ino, 9).unwrap(),
        |world: &mut World, ino| {
            allocate(world, ino, 9);
        },
    ] {
        let way = way_after(|world, ino| {
            world.write(ino, 0, b"first\n");
            act(world, ino);
        });
        assert_eq!(way, Some(Way::Follow));
    }
}

#[test]
fn a_copy_within_the_mount_reaches_followers_and_a_copy_from_a_waiting_reader_is_refused() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (from, from_handle) = world.create("from", libc::O_RDWR);
    let (to, _) = world.create("to", libc::O_WRONLY);
    world.write(from, 0, b"0123456789");
    let open = world.open(to);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 100);
    let mut copy = |handle, offset, length| {
        let copy = Request::Copy {
            from: (from, handle, offset),
            to: (to, 0),
            length,
            by: User { uid: 0, gid: 0 },
        };
        match world.ask(copy) {
            Ok(Answer::Written(copied)) => Ok(copied),
            Ok(other) => panic!("{other:?}"),
            Err(errno) => Err(errno),
        }
    };
    assert_eq!(copy(from_handle, 2, 5), Ok(5));
    assert_eq!(copy(from_handle, 10, 5), Ok(0), "beyond the end");
    assert_eq!(copy(reader, 0, 5), Err(Errno::XDEV));
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"23456".to_vec())));
}

#[test]
fn reading_a_failed_file_again_past_its_end_gives_the_error_again() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"half");
    world.read(reader, 0, 4);
    world.end(WRITER, Ending::Signal(libc::SIGKILL));
    world.release(handle);
    world.pass(LINGER);
    world.pass(Duration::from_secs(2));
    for _ in 0..2 {
        let end = world.read(reader, 4, 4);
        assert_eq!(world.error(end), Some(Errno::IO));
    }
}

#[test]
fn holes_are_found_only_where_the_kernel_holds_no_bytes_back_and_no_reader_waits() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer) = world.create("f", libc::O_RDWR);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"x");
    world.write(ino, 8192, b"y");
    let seek = |world: &mut World, handle, offset, data| {
        let seek = Request::Seek {
            ino,
            handle,
            offset,
            data,
        };
        world.ask(seek)
    };
    // Programs then read the whole file.
    let unknown = Err(Errno::INVAL);
    assert_eq!(seek(&mut world, writer, 0, true), unknown);
    world.release(writer);
    world.pass(LINGER);
    assert_eq!(seek(&mut world, reader, 0, true), unknown);
    let open = world.open(ino);
    let plain = world.handle(open);
    for (offset, data, expected) in [
        (0, true, Ok(Answer::Sought(0))),
        (0, false, Ok(Answer::Sought(4096))),
        (4096, true, Ok(Answer::Sought(8192))),
        (8192, false, Ok(Answer::Sought(8193))),
        (8193, true, Err(Errno::NXIO)),
        (u64::MAX, false, Err(Errno::NXIO)),
    ] {
        assert_eq!(seek(&mut world, plain, offset, data), expected, "{offset}");
    }
}

//! Readers by position: they get the bytes that a file has, and the ranges that have changed since.

use super::super::ids::CaptureId;
use super::super::patching::Reading;
use super::super::request::{Opener, Request};
use super::super::rules::Deliver;
use super::{Answer, World};

impl World {
    fn open_by_position(&mut self, id: CaptureId) -> u64 {
        let reading = Reading {
            of_holders: false,
            by_position: true,
        };
        let opener = Opener::default();
        match self.ask(Request::OpenCaptured {
            id,
            reading,
            opener,
        }) {
            Ok(Answer::Handle(handle, _)) => handle,
            other => panic!("not opened: {other:?}"),
        }
    }
}

/// A captured file that is open for writing, and a reader by position that has announced that it releases bytes.
fn of_a_releasing_reader(world: &mut World, name: &str) -> (u64, u64) {
    let id = world.capture(name);
    let reader = world.open_by_position(id);
    world.tell(Request::ReleaseBytes {
        handle: reader,
        range: 0..0,
    });
    (world.create(name, libc::O_RDWR).0, reader)
}

fn bytes(bytes: &[u8]) -> Option<Answer> {
    Some(Answer::Bytes(bytes.to_vec()))
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn a_reader_by_position_gets_the_bytes_of_any_way_and_the_ranges_that_change() {
    for deliver in [Deliver::Settled, Deliver::Follow, Deliver::Auto] {
        let mut world = World::new(deliver, |_| {});
        let id = world.capture("f");
        let reader = world.open_by_position(id);
        let (ino, handle) = world.create("f", libc::O_RDWR);
        let first = world.read(reader, 0, 4);
        assert_eq!(world.answer(first), None);
        world.write(ino, 0, b"abcdefgh");
        assert_eq!(world.answer(first).cloned(), bytes(b"abcd"), "{deliver:?}");
        assert!(world.core.changed_ranges(reader).is_empty());
        // Neither bytes that it was not given nor bytes that are the same have changed.
        world.write(ino, 4, b"EFGH");
        world.write(ino, 0, b"ab");
        assert!(world.core.changed_ranges(reader).is_empty());
        world.write(ino, 1, b"BC");
        assert_eq!(world.core.changed_ranges(reader), [1..3]);
        let again = world.read(reader, 0, 4);
        assert_eq!(world.answer(again).cloned(), bytes(b"aBCd"));
        assert!(world.core.changed_ranges(reader).is_empty());
        // A READ of no bytes waits for the length.
        let wait = world.read(reader, 8, 0);
        assert_eq!(world.answer(wait), None);
        world.write(ino, 8, b"i");
        assert_eq!(world.answer(wait).cloned(), bytes(b""));
        world.truncate(ino, 2).unwrap();
        assert!(
            world
                .core
                .changed_ranges(reader)
                .iter()
                .any(|range| range.contains(&3))
        );
        world.write(ino, 2, b"xy");
        let rest = world.read(reader, 2, 2);
        assert_eq!(world.answer(rest).cloned(), bytes(b"xy"));
        world.release(handle);
    }
}

#[test]
#[allow(clippy::single_range_in_vec_init)]
fn for_a_reader_by_position_a_file_that_takes_its_place_has_changed_as_a_whole() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let id = world.capture("f");
    let reader = world.open_by_position(id);
    let (ino, first) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"first");
    world.read(reader, 0, 5);
    let (other, second) = world.create("t", libc::O_WRONLY);
    world.write(other, 0, b"2nd");
    world.rename("t", "f");
    assert_eq!(world.core.changed_ranges(reader), [0..5]);
    let read = world.read(reader, 0, 3);
    assert_eq!(world.answer(read).cloned(), bytes(b"2nd"));
    assert_eq!(world.core.changed_ranges(reader), [3..5]);
    // Bytes that it was given of the new file may change, too.
    world.write(other, 0, b"3rd");
    assert_eq!(world.core.changed_ranges(reader), [0..2, 3..5]);
    world.release(first);
    world.release(second);
}

/// The room for a world's files, in pieces of 64 KiB.
const ROOM: u64 = 16;

/// A world whose file takes all the room, and a reader that has read it and released these pieces.
fn released(pieces: std::ops::Range<u64>) -> (World, u64, u64) {
    let mut world = World::new(Deliver::Settled, |_| {});
    let id = world.capture("f");
    let reader = world.open_by_position(id);
    let (ino, _) = world.create("f", libc::O_RDWR);
    for number in 0..ROOM {
        write_piece(&mut world, ino, number, 7);
        world.read(reader, number << 16, 1 << 16);
    }
    for number in pieces {
        release_piece(&mut world, reader, number);
    }
    (world, ino, reader)
}

fn write_piece(world: &mut World, ino: u64, number: u64, byte: u8) -> bool {
    let write = world.write(ino, number << 16, &vec![byte; 1 << 16]);
    world.answer(write).cloned() == Some(Answer::Written(1 << 16))
}

fn release_piece(world: &mut World, handle: u64, number: u64) {
    let range = number << 16..(number + 1) << 16;
    world.tell(Request::ReleaseBytes { handle, range });
}

#[test]
fn released_bytes_are_dropped_when_there_is_no_room_and_not_before() {
    let (mut world, ino, reader) = released(1..3);
    // Released pieces are still there.
    let again = world.read(reader, 1 << 16, 4);
    assert_eq!(world.answer(again).cloned(), bytes(&[7; 4]));
    assert!(write_piece(&mut world, ino, 3, 7), "nothing new");
    for number in [ROOM, ROOM + 1] {
        world.read(reader, number << 16, 1 << 16);
        assert!(write_piece(&mut world, ino, number, 8), "{number}");
    }
    for (number, is_there) in [(0, true), (1, false), (2, false), (3, true), (ROOM, true)] {
        let read = world.read(reader, number << 16, 4);
        let got = world.answer(read).cloned();
        assert_eq!(
            matches!(got, Some(Answer::Bytes(_))),
            is_there,
            "{number}: {got:?}"
        );
        // A READ does not go on into dropped bytes.
        let before = world.read(reader, (number << 16) - number.min(1) * 2, 4);
        let got = world.answer(before).cloned();
        let expected = match number {
            1 => bytes(&[7; 2]),
            2 | 3 => Some(Answer::Error(rustix::io::Errno::STALE)),
            0 => bytes(&[7; 4]),
            _ => bytes(&[7, 7, 8, 8]),
        };
        assert_eq!(got, expected, "before {number}");
    }
    assert!(
        !write_piece(&mut world, ino, ROOM + 2, 8),
        "it waits for its reader"
    );
}

#[test]
fn dropped_bytes_cannot_be_changed_or_read_back_and_the_file_fails() {
    for change in ["write", "read"] {
        let (mut world, ino, reader) = released(1..2);
        world.read(reader, ROOM << 16, 1 << 16);
        assert!(write_piece(&mut world, ino, ROOM, 8));
        assert!(world.core.status().files[0].warning.is_none(), "{change}");
        match change {
            "write" => assert!(!write_piece(&mut world, ino, 1, 9)),
            _ => {
                let plain = world.reopen_for_writing(ino, libc::O_RDWR);
                let read = world.read(plain, (1 << 16) - 1, 2);
                assert_eq!(world.error(read), Some(rustix::io::Errno::SPIPE));
            }
        }
        let warning = world.core.status().files[0].warning.clone();
        let warning = warning.expect("one");
        assert!(warning.starts_with("bytes from "), "{warning}");
    }
}

#[test]
fn bytes_that_change_are_not_released_until_they_are_read_and_released_again() {
    let (mut world, ino, reader) = released(1..2);
    world.write(ino, (1 << 16) + 9, b"late");
    assert!(!write_piece(&mut world, ino, ROOM, 8), "it waits");
    // A piece that it has not read as it is now is not released.
    release_piece(&mut world, reader, 1);
    assert!(!write_piece(&mut world, ino, ROOM, 8), "it waits");
    let again = world.read(reader, 1 << 16, 16);
    let expected = [&[7; 9][..], b"late", &[7; 3]].concat();
    assert_eq!(world.answer(again).cloned(), bytes(&expected));
    world.read(reader, 1 << 16, 1 << 16);
    release_piece(&mut world, reader, 1);
    world.read(reader, ROOM << 16, 1 << 16);
    assert!(write_piece(&mut world, ino, ROOM, 8));
}

#[test]
fn after_a_truncation_within_dropped_bytes_those_before_it_stay_dropped() {
    let (mut world, ino, reader) = released(1..2);
    world.read(reader, ROOM << 16, 1 << 16);
    assert!(write_piece(&mut world, ino, ROOM, 8));
    world.truncate(ino, (1 << 16) + 4).unwrap();
    world.write(ino, (1 << 16) + 4, b"after");
    let lost = world.read(reader, 1 << 16, 4);
    assert_eq!(world.error(lost), Some(rustix::io::Errno::STALE));
    let kept = world.read(reader, (1 << 16) + 4, 5);
    assert_eq!(world.answer(kept).cloned(), bytes(b"after"));
}

#[test]
fn a_writer_waits_for_a_reader_that_releases_while_there_is_little_room() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let id = world.capture("f");
    let reader = world.open_by_position(id);
    let (ino, _) = world.create("f", libc::O_RDWR);
    for number in 0..ROOM / 2 {
        let write = world.write_back(ino, number << 16, &vec![1; 1 << 16]);
        assert!(world.answer(write).is_some(), "{number}");
        world.read(reader, number << 16, 1 << 16);
    }
    release_piece(&mut world, reader, 1);
    // There are 7 + 1 pieces left, counting the released one.
    let first = world.write_back(ino, (ROOM / 2) << 16, &vec![1; 1 << 16]);
    let ahead = world.write_back(ino, (ROOM / 2 + 1) << 16, &vec![1; 1 << 16]);
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(world.answer(ahead), None);
    world.read(reader, (ROOM / 2) << 16, 1 << 16);
    world.read(reader, (ROOM / 2 + 1) << 16, 1 << 16);
    assert!(world.answer(first).is_some() && world.answer(ahead).is_some());
    // Further writes of the kernel are accepted, and wait.
    for number in ROOM / 2 + 2..ROOM + 2 {
        let write = world.write_back(ino, number << 16, &vec![1; 1 << 16]);
        assert_eq!(world.answer(write), None, "{number}");
    }
    world.truncate(ino, (ROOM / 2 + 2) << 16).unwrap();
    // Without a reader no write waits.
    let alone = world.write_back(ino, (ROOM / 2 + 2) << 16, &vec![1; 1 << 16]);
    assert_eq!(world.answer(alone), None);
    world.release(reader);
    assert!(world.answer(alone).is_some());
}

#[test]
fn a_writer_waits_for_a_reader_that_has_said_that_it_will_release() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, _) = of_a_releasing_reader(&mut world, "f");
    let writes: Vec<_> = (0..ROOM + 2)
        .map(|number| world.write_back(ino, number << 16, &vec![1; 1 << 16]))
        .collect();
    // Writes wait from half of the room on, as the reader has got nothing yet.
    let waiting = writes.into_iter().filter(|w| world.answer(*w).is_none());
    assert_eq!(waiting.count() as u64, ROOM / 2 + 2);
}

#[test]
fn a_writer_of_more_than_there_is_room_for_waits_until_more_than_the_excess_is_released() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, reader) = of_a_releasing_reader(&mut world, "f");
    // Half as much again as there is room for.
    let pieces = ROOM + ROOM / 2;
    let writes: Vec<_> = (0..pieces)
        .map(|number| world.write_back(ino, number << 16, &vec![1; 1 << 16]))
        .collect();
    let last = *writes.last().expect("one");
    for number in 0..ROOM / 2 {
        world.read(reader, number << 16, 1 << 16);
        release_piece(&mut world, reader, number);
    }
    assert_eq!(world.answer(last), None, "there is no room yet");
    for number in ROOM / 2..ROOM {
        world.read(reader, number << 16, 1 << 16);
        release_piece(&mut world, reader, number);
    }
    assert!(world.answer(last).is_some());
}

#[test]
fn a_write_without_room_is_accepted_while_the_reader_of_another_file_may_release_bytes() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let [slow, quick] = ["slow", "quick"].map(|name| of_a_releasing_reader(&mut world, name));
    // The slow reader has got nothing yet.
    for number in 0..2 * ROOM {
        world.write_back(slow.0, number << 16, &vec![1; 1 << 16]);
    }
    let taken = world.write_back(quick.0, 0, &vec![2; 1 << 16]);
    world.read(quick.1, 0, 1 << 16);
    assert_eq!(world.answer(taken).cloned(), Some(Answer::Written(1 << 16)));
    // Now both readers have got all, and there is no room.
    for number in 0..2 * ROOM {
        world.read(slow.1, number << 16, 1 << 16);
    }
    let refused = world.write_back(quick.0, 1 << 16, &vec![2; 1 << 16]);
    assert_eq!(world.error(refused), Some(rustix::io::Errno::NOSPC));
}

#[test]
fn bytes_that_are_dropped_once_a_reader_by_position_has_them_cannot_be_changed() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let id = world.capture("f");
    world.tell(Request::KeepAtMost { id, bytes: 1 << 16 });
    let reader = world.open_by_position(id);
    let (ino, _) = world.create("f", libc::O_RDWR);
    let piece = vec![7; 1 << 16];
    for number in 0..8_u64 {
        world.write(ino, number << 16, &piece);
        world.read(reader, number << 16, 1 << 16);
    }
    let changed = world.write(ino, 0, b"late");
    assert_eq!(world.error(changed), Some(rustix::io::Errno::SPIPE));
    let kept = world.write(ino, 7 << 16, b"fine");
    assert_eq!(world.answer(kept).cloned(), Some(Answer::Written(4)));
}

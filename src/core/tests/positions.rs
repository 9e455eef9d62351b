//! Readers by position: given what is there, and told what of it has changed.

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

/// A captured file that is open for writing, and a reader by position that has said that it will release what it gets.
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
fn a_reader_by_position_gets_what_is_there_whatever_the_way_and_is_told_what_changes() {
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
        // What it was not given cannot have changed, nor what is the same.
        world.write(ino, 4, b"EFGH");
        world.write(ino, 0, b"ab");
        assert!(world.core.changed_ranges(reader).is_empty());
        world.write(ino, 1, b"BC");
        assert_eq!(world.core.changed_ranges(reader), [1..3]);
        let again = world.read(reader, 0, 4);
        assert_eq!(world.answer(again).cloned(), bytes(b"aBCd"));
        assert!(world.core.changed_ranges(reader).is_empty());
        // A length is waited for without being given anything.
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
    // And what it was given of that may change, too.
    world.write(other, 0, b"3rd");
    assert_eq!(world.core.changed_ranges(reader), [0..2, 3..5]);
    world.release(first);
    world.release(second);
}

/// As much as a world's files may have, in pieces of 64 KiB.
const ROOM: u64 = 16;

/// One whose reader has read and released so many pieces, of all the room there is.
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
fn what_a_reader_by_position_released_is_given_up_when_there_is_no_room_and_not_before() {
    let (mut world, ino, reader) = released(1..3);
    // Each of them still is there.
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
        // Not beyond what is there.
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
fn what_was_given_up_cannot_be_changed_or_read_back_and_the_file_has_failed() {
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
fn what_changes_is_not_released_any_more_until_it_was_read_and_released_again() {
    let (mut world, ino, reader) = released(1..2);
    world.write(ino, (1 << 16) + 9, b"late");
    assert!(!write_piece(&mut world, ino, ROOM, 8), "it waits");
    // Not what it has not read as it is now.
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
fn a_file_that_is_cut_off_within_what_was_given_up_has_what_is_before_given_up_still() {
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
    // Of this there are 7 + 1 left, released ones counted.
    let first = world.write_back(ino, (ROOM / 2) << 16, &vec![1; 1 << 16]);
    let ahead = world.write_back(ino, (ROOM / 2 + 1) << 16, &vec![1; 1 << 16]);
    world.pass(std::time::Duration::from_secs(60));
    assert_eq!(world.answer(ahead), None);
    world.read(reader, (ROOM / 2) << 16, 1 << 16);
    world.read(reader, (ROOM / 2 + 1) << 16, 1 << 16);
    assert!(world.answer(first).is_some() && world.answer(ahead).is_some());
    // What the kernel sends on is taken, and waits.
    for number in ROOM / 2 + 2..ROOM + 2 {
        let write = world.write_back(ino, number << 16, &vec![1; 1 << 16]);
        assert_eq!(world.answer(write), None, "{number}");
    }
    world.truncate(ino, (ROOM / 2 + 2) << 16).unwrap();
    // Not without a reader.
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
    // From half of the room on; it has got nothing yet.
    let waiting = writes.into_iter().filter(|w| world.answer(*w).is_none());
    assert_eq!(waiting.count() as u64, ROOM / 2 + 2);
}

#[test]
fn a_writer_of_more_than_there_is_room_for_waits_until_the_released_are_more_than_that() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, reader) = of_a_releasing_reader(&mut world, "f");
    // Half of the room past all there is.
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
fn where_the_reader_of_another_file_is_about_to_release_what_it_gets_a_write_is_taken_and_not_refused()
 {
    let mut world = World::new(Deliver::Settled, |_| {});
    let [slow, quick] = ["slow", "quick"].map(|name| of_a_releasing_reader(&mut world, name));
    // Its reader has got nothing yet.
    for number in 0..2 * ROOM {
        world.write_back(slow.0, number << 16, &vec![1; 1 << 16]);
    }
    let taken = world.write_back(quick.0, 0, &vec![2; 1 << 16]);
    world.read(quick.1, 0, 1 << 16);
    assert_eq!(world.answer(taken).cloned(), Some(Answer::Written(1 << 16)));
    // It has got all, as has the other now, and there is no room.
    for number in 0..2 * ROOM {
        world.read(slow.1, number << 16, 1 << 16);
    }
    let refused = world.write_back(quick.0, 1 << 16, &vec![2; 1 << 16]);
    assert_eq!(world.error(refused), Some(rustix::io::Errno::NOSPC));
}

#[test]
fn what_is_dropped_since_a_reader_by_position_has_it_cannot_be_changed() {
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

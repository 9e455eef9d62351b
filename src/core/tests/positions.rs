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

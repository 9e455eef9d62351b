//! Writes that are taken without being decided do what they would have done otherwise.

use std::time::Duration;

use proptest::prelude::*;

use super::super::Settings;
use super::super::clock::Timestamp;
use super::super::effects::{Bytes, Caller};
use super::super::rules::Deliver;
use super::{Answer, WRITER, World, moment};

/// A stream, which holds `"first, second"`, and its reader, who has the first five bytes and gathers the
/// others.
fn gathering() -> (World, u64, u64) {
    gathering_with(|_| {})
}

fn gathering_with(change: impl FnOnce(&mut Settings)) -> (World, u64, u64) {
    let mut world = World::new(Deliver::Stream, |settings| {
        settings.gathers = true;
        settings.window_bytes = 64;
        change(settings);
    });
    let (ino, _) = world.create("s", libc::O_WRONLY);
    let opened = world.open(ino);
    let reader = world.handle(opened);
    world.read(reader, 0, 100);
    world.write(ino, 0, b"first");
    world.read(reader, 5, 100);
    world.write(ino, 5, b", second");
    assert_eq!(world.taken, 0);
    (world, ino, reader)
}

#[test]
fn while_a_reader_gathers_nothing_is_decided_but_what_ends_it() {
    let (mut world, ino, _) = gathering();
    let third = world.write(ino, 13, b", third");
    assert_eq!(
        (world.taken, world.answer(third)),
        (1, Some(&Answer::Written(7)))
    );
    // With this it is half of the window.
    let last = world.write(ino, 20, &[b'.'; 17]);
    assert_eq!(
        (world.taken, world.answer(last)),
        (1, Some(&Answer::Written(17)))
    );
    let given = Answer::Bytes(b", second, third.................".to_vec());
    assert!(world.answers.values().any(|answer| *answer == given));
}

#[test]
fn another_write_is_decided() {
    type Change = fn(&mut Caller, &mut u64, &mut Bytes<'_>);
    let changes: [Change; 8] = [
        |caller, _, _| caller.thread += 1,
        |_, ino, _| *ino += 1,
        |_, _, bytes| bytes.offset += 1,
        |_, _, bytes| bytes.offset -= 1,
        |_, _, bytes| bytes.from_cache = true,
        |_, _, bytes| bytes.kills_set_id = true,
        |_, _, bytes| bytes.data = (&[0; 24]).into(),
        |_, _, _| {},
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let (mut world, mut ino, _) = gathering();
        let mut caller = world.caller(WRITER);
        let mut bytes = Bytes {
            offset: 13,
            data: b"x".into(),
            from_cache: false,
            kills_set_id: false,
        };
        change(&mut caller, &mut ino, &mut bytes);
        let now = moment(world.now).wall;
        let taken = world.core.write_on(now, caller, ino, &mut bytes);
        assert_eq!(taken, nth == changes.len() - 1, "{nth}");
    }
}

#[test]
fn whatever_else_is_done_ends_it() {
    let (mut world, ino, reader) = gathering();
    world.read(reader, 5, 1);
    world.write(ino, 13, b"decided");
    assert_eq!(world.taken, 0);
}

#[test]
fn where_each_write_is_told_of_each_is_decided() {
    let (mut recorded, ino, _) = gathering_with(|settings| settings.records = true);
    let (mut heard, _, _) = gathering();
    heard.run(|core, _, _| core.open_events(Some("s".into())));
    let (mut neither, _, _) = gathering();
    for (world, taken) in [(&mut recorded, 0), (&mut heard, 0), (&mut neither, 2)] {
        world.write(ino, 13, b"third");
        world.write(ino, 18, b"fourth");
        assert_eq!(world.taken, taken);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Where the last one ended.
    WriteOn(usize),
    Write(u64, usize),
    Truncate(u64),
    Read(usize, u32),
    /// A reader goes away; the next who reads in its place is another.
    Leave(usize),
    Gathered,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..12_usize).prop_map(Step::WriteOn),
        1 => (0..60_u64, 1..12_usize).prop_map(|(offset, length)| Step::Write(offset, length)),
        1 => (0..60_u64).prop_map(Step::Truncate),
        6 => (0..2_usize, 1..60_u32).prop_map(|(reader, length)| Step::Read(reader, length)),
        1 => (0..2_usize).prop_map(Step::Leave),
        2 => Just(Step::Gathered),
        1 => (0..400_u64).prop_map(Step::Pass),
    ]
}

/// What was answered in the course of it, what the file holds then, and when it was last written.
fn course(steps: &[Step], decides_all: bool) -> (World, Vec<u8>, Timestamp) {
    let mut world = World::new(Deliver::Stream, |settings| {
        settings.gathers = true;
        settings.window_bytes = 64;
    });
    world.decides_all = decides_all;
    let (ino, _) = world.create("s", libc::O_WRONLY);
    let mut readers = [None; 2];
    let (mut end, mut fill) = (0, 0);
    for step in steps {
        match *step {
            Step::WriteOn(length) => {
                fill += 1;
                world.write(ino, end, &vec![fill; length]);
                end += length as u64;
            }
            Step::Write(offset, length) => {
                fill += 1;
                world.write(ino, offset, &vec![fill; length]);
                end = end.max(offset + length as u64);
            }
            Step::Truncate(length) => {
                if world.truncate(ino, length).is_ok() {
                    end = length;
                }
            }
            Step::Read(which, length) => {
                let (handle, at) = *readers[which].get_or_insert_with(|| {
                    let opened = world.open(ino);
                    // It is refused what was dropped.
                    match world.answer(opened) {
                        Some(Answer::Handle(handle, _)) => (*handle, 0),
                        _ => (0, 0),
                    }
                });
                let read = world.read(handle, at, length);
                if let Some(Answer::Bytes(bytes)) = world.answer(read) {
                    readers[which] = Some((handle, at + bytes.len() as u64));
                }
            }
            Step::Leave(which) => {
                if let Some((handle, _)) = readers[which].take() {
                    world.release(handle);
                }
            }
            Step::Gathered => world.run(|core, env, effects| core.end_gathering(env, effects)),
            Step::Pass(microseconds) => world.pass(Duration::from_micros(microseconds)),
        }
    }
    let file = &world.core.files[&ino].spool;
    let mut content = Vec::new();
    file.read(file.base(), 1 << 20)
        .copy_to(&mut content)
        .unwrap();
    let attributes = world.core.attributes(ino).unwrap();
    (world, content, attributes.mtime)
}

fn makes_no_difference(steps: &[Step]) {
    let (decided, content, time) = course(steps, true);
    let (taken, same, same_time) = course(steps, false);
    assert_eq!(decided.answers, taken.answers);
    assert_eq!((content, time), (same, same_time));
}

#[test]
fn a_read_of_what_was_dropped_is_refused_at_once() {
    let read = |length| Step::Read(0, length);
    makes_no_difference(&[read(1), read(14), Step::WriteOn(1), Step::WriteOn(1)]);
}

proptest! {
    #[test]
    fn whether_it_is_decided_or_not_makes_no_difference(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        makes_no_difference(&steps);
    }
}

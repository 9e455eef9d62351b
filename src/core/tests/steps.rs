//! Later steps of a writer's script.

use std::time::Duration;

use rustix::io::Errno;

use super::super::effects::Transport;
use super::super::generation::Ending;
use super::super::request::Opener;
use super::super::rules::Deliver;
use super::{Answer, LINGER, WRITER, World};

/// Longer than a step is waited for after it has read the file.
const LATER: Duration = Duration::from_secs(2);

#[test]
fn a_step_gets_the_file_as_it_is_and_other_readers_get_what_the_step_makes_of_it() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"draft");
    let outside = world.open(ino);
    let step = world.open_as_step(ino);
    assert_eq!(world.answer(step), None, "it is being written");
    world.release(handle);
    world.end(WRITER, Ending::Status(0));
    world.pass(LINGER);
    let step = world.handle(step);
    let read = world.read(step, 0, 5);
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"draft".to_vec())));
    world.pass(LATER);
    assert_eq!(world.answer(outside), None, "the step has it open");
    let handle = world.reopen_for_writing(ino, libc::O_WRONLY);
    world.write(ino, 0, b"final");
    world.release(handle);
    world.release(step);
    assert_eq!(world.answer(outside), None, "there may be another step");
    world.pass(LATER);
    let outside = world.handle(outside);
    let read = world.read(outside, 0, 5);
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"final".to_vec())));
}

#[test]
fn a_step_that_follows_comes_to_the_end_before_other_readers_do() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let opens = [world.open(ino), world.open_as_step(ino)];
    let [outside, step] = opens.map(|open| world.handle(open));
    world.write(ino, 0, b"one");
    for reader in [outside, step] {
        world.read(reader, 0, 3);
    }
    let ends = [outside, step].map(|reader| world.read(reader, 3, 3));
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(world.answer(ends[1]), Some(&Answer::Bytes(vec![])));
    assert_eq!(world.answer(ends[0]), None);
    world.release(step);
    world.pass(LATER);
    assert_eq!(world.answer(ends[0]), Some(&Answer::Bytes(vec![])));
}

#[test]
fn a_step_that_opens_when_the_step_before_is_over_gets_an_ordinary_file() {
    for deliver in [Deliver::Follow, Deliver::Stream] {
        let mut world = World::new(deliver, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        world.write(ino, 0, b"draft");
        world.release(handle);
        let step = world.open_as_step(ino);
        assert_eq!(world.answer(step), None);
        world.pass(LINGER);
        let transport = match world.answer(step) {
            Some(Answer::Handle(_, transport)) => *transport,
            other => panic!("{other:?}"),
        };
        assert_ne!(transport, Transport::Sequential, "it may seek");
        // The file is opened again by another step, which may write it.
        let handle = world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_APPEND);
        world.release(handle);
        let step = world.open_as_step(ino);
        assert_eq!(world.answer(step), None);
        world.reopen_for_writing(ino, libc::O_WRONLY | libc::O_APPEND);
        world.handle(step);
    }
}

#[test]
fn a_step_that_gives_up_is_waited_for_no_longer() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let outside = world.open(ino);
    let step = world.open_as_step(ino);
    world.release(handle);
    world.cancel(step);
    assert_eq!(world.answer(step), Some(&Answer::Error(Errno::INTR)));
    world.pass(LINGER);
    world.pass(LATER);
    world.handle(outside);
}

#[test]
fn a_step_that_finds_bytes_dropped_fails_the_file_for_other_readers() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let outside = world.handle(open);
    world.write(ino, 0, b"gone");
    world.read(outside, 0, 4);
    world.release(handle);
    let step = world.open_as_step(ino);
    assert_eq!(world.answer(step), Some(&Answer::Error(Errno::SPIPE)));
    let end = world.read(outside, 4, 4);
    assert_eq!(world.answer(end), Some(&Answer::Error(Errno::IO)));
}

#[test]
fn under_auto_other_readers_do_not_get_what_a_short_step_left_for_the_next() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, handle) = world.create("f.log", libc::O_WRONLY);
    world.write(ino, 0, b"draft");
    let open = world.open(ino);
    let outside = world.handle(open);
    let read = world.read(outside, 0, 5);
    let step = world.open_as_step(ino);
    world.release(handle);
    world.pass(LINGER);
    let step = world.handle(step);
    world.pass(Duration::from_millis(500));
    assert_eq!(world.answer(read), None);
    let handle = world.reopen_for_writing(ino, libc::O_WRONLY);
    world.write(ino, 0, b"final");
    assert_eq!(world.answer(read), None);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"final".to_vec())));
    world.release(handle);
    world.release(step);
}

#[test]
fn a_file_made_for_its_lock_is_not_done_until_it_is_closed() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_RDONLY);
    let open = world.open(ino);
    let outside = world.handle(open);
    let end = world.read(outside, 0, 1);
    world.pass(LATER);
    assert_eq!(world.answer(end), None);
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&Answer::Bytes(vec![])));
}

#[test]
fn a_step_that_never_closes_the_file_does_not_hold_up_readers_for_ever() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let outside = world.open(ino);
    let step = world.open_as_step(ino);
    world.release(handle);
    world.pass(LINGER);
    world.handle(step);
    world.pass(LATER);
    assert_eq!(world.answer(outside), None);
    world.pass(2 * LATER);
    world.handle(outside);
}

#[test]
fn a_step_is_not_waited_for_once_its_path_leads_elsewhere() {
    for then in [None, Some("f")] {
        let mut world = World::new(Deliver::Settled, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        let step = world.open_as_step(ino);
        world.release(handle);
        world.rename("f", "g");
        if let Some(name) = then {
            world.pass(LINGER);
            world.create(name, libc::O_WRONLY);
        }
        world.end(WRITER, Ending::Status(0));
        world.pass(LINGER);
        assert!(!world.core.files[&ino].is_active());
        let gone = Some(&Answer::Error(Errno::NOENT));
        assert_eq!(world.answer(step), gone.filter(|_| then.is_none()));
    }
}

#[test]
fn the_writer_itself_is_no_step() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let outside = world.open(ino);
    world.release(handle);
    let opener = Opener {
        group: Some(WRITER),
        lineage: vec![WRITER],
        ..Opener::default()
    };
    let own = world.open_as(ino, &opener);
    world.handle(own);
    world.pass(LINGER);
    world.handle(outside);
}

//! Closed files for which only waiting readers are left of the processes that might write them: they get them at
//! once.

use std::time::Duration;

use rustix::io::Errno;

use super::super::generation::{Ending, Left, unseen_writer};
use super::super::ids::Unique;
use super::super::request::{Opener, Request};
use super::super::rules::{Deliver, Linger};
use super::{Answer, READER, WRITER, World};

const MADE_ANEW: i32 = libc::O_WRONLY | libc::O_TRUNC;

fn world() -> World {
    World::new(Deliver::Settled, |settings| settings.linger = Linger::Auto)
}

/// A file that was written and closed, and a reader that waits for it.
fn awaited(world: &mut World) -> (u64, Unique) {
    let (ino, handle) = world.create("f", MADE_ANEW);
    world.write(ino, 0, b"text");
    world.release(handle);
    let reader = open(world, ino, None);
    (ino, reader)
}

fn open(world: &mut World, ino: u64, group: Option<i32>) -> Unique {
    let opener = Opener {
        pid: READER,
        group,
        ..Opener::default()
    };
    world.open_as(ino, &opener)
}

/// The last question whether only waiting readers are left.
fn asked(world: &World) -> Option<Left> {
    world.processes.left.borrow().last().cloned()
}

#[test]
fn where_only_its_readers_are_left_they_get_it_at_once() {
    for writer_runs in [false, true] {
        let mut world = world();
        let (ino, reader) = awaited(&mut world);
        if !writer_runs {
            world.end(WRITER, Ending::Status(0));
        }
        let left = asked(&world).expect("it is asked");
        assert_eq!((left.ino, &left.groups[..]), (ino, &[WRITER][..]));
        assert_eq!(left.writers.is_empty(), !writer_runs);
        assert_eq!(left.waiting, [(READER, reader)]);
        world.tell(Request::NobodyElseLeft { left });
        world.handle(reader);
    }
}

#[test]
fn the_question_is_repeated_but_not_asked_without_readers_or_with_an_unseen_writer() {
    let mut world = world();
    awaited(&mut world);
    for _ in 0..3 {
        world.processes.left.borrow_mut().clear();
        world.pass(Duration::from_millis(20));
        assert!(asked(&world).is_some());
    }
    for is_unseen in [false, true] {
        let mut world = self::world();
        let (ino, handle) = world.create("f", MADE_ANEW);
        world.write(ino, 0, b"text");
        if is_unseen {
            let writer = unseen_writer();
            world.tell(Request::AlsoWrites { ino, writer });
        }
        world.release(handle);
        if is_unseen {
            open(&mut world, ino, None);
        }
        assert_eq!(asked(&world), None);
    }
}

#[test]
fn an_answer_about_an_earlier_moment_is_ignored() {
    // Its reader has gone, and may write it next.
    let mut world = world();
    let (ino, reader) = awaited(&mut world);
    let left = asked(&world).expect("it is asked");
    world.cancel(reader);
    assert_eq!(world.error(reader), Some(Errno::INTR));
    let other = open(&mut world, ino, None);
    world.tell(Request::NobodyElseLeft { left });
    assert_eq!(world.answer(other), None);
    // It was written again.
    let left = asked(&world).expect("it is asked");
    world.pass(Duration::from_millis(20));
    let handle = world.reopen_for_writing(ino, libc::O_WRONLY);
    for closes in [false, true] {
        if closes {
            world.release(handle);
        }
        let left = left.clone();
        world.tell(Request::NobodyElseLeft { left });
        assert_eq!(world.answer(other), None);
    }
}

#[test]
fn a_step_of_the_script_gets_the_file_as_it_is_while_others_wait_for_what_the_step_makes_of_it() {
    let mut world = world();
    let (ino, outside) = awaited(&mut world);
    world.end(WRITER, Ending::Status(0));
    let step = open(&mut world, ino, Some(WRITER));
    let left = asked(&world).expect("it is asked");
    world.tell(Request::NobodyElseLeft { left: left.clone() });
    let step = world.handle(step);
    assert_eq!(world.answer(outside), None);
    // The file is not done either while the step has it open.
    let left = Left {
        waiting: vec![(READER, outside)],
        ..left
    };
    world.tell(Request::NobodyElseLeft { left });
    assert_eq!(world.answer(outside), None);
    let handle = world.reopen_for_writing(ino, MADE_ANEW);
    world.write(ino, 0, b"more");
    world.release(handle);
    world.release(step);
    world.pass(Duration::from_secs(2));
    let outside = world.handle(outside);
    let read = world.read(outside, 0, 9);
    assert_eq!(world.answer(read), Some(&Answer::Bytes(b"more".to_vec())));
}

#[test]
fn a_writer_that_crashed_meanwhile_fails_the_file() {
    let mut world = world();
    let (_, reader) = awaited(&mut world);
    let left = asked(&world).expect("it is asked");
    let endings = &world.processes.endings;
    endings
        .borrow_mut()
        .insert(WRITER, Ending::Signal(libc::SIGSEGV));
    world.tell(Request::NobodyElseLeft { left });
    assert_eq!(world.error(reader), Some(Errno::IO));
}

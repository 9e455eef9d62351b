//! Empty files that a process may be about to write.

use std::time::Duration;

use super::super::generation::Ending;
use super::super::rules::{Deliver, Linger};
use super::{Answer, READER, WRITER, World};

/// Longer than any file waits to be reopened.
const LATER: Duration = Duration::from_secs(30);
/// A process in the writer's group, and the reader's parent.
const SHELL: i32 = 99;
const MADE_ANEW: i32 = libc::O_WRONLY | libc::O_TRUNC;

fn world() -> World {
    World::new(Deliver::Settled, |settings| settings.linger = Linger::Auto)
}

#[test]
fn an_empty_file_waits_for_its_maker_as_long_as_that_runs() {
    for writes in [true, false] {
        let mut world = world();
        let (ino, handle) = world.create("f", MADE_ANEW);
        world.release(handle);
        let reader = world.open(ino);
        world.pass(LATER);
        assert_eq!(world.answer(reader), None);
        if writes {
            let handle = world.reopen_for_writing(ino, MADE_ANEW);
            world.write(ino, 0, b"late");
            world.release(handle);
        }
        world.end(WRITER, Ending::Status(0));
        world.pass(Duration::from_secs(1));
        let reader = world.handle(reader);
        let read = world.read(reader, 0, 9);
        let expected = if writes { &b"late"[..] } else { b"" };
        assert_eq!(world.answer(read), Some(&Answer::Bytes(expected.to_vec())));
    }
}

#[test]
fn a_file_with_content_does_not_wait_for_its_maker() {
    let mut world = world();
    let (ino, handle) = world.create("f", MADE_ANEW);
    world.write(ino, 0, b"x");
    world.release(handle);
    let reader = world.open(ino);
    world.pass(Duration::from_secs(1));
    world.handle(reader);
}

#[test]
fn a_reader_that_descends_from_the_maker_does_not_wait_for_it() {
    let mut world = world();
    let (ino, handle) = world.create("f", MADE_ANEW);
    world.release(handle);
    let other = world.open(ino);
    world.pass(LATER);
    assert_eq!(world.answer(other), None);
    world.processes.parents.insert(READER, WRITER);
    let descendant = world.open(ino);
    world.handle(descendant);
    world.handle(other);
}

#[test]
fn an_empty_file_made_as_by_touch_waits_for_a_later_step_of_the_script() {
    let wrote = libc::O_WRONLY | libc::O_EXCL;
    for (flags, waits) in [(libc::O_WRONLY, true), (MADE_ANEW, false), (wrote, false)] {
        let mut world = world();
        let (ino, handle) = world.create("f", flags);
        world.release(handle);
        world.end(WRITER, Ending::Status(0));
        let reader = world.open(ino);
        world.pass(LATER);
        assert_eq!(world.answer(reader).is_none(), waits, "{flags:o}");
        // Now a step of that script waits itself, though in its own group: no other process will write the file.
        world.processes.groups.insert(SHELL, WRITER);
        world.processes.parents.insert(READER, SHELL);
        world.pass(Duration::from_secs(1));
        world.handle(reader);
    }
}

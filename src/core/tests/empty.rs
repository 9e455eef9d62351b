//! Empty files that somebody may mean to write yet.

use std::time::Duration;

use super::super::generation::Ending;
use super::super::rules::{Deliver, Linger};
use super::{Answer, READER, WRITER, World};

/// More than any reopening is waited for.
const LATER: Duration = Duration::from_secs(30);
/// Of the group of the writer, and above the reader.
const SHELL: i32 = 99;
const MADE_ANEW: i32 = libc::O_WRONLY | libc::O_TRUNC;

fn world() -> World {
    World::new(Deliver::Settled, |settings| settings.linger = Linger::Auto)
}

#[test]
fn what_its_maker_may_write_when_it_ends_is_waited_for_as_long_as_it_runs() {
    for says_something in [true, false] {
        let mut world = world();
        let (ino, handle) = world.create("f", MADE_ANEW);
        world.release(handle);
        let reader = world.open(ino);
        world.pass(LATER);
        assert_eq!(world.answer(reader), None);
        if says_something {
            let handle = world.reopen_for_writing(ino, MADE_ANEW);
            world.write(ino, 0, b"late");
            world.release(handle);
        }
        world.end(WRITER, Ending::Status(0));
        world.pass(Duration::from_secs(1));
        let reader = world.handle(reader);
        let read = world.read(reader, 0, 9);
        let expected = if says_something { &b"late"[..] } else { b"" };
        assert_eq!(world.answer(read), Some(&Answer::Bytes(expected.to_vec())));
    }
}

#[test]
fn what_has_content_is_not() {
    let mut world = world();
    let (ino, handle) = world.create("f", MADE_ANEW);
    world.write(ino, 0, b"x");
    world.release(handle);
    let reader = world.open(ino);
    world.pass(Duration::from_secs(1));
    world.handle(reader);
}

#[test]
fn nobody_waits_for_himself() {
    let mut world = world();
    let (ino, handle) = world.create("f", MADE_ANEW);
    world.release(handle);
    let other = world.open(ino);
    world.pass(LATER);
    assert_eq!(world.answer(other), None);
    world.people.parents.insert(READER, WRITER);
    let descendant = world.open(ino);
    world.handle(descendant);
    world.handle(other);
}

#[test]
fn what_was_made_as_by_touch_is_for_a_later_step_of_the_script() {
    let wrote = libc::O_WRONLY | libc::O_EXCL;
    for (flags, waits) in [(libc::O_WRONLY, true), (MADE_ANEW, false), (wrote, false)] {
        let mut world = world();
        let (ino, handle) = world.create("f", flags);
        world.release(handle);
        world.end(WRITER, Ending::Status(0));
        let reader = world.open(ino);
        world.pass(LATER);
        assert_eq!(world.answer(reader).is_none(), waits, "{flags:o}");
        // Another step of that script waits, be it in a group of its own: nobody else will write it.
        world.people.groups.insert(SHELL, WRITER);
        world.people.parents.insert(READER, SHELL);
        world.pass(Duration::from_secs(1));
        world.handle(reader);
    }
}

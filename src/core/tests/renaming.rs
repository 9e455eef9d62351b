//! Files that lose their names between the kernel's LOOKUP and the OPEN that follows it.

use std::time::Duration;

use rustix::io::Errno;

use super::super::ids::Unique;
use super::super::namespace::ROOT;
use super::super::request::Opener;
use super::super::rules::Deliver;
use super::{Answer, LINGER, READER, World};

/// Long enough for the kernel to know of a rename.
const LATER: Duration = Duration::from_secs(1);

const STALE: Option<&Answer> = Some(&Answer::Error(Errno::STALE));

fn rename(world: &mut World, from: &str, to: &str) {
    world.rename(from, to);
}

fn unlink(world: &mut World, name: &str) {
    world.unlink(name);
}

/// The LOOKUP before an OPEN by a name that the kernel has forgotten, or must look up again.
fn look_up(world: &mut World, name: &str) -> u64 {
    world.look_up(ROOT, name)
}

/// Makes, writes and closes a file.
fn make(world: &mut World, name: &str, content: &[u8]) -> u64 {
    let (ino, handle) = world.create(name, libc::O_WRONLY);
    world.write(ino, 0, content);
    world.release(handle);
    ino
}

/// The same as `World::open` by another thread.
fn open_by(world: &mut World, thread: i32, ino: u64) -> Unique {
    let caller = world.caller(thread);
    world.open_by(caller, ino, &Opener::default())
}

fn content(world: &mut World, open: Unique) -> Vec<u8> {
    let handle = world.handle(open);
    let read = world.read(handle, 0, 100);
    match world.answer(read) {
        Some(Answer::Bytes(bytes)) => bytes.clone(),
        other => panic!("not read: {other:?}"),
    }
}

#[test]
fn an_open_of_a_file_that_was_just_replaced_is_sent_back_and_gets_the_new_one() {
    for deliver in [Deliver::Follow, Deliver::Settled] {
        let mut world = World::new(deliver, |_| {});
        let old = make(&mut world, "f", b"old");
        let early = world.open(old);
        let new = make(&mut world, "t", b"new");
        rename(&mut world, "t", "f");
        let open = world.open(old);
        assert_eq!(world.answer(open), STALE, "{deliver:?}");
        assert_eq!(look_up(&mut world, "f"), new);
        let open = world.open(new);
        world.pass(LINGER);
        assert_eq!(content(&mut world, open), b"new");
        // A reader from before the rename follows the path, too.
        if deliver == Deliver::Follow {
            assert_eq!(content(&mut world, early), b"new");
        }
    }
}

#[test]
fn an_open_of_a_file_that_was_just_removed_is_sent_back() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let old = make(&mut world, "f", b"old");
    // Its content is still there, since another reader has it open.
    open_by(&mut world, READER + 1, old);
    unlink(&mut world, "f");
    let open = world.open(old);
    assert_eq!(world.answer(open), STALE);
}

/// The kernel looks again only once.
#[test]
fn a_file_that_is_replaced_again_before_it_is_opened_gives_what_stands_there() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let first = make(&mut world, "f", b"first");
    let second = make(&mut world, "t", b"second");
    rename(&mut world, "t", "f");
    let open = world.open(first);
    assert_eq!(world.answer(open), STALE);
    assert_eq!(look_up(&mut world, "f"), second);
    make(&mut world, "t", b"third");
    rename(&mut world, "t", "f");
    let open = world.open(second);
    world.pass(LINGER);
    assert_eq!(content(&mut world, open), b"third");
}

#[test]
fn an_open_that_was_sent_back_to_a_name_that_is_gone_by_then_gets_enoent() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let first = make(&mut world, "f", b"first");
    let second = make(&mut world, "t", b"second");
    rename(&mut world, "t", "f");
    let open = world.open(first);
    assert_eq!(world.answer(open), STALE);
    look_up(&mut world, "f");
    unlink(&mut world, "f");
    let open = world.open(second);
    assert_eq!(world.answer(open), Some(&Answer::Error(Errno::NOENT)));
}

#[test]
fn a_file_that_is_renamed_away_and_made_anew_twice_while_it_is_looked_up_gives_the_last_one() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let first = make(&mut world, "f", b"first");
    rename(&mut world, "f", "old");
    let open = world.open(first);
    assert_eq!(world.answer(open), STALE);
    let second = make(&mut world, "f", b"second");
    assert_eq!(look_up(&mut world, "f"), second);
    rename(&mut world, "f", "old");
    make(&mut world, "f", b"third");
    let open = world.open(second);
    world.pass(LINGER);
    assert_eq!(content(&mut world, open), b"third");
}

/// Its call ends when it finds nothing; the next open(2) is another call.
#[test]
fn a_thread_that_was_sent_back_and_found_nothing_is_sent_back_again_by_the_next_renamed_file() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let first = make(&mut world, "f", b"first");
    rename(&mut world, "f", "old");
    let open = world.open(first);
    assert_eq!(world.answer(open), STALE);
    let found = world.try_to_look_up(ROOT, "f");
    assert_eq!(found.err(), Some(Errno::NOENT));
    let second = make(&mut world, "f", b"second");
    rename(&mut world, "f", "old");
    // The kernel knew the name from another process.
    let open = world.open(second);
    assert_eq!(world.answer(open), STALE);
}

#[test]
fn where_readers_do_not_wait_a_file_that_was_replaced_twice_is_opened_as_it_is() {
    let mut world = World::new(Deliver::Follow, |settings| settings.readers_wait = false);
    let first = make(&mut world, "f", b"first");
    let second = make(&mut world, "t", b"second");
    rename(&mut world, "t", "f");
    let open = world.open(first);
    assert_eq!(world.answer(open), STALE);
    let (_, writer) = world.create("t", libc::O_WRONLY);
    // It is kept open, so that its content stays.
    open_by(&mut world, READER + 1, second);
    open_by(&mut world, READER + 1, second);
    look_up(&mut world, "f");
    rename(&mut world, "t", "f");
    let open = world.open(second);
    assert_eq!(content(&mut world, open), b"second");
    world.release(writer);
}

#[test]
fn a_removed_file_can_be_opened_only_while_a_process_has_it_open() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.write(ino, 0, b"old");
    unlink(&mut world, "f");
    // By `/proc/PID/fd/N`, where a second lookup leads to the same inode.
    let open = world.open(ino);
    assert_eq!(world.answer(open), STALE);
    let open = world.open(ino);
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(content(&mut world, open), b"old");

    let handle = world.handle(open);
    world.release(handle);
    for _ in 0..3 {
        let open = world.open(ino);
        assert_eq!(world.answer(open), STALE, "no process has it open");
    }
}

#[test]
fn a_reader_that_went_on_to_a_new_file_does_not_keep_the_old_one_open() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let old = make(&mut world, "f", b"old");
    let early = open_by(&mut world, READER + 1, old);
    make(&mut world, "t", b"new");
    rename(&mut world, "t", "f");
    for _ in 0..3 {
        let open = world.open(old);
        assert_eq!(world.answer(open), STALE);
    }
    world.pass(LINGER);
    assert_eq!(content(&mut world, early), b"new");
}

#[test]
fn an_open_of_a_file_that_was_just_renamed_is_sent_back_once() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let first = make(&mut world, "t", b"first");
    rename(&mut world, "t", "f");
    let open = world.open(first);
    assert_eq!(world.answer(open), STALE, "it may have been found as t");
    // It is found by its new name, not by the one before.
    let second = make(&mut world, "t", b"second");
    rename(&mut world, "t", "f");
    assert_eq!(look_up(&mut world, "f"), second);
    let open = world.open(second);
    world.pass(LINGER);
    assert_eq!(content(&mut world, open), b"second");
    world.pass(LATER);
    let open = world.open(second);
    assert_eq!(content(&mut world, open), b"second");
}

//! What stat(2) and open(2) find behind `wait` when one thread asks for several files, one after the other.

use super::*;
use crate::core::CONTROL_NAME;

/// A LOOKUP behind a door, by the thread of all readers.
fn look_up(world: &mut World, door: &str, name: &str) -> u64 {
    let directory = world.look_up(ROOT, CONTROL_NAME);
    let steps = door.split('/');
    let door = steps.fold(directory, |parent, step| world.look_up(parent, step));
    world.look_up(door, name)
}

/// The GETATTR of stat(2).
fn stat(world: &mut World, ino: u64) -> Unique {
    let caller = world.caller(READER);
    let request = Request::Attributes {
        ino,
        by_handle: false,
        opener: Opener::default(),
    };
    world.handle_request(caller, request);
    caller.unique
}

fn is_stale(world: &World, unique: Unique) -> bool {
    world.answer(unique) == Some(&Answer::Error(Errno::STALE))
}

/// A file of so many bytes, which is done.
fn write(world: &mut World, name: &str, length: usize) -> u64 {
    let (ino, handle) = world.create(name, libc::O_WRONLY);
    world.write(ino, 0, &vec![1; length]);
    world.release(handle);
    world.pass(LINGER);
    ino
}

/// The size in an answer to stat(2).
fn size(world: &World, unique: Unique) -> u64 {
    match world.answer(unique) {
        Some(Answer::Attributes(attributes)) => attributes.size,
        other => panic!("no attributes: {other:?}"),
    }
}

#[test]
fn one_thread_waits_for_many_files_by_stat_and_finds_each_itself() {
    for door in ["wait", "next/wait"] {
        let mut world = World::new(Deliver::Settled, |_| {});
        for (name, length) in [("a", 10), ("b", 20), ("c", 30)] {
            let place = look_up(&mut world, door, name);
            let waits = stat(&mut world, place);
            assert_eq!(world.answer(waits), None);
            let file = write(&mut world, name, length);
            // The kernel looks up again, twice.
            assert!(is_stale(&world, waits), "{door}/{name}");
            for _ in 0..2 {
                assert_eq!(look_up(&mut world, door, name), file, "{door}/{name}");
            }
            let shown = stat(&mut world, file);
            assert_eq!(size(&world, shown), length as u64);
        }
    }
}

/// The kernel takes no size for the place by which it waits, and would show 0.
#[test]
fn who_finds_the_name_taken_away_when_looking_again_gets_an_error_rather_than_a_size_of_0() {
    for opens in [false, true] {
        let mut world = World::new(Deliver::Settled, |_| {});
        let ask = |world: &mut World, place| match opens {
            true => world.open(place),
            false => stat(world, place),
        };
        let place = look_up(&mut world, "wait", "f");
        let waits = ask(&mut world, place);
        let file = write(&mut world, "f", 10);
        assert!(is_stale(&world, waits));
        world.rename("f", "away");
        let place = look_up(&mut world, "wait", "f");
        assert_ne!(place, file);
        let waits = ask(&mut world, place);
        assert_eq!(world.answer(waits), None);
        world.rename("away", "f");
        world.pass(LINGER);
        assert!(is_stale(&world, waits), "{:?}", world.answer(waits));
    }
}

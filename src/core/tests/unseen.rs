//! Processes that cannot be seen from where the daemon runs.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::super::effects::{Kin, Opening};
use super::super::namespace::ROOT;
use super::super::rules::Deliver;
use super::super::writing::unseen_writer;
use super::{OWNER, Unique, World};

/// A process opens a file that is not seen.
fn open_unseen(world: &mut World, ino: u64) -> Unique {
    let caller = world.caller(0);
    world.run(|core, env, effects| {
        let opening = Opening {
            flags: libc::O_RDONLY,
            writer: None,
            kin: &Kin::default(),
        };
        core.open(env, caller, ino, opening, effects);
    });
    caller.unique
}

#[test]
fn one_waits_for_what_is_written_by_those_who_can_be_seen_and_not_for_what_may_be_its_own() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (seen, _) = world.create("seen", libc::O_WRONLY);
    let waits = open_unseen(&mut world, seen);
    assert_eq!(world.answer(waits), None);
    let created = world.run(|core, env, effects| {
        let at = (ROOT, OsStr::new("unseen"));
        core.create(env, at, OWNER, libc::O_WRONLY, unseen_writer(), effects)
    });
    let unseen = created.unwrap().0.ino;
    let reads = open_unseen(&mut world, unseen);
    world.handle(reads);
    let other = world.open(unseen);
    assert_eq!(world.answer(other), None, "it can be seen, and waits");
}

#[test]
fn where_writers_must_be_visible_it_makes_nothing_and_opens_nothing_for_writing() {
    let mut world = World::new(Deliver::Auto, |settings| settings.require_visible = true);
    let created = world.run(|core, env, effects| {
        let at = (ROOT, OsStr::new("x"));
        core.create(env, at, OWNER, libc::O_WRONLY, unseen_writer(), effects)
    });
    assert_eq!(created.unwrap_err(), Errno::PERM);
    // No name is left behind.
    let (ino, _) = world.create("x", libc::O_WRONLY);
    let caller = world.caller(0);
    world.run(|core, env, effects| {
        let opening = Opening {
            flags: libc::O_WRONLY,
            writer: Some(unseen_writer()),
            kin: &Kin::default(),
        };
        core.open(env, caller, ino, opening, effects);
    });
    assert_eq!(world.error(caller.unique), Some(Errno::PERM));
}

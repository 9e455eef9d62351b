//! Processes that cannot be seen from where the daemon runs.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::super::generation::Writer;
use super::super::namespace::ROOT;
use super::super::request::{Opener, Request, at};
use super::super::rules::Deliver;
use super::super::unseen_writer;
use super::{Answer, OWNER, Unique, World};

impl World {
    /// Opens a file, as a process that cannot be seen.
    fn open_unseen(&mut self, ino: u64, flags: i32, writer: Option<Writer>) -> Unique {
        let caller = self.caller(0);
        self.open_for(caller, (ino, flags), writer, &Opener::default())
    }

    fn create_unseen(&mut self, name: &str) -> Result<u64, Errno> {
        let create = Request::Create {
            at: at(ROOT, OsStr::new(name)),
            creator: OWNER,
            flags: libc::O_WRONLY,
            writer: unseen_writer(),
        };
        match self.ask(create)? {
            Answer::Created(ino, _) => Ok(ino),
            other => panic!("not created: {other:?}"),
        }
    }
}

#[test]
fn an_unseen_reader_waits_for_visible_writers_and_not_for_a_file_that_it_may_write_itself() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (seen, _) = world.create("seen", libc::O_WRONLY);
    let waits = world.open_unseen(seen, libc::O_RDONLY, None);
    assert_eq!(world.answer(waits), None);
    let unseen = world.create_unseen("unseen").unwrap();
    let reads = world.open_unseen(unseen, libc::O_RDONLY, None);
    world.handle(reads);
    let other = world.open(unseen);
    assert_eq!(world.answer(other), None, "it can be seen, and waits");
}

#[test]
fn where_writers_must_be_visible_an_unseen_one_makes_and_opens_nothing() {
    let mut world = World::new(Deliver::Auto, |settings| settings.require_visible = true);
    assert_eq!(world.create_unseen("x"), Err(Errno::PERM));
    // No name is left behind.
    let (ino, _) = world.create("x", libc::O_WRONLY);
    let opened = world.open_unseen(ino, libc::O_WRONLY, Some(unseen_writer()));
    assert_eq!(world.error(opened), Some(Errno::PERM));
}

//! What the kernel has cached of a file while it was written must not be used once the file is closed.

use rustix::io::Errno;

use super::super::effects::{Effect, Transport};
use super::super::namespace::ROOT;
use super::super::request::{Caller, Opener, Request};
use super::super::rules::Deliver;
use super::super::{Change, Changes};
use super::{Answer, LINGER, READER, WRITER, World, bytes};

const LATER: i32 = READER + 1;

impl World {
    /// The incarnation that a thread finds by the name `f`.
    fn found_by(&mut self, thread: i32) -> u32 {
        let found = self.try_to_look_up_by(thread, ROOT, "f").unwrap();
        found.incarnation
    }

    fn caller_with(&mut self, thread: i32, incarnation: u32) -> Caller {
        Caller {
            incarnation: Some(incarnation),
            ..self.caller(thread)
        }
    }

    /// Makes a request about this incarnation.
    fn ask_of(&mut self, incarnation: u32, request: Request) -> Answer {
        let caller = self.caller_with(LATER, incarnation);
        self.handle_request(caller, request);
        self.answers[&caller.unique].clone()
    }

    /// Whether the last request had the kernel ask for the attributes of an incarnation again.
    fn has_forgotten(&self, inode: (u64, u32)) -> bool {
        let is_it = |effect: &Effect| matches!(effect, Effect::ForgetAttributes { ino, incarnation } if (*ino, *incarnation) == inode);
        self.other_effects.iter().any(is_it)
    }

    fn stat(&mut self, ino: u64, incarnation: u32) -> Answer {
        let opener = Opener::default();
        let attributes = Request::Attributes {
            ino,
            by_handle: false,
            opener,
        };
        self.ask_of(incarnation, attributes)
    }
}

fn world() -> World {
    World::new(Deliver::Settled, |_| {})
}

#[test]
fn a_file_that_was_looked_up_while_it_was_written_is_another_inode_once_it_is_closed() {
    let mut world = world();
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let found = world.try_to_look_up_by(READER, ROOT, "f").unwrap();
    assert_eq!((found.attributes.size, found.incarnation), (0, 0));
    // The kernel must not cache the present size.
    assert!(!found.attributes.cacheable);
    world.write_back(ino, 0, b"12345678");
    assert_eq!(world.found_by(READER), 0, "it is the one that is open");
    world.release(handle);
    assert!(world.has_forgotten((ino, 0)));
    // The kernel may use earlier answers only now, and make requests about that incarnation.
    let refused = Answer::Error(Errno::STALE);
    assert_eq!(world.stat(ino, 0), refused);
    let changes = Changes {
        mtime: Some(Change::Now),
        ..Changes::default()
    };
    let change = Request::Change { ino, changes };
    assert_eq!(world.ask_of(0, change), refused);
    let caller = world.caller_with(READER, 0);
    let opened = world.open_by(caller, ino, &Opener::default());
    assert_eq!(world.error(opened), Some(Errno::STALE));
    // It looks the name up again.
    let found = world.try_to_look_up_by(READER, ROOT, "f").unwrap();
    assert_eq!((found.attributes.size, found.incarnation), (8, 1));
    assert_eq!(found.attributes.st_ino, ino);
    let caller = world.caller_with(READER, 1);
    let opened = world.open_by(caller, ino, &Opener::default());
    assert_eq!(world.error(opened), None, "it waits");
    world.pass(LINGER);
    let reader = world.handle(opened);
    assert_eq!(world.read_now(reader, 0, 8), bytes("12345678"));
    assert!(matches!(world.stat(ino, 1), Answer::Attributes(_)));
    assert_eq!(world.found_by(LATER), 1, "that one stays");
}

#[test]
fn a_process_that_has_it_open_or_waits_to_keeps_the_inode_that_it_has() {
    for deliver in [Deliver::Settled, Deliver::Follow] {
        let is_pending = deliver == Deliver::Settled;
        let mut world = World::new(deliver, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        assert_eq!(world.found_by(READER), 0);
        let caller = world.caller_with(READER, 0);
        let opened = world.open_by(caller, ino, &Opener::default());
        assert_eq!(world.answer(opened).is_none(), is_pending);
        world.release(handle);
        assert_eq!(world.found_by(LATER), 0, "{deliver:?}");
        assert!(matches!(world.stat(ino, 0), Answer::Attributes(_)));
        world.pass(LINGER);
        let reader = world.handle(opened);
        world.release(reader);
        assert_eq!(world.found_by(LATER), 1, "{deliver:?}");
    }
}

#[test]
fn lookups_of_its_writer_and_after_its_end_change_nothing() {
    let mut world = world();
    let (_, handle) = world.create("f", libc::O_WRONLY);
    assert_eq!(world.found_by(WRITER), 0);
    world.release(handle);
    assert_eq!(world.found_by(READER), 0);
    assert_eq!(world.found_by(LATER), 0);
}

#[test]
fn a_thread_that_was_sent_back_and_comes_by_the_old_number_once_more_reads_past_the_cache() {
    let mut world = world();
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    assert_eq!(world.found_by(READER), 0);
    world.write_back(ino, 0, b"12345678");
    world.release(handle);
    let open = |world: &mut World, writer| {
        let caller = world.caller_with(READER, 0);
        let flags = if writer { libc::O_WRONLY } else { 0 };
        let writer = writer.then(|| super::writer(READER));
        world.open_for(caller, (ino, flags), writer, &Opener::default())
    };
    let first = open(&mut world, false);
    assert_eq!(world.error(first), Some(Errno::STALE));
    // The kernel would not look a third time.
    let by_writer = open(&mut world, true);
    assert_eq!(world.error(by_writer), Some(Errno::STALE));
    let second = open(&mut world, false);
    world.pass(LINGER);
    let Some(Answer::Handle(reader, Transport::Direct)) = world.answer(second).cloned() else {
        panic!("{:?}", world.answer(second));
    };
    assert_eq!(world.read_now(reader, 0, 8), bytes("12345678"));
    assert!(
        matches!(world.stat(ino, 0), Answer::Attributes(_)),
        "it has it open"
    );
    world.release(reader);
    assert_eq!(world.stat(ino, 0), Answer::Error(Errno::STALE));
}

#[test]
fn the_kernel_asks_again_for_what_was_changed_by_a_name_as_that_may_lead_to_an_old_inode() {
    let mut world = world();
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.release(handle);
    world.try_to_link(ino, "link").unwrap();
    world.unlink("link");
    assert!(!world.has_forgotten((ino, 0)), "there is but one inode");
    let handle = world.reopen_for_writing(ino, libc::O_WRONLY);
    world.found_by(READER);
    world.release(handle);
    world.try_to_link(ino, "link").unwrap();
    world.unlink("link");
    assert!(
        world.has_forgotten((ino, 1)),
        "of which the kernel has counted the names"
    );
    world.rename("f", "g");
    assert!(world.has_forgotten((ino, 1)));
}

#[test]
fn a_stat_that_was_sent_back_says_nothing_of_the_name_by_which_the_same_thread_opens_the_file_later()
 {
    let mut world = world();
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    world.found_by(READER);
    world.release(handle);
    assert_eq!(world.stat(ino, 0), Answer::Error(Errno::STALE));
    assert_eq!(world.found_by(LATER), 1);
    world.pass(LINGER);
    world.rename("f", "g");
    // By `g`, which the kernel knows from the rename.
    let caller = world.caller_with(LATER, 1);
    let opened = world.open_by(caller, ino, &Opener::default());
    assert_eq!(
        world.error(opened),
        Some(Errno::STALE),
        "it is to look again, and not told that nothing is there"
    );
    let found = world.try_to_look_up_by(LATER, ROOT, "g").unwrap();
    let caller = world.caller_with(LATER, found.incarnation);
    let opened = world.open_by(caller, ino, &Opener::default());
    world.handle(opened);
}

#[test]
fn a_thread_that_waited_for_the_file_may_open_the_incarnation_that_it_found() {
    let mut world = world();
    let control = world.look_up(ROOT, ".fifofs");
    let door = world.look_up(control, "wait");
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    assert_eq!(world.found_by(LATER), 0);
    let holder = world.caller_with(LATER, 0);
    let holder = world.open_by(holder, ino, &Opener::default());
    let place = world.look_up(door, "f");
    let caller = world.caller_with(READER, 0);
    let waits = world.open_by(caller, place, &Opener::default());
    world.write_back(ino, 0, b"12345678");
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(
        world.error(waits),
        Some(Errno::STALE),
        "it is to look again"
    );
    let found = world.try_to_look_up(door, "f").unwrap();
    assert_eq!((found.attributes.ino, found.incarnation), (ino, 0));
    // The last process that has the file open closes it in between.
    let holder = world.handle(holder);
    world.release(holder);
    let caller = world.caller_with(READER, 0);
    let opened = world.open_by(caller, ino, &Opener::default());
    let reader = world.handle(opened);
    assert_eq!(world.read_now(reader, 0, 8), bytes("12345678"));
}

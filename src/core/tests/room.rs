//! Lack of memory for what cannot be spilled. The limit is one mebibyte.

use rustix::io::Errno;

use super::*;
use crate::core::CONTROL_NAME;
use crate::core::spool::Limits;
use crate::core::timers::SPILLS_AGAIN;

const USER: u32 = 77;
const OTHER: u32 = 78;

/// Opens a file for reading; returns the handle or the error.
fn open_by(world: &mut World, user: u32, ino: u64) -> Result<u64, Errno> {
    let caller = Caller {
        user: Some(user),
        ..world.caller(READER)
    };
    let open = world.open_by(caller, ino, &Opener::default());
    match world.answer(open) {
        Some(Answer::Handle(handle, _)) => Ok(*handle),
        Some(Answer::Error(errno)) => Err(*errno),
        other => panic!("neither opened nor refused: {other:?}"),
    }
}

/// Opens a file until that is refused; returns the handles.
fn open_all(world: &mut World, user: u32, ino: u64) -> Vec<u64> {
    let mut handles = Vec::new();
    loop {
        match open_by(world, user, ino) {
            Ok(handle) => handles.push(handle),
            Err(errno) => {
                assert_eq!(errno, Errno::NOMEM);
                return handles;
            }
        }
    }
}

#[test]
fn opens_are_refused_to_a_user_with_half_of_all_memory_and_the_status_can_still_be_read() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("x", libc::O_WRONLY);
    world.release(handle);
    world.pass(Duration::from_secs(1));
    let mine = open_all(&mut world, USER, ino);
    assert!(
        (500..5000).contains(&mine.len()),
        "{} open files",
        mine.len()
    );
    let others = open_all(&mut world, OTHER, ino);
    assert!(others.len() * 10 > mine.len() * 9, "the other half");
    assert_eq!(open_by(&mut world, OWNER.uid, ino), Err(Errno::NOMEM));

    let status = [CONTROL_NAME, "status"]
        .iter()
        .fold(ROOT, |parent, name| world.look_up(parent, name));
    open_by(&mut world, OWNER.uid, status).expect("the state");
    for handle in mine {
        world.release(handle);
    }
    open_by(&mut world, USER, ino).expect("room again");
}

#[test]
fn contents_are_spilled_unchanged_when_names_need_their_room() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("x", libc::O_WRONLY);
    let content = vec![7; 900 << 10];
    world.write(ino, 0, &content);
    let used = world.core.pool().memory_used();
    for name in 0..300 {
        let made = world.try_to_make_directory(&format!("d{name}"));
        made.expect("room for a name");
    }
    let pool = world.core.pool();
    assert!(pool.memory_used() < used && pool.spilled() > 0);
    assert!(pool.memory_used() + pool.kept() <= 1 << 20);
    let handle = world.open(ino);
    let handle = world.handle(handle);
    let Answer::Bytes(first) = world.read_now(handle, 0, 1 << 20) else {
        panic!("no bytes")
    };
    assert!(first == content);
}

/// Bytes for a reader stay in memory until they have been sent: that is no reason to refuse writes.
#[test]
fn nothing_is_refused_because_a_reader_has_contents_in_hand() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, &vec![7; 900 << 10]);
    let in_hand = world.core.files[&ino].spool().read(0, 1 << 20);
    for name in 0..300 {
        let made = world.try_to_make_directory(&format!("d{name}"));
        made.expect("room for a name");
    }
    assert!(world.core.pool().is_over(), "nothing could be spilled");
    world.create("y", libc::O_WRONLY);
    world.write(ino, 900 << 10, &[8; 100]);
    drop(in_hand);
    world.create("z", libc::O_WRONLY);
    assert!(
        !world.core.pool().is_over(),
        "spilled as soon as it was sent"
    );
}

/// Names and opens are refused only as long as contents cannot be spilled from the memory that they need.
#[test]
fn requests_that_a_full_disk_refused_succeed_once_there_is_room_again() {
    let parent = tempfile::tempdir().unwrap();
    // A directory that does not exist has the same effect as a full disk.
    let spill_directory = parent.path().join("full");
    let pool = Pool::new(Limits {
        memory: 1 << 20,
        max_size: Some(1 << 30),
        spill_directory: spill_directory.clone(),
    });
    let mut world = World::with_pool(pool, Deliver::Follow, |_| {});
    let (ino, handle) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, &vec![7; 900 << 10]);
    world.release(handle);
    world.pass(Duration::from_secs(1));
    let refused = (0..10_000).find_map(|name| {
        let made = world.try_to_make_directory(&format!("d{name}"));
        made.err()
    });
    assert_eq!(refused, Some(Errno::NOSPC));
    let owner = OWNER.uid;
    world.pass(SPILLS_AGAIN);
    assert_eq!(open_by(&mut world, owner, ino), Err(Errno::NOMEM));

    std::fs::create_dir(&spill_directory).unwrap();
    world.pass(SPILLS_AGAIN);
    open_by(&mut world, owner, ino).expect("room on disk");
    let made = world.try_to_make_directory("again");
    made.expect("room on disk");
}

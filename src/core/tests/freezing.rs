//! What can still be done to a tree that was frozen.

use rustix::io::Errno;

use super::*;
use crate::core::namespace::Rename;

type Attempt<'a> = dyn Fn(&mut Core, Env<'_>, &mut Effects) -> Result<(), Errno> + 'a;

#[test]
fn a_tree_that_nobody_writes_can_be_frozen_and_then_nothing_in_it_is_changed() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer_handle) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, b"good");
    assert!(!world.core.freeze(), "it is open for writing");
    let again = world.reopen_for_writing(ino, libc::O_WRONLY);
    world.release(writer_handle);
    assert!(!world.core.freeze(), "it still is");
    world.release(again);
    assert!(world.core.freeze());

    let x = (ROOT, OsStr::new("x"));
    let y = (ROOT, OsStr::new("y"));
    let changes: [(&str, &Attempt<'_>); 6] = [
        ("create", &|core, env, effects| {
            let flags = libc::O_WRONLY;
            core.create(env, y, OWNER, flags, writer(WRITER), effects)
                .map(drop)
        }),
        ("mkdir", &|core, env, _| {
            core.make_directory(env, y, OWNER).map(drop)
        }),
        ("rename", &|core, env, effects| {
            core.rename(env, x, y, Rename::Replace, effects)
        }),
        ("link", &|core, env, effects| {
            core.link(env, ino, y, 0, effects).map(drop)
        }),
        ("unlink", &|core, env, effects| core.unlink(env, x, effects)),
        ("truncate", &|core, env, effects| {
            let changes = Changes {
                size: Some(0),
                ..Changes::default()
            };
            core.change(env, ino, changes, effects).map(drop)
        }),
    ];
    for (what, change) in changes {
        let done = world.run(|core, env, effects| change(core, env, effects));
        assert_eq!(done, Err(Errno::ROFS), "{what}");
    }
    let caller = world.caller(WRITER);
    world.run(|core, env, effects| {
        let opening = Opening {
            flags: libc::O_WRONLY | libc::O_TRUNC,
            writer: Some(writer(WRITER)),
            kin: &Kin::default(),
        };
        core.open(env, caller, ino, opening, effects);
    });
    let refused = Some(&Answer::Error(Errno::ROFS));
    assert_eq!(world.answer(caller.unique), refused);

    world.pass(LINGER);
    let opened = world.open(ino);
    let handle = world.handle(opened);
    assert_eq!(world.read_now(handle, 0, 9), Answer::Bytes(b"good".into()));
}

//! Requests to a frozen tree.

use rustix::io::Errno;

use super::*;
use crate::core::namespace::Rename;
use crate::core::request::at;

#[test]
fn a_tree_without_writers_can_be_frozen_and_then_no_file_in_it_is_changed() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, writer_handle) = world.create("x", libc::O_WRONLY);
    world.write(ino, 0, b"good");
    assert!(!world.freeze(), "it is open for writing");
    let again = world.reopen_for_writing(ino, libc::O_WRONLY);
    world.release(writer_handle);
    assert!(!world.freeze(), "it still is");
    world.release(again);
    assert!(world.freeze());

    let x = || at(ROOT, OsStr::new("x"));
    let y = || at(ROOT, OsStr::new("y"));
    let changes = [
        Request::Create {
            at: y(),
            creator: OWNER,
            flags: libc::O_WRONLY,
            writer: writer(WRITER),
        },
        Request::MakeDirectory {
            at: y(),
            creator: OWNER,
        },
        Request::Rename {
            from: x(),
            to: y(),
            how: Rename::Replace,
        },
        Request::Link { ino, at: y() },
        Request::Unlink { at: x() },
        Request::Change {
            ino,
            changes: Changes {
                size: Some(0),
                ..Changes::default()
            },
        },
    ];
    for change in changes {
        let what = format!("{change:?}");
        assert_eq!(world.ask(change), Err(Errno::ROFS), "{what}");
    }
    let opened = world.try_to_reopen(ino, libc::O_WRONLY | libc::O_TRUNC);
    let refused = Some(&Answer::Error(Errno::ROFS));
    assert_eq!(world.answer(opened), refused);

    world.pass(LINGER);
    let opened = world.open(ino);
    let handle = world.handle(opened);
    assert_eq!(world.read_now(handle, 0, 9), Answer::Bytes(b"good".into()));
}

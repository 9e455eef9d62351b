//! The control directory as the kernel looks it up.

use rustix::io::Errno;

use std::path::Path;

use super::*;
use crate::core::CONTROL_NAME;
use crate::core::request::at;

/// Looks up names, one below the other; returns the last one's number and whether it is cacheable.
fn look_up(world: &mut World, names: &[&str]) -> (u64, bool) {
    names.iter().fold((ROOT, true), |(parent, _), name| {
        let found = world.try_to_look_up(parent, name).unwrap();
        (found.attributes.ino, found.cacheable)
    })
}

/// Looks up a directory of the control directory by its path; returns its number.
fn look_up_path(world: &mut World, path: &str) -> u64 {
    let names: Vec<&str> = std::iter::once(CONTROL_NAME)
        .chain(path.split('/'))
        .collect();
    look_up(world, &names).0
}

/// With a new number at each lookup the kernel would drop what it knows of the door, and thousands of threads
/// that go through it at the same time would make each other start again: they took minutes.
#[test]
fn a_door_keeps_its_number_while_the_kernel_knows_it() {
    let mut world = World::new(Deliver::Auto, |_| {});
    for name in ["wait", "pipe", "next", "pid"] {
        let (first, cacheable) = look_up(&mut world, &[CONTROL_NAME, name]);
        assert!(cacheable, "{name} is the same for ever");
        assert_eq!(look_up(&mut world, &[CONTROL_NAME, name]).0, first);
        world.forget(first, 1);
        assert_eq!(look_up(&mut world, &[CONTROL_NAME, name]).0, first);
        world.forget(first, 2);
        assert_ne!(look_up(&mut world, &[CONTROL_NAME, name]).0, first);
    }
}

#[test]
fn a_name_behind_a_door_is_looked_up_each_time() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let path = [CONTROL_NAME, "wait", "out"];
    let (first, cacheable) = look_up(&mut world, &path);
    assert!(!cacheable);
    assert_ne!(look_up(&mut world, &path).0, first);
}

/// A thousand threads that opened one at the same time kept the daemon busy for half a minute.
#[test]
fn a_place_that_is_read_as_a_pipe_keeps_its_number_while_the_kernel_knows_it() {
    let mut world = World::new(Deliver::Auto, |_| {});
    for path in [&["pipe", "out"][..], &["next", "pipe", "out"], &["events"]] {
        let path = [&[CONTROL_NAME], path].concat();
        let (first, cacheable) = look_up(&mut world, &path);
        assert!(!cacheable, "{path:?}: a directory may come to be there");
        assert_eq!(look_up(&mut world, &path).0, first);
        world.forget(first, 2);
        assert_ne!(look_up(&mut world, &path).0, first);
    }
}

fn link(world: &mut World, name: &str, target: &str) {
    let make = Request::MakeSymlink {
        at: at(ROOT, OsStr::new(name)),
        creator: OWNER,
        target: Path::new(target).into(),
    };
    world.ask(make).unwrap();
}

/// Readers of such a path waited for ever.
#[test]
fn a_path_that_can_never_exist_is_an_error_at_once_and_links_lead_where_the_kernel_would_go() {
    let mut world = World::new(Deliver::Auto, |settings| {
        settings.place = Some("/mnt/m".into());
    });
    world.create("file", libc::O_WRONLY);
    world.try_to_make_directory("d").unwrap();
    for (name, target) in [
        ("loop", "loop"),
        ("outside", "/tmp/outside"),
        ("above", "../up/./x"),
        ("inside", "/mnt/m/later"),
        ("there", "/mnt/m"),
        ("dir", "/mnt/m/d"),
        ("control", ".fifofs/status"),
        ("near", "/mnt/mm"),
    ] {
        link(&mut world, name, target);
    }
    enum Is {
        Error(Errno),
        Link(&'static str),
        Waits,
        Directory,
    }
    use Is::{Directory, Error, Link, Waits};
    let cases = [
        ("later", Waits),
        ("nodir%2Flater", Waits),
        ("inside", Waits),
        ("there%2Flater", Waits),
        ("dir%2Flater", Waits),
        ("d", Directory),
        ("dir", Directory),
        ("there", Directory),
        ("loop", Error(Errno::LOOP)),
        ("loop%2Fx", Error(Errno::LOOP)),
        ("file%2Fx", Error(Errno::NOTDIR)),
        ("file%2F", Error(Errno::NOTDIR)),
        ("later%2F", Error(Errno::NOENT)),
        ("outside", Link("/tmp/outside")),
        ("above", Link("../../../up/x")),
        ("d%2F..%2F..%2Fx", Link("../../../x")),
        ("near", Link("/mnt/mm")),
        (".fifofs", Link("../../.fifofs")),
        (".fifofs%2Fnosuch", Link("../../.fifofs/nosuch")),
        ("control", Link("../../.fifofs/status")),
    ];
    for (which, above) in [
        ("wait", ""),
        ("pipe", ""),
        ("next/wait", "../"),
        ("next/pipe", "../"),
        ("pid/7/wait", "../../"),
        ("pid/7/pipe", "../../"),
    ] {
        let parent = look_up_path(&mut world, which);
        for (name, expected) in &cases {
            let found = world.try_to_look_up(parent, name).map(|found| {
                let target = world.core.read_link(found.attributes.ino);
                (found.attributes, target.ok())
            });
            match (expected, found) {
                (Error(errno), found) => assert_eq!(found.err(), Some(*errno), "{which}/{name}"),
                (Link(expected), Ok((_, target))) => {
                    let expected = match *expected {
                        absolute if absolute.starts_with('/') => absolute.to_owned(),
                        relative => format!("{above}{relative}"),
                    };
                    assert_eq!(target.unwrap(), Path::new(&expected), "{which}/{name}");
                }
                (Waits, Ok((attributes, target))) => {
                    let kind = attributes.mode & libc::S_IFMT;
                    assert_eq!((kind, target), (libc::S_IFREG, None), "{which}/{name}");
                }
                (Directory, Ok((attributes, _))) => {
                    assert_eq!(
                        attributes.mode & libc::S_IFMT,
                        libc::S_IFDIR,
                        "{which}/{name}"
                    );
                }
                (_, Err(errno)) => panic!("{which}/{name}: {errno}"),
            }
        }
    }
    // Below a directory the way to the root is one name longer.
    let (parent, _) = look_up(&mut world, &[CONTROL_NAME, "wait", "d"]);
    let (found, _) = look_up(&mut world, &[CONTROL_NAME, "wait", "d", "..%2Fabove"]);
    assert_ne!(parent, found);
    assert_eq!(
        world.core.read_link(found).unwrap(),
        Path::new("../../../../up/x")
    );
}

/// A reader waits for a path at which then no file can appear any more.
#[test]
fn a_wait_ends_when_no_file_can_appear_any_more() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let wait = |world: &mut World, name: &str| {
        let (ino, _) = look_up(world, &[CONTROL_NAME, "wait", name]);
        let open = world.open(ino);
        assert_eq!(world.answer(open), None, "{name}");
        open
    };
    let loops = wait(&mut world, "loop");
    let below = wait(&mut world, "a%2Fb%2Fc");
    let outside = wait(&mut world, "out");
    let waits = wait(&mut world, "other");
    link(&mut world, "loop", "loop");
    world.create("a", libc::O_WRONLY);
    link(&mut world, "out", "/elsewhere");
    let refused = |errno| Some(Answer::Error(errno));
    assert_eq!(world.answer(loops).cloned(), refused(Errno::LOOP));
    assert_eq!(world.answer(below).cloned(), refused(Errno::NOTDIR));
    assert_eq!(
        world.answer(outside).cloned(),
        refused(Errno::STALE),
        "to look again"
    );
    assert_eq!(world.answer(waits), None);
}

#[test]
fn a_reader_that_waits_at_a_name_is_sent_back_to_a_fifo_or_socket_that_is_made_there() {
    for kind in [libc::S_IFIFO, libc::S_IFSOCK] {
        let mut world = World::new(Deliver::Auto, |_| {});
        let (ino, _) = look_up(&mut world, &[CONTROL_NAME, "wait", "p"]);
        let open = world.open(ino);
        let make = Request::MakeNode {
            at: at(ROOT, OsStr::new("p")),
            creator: OWNER,
            kind,
            rdev: 0,
        };
        world.ask(make).unwrap();
        assert_eq!(world.error(open), Some(Errno::STALE));
    }
}

/// Readers of such a path waited for ever.
#[test]
fn a_name_that_no_file_can_have_is_not_waited_for() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    for which in ["wait", "next/pipe"] {
        let parent = look_up_path(&mut world, which);
        let mut look = |name: &str| world.try_to_look_up(parent, name).map(drop);
        assert_eq!(look(&format!("{longest}%2F{longest}")), Ok(()));
        for name in [
            &too_long,
            &format!("{too_long}%2Fout"),
            &format!("out%2F{too_long}"),
        ] {
            assert_eq!(look(name), Err(Errno::NAMETOOLONG), "{which}/{name}");
        }
    }
}

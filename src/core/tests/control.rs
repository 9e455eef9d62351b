//! The control directory as the kernel looks it up.

use rustix::io::Errno;

use super::*;
use crate::core::CONTROL_NAME;

/// Looks up names, one below the other; gives the last one's number and whether it may be remembered.
fn look_up(world: &mut World, names: &[&str]) -> (u64, bool) {
    names.iter().fold((ROOT, true), |(parent, _), name| {
        let look = |core: &mut Core, env: Env<'_>, _: &mut Effects| {
            core.lookup(env, parent, OsStr::new(name), READER, false)
        };
        let found = world.run(look).unwrap();
        (found.attributes.ino, found.lasting)
    })
}

/// Were it another at each look, the kernel would throw away what it knows, and of thousands who go
/// through it at once each would begin again for each other: they took minutes.
#[test]
fn a_directory_of_waiting_names_keeps_its_number_while_the_kernel_knows_it() {
    let mut world = World::new(Deliver::Auto, |_| {});
    for name in ["wait", "next"] {
        let (first, lasting) = look_up(&mut world, &[CONTROL_NAME, name]);
        assert!(lasting, "{name} is the same for ever");
        assert_eq!(look_up(&mut world, &[CONTROL_NAME, name]).0, first);
        world.run(|core, _, _| core.forget(first, 1));
        assert_eq!(look_up(&mut world, &[CONTROL_NAME, name]).0, first);
        world.run(|core, _, _| core.forget(first, 2));
        assert_ne!(look_up(&mut world, &[CONTROL_NAME, name]).0, first);
    }
}

#[test]
fn what_a_waiting_name_leads_to_is_asked_for_each_time() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let path = [CONTROL_NAME, "wait", "out"];
    let (first, lasting) = look_up(&mut world, &path);
    assert!(!lasting);
    assert_ne!(look_up(&mut world, &path).0, first);
}

/// Whoever waited for it waited for ever.
#[test]
fn a_name_that_no_file_can_have_is_not_waited_for() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (longest, too_long) = ("n".repeat(255), "n".repeat(256));
    for which in ["wait", "next"] {
        let (parent, _) = look_up(&mut world, &[CONTROL_NAME, which]);
        let mut look = |name: &str| {
            world.run(|core, env, _| {
                let found = core.lookup(env, parent, OsStr::new(name), READER, false);
                found.map(drop)
            })
        };
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

//! How a mount starts: as a daemon, and on a directory that is missing.

use std::fs;

use crate::common::{Mount, Place, SOON, mount_command};

#[test]
fn fifofs_mount_d_returns_when_the_mount_is_ready_and_leaves_a_daemon_behind() {
    let place = Place::new();
    // The harness reads its output to the end: a daemon that kept it open would make `x=$(fifofs mount -d …)` wait.
    for option in ["-d", "--daemon"] {
        place
            .spawn(mount_command(&place, &[option]))
            .finish(SOON)
            .succeeded();
        place
            .shell("/bin/echo ready > $D/x; $FIFOFS cat $D/x")
            .finish(SOON)
            .succeeded()
            .printed("ready\n");
        place
            .fifofs(&["unmount", place.mount_point().to_str().expect("UTF-8")])
            .finish(SOON)
            .succeeded();
        place.assert_nothing_left();
    }
}

#[test]
fn fifofs_mount_makes_a_directory_that_is_missing() {
    let place = Place::new();
    fs::remove_dir(place.mount_point()).expect("removed");
    let mount = Mount::start_in(&place, &[]);
    mount.unmount();
}

#[test]
fn a_daemon_keeps_nothing_open_that_it_inherited() {
    let place = Place::new();
    // If 7 were kept, cat would never end; if 9 were, the lock would stay.
    place
        .shell(
            r#"
            { "$FIFOFS" mount -d "$D" 7>&1 8< "$P" 9> "$P/lock"; } | cat
            exec 9> "$P/lock"; flock 9; "$FIFOFS" unmount "$D"; "$FIFOFS" mount -d "$D"
            exec 9>&-; flock -n "$P/lock" echo free
            "$FIFOFS" unmount "$D"
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("free\n");
    place.assert_nothing_left();
}

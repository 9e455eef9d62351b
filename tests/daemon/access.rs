//! Access of other users and setuid programs, and to the daemon's descriptors.

use std::fs;

use crate::AS_NOBODY;
use crate::common::{Mount, SOON, needs, needs_root};

#[test]
fn without_allow_other_another_user_is_refused() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let mount = Mount::start(&[]);
    mount
        .shell("echo secret > $D/x; chmod 666 $D/x; chmod 777 $D")
        .finish(SOON)
        .succeeded();
    for command in ["ls $D", "cat $D/x", "cat $D/.fifofs/status", "touch $D/y"] {
        mount
            .shell(&format!("{AS_NOBODY} {command}"))
            .finish(SOON)
            .failed_saying("ermission denied");
    }
    mount.unmount();
}

#[test]
fn with_allow_other_modes_and_owners_count_and_the_control_directory_is_the_owners_alone() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let mount = Mount::start(&["--allow-other"]);
    mount
        .shell("chmod 755 $D; /bin/echo open > $D/open; chmod 644 $D/open; /bin/echo closed > $D/closed; chmod 600 $D/closed; mkdir -m 777 $D/theirs; $FIFOFS cat $D/open $D/closed > /dev/null")
        .finish(SOON)
        .succeeded();
    let nobody = |command: &str| mount.shell(&format!("{AS_NOBODY} {command}")).finish(SOON);
    nobody("cat $D/open").succeeded().printed("open\n");
    for refused in [
        "cat $D/closed",
        "touch $D/new",
        "rm $D/open",
        "cat $D/.fifofs/status",
        "cat $D/.fifofs/events",
        "cat $D/.fifofs/pipe/closed",
        "cat $D/.fifofs/pipe/open",
        "cat $D/.fifofs/next/pipe/open",
    ] {
        nobody(refused).failed_saying("ermission denied");
    }
    nobody("bash -c 'echo mine > $D/theirs/x'").succeeded();
    nobody("stat -c '%u %g' $D/theirs/x")
        .succeeded()
        .printed("65534 65534\n");
    mount.unmount();
}

#[test]
fn the_mount_is_nosuid_and_nodev() {
    let mount = Mount::start(&[]);
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let path = mount.path().display().to_string();
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').nth(4) == Some(&path))
        .expect("the mount");
    let options = line.split(' ').nth(5).expect("its options");
    assert!(
        options.contains("nosuid") && options.contains("nodev"),
        "{line}"
    );
    assert!(line.contains("default_permissions"), "{line}");
    mount.unmount();
}

#[test]
fn programs_started_beside_a_daemon_inherit_no_descriptor_of_it() {
    // Every descriptor is close-on-exec: the helpers are forks, so their own tables must not contain /dev/fuse, or
    // the mount would outlive the daemon.
    let mount = Mount::start(&[]);
    for helper in mount.place().daemons() {
        if helper.pid == mount.pid() {
            continue;
        }
        for descriptor in fs::read_dir(format!("/proc/{}/fd", helper.pid))
            .into_iter()
            .flatten()
            .flatten()
        {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            assert!(
                !target.starts_with("/dev/fuse"),
                "{} holds {}",
                helper.comm,
                target.display()
            );
        }
    }
    mount.unmount();
}

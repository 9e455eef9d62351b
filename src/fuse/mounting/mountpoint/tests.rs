//! [`MountPoint`], `unmount` and `is_dead` on real mounts, so as root only.

use super::*;
use crate::fuse::mounting::mountinfo::{find_mount, read_mountinfo};
use crate::fuse::mounting::testing::{Cleanup, as_nobody, mount};
use rustix::fs::{FlockOperation, flock};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

fn message(result: Result<impl std::fmt::Debug>) -> String {
    result.unwrap_err().to_string()
}

const SHARED: MountOptions = MountOptions {
    source: None,
    kernel_options: Vec::new(),
    allow_other: true,
    remove_directory: false,
};

#[test]
fn a_missing_directory_is_made_mounted_and_unmounted() {
    let base = Cleanup::new();
    let directory = base.join("new");
    let mounted = mount(&directory.join(""), &SHARED).unwrap();
    assert_eq!(mounted.directory, directory);
    assert!(mounted.made_directory);
    let flags = rustix::io::fcntl_getfd(mounted.device.as_fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let found = find_mount(&directory.join("below/it")).unwrap().unwrap();
    assert_eq!(found.directory, directory);
    assert_eq!(found.device_number, mounted.device_number);
    let mountinfo = read_mountinfo().unwrap();
    let mountinfo = String::from_utf8_lossy(&mountinfo);
    let line = mountinfo
        .lines()
        .find(|line| line.contains(directory.to_str().unwrap()));
    for option in ["nosuid", "nodev", "default_permissions", "allow_other"] {
        assert!(line.unwrap().contains(option), "{line:?}");
    }

    unmount(&directory, IfBusy::Refuse).unwrap();
    assert_eq!(find_mount(&directory).unwrap(), None);
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn an_existing_directory_reached_by_a_link_is_mounted_on_in_its_own_name() {
    let base = Cleanup::new();
    fs::create_dir(base.join("real")).unwrap();
    std::os::unix::fs::symlink("real", base.join("link")).unwrap();
    let mounted = mount(&base.join("link"), &MountOptions::default()).unwrap();
    assert_eq!(mounted.directory, base.join("real"));
    assert!(!mounted.made_directory);
    unmount(&base.join("link"), IfBusy::Refuse).unwrap();
}

#[test]
fn a_dead_mount_is_cleared_and_mounted_over() {
    let base = Cleanup::new();
    let directory = base.join("dead");
    let first = mount(&directory, &MountOptions::default()).unwrap();
    drop(first.device);
    assert!(is_dead(&directory));
    let second = mount(&directory, &MountOptions::default()).unwrap();
    assert!(!second.made_directory);
    assert_ne!(first.device_number, 0);
    let mounts = all_mounts().unwrap();
    assert_eq!(
        mounts.iter().filter(|mount| **mount == directory).count(),
        1
    );
    drop(second.device);
    let inside = message(mount(&directory.join("x"), &MountOptions::default()));
    assert!(inside.ends_with("it is inside a dead mount: `fifofs unmount` that one first"));
    unmount(&directory, IfBusy::Refuse).unwrap();
    assert!(message(unmount(&directory, IfBusy::Refuse)).contains("no fifofs mount is there; "));
}

#[test]
fn a_mount_with_a_daemon_is_refused_even_while_that_does_not_answer() {
    let base = Cleanup::new();
    let directory = base.join("live");
    let _mounted = mount(&directory, &MountOptions::default()).unwrap();
    let shown = directory.display();
    assert_eq!(
        message(mount(&directory, &MountOptions::default())),
        format!(
            "cannot mount on {shown}: fifofs is mounted there already; \
             use that one, or `fifofs unmount {shown}` first"
        ),
    );
    // The look at it still waits for an answer.
    unmount(&directory, IfBusy::Detach).unwrap();
}

#[test]
fn bad_directories_are_refused_each_with_its_remedy() {
    let base = Cleanup::new();
    fs::create_dir(base.join("full")).unwrap();
    fs::write(base.join("full/old.txt"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", base.join("dangling")).unwrap();
    let free = "give an empty directory, or a name that is free";
    for (name, why) in [
        (
            "full/old.txt",
            format!("Not a directory (os error 20); {free}"),
        ),
        (
            "full",
            format!("the directory is not empty: it holds \"old.txt\"; {free}"),
        ),
        (
            "no/such",
            "No such file or directory (os error 2); give a directory whose parent exists"
                .to_owned(),
        ),
        (
            "dangling",
            "No such file or directory (os error 2); \
             it may be a symbolic link to nowhere; give a directory"
                .to_owned(),
        ),
    ] {
        let path = base.join(name);
        let verb = if name == "no/such" {
            "make the directory"
        } else {
            "mount on"
        };
        assert_eq!(
            message(mount(&path, &MountOptions::default())),
            format!("cannot {verb} {}: {why}", path.display()),
        );
    }
}

#[test]
fn a_process_that_has_locked_a_directory_may_mount_on_it() {
    let base = Cleanup::new();
    let locked = fs::File::open(base.join("")).unwrap();
    flock(&locked, FlockOperation::LockExclusive).unwrap();
    let mounted = mount(&base.join(""), &MountOptions::default()).unwrap();
    drop(mounted);
    unmount(&base.join(""), IfBusy::Detach).unwrap();
}

#[test]
fn a_directory_made_for_nothing_is_removed() {
    let base = Cleanup::new();
    let point = MountPoint::prepare(&base.join("made")).unwrap();
    assert!(point.made_directory() && point.directory().is_dir());
    drop(point);
    assert!(!base.join("made").exists());
}

#[test]
fn without_root_the_helper_mounts_and_unmounts() {
    as_nobody(|base| {
        let directory = base.join("user");
        let roots = Path::new("/dev");
        assert_eq!(
            message(mount(roots, &MountOptions::default())),
            "cannot mount on /dev: Permission denied (os error 13); \
             give a directory that you may read, write and search",
        );
        let shared = message(mount(&directory, &SHARED));
        assert!(
            shared.contains("user_allow_other to /etc/fuse.conf"),
            "{shared}"
        );
        assert!(!directory.exists(), "made, and not removed when refused");

        let mounted = mount(&directory, &MountOptions::default()).unwrap();
        let flags = rustix::io::fcntl_getfd(mounted.device.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(mounted.device);
        assert!(is_dead(&directory));
        drop(mount(&directory, &MountOptions::default()).unwrap());
        unmount(&directory, IfBusy::Refuse).unwrap();
        assert_eq!(find_mount(&directory).unwrap(), None);
    });
}

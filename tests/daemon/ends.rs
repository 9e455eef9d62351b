//! How the daemon ends: every waiting process gets an error, nothing is left, and a dead mount is cleared.

use std::fs;
use std::sync::Arc;

use rustix::process::Signal;

use crate::common::{Finished, Mount, Place, Process, SOON, connection_of, process, signal};

/// A reader that waits, one whose open waits, a writer that waits, and two writers that go on: the end of the daemon
/// must reach all of them.
fn waiting_processes(mount: &Mount) -> Vec<Process> {
    let writer = mount.python(
        r#"
fd = os.open(D + "/x.log", os.O_WRONLY | os.O_CREAT, 0o644)
os.write(fd, b"a\n")
while True:
    os.write(fd, b"more\n")
    os.fsync(fd)
    time.sleep(0.05)
"#,
    );
    mount.wait_exists("x.log");
    // Its writes go to the page cache, and make no request to the daemon.
    let unchecked = mount.shell("while echo more; do sleep .02; done > $D/y.log");
    mount.wait_exists("y.log");
    let follows = mount.reader("x.log");
    let waits = mount.reader(".fifofs/pipe/nothing");
    let command = mount.waiting_reader("nothing");
    let stream = mount.shell("exec head -c 1G /dev/zero > $D/x.stream");
    mount.wait_parked(&waits);
    mount.wait_parked(&stream);
    mount.wait_for("the reader to get something", || {
        !follows.output().is_empty()
    });
    vec![writer, unchecked, follows, waits, command, stream]
}

const STREAM_RULE: [&str; 2] = ["--deliver", "*.stream=stream"];

#[test]
fn after_sigkill_of_the_daemon_the_mount_is_gone_every_process_gets_an_error_and_it_mounts_again() {
    let place = Place::new();
    let mut mount = Mount::start_in(&place, &STREAM_RULE);
    let waiting = waiting_processes(&mount);
    mount.kill_daemon();
    place.wait_for("the mount to be gone", SOON, || {
        connection_of(&place.mount_point()).is_none()
    });
    for process in waiting {
        process.finish(SOON).failed_saying("");
    }
    let again = Mount::start_in(&place, &[]);
    again
        .shell("echo again > $D/x; cat $D/x")
        .finish(SOON)
        .succeeded()
        .printed("again\n");
    again.unmount();
}

#[test]
fn ctrl_c_unmounts_gives_waiting_readers_an_error_and_exits_with_0() {
    let mount = Mount::start(&STREAM_RULE);
    let waiting = waiting_processes(&mount);
    let place = mount.place().clone();
    mount.unmount();
    for process in waiting {
        process.finish(SOON).failed_saying("");
    }
    assert!(
        fs::read_dir(place.mount_point())
            .expect("the directory stays")
            .next()
            .is_none()
    );
}

#[test]
fn sigterm_ends_the_daemon_like_ctrl_c() {
    let mut mount = Mount::start(&[]);
    signal(mount.pid(), Signal::TERM);
    let place = mount.place().clone();
    assert_eq!(mount.wait_daemon(SOON).code(), Some(0));
    place.assert_nothing_left();
}

fn unmount(place: &Arc<Place>, options: &[&str]) -> Finished {
    let directory = place.mount_point().display().to_string();
    let words = ["unmount"].iter().chain(options).copied();
    let words: Vec<&str> = words.chain([&*directory]).collect();
    place.fifofs(&words).finish(SOON)
}

#[test]
fn fifofs_unmount_ends_the_mount_and_the_daemon() {
    for command in ["unmount", "umount"] {
        let mut mount = Mount::start(&STREAM_RULE);
        mount
            .shell(&format!("echo x > $D/x; cat $D/x; $FIFOFS {command} $D"))
            .finish(SOON)
            .succeeded();
        assert!(connection_of(&mount.place().mount_point()).is_none());
        assert_eq!(mount.wait_daemon(SOON).code(), Some(0));
        mount.place().assert_nothing_left();
    }
}

/// The message once was that it was in use by "something that cannot be seen here".
#[test]
fn unmount_names_what_is_mounted_below() {
    let mut mount = Mount::start(&STREAM_RULE);
    let inner = mount.path().join("inner");
    mount
        .shell(r#""$FIFOFS" mount -d "$D/inner""#)
        .finish(SOON)
        .succeeded();
    let below = format!("it is in use by the mount on {}", inner.display());
    unmount(mount.place(), &[]).failed_saying(&below);
    mount
        .shell(r#""$FIFOFS" unmount "$D/inner""#)
        .finish(SOON)
        .succeeded();
    let place = mount.place().clone();
    unmount(&place, &[]).succeeded();
    assert_eq!(mount.wait_daemon(SOON).code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn unmount_of_a_mount_in_use_refuses_and_names_the_processes_that_use_it() {
    let mut mount = Mount::start(&STREAM_RULE);
    let mut waiting = waiting_processes(&mount);
    mount
        .shell("mkdir $D/deep; echo mapped > $D/mapped")
        .finish(SOON)
        .succeeded();
    let works = mount.shell("cd $D/deep; raise works; exec sleep 1000");
    mount.wait_flag("works");
    let maps = mount.python(
        r#"
fd = os.open(D + "/mapped", os.O_RDONLY | os.O_NONBLOCK)
m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
os.close(fd)
raise_flag("maps")
time.sleep(1000)
"#,
    );
    mount.wait_flag("maps");
    waiting.extend([works, maps]);
    let done = unmount(mount.place(), &[]).failed_saying("it is in use by ");
    for process in &waiting {
        let named = format!(" ({})", process.pid());
        assert!(done.stderr.contains(&named), "no {named}: {}", done.stderr);
    }
    assert!(!done.stderr.contains("fifofs-flusher"), "{}", done.stderr);
    assert!(done.stderr.contains("--lazy") && done.stderr.contains("--force"));
    // No process was affected.
    mount
        .shell("echo y > $D/y; cat $D/y")
        .finish(SOON)
        .succeeded()
        .printed("y\n");
    // Check all before one is ended: a reader of another one's output ends with that.
    assert!(waiting.iter_mut().all(Process::is_running));
    drop(waiting);
    let place = mount.place().clone();
    unmount(&place, &[]).succeeded();
    assert_eq!(mount.wait_daemon(SOON).code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn unmount_by_force_gives_every_process_an_error() {
    let mut mount = Mount::start(&STREAM_RULE);
    let waiting = waiting_processes(&mount);
    let place = mount.place().clone();
    unmount(&place, &["--force"]).succeeded();
    assert!(connection_of(&place.mount_point()).is_none());
    assert_eq!(mount.wait_daemon(SOON).code(), Some(0));
    for process in waiting {
        process.finish(SOON).failed_saying("");
    }
    place.assert_nothing_left();
}

#[test]
fn after_a_lazy_unmount_users_go_on_and_the_mount_ends_with_the_last_of_them() {
    let mut mount = Mount::start(&[]);
    let writer =
        mount.shell("exec > $D/x.log; echo one; await go; echo two; raise wrote; await end");
    mount.wait_exists("x.log");
    let reader = mount.reader("x.log");
    reader.wait_output(b"one\n");
    let place = mount.place().clone();
    unmount(&place, &["--lazy"]).succeeded();
    assert!(connection_of(&place.mount_point()).is_none());
    mount.raise("go");
    mount.wait_flag("wrote");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("one\ntwo\n");
    assert_eq!(mount.wait_daemon(SOON).code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn fifofs_unmount_of_a_directory_that_is_no_mount_fails_and_names_it() {
    let place = Place::new();
    let directory = place.mount_point();
    let directory = directory.to_str().expect("UTF-8");
    place
        .fifofs(&["unmount", directory])
        .finish(SOON)
        .failed_saying(directory);
}

/// A mount whose daemon and watchdog both died at once: `Transport endpoint is not connected`.
fn dead_mount() -> Arc<Place> {
    let place = Place::new();
    let mount = Mount::start_in(&place, &[]);
    for helper in place.daemons() {
        if helper.pid != mount.pid() {
            signal(helper.pid, Signal::KILL);
            place.wait_for("the helper to die", SOON, || {
                process(helper.pid).is_none_or(|process| process.state == 'Z')
            });
        }
    }
    mount.kill_and_abandon();
    let error = fs::read_dir(place.mount_point()).expect_err("a dead mount");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN), "{error}");
    place
}

#[test]
fn fifofs_mount_on_a_dead_mount_clears_it() {
    let place = dead_mount();
    let mount = Mount::start_in(&place, &[]);
    mount
        .shell("echo alive > $D/x; cat $D/x")
        .finish(SOON)
        .succeeded()
        .printed("alive\n");
    mount.unmount();
}

#[test]
fn fifofs_unmount_clears_a_dead_mount() {
    let place = dead_mount();
    place
        .fifofs(&["unmount", place.mount_point().to_str().expect("UTF-8")])
        .finish(SOON)
        .succeeded();
    place.assert_nothing_left();
}

#[test]
fn unmounting_after_work_under_every_way_leaves_nothing() {
    let mount = Mount::start(&[
        "--deliver",
        "*.stream=stream",
        "--memory",
        "4M",
        "--deliver",
        "*.settled=settled",
    ]);
    let readers: Vec<_> = ["x.txt", "x.stream", "x.settled"]
        .map(|name| {
            mount
                .place()
                .shell(&format!("$FIFOFS cat $D/{name} | wc -c"))
        })
        .into_iter()
        .collect();
    for reader in &readers {
        mount.wait_parked(reader);
    }
    mount
        .shell("for name in x.txt x.stream x.settled; do yes | head -c 20M > $D/$name & done; wait")
        .finish(SOON)
        .succeeded();
    for reader in readers {
        reader.finish(SOON).succeeded().printed("20971520\n");
    }
    mount.unmount();
}

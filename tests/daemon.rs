//! The daemon: how it starts, what it refuses, what it bounds, what it shows, who may look, and that nothing is left
//! when it ends, however it ends.

#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{
    FIFOFS, Mount, Place, Process, SOON, assert_same, connection_of, mount_command, needs,
    needs_root, parked_in_group, process, signal,
};
use rustix::process::Signal;

/// Whoever is not the owner.
const AS_NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

// ---------------------------------------------------------------------------------------------------------------
// Ends

/// A reader that waits, one whose open waits, and a writer that waits, all of whom the end of the daemon must reach.
fn somebody_waits(mount: &Mount) -> Vec<Process> {
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
    let follows = mount.reader("x.log");
    let waits = mount.reader(".fifofs/wait/nothing");
    let command = mount.waiting_reader("nothing");
    let stream = mount.shell("exec head -c 1G /dev/zero > $D/x.stream");
    mount.wait_parked(&waits);
    mount.wait_parked(&stream);
    mount.wait_for("the reader to get something", || {
        !follows.output().is_empty()
    });
    vec![writer, follows, waits, command, stream]
}

const STREAM_RULE: [&str; 2] = ["--deliver", "*.stream=stream"];

#[test]
fn after_sigkill_of_the_daemon_the_mount_is_gone_everybody_gets_an_error_and_it_mounts_again() {
    let place = Place::new();
    let mut mount = Mount::start_in(&place, &STREAM_RULE);
    let waiting = somebody_waits(&mount);
    mount.kill_daemon();
    let killed = Instant::now();
    place.wait_for("the mount to be gone", Duration::from_secs(1), || {
        connection_of(&place.mount_point()).is_none()
    });
    for process in waiting {
        process.finish(Duration::from_secs(3)).failed_saying("");
    }
    assert!(killed.elapsed() < Duration::from_secs(4));
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
    let waiting = somebody_waits(&mount);
    let place = mount.place().clone();
    mount.unmount();
    for process in waiting {
        process.finish(Duration::from_secs(3)).failed_saying("");
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
    assert_eq!(mount.wait_daemon(Duration::from_secs(5)).code(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn fifofs_unmount_ends_the_mount_and_the_daemon() {
    let mut mount = Mount::start(&STREAM_RULE);
    let waiting = somebody_waits(&mount);
    let place = mount.place().clone();
    place
        .fifofs(&["unmount", place.mount_point().to_str().expect("UTF-8")])
        .finish(Duration::from_secs(5))
        .succeeded();
    assert!(connection_of(&place.mount_point()).is_none());
    assert_eq!(mount.wait_daemon(Duration::from_secs(5)).code(), Some(0));
    for process in waiting {
        process.finish(Duration::from_secs(3)).failed_saying("");
    }
    place.assert_nothing_left();
}

#[test]
fn fifofs_unmount_of_what_is_no_mount_fails_and_names_it() {
    let place = Place::new();
    let directory = place.mount_point();
    let directory = directory.to_str().expect("UTF-8");
    place
        .fifofs(&["unmount", directory])
        .finish(SOON)
        .failed_saying(directory);
}

/// A mount whose daemon and watchdog both died at once: `Transport endpoint is not connected`.
fn dead_mount() -> std::sync::Arc<Place> {
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
fn fifofs_mount_d_returns_when_the_mount_is_ready_and_leaves_a_daemon_behind() {
    let place = Place::new();
    // The harness reads its output to the end: a daemon that kept it open would keep `x=$(fifofs mount -d …)` waiting.
    for option in ["-d", "--daemon"] {
        place
            .spawn(mount_command(&place, &[option]))
            .finish(Duration::from_secs(5))
            .succeeded();
        place
            .shell("/bin/echo ready > $D/x; $FIFOFS cat $D/x")
            .finish(SOON)
            .succeeded()
            .printed("ready\n");
        place
            .fifofs(&["unmount", place.mount_point().to_str().expect("UTF-8")])
            .finish(Duration::from_secs(5))
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

// ---------------------------------------------------------------------------------------------------------------
// Refusals

/// `fifofs mount` must fail soon, name the path and say why.
fn is_refused(place: &std::sync::Arc<Place>, script: &str, path: &str, why: &[&str]) {
    let done = place.shell(script).finish(Duration::from_secs(10));
    let done = done.failed_saying(path);
    let said = done.stderr.to_lowercase();
    assert!(
        why.iter().any(|why| said.contains(why)),
        "should say one of {why:?}: {}",
        done.stderr
    );
    assert!(!said.contains("panicked"), "{}", done.stderr);
}

#[test]
fn mounting_on_a_directory_that_is_not_empty_is_refused_clearly() {
    let place = Place::new();
    fs::write(place.mount_point().join("mine"), "precious").expect("written");
    let path = place.mount_point().display().to_string();
    is_refused(
        &place,
        "$FIFOFS mount $D",
        &path,
        &["not empty", "empty directory"],
    );
    assert!(connection_of(&place.mount_point()).is_none());
}

#[test]
fn mounting_on_a_file_is_refused_clearly() {
    let place = Place::new();
    let file = place.at("plain/file");
    fs::write(&file, "").expect("written");
    let path = file.display().to_string();
    is_refused(&place, "$FIFOFS mount $P/file", &path, &["not a directory"]);
}

#[test]
fn mounting_where_one_may_not_is_refused_clearly() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let place = Place::new();
    // The build directory may be closed to others.
    fs::copy(FIFOFS, place.at("fifofs")).expect("a copy that others may run");
    fs::create_dir(place.at("plain/closed")).expect("a directory");
    fs::set_permissions(place.at("plain/closed"), fs::Permissions::from_mode(0o700))
        .expect("chmod");
    let path = place.at("plain/closed").display().to_string();
    is_refused(
        &place,
        &format!("{AS_NOBODY} $P/../fifofs mount $P/closed"),
        &path,
        &["permission"],
    );
    let path = place.at("plain/closed/below").display().to_string();
    is_refused(
        &place,
        &format!("{AS_NOBODY} $P/../fifofs mount $P/closed/below"),
        &path,
        &["permission"],
    );
}

#[test]
fn mounting_without_dev_fuse_is_refused_clearly() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let place = Place::new();
    is_refused(
        &place,
        "unshare -m bash -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec $FIFOFS mount $D'",
        "/dev/fuse",
        &["no such file", "missing", "modprobe", "does not exist"],
    );
}

#[test]
fn mounting_where_fifofs_is_mounted_already_is_refused_clearly() {
    let mount = Mount::start(&[]);
    let path = mount.path().display().to_string();
    is_refused(
        mount.place(),
        "$FIFOFS mount $D",
        &path,
        &["already", "mounted"],
    );
    mount
        .shell("echo fine > $D/x; cat $D/x")
        .finish(SOON)
        .succeeded()
        .printed("fine\n");
    mount.unmount();
}

#[test]
fn options_that_mean_nothing_are_refused_clearly() {
    let place = Place::new();
    is_refused(
        &place,
        "$FIFOFS mount --deliver sometimes $D",
        "sometimes",
        &["follow"],
    );
    is_refused(
        &place,
        "$FIFOFS mount --memory lots $D",
        "lots",
        &["memory"],
    );
    is_refused(
        &place,
        "$FIFOFS mount --linger soon $D",
        "soon",
        &["linger"],
    );
}

#[test]
fn fifofs_cat_and_ls_outside_a_mount_say_so() {
    let place = Place::new();
    fs::write(place.at("plain/x"), "").expect("written");
    is_refused(&place, "$FIFOFS cat $P/x", "plain/x", &["mount"]);
    is_refused(&place, "$FIFOFS ls $P", "plain", &["mount"]);
}

// ---------------------------------------------------------------------------------------------------------------
// Bounds

#[test]
fn memory_is_bounded_by_spilling_and_the_whole_by_max_size_which_gives_enospc() {
    let mount = Mount::start(&["--memory", "64M", "--max-size", "512M"]);
    mount
        .shell("head -c 300M /dev/urandom > big")
        .finish(SOON)
        .succeeded();
    let reader = mount
        .place()
        .shell("$FIFOFS cat $D/big | cmp - big && echo same");
    mount.wait_parked(&reader);
    let writer = mount.shell("cp big $D/big && $FIFOFS cat $D/big | cmp - big");
    let mut most = 0;
    let mut running = writer;
    mount
        .place()
        .wait_for("the copy to end", Duration::from_secs(60), || {
            most = most.max(mount.memory_rss());
            !running.is_running()
        });
    running.finish(SOON).succeeded();
    reader
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("same\n");
    assert!(
        most < 112 << 20,
        "--memory 64M, but the daemon had {most} bytes"
    );

    // A gibibyte does not fit beside it, nor alone.
    mount
        .shell("head -c 1G /dev/zero | tr '\\0' x > $D/huge")
        .finish(Duration::from_secs(60))
        .failed_saying("No space left on device");
    mount.shell("rm $D/huge $D/big").finish(SOON).succeeded();
    mount
        .shell("cp big $D/again && cmp $D/again big && ls $D")
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("again\n");
    mount.unmount();
}

#[test]
fn statfs_says_what_max_size_leaves_before_a_write_gets_enospc() {
    let mount = Mount::start(&["--max-size", "64M"]);
    let free = |mount: &Mount| -> u64 {
        mount
            .shell("stat -f -c '%a %S' $D")
            .finish(SOON)
            .succeeded()
            .text()
            .split_whitespace()
            .map(|number| number.parse::<u64>().expect("a number"))
            .product()
    };
    let before = free(&mount);
    assert!(
        (60 << 20..=64 << 20).contains(&before),
        "64M were given, {before} are free"
    );
    mount
        .shell("head -c 16M /dev/urandom > $D/x; sync $D/x")
        .finish(SOON)
        .succeeded();
    let after = free(&mount);
    assert!(
        (44 << 20..=48 << 20).contains(&after),
        "16 of 64M were used, {after} are free"
    );
    mount.shell("rm $D/x").finish(SOON).succeeded();
    mount.wait_for("the space to be free again", || free(&mount) == before);
    mount.unmount();
}

#[test]
fn descriptors_of_the_daemon_are_the_same_before_and_after_200_files_written_and_read() {
    let mount = Mount::start(&[]);
    let work = "for i in $(seq $N); do $FIFOFS cat $D/f$i > /dev/null & done
        for i in $(seq $N); do /bin/echo $i > $D/f$i & done
        wait; cat $D/f* | wc -l; rm $D/f*";
    mount
        .shell(&format!("N=10; {work}"))
        .finish(SOON)
        .succeeded()
        .printed("10\n");
    let before = mount.descriptors();
    let threads = mount.threads();
    mount
        .shell(&format!("N=200; {work}"))
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("200\n");
    mount.wait_for("as many descriptors and threads as before", || {
        mount.descriptors() <= before && mount.threads() <= threads
    });
    mount.unmount();
}

#[test]
fn a_thousand_waiting_readers_cost_no_thread_few_kib_and_no_processor_and_all_get_the_bytes() {
    let mount = Mount::start(&[]);
    // The first wait may start what waits need once.
    let warm = mount.reader(".fifofs/wait/nothing");
    mount.wait_parked(&warm);
    drop(warm);
    let (threads, memory) = (mount.threads(), mount.memory_rss());
    let readers = mount.shell(
        "for i in $(seq 1000); do cat $D/.fifofs/wait/x$((i % 10)).txt & done; for job in $(jobs -p); do wait $job || exit 1; done",
    );
    mount
        .place()
        .wait_for("a thousand to wait", Duration::from_secs(60), || {
            parked_in_group(readers.pid()) >= 1000
        });
    let more = mount.memory_rss().saturating_sub(memory);
    assert!(
        mount.threads() <= threads + 2,
        "{threads} threads became {}",
        mount.threads()
    );
    assert!(
        more < 1000 * (8 << 10),
        "a thousand waiting readers cost {more} bytes"
    );
    // Not a wait for anything: the time over which the processor is measured.
    let (used, measured) = (mount.cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let share = (mount.cpu_time() - used).as_secs_f64() / measured.elapsed().as_secs_f64();
    println!(
        "a thousand idle readers: {more} bytes, {} threads, {:.2} % of a core",
        mount.threads() - threads,
        share * 100.0
    );
    assert!(
        share < 0.01,
        "idle waiters cost {:.2} % of a core",
        share * 100.0
    );

    mount
        .shell("for i in 0 1 2 3 4 5 6 7 8 9; do echo $i > $D/x$i.txt & done; wait")
        .finish(SOON)
        .succeeded();
    let done = readers.finish(Duration::from_secs(60)).succeeded();
    assert_eq!(done.stdout.len(), 2000, "each of a thousand gets its line");
    mount.unmount();
}

#[test]
fn more_than_200_waiting_readers_die_within_a_second_of_sigterm() {
    let mount = Mount::start(&[]);
    let readers = mount.shell("for i in $(seq 300); do cat $D/.fifofs/wait/nothing & done; wait");
    mount
        .place()
        .wait_for("300 to wait", Duration::from_secs(30), || {
            parked_in_group(readers.pid()) >= 300
        });
    let group = rustix::process::Pid::from_raw(readers.pid()).expect("a process");
    let sent = Instant::now();
    rustix::process::kill_process_group(group, Signal::TERM).expect("sent");
    mount.wait_for("them to be gone", || parked_in_group(readers.pid()) == 0);
    let took = sent.elapsed();
    assert!(
        took < Duration::from_millis(1_300),
        "300 waiting readers lived for {took:?} after SIGTERM"
    );
    drop(readers);
    mount.unmount();
}

// ---------------------------------------------------------------------------------------------------------------
// What is shown

/// Whether a listing names this process.
fn names(listing: &str, pid: i32) -> bool {
    listing
        .split(|character: char| !character.is_ascii_digit())
        .any(|number| number == pid.to_string())
}

#[test]
fn ls_shows_each_files_state_way_and_reason_and_who_waits_for_whom() {
    let mount = Mount::start(&["--deliver", "*.stream=stream"]);
    let writer = mount.shell(
        "exec 3> $D/x.log 4> $D/x.zip 5> $D/x.stream; echo a >&3; echo a >&4; echo a >&5; await end",
    );
    mount.wait_exists("x.stream");
    mount
        .shell("/bin/echo done > $D/old.txt")
        .finish(SOON)
        .succeeded();
    let follows = mount.reader("x.log");
    let settled = mount.reader("x.zip");
    let stream = mount.reader("x.stream");
    let nothing = mount.reader(".fifofs/wait/missing.txt");
    follows.wait_output(b"a\n");
    for reader in [&follows, &settled, &stream, &nothing] {
        mount.wait_parked(reader);
    }
    let listing = mount.ls();
    println!("{listing}");
    for word in [
        "x.log",
        "x.zip",
        "x.stream",
        "old.txt",
        "missing.txt",
        "follow",
        "settled",
        "stream",
        "cat",
        "bash",
    ] {
        assert!(listing.contains(word), "no '{word}' in\n{listing}");
    }
    for process in [&writer, &follows, &settled, &stream, &nothing] {
        assert!(
            names(&listing, process.pid()),
            "no process {} in\n{listing}",
            process.pid()
        );
    }
    let json = mount
        .place()
        .fifofs(&["ls", "--json", mount.path().to_str().expect("UTF-8")])
        .finish(SOON)
        .succeeded()
        .text();
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    for process in [&writer, &follows, &settled, &stream, &nothing] {
        assert!(names(&json, process.pid()), "not in the JSON: {json}");
    }
    let status = mount.status().to_string();
    for name in ["x.log", "x.zip", "x.stream", "old.txt"] {
        assert!(status.contains(name), "no {name} in the status: {status}");
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    for reader in [follows, settled, stream] {
        reader.finish(SOON).succeeded().printed("a\n");
    }
    drop(nothing);
    mount.unmount();
}

#[test]
fn ls_watch_goes_on_until_it_is_interrupted() {
    let mount = Mount::start(&[]);
    let mut watch = mount
        .place()
        .fifofs(&["ls", "--watch", mount.path().to_str().expect("UTF-8")]);
    mount.wait_parked(&watch);
    mount
        .shell("/bin/echo x > $D/seen.txt")
        .finish(SOON)
        .succeeded();
    mount.wait_for("the file to be shown", || {
        String::from_utf8_lossy(&watch.output()).contains("seen.txt")
    });
    assert!(watch.is_running());
    watch.signal(Signal::INT);
    watch
        .try_finish(Duration::from_secs(2))
        .expect("an interrupt ends it");
    mount.unmount();
}

#[test]
fn the_control_directory_never_shows_in_a_listing() {
    let mount = Mount::start(&[]);
    mount
        .shell("echo x > $D/x; mkdir $D/d; echo y > $D/d/y; cd $D; find . | sort; ls -A; ls -A .fifofs/..; echo .f*")
        .finish(SOON)
        .succeeded()
        .printed(".\n./d\n./d/y\n./x\nd\nx\nd\nx\n.f*\n");
    mount
        .shell("cat $D/.fifofs/status > /dev/null")
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

// ---------------------------------------------------------------------------------------------------------------
// Who may look

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
        "cat $D/.fifofs/wait/closed",
        "cat $D/.fifofs/wait/open",
        "cat $D/.fifofs/next/open",
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
    // Every descriptor is close-on-exec: the helpers are forks, so their own tables must not hold /dev/fuse, or the
    // mount would outlive the daemon.
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

#[test]
fn help_names_the_commands() {
    let done = Command::new(FIFOFS)
        .arg("--help")
        .output()
        .expect("started");
    let help = String::from_utf8_lossy(&done.stdout).into_owned();
    for command in ["mount", "cat", "ls", "unmount"] {
        assert!(help.contains(command), "no {command} in\n{help}");
    }
    assert_same(&done.stderr, b"");
}

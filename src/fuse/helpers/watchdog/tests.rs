//! Watchdogs of real mounts, and of daemons that are killed; as root only.

use super::*;
use crate::fuse::mounting::testing::{Cleanup, as_nobody};
use crate::fuse::mounting::{IfBusy, MountOptions, MountPoint, all_mounts, unmount};
use crate::testing::{SOON, until, until_within};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const ROLE: &str = "FIFOFS_TEST_ROLE";
const PLACE: &str = "FIFOFS_TEST_PLACE";

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    until_within(SOON, what, condition, mounts);
}

fn is_mounted(directory: &Path) -> bool {
    all_mounts().unwrap().iter().any(|mount| mount == directory)
}

fn is_gone(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => status.contains("State:\tZ"),
        Err(_) => true,
    }
}

/// A watchdog, its process id, and the mount it watches: at a new directory
/// below `base`, of an awkward name.
fn watched(base: &Path) -> (Watchdog, i32, Mounted) {
    let point = MountPoint::prepare(&base.join("a b\\c")).unwrap();
    let (watchdog, _) = Watchdog::start(point.directory(), point.made_directory()).unwrap();
    let pid = watchdog.helper.pid();
    watchdog.ready().unwrap();
    let mounted = point.mount(&MountOptions::default()).unwrap();
    (watchdog, pid, mounted)
}

#[test]
fn a_dropped_watchdog_detaches_and_removes_the_directory() {
    let base = Cleanup::new();
    let (watchdog, pid, mounted) = watched(&base.join(""));
    watchdog.arm(&mounted).unwrap();
    assert!(is_mounted(&mounted.directory));
    drop(watchdog);
    wait_until("detached", || !is_mounted(&mounted.directory));
    wait_until("directory removed", || !mounted.directory.exists());
    wait_until("watchdog gone", || is_gone(pid));
}

/// The watchdog is armed for the mount, wherever that is when the message arrives.
#[test]
fn a_mount_that_is_moved_while_the_watchdog_is_armed_is_detached() {
    let base = Cleanup::new();
    std::fs::create_dir(base.join("before")).unwrap();
    let (watchdog, pid, mounted) = watched(&base.join("before"));
    if unique_mount_id(&mounted.directory).is_none() {
        return;
    }
    let process = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    watchdog.arm(&mounted).unwrap();
    std::fs::rename(base.join("before"), base.join("after")).unwrap();
    let moved = base
        .join("after")
        .join(mounted.directory.file_name().unwrap());
    assert!(is_mounted(&moved));
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    drop(watchdog);
    wait_until("detached", || !is_mounted(&moved));
}

#[test]
fn after_the_report_of_an_unmount_the_watchdog_leaves_any_mount() {
    let base = Cleanup::new();
    let (watchdog, pid, mounted) = watched(&base.join(""));
    watchdog.arm(&mounted).unwrap();
    watchdog.unmounted();
    drop(watchdog);
    wait_until("watchdog gone", || is_gone(pid));
    assert!(is_mounted(&mounted.directory));
    unmount(&mounted.directory, IfBusy::Refuse).unwrap();
    assert!(!is_mounted(&mounted.directory));
}

#[test]
fn a_mount_that_is_not_the_daemons_is_left() {
    let base = Cleanup::new();
    let (watchdog, pid, mut mounted) = watched(&base.join(""));
    mounted.device_number += 1_000_000;
    watchdog.arm(&mounted).unwrap();
    drop(watchdog);
    wait_until("watchdog gone", || is_gone(pid));
    assert!(is_mounted(&mounted.directory));
    unmount(&mounted.directory, IfBusy::Refuse).unwrap();
}

#[test]
fn a_watchdog_outlives_the_signals_of_a_terminal() {
    let base = Cleanup::new();
    let (watchdog, _) = Watchdog::start(&base.join(""), false).unwrap();
    let pid = watchdog.helper.pid();
    let process = rustix::process::Pid::from_raw(pid).unwrap();
    use rustix::process::Signal;
    for signal in [
        Signal::INT,
        Signal::TERM,
        Signal::HUP,
        Signal::QUIT,
        Signal::PIPE,
    ] {
        rustix::process::kill_process(process, signal).unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    assert!(!is_gone(pid));
    drop(watchdog);
    wait_until("watchdog gone", || is_gone(pid));
}

/// Runs [`plays_the_daemon`] in a process of its own, and reads the pid of
/// its watchdog when it is ready.
fn daemon(role: &str, base: &Path) -> (Child, i32) {
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::plays_the_daemon");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(ROLE, role)
        .env(PLACE, base)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines
        .map(|line| line.unwrap())
        .find_map(|line| Some(line.split_once("watchdog=")?.1.parse().unwrap()));
    (child, pid.unwrap())
}

fn kill_and_see_it_all_go(role: &str) {
    let base = Cleanup::new();
    let (mut child, watchdog) = daemon(role, &base.join(""));
    let place: PathBuf = base.join("a b\\c");
    assert!(is_mounted(&place));
    child.kill().unwrap();
    wait_until("detached", || !is_mounted(&place));
    wait_until("directory removed", || !place.exists());
    wait_until("watchdog gone", || is_gone(watchdog));
    until("the daemon to be dead, not unkillable", || {
        child.try_wait().unwrap().is_some()
    });
}

#[test]
fn a_killed_daemon_leaves_nothing() {
    kill_and_see_it_all_go("armed");
}

#[test]
fn a_daemon_killed_between_mounting_and_arming_leaves_nothing() {
    kill_and_see_it_all_go("unarmed");
}

/// Its descriptors stay open while it waits for itself, so no end of file
/// told of its death: it stayed, unkillable, and so did the mount.
#[test]
fn a_daemon_killed_while_it_uses_its_own_mount_leaves_nothing() {
    kill_and_see_it_all_go("in its own mount");
}

#[test]
fn a_watchdog_looks_seldom_until_its_daemon_uses_its_own_mount() {
    let base = Cleanup::new();
    let (watchdog, _) = Watchdog::start(&base.join(""), false).unwrap();
    watchdog.ready().unwrap();
    let pid = watchdog.helper.pid();
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let (_, rest) = status.split_once("\nvoluntary_ctxt_switches:\t").unwrap();
        rest.lines().next().unwrap().parse::<u64>().unwrap()
    };
    // So often within a time in which it looks once at most, or six times.
    let looks = || {
        let before = switches();
        std::thread::sleep(Duration::from_millis(600));
        switches() - before
    };
    wait_until("it looks seldom", || looks() <= 1);
    let mut own_use = watchdog.own_use(u64::MAX);
    own_use.note(1);
    assert!(looks() <= 1, "of a thread of another process");

    own_use.note(rustix::thread::gettid().as_raw_nonzero().get());
    wait_until("it looks often", || looks() >= 3);
}

/// Without root there is no umount2 and no FORCE: `fusermount3` does it.
#[test]
fn without_root_the_helper_detaches() {
    as_nobody(|base| {
        let (watchdog, pid, mounted) = watched(base);
        watchdog.arm(&mounted).unwrap();
        drop(watchdog);
        wait_until("detached", || !is_mounted(&mounted.directory));
        wait_until("directory removed", || !mounted.directory.exists());
        wait_until("watchdog gone", || is_gone(pid));
    });
}

/// No test but the body of the daemon that other tests start and kill: a test
/// binary has no other entry by which it could become a process of its own. Run
/// as a test, without a role to play, it does nothing.
#[test]
fn plays_the_daemon() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let place = std::env::var_os(PLACE).unwrap();
    let (watchdog, pid, mounted) = watched(Path::new(&place));
    if role != "unarmed" {
        watchdog.arm(&mounted).unwrap();
    }
    let uses_own_mount = role.contains("own mount");
    let ready = move || {
        if uses_own_mount {
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            watchdog.own_use(mounted.device_number).note(thread);
        }
        println!("\nwatchdog={pid}");
        std::thread::sleep(Duration::from_secs(30));
        drop(watchdog);
    };
    if !uses_own_mount {
        return ready();
    }
    let user = std::thread::spawn(move || rustix::fs::statfs(&mounted.directory).is_ok());
    let mut device = std::fs::File::from(mounted.device);
    let mut request = vec![0; 1 << 20];
    assert!(device.read(&mut request).unwrap() > 40);
    // FUSE_INIT: fuse_out_header and fuse_init_out (linux/fuse.h), all zero
    // but the version, 7.31, and the limits.
    let mut reply = [0; 80];
    reply[0] = 80;
    reply[8..16].copy_from_slice(&request[8..16]);
    reply[16] = 7;
    reply[20] = 31;
    reply[32] = 12;
    reply[36..38].copy_from_slice(&4096u16.to_le_bytes());
    assert_eq!(device.write(&reply).unwrap(), 80);
    // The STATFS, taken and never answered.
    assert!(device.read(&mut request).unwrap() >= 40);
    ready();
    drop(user);
}

//! Flushers of plain files, with nothing mounted.

use super::super::watchdog::Watchdog;
use super::worker::TABLE_SLOTS;
use super::*;
use crate::fuse::timers::FLUSH_ALL_EVERY;
use crate::testing::{SOON, until, until_within};
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

/// Where `.fifofs/inode/N` are plain files.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join(".fifofs/inode")).unwrap();
    tree
}

fn add_file(tree: &tempfile::TempDir, ino: u64) {
    let path = tree.path().join(format!(".fifofs/inode/{ino}"));
    fs::write(path, "data").unwrap();
}

impl Flusher {
    fn add(&self, ino: u64) {
        self.queue(&[Flush { ino, on: true }]);
        self.tell();
    }

    fn remove(&self, ino: u64) {
        self.queue(&[Flush { ino, on: false }]);
        self.tell();
    }
}

/// A flusher that runs. The watchdog that started it is gone by then.
fn start(tree: &tempfile::TempDir) -> Flusher {
    let (_watchdog, flusher) = Watchdog::start(tree.path(), false).unwrap();
    assert_eq!(flusher.pid(), 0);
    flusher.tell();
    assert!(flusher.pid() > 0);
    flusher
}

fn answer(flusher: &Flusher) -> Result<Refused, Gone> {
    let mut answer = None;
    let state = || status(flusher.pid());
    until_within(
        SOON,
        "an answer",
        || {
            answer = flusher.next().transpose();
            answer.is_some()
        },
        state,
    );
    answer.expect("just waited for")
}

/// Until it has done all that it was asked. There is no inode 7.
fn wait_for_it(flusher: &Flusher) {
    flusher.add(7);
    assert_eq!(answer(flusher), Ok(Refused(7)));
}

/// Whether messages wait for room in the socket.
fn has_queue(flusher: &Flusher) -> bool {
    !lock(&flusher.queue).is_empty()
}

fn status(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

fn wake_ups(flusher: &Flusher) -> u64 {
    let status = status(flusher.pid());
    let (_, rest) = status.split_once("\nvoluntary_ctxt_switches:\t").unwrap();
    rest.lines().next().unwrap().parse().unwrap()
}

/// Standard descriptors, the socket, and what watches tell.
const OWN_FILES: usize = 5;

fn open_files(flusher: &Flusher) -> usize {
    fs::read_dir(format!("/proc/{}/fd", flusher.pid()))
        .unwrap()
        .count()
}

#[test]
fn missing_files_are_refused_and_others_taken() {
    let tree = tree();
    add_file(&tree, u64::MAX);
    let flusher = start(&tree);
    assert_eq!(flusher.next(), Ok(None));
    flusher.add(u64::MAX);
    flusher.add(7);
    assert_eq!(answer(&flusher), Ok(Refused(7)));
    assert_eq!(open_files(&flusher), OWN_FILES + 1);
    flusher.remove(u64::MAX);
    wait_for_it(&flusher);
    assert_eq!(open_files(&flusher), OWN_FILES);
}

#[test]
fn it_wakes_only_while_there_is_something_to_flush() {
    let tree = tree();
    add_file(&tree, 5);
    let flusher = start(&tree);
    // How often it wakes in a while, once it has done all that it was asked. A busy machine may
    // add to that once, not each time.
    let wakes = |meanwhile: &mut dyn FnMut()| {
        wait_for_it(&flusher);
        std::thread::sleep(Duration::from_millis(20));
        let before = wake_ups(&flusher);
        meanwhile();
        wake_ups(&flusher) - before
    };
    let pause = &mut || std::thread::sleep(Duration::from_millis(200));

    until("it sleeps without a file", || wakes(pause) == 0);
    flusher.add(5);
    flusher.add(5);
    until("it flushes", || wakes(pause) > 0);
    assert_eq!(open_files(&flusher), OWN_FILES + 1);
    // It was not written for a while; now only in case it is mapped.
    until("it only looks", || (1..10).contains(&wakes(pause)));

    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(tree.path().join(".fifofs/inode/5"))
        .unwrap();
    until("it flushes each line", || {
        let start = Instant::now();
        let flushes = wakes(&mut || {
            for _ in 0..10 {
                file.write_all(b"line\n").unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        // In so short a time looking alone would not make as many.
        flushes >= 10 && start.elapsed() < 8 * FLUSH_ALL_EVERY
    });

    flusher.remove(5);
    flusher.remove(6);
    until("it sleeps though the file is written", || {
        wakes(&mut || {
            file.write_all(b"line\n").unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }) == 0
    });
    assert_eq!(open_files(&flusher), OWN_FILES);
}

#[test]
fn one_more_than_the_table_holds_is_refused_and_nothing_is_lost_on_the_way() {
    let tree = tree();
    add_file(&tree, 0);
    let inodes = tree.path().join(".fifofs/inode");
    let slots = TABLE_SLOTS as u64;
    for ino in 1..=slots {
        fs::hard_link(inodes.join("0"), inodes.join(ino.to_string())).unwrap();
    }
    let flusher = start(&tree);
    for ino in 0..=slots {
        flusher.add(ino);
    }
    assert_eq!(answer(&flusher), Ok(Refused(slots)));
    assert!(!has_queue(&flusher));
    flusher.remove(0);
    flusher.add(slots);
    flusher.add(slots + 1);
    assert_eq!(answer(&flusher), Ok(Refused(slots + 1)));
    assert_eq!(open_files(&flusher), OWN_FILES + TABLE_SLOTS);
}

#[test]
fn a_flusher_that_stops_does_not_stop_the_daemon() {
    let tree = tree();
    add_file(&tree, 5);
    let flusher = start(&tree);
    let pid = rustix::process::Pid::from_raw(flusher.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    for _ in 0..10_000 {
        flusher.add(5);
    }
    assert!(has_queue(&flusher));
    flusher.add(7);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert_eq!(answer(&flusher), Ok(Refused(7)));
    assert!(!has_queue(&flusher));
}

#[test]
fn a_killed_flusher_says_so_and_a_dropped_one_ends() {
    let tree = tree();
    let flusher = start(&tree);
    let pid = rustix::process::Pid::from_raw(flusher.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(answer(&flusher), Err(Gone));
    flusher.add(5);
    assert_eq!(flusher.next(), Err(Gone));
    assert!(!has_queue(&flusher));

    let flusher = start(&tree);
    let pid = flusher.pid();
    drop(flusher);
    until(
        "the dropped one to be gone",
        || matches!(status(pid), s if s.is_empty() || s.contains("State:\tZ")),
    );
}

/// While one thread starts the process, which may take a while, other threads do not wait; their messages are
/// sent after that.
#[test]
fn no_thread_waits_for_the_one_that_starts_it_and_decisions_stay_in_order() {
    let (daemon, watchdog) = message::pair().unwrap();
    let (flusher, _, heard) = Flusher::prepare(Path::new("/"), Arc::new(daemon)).unwrap();
    let hear = || message::receive(&heard).map(|(kind, ino, _)| (kind, ino));
    std::thread::scope(|scope| {
        scope.spawn(|| flusher.add(1));
        until("it is asked for", || message::receive(&watchdog).is_ok());
        flusher.add(2);
        flusher.remove(1);
        assert_eq!(hear(), Err(Errno::AGAIN));
        super::answer(watchdog.as_fd(), i32::MAX);
    });
    let told = std::array::from_fn(|_| hear().unwrap());
    assert_eq!(told, [(ADD, 1), (ADD, 2), (REMOVE, 1)]);
}

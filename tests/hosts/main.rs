//! A process that serves a mount and dies with files of that mount open, in whatever way: it is gone, and so is
//! everything that it made.
//!
//! Without the usual harness, since in one of the ends `main` returns. Runs itself again as the host. Arguments are
//! filters: `cargo test --test hosts -- write/` runs those that hold a blocked write. `FIFOFS_HOST_ROUNDS` sets how
//! often each pair is run (10 by default), and prints the figures: the slowest end should be below a second on an idle
//! machine.

mod host;
#[path = "../../src/testing.rs"]
mod testing;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use host::{CONNECTION, ENDS, End, HOLDS, may_leave_a_directory};
use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsmount, fsopen,
};
use testing::until_within;

const ROUNDS: usize = 10;
/// The number of hosts that run at a time.
const PARALLEL: usize = 4;
/// Far longer than a busy machine takes. A hang lasts for a minute, or for good.
const DEADLINE: Duration = testing::SOON;
/// Makes this binary the host, and says which.
const ROLE: &str = "FIFOFS_TEST_HOST";

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        let (hold, end) = role
            .split_once('/')
            .expect("what it holds, and how it ends");
        return host::play(hold, end);
    }
    let filters: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let rounds =
        std::env::var("FIFOFS_HOST_ROUNDS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let pairs = HOLDS
        .iter()
        .flat_map(|hold| ENDS.iter().map(move |end| (hold.name, end)));
    let pairs: Vec<(&str, &End)> = pairs
        .filter(|(hold, end)| {
            let name = format!("{hold}/{}", end.name);
            filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
        })
        .collect();
    for (hold, end) in pairs {
        run_rounds(hold, end, rounds);
    }
}

/// Runs many hosts that hold the same and end in the same way.
fn run_rounds(hold: &str, end: &End, rounds: usize) {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PARALLEL.min(rounds) {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < rounds {
                    let time = run_one(hold, end);
                    times.lock().unwrap().push(time);
                }
            });
        }
    });
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    assert_eq!(
        times.len(),
        rounds,
        "{hold}/{}: some host did not end",
        end.name
    );
    let (median, slowest) = (times[rounds / 2], times[rounds - 1]);
    println!(
        "{hold}/{}: {rounds} of {rounds} gone, median {median:.0?}, slowest {slowest:.0?}",
        end.name
    );
}

/// Runs one host to its end; returns how long that took.
fn run_one(hold: &str, end: &End) -> Duration {
    let place = tempfile::tempdir().expect("a directory for the test");
    let mut command = role(hold, end.name, place.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let reset = || {
        for signal in ENDS.iter().filter_map(|end| end.signal) {
            // SAFETY: signal(2) is async-signal-safe, and the default is no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // The tests may have been started with them ignored, as by nohup(1) or by a shell in the background.
    // SAFETY: `reset` calls only async-signal-safe functions.
    unsafe { command.pre_exec(reset) };
    let mut host = Host {
        child: command.spawn().expect("it starts"),
        place: place.path().to_owned(),
        connections: Vec::new(),
    };
    host.read_until_ready();
    let helpers = host.helpers();
    let start = Instant::now();
    match end.signal {
        Some(signal) => {
            // SAFETY: a signal to a child that is not reaped yet.
            unsafe { libc::kill(host.child.id().cast_signed(), signal) };
        }
        // Any byte tells it to end. The input itself ends only when all is over: the host's forks wait for that.
        None => {
            let input = host.child.stdin.as_mut().expect("a pipe");
            input.write_all(b".").expect("a host that reads");
        }
    }
    let status = host.wait();
    let taken = start.elapsed();
    assert!(end.is(status), "{hold}/{}: {status}", end.name);
    host.until("no mount is left", |host| !host.is_mounted());
    if may_leave_a_directory(hold) && !host.has_left_nothing() {
        let mut next = role("file", "main returns", place.path());
        let done = next.stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(done.is_ok_and(|status| status.success()), "the next host");
    }
    host.until("no directory is left", Host::has_left_nothing);
    host.until("no helper is left", |_| {
        helpers.iter().all(|pid| is_gone(*pid))
    });
    taken
}

/// This program as a host that makes everything in one directory.
fn role(hold: &str, end: &str, place: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .env(ROLE, format!("{hold}/{end}"))
        .env("XDG_RUNTIME_DIR", place)
        .env("TMPDIR", place);
    command
}

/// A host, and the directory of everything that it makes.
struct Host {
    child: Child,
    place: PathBuf,
    /// Files that abort the connections that it printed, even if their mounts are gone.
    connections: Vec<OwnedFd>,
}

impl Host {
    fn read_until_ready(&mut self) {
        let output = self.child.stdout.take().expect("a pipe");
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix(CONNECTION) {
                self.connections.push(abort_file(number));
            } else if line == "ready" {
                return;
            }
        }
        panic!("it is not ready\n{}", self.world());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            if Instant::now() >= deadline {
                let world = self.world();
                self.end_connections();
                panic!("a host that does not die\n{world}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the connections of a host that waits for itself, and its mounts.
    fn end_connections(&self) {
        for file in &self.connections {
            let _ = rustix::io::write(file, b"1");
        }
        for mount in mounts_below(&self.place) {
            let _ = rustix::mount::unmount(&mount, UnmountFlags::DETACH);
        }
    }

    fn until(&self, what: &str, condition: impl Fn(&Host) -> bool) {
        until_within(DEADLINE, what, || condition(self), || self.world());
    }

    fn has_left_nothing(&self) -> bool {
        fs::read_dir(&self.place).is_ok_and(|mut entries| entries.next().is_none())
    }

    fn is_mounted(&self) -> bool {
        !mounts_below(&self.place).is_empty()
    }

    /// The processes that the library has started for it.
    fn helpers(&self) -> Vec<u32> {
        let own = format!("PPid:\t{}", self.child.id());
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let status = status(*pid);
            status.starts_with("Name:\tfifofs-") && status.lines().any(|line| line == own)
        })
        .collect()
    }

    /// Its state, thread by thread, and its leftovers.
    fn world(&self) -> String {
        let pid = self.child.id();
        let mut text = format!("mounts {:?}\n{}", mounts_below(&self.place), status(pid));
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            text += &format!(
                "thread {:?} {} {}\n",
                task.file_name(),
                read("comm").trim(),
                read("wchan")
            );
        }
        text
    }
}

/// The file that aborts the connection `number`: opened while that exists, as numbers are reused.
fn abort_file(number: &str) -> OwnedFd {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC).expect("fusectl");
    fsconfig_create(&context).expect("fusectl");
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let connections = fsmount(&context, flags, MountAttrFlags::empty()).expect("fusectl");
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    openat(connections, format!("{number}/abort"), flags, Mode::empty()).expect("a connection")
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            self.end_connections();
            let _ = self.child.wait();
        }
    }
}

fn status(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// Whether it does not exist or is a zombie: in some containers process 1 does not reap orphans.
fn is_gone(pid: u32) -> bool {
    let status = status(pid);
    status.is_empty() || status.contains("State:\tZ")
}

fn mounts_below(place: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the list of mounts");
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    places
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(place))
        .collect()
}

impl End {
    /// Whether it ended in this way.
    fn is(&self, status: ExitStatus) -> bool {
        match (self.signal, self.name) {
            (Some(signal), _) => status.signal() == Some(signal),
            (None, "abort") => status.signal() == Some(libc::SIGABRT),
            (None, "main returns") => status.code() == Some(0),
            (None, _) => status.code() == Some(3),
        }
    }
}

//! The harness of the integration tests.
//!
//! It knows how to start the real `fifofs` on a real directory, how to run real programs beside it, and how to end
//! all of that whatever happens. It knows nothing of the implementation.
//!
//! The invariant: **no test hangs and none leaves anything behind.** Every program is waited for with a deadline and
//! then killed with its process group; a mount that outlives its test, or its limit, is aborted through fusectl and
//! detached, which lets every process that is stuck in it go. When a deadline passes, the panic carries the state of
//! the world: `fifofs ls`, the end of the daemon's log, and where the processes hang.
//!
//! The test process itself never opens a file of a mount for writing where readers are to wait for it: descendants
//! of a writer never wait, and everything that is started here is a descendant.

#![allow(dead_code)] // every test file is a crate of its own and uses only a part of this

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};

/// The command under test.
pub(crate) const FIFOFS: &str = env!("CARGO_BIN_EXE_fifofs");

/// For whatever should take moments: long enough for a busy machine, short enough to wait for.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// The longest that one mount lives before its dead man's switch aborts it.
const MOUNT_LIMIT: Duration = Duration::from_secs(120);

/// In the environment of every daemon, so that its helpers, however they are started, are known by it.
const MARKER: &str = "FIFOFS_TEST_MOUNT";

/// Before every shell script: `await NAME` waits for a flag, `raise NAME` raises one.
const SHELL_PRELUDE: &str = r#"
await() { until [ -e "$F/$1" ]; do sleep 0.01; done; }
raise() { : > "$F/$1"; }
"#;

/// Before every Python script: what most need, and the same two functions.
const PYTHON_PRELUDE: &str = r#"
import ctypes, errno, fcntl, mmap, os, random, select, signal, socket, stat, sys, threading, time
D, F = os.environ["D"], os.environ["F"]
def wait_flag(name):
    while not os.path.exists(F + "/" + name): time.sleep(0.01)
def raise_flag(name):
    open(F + "/" + name, "w").close()
def say(*words):
    print(*words, flush=True)
def write_all(fd, data):
    view = memoryview(data)
    while view: view = view[os.write(fd, view):]
"#;

// ---------------------------------------------------------------------------------------------------------------
// Places and mounts

/// A temporary directory with what a mount needs: `mount` (the mount point), `spill`, `flags`, `plain` (to compare
/// with) and `daemon.log`. It outlives the mounts made in it, so one can be started where another died.
pub(crate) struct Place {
    root: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Arc<Self> {
        default_signals();
        let root = tempfile::Builder::new()
            .prefix("fifofs-test-")
            .tempdir()
            .expect("a temporary directory");
        // Other users get as far as the mount, so that it is the mount that refuses them.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let path = root.path().canonicalize().expect("its real path");
        for name in ["mount", "spill", "flags", "plain"] {
            fs::create_dir(path.join(name)).expect("a directory in it");
        }
        Arc::new(Self { root, path })
    }

    /// Where the mount point, or anything else of this place, is.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The mount point.
    pub(crate) fn mount_point(&self) -> PathBuf {
        self.at("mount")
    }

    /// Lets scripts that `await NAME` go on.
    pub(crate) fn raise(&self, flag: &str) {
        fs::write(self.at("flags").join(flag), "").expect("a flag");
    }

    /// Starts `command` with `$D` the mount point, `$F` the flags, `$P` the plain directory and `$FIFOFS` the
    /// command under test.
    pub(crate) fn spawn(self: &Arc<Self>, mut command: Command) -> Process {
        command
            .env("D", self.mount_point())
            .env("F", self.at("flags"))
            .env("P", self.at("plain"))
            .env("FIFOFS", FIFOFS)
            .env("PYTHON", python())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir(self.at("plain"));
        Process::start(command, Some(Arc::clone(self)))
    }

    /// Starts a bash script in a process group of its own.
    pub(crate) fn shell(self: &Arc<Self>, script: &str) -> Process {
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{SHELL_PRELUDE}\n{script}"));
        self.spawn(command)
    }

    /// Starts a Python 3 script in a process group of its own.
    pub(crate) fn python(self: &Arc<Self>, script: &str) -> Process {
        let mut command = Command::new(python());
        command.arg("-c").arg(format!("{PYTHON_PRELUDE}\n{script}"));
        self.spawn(command)
    }

    /// Starts `fifofs` with these arguments.
    pub(crate) fn fifofs(self: &Arc<Self>, arguments: &[&str]) -> Process {
        let mut command = Command::new(FIFOFS);
        command.args(arguments);
        self.spawn(command)
    }

    /// Processes that are the daemon of a mount in this place, or its helpers. Zombies are not counted.
    pub(crate) fn daemons(&self) -> Vec<Proc> {
        let marker = format!("{MARKER}={}\0", self.mount_point().display());
        processes()
            .into_iter()
            .filter(|process| process.state != 'Z')
            .filter(|process| {
                fs::read(format!("/proc/{}/environ", process.pid)).is_ok_and(|environment| {
                    environment
                        .windows(marker.len())
                        .any(|window| window == marker.as_bytes())
                })
            })
            .collect()
    }

    /// Waits until no mount, no process and no spill file of this place is left.
    pub(crate) fn assert_nothing_left(self: &Arc<Self>) {
        self.wait_for(
            "nothing of the mount to be left",
            Duration::from_secs(3),
            || connection_of(&self.mount_point()).is_none() && self.daemons().is_empty(),
        );
        let spilled: Vec<_> = fs::read_dir(self.at("spill"))
            .expect("the spill directory")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(spilled.is_empty(), "spill files were left: {spilled:?}");
    }

    /// Waits until `condition` holds; else fails and says what the world looked like.
    pub(crate) fn wait_for(
        self: &Arc<Self>,
        what: &str,
        within: Duration,
        mut condition: impl FnMut() -> bool,
    ) {
        let deadline = Instant::now() + within;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "waited {within:?} in vain for {what}\n{}",
                self.state()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What to look at when something went wrong.
    pub(crate) fn state(self: &Arc<Self>) -> String {
        let mut state = String::new();
        let _ = writeln!(state, "--- fifofs ls {}", self.mount_point().display());
        let mut command = Command::new(FIFOFS);
        command.arg("ls").arg(self.mount_point());
        match Process::start(command, None).try_finish(Duration::from_secs(3)) {
            Some(done) => {
                let _ = writeln!(
                    state,
                    "{}{}({})",
                    done.text(),
                    done.stderr,
                    done.status_text()
                );
            }
            None => state.push_str("(no answer within 3 s)\n"),
        }
        state.push_str("--- processes of the mount and of the test\n");
        let own = std::process::id() as i32;
        let mut shown = self.daemons();
        shown.extend(
            processes()
                .into_iter()
                .filter(|process| process.ppid == own),
        );
        for process in shown {
            let wchan =
                fs::read_to_string(format!("/proc/{}/wchan", process.pid)).unwrap_or_default();
            let _ = writeln!(
                state,
                "{} {} {} {wchan}",
                process.pid, process.comm, process.state
            );
        }
        state.push_str("--- the end of the daemon's log\n");
        let log = fs::read(self.at("daemon.log")).unwrap_or_default();
        let end = &log[log.len().saturating_sub(12_000)..];
        state.push_str(&String::from_utf8_lossy(end));
        state
    }

    /// Lets go of everything that hangs in the mount, and takes the mount away.
    fn abort(&self) {
        for _ in 0..8 {
            let Some(connection) = connection_of(&self.mount_point()) else {
                break;
            };
            let _ = fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1");
            // FORCE aborts the connection too, where fusectl is not mounted.
            let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
            if rustix::mount::unmount(self.mount_point(), flags).is_err() {
                let _ = Command::new("fusermount3")
                    .arg("-uz")
                    .arg(self.mount_point())
                    .stderr(Stdio::null())
                    .status();
            }
        }
        for process in self.daemons() {
            signal(process.pid, Signal::KILL);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.abort();
        if connection_of(&self.mount_point()).is_some() {
            // Removing the directory would go into the mount: rather leave it.
            eprintln!("{} is still mounted", self.mount_point().display());
            self.root.disable_cleanup(true);
        }
    }
}

/// A running `fifofs mount`.
pub(crate) struct Mount {
    place: Arc<Place>,
    daemon: Child,
    /// Dropped when the mount ends: the dead man's switch waits for it.
    alive: Option<Sender<()>>,
    /// What stands at the mount point is to stay there.
    abandoned: bool,
}

impl Mount {
    /// `fifofs mount [OPTIONS] DIR` on a fresh directory.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in(&Place::new(), options)
    }

    /// The same in a place that there is already.
    pub(crate) fn start_in(place: &Arc<Place>, options: &[&str]) -> Self {
        Self::start_for(MOUNT_LIMIT, place, options)
    }

    /// The same with another limit for the dead man's switch.
    pub(crate) fn start_for(limit: Duration, place: &Arc<Place>, options: &[&str]) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(place.at("daemon.log"))
            .expect("the daemon's log");
        let daemon = mount_command(place, options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("fifofs itself must start");
        let (alive, gone) = mpsc::channel();
        let pid = daemon.id() as i32;
        let switch = Arc::clone(place);
        thread::Builder::new()
            .name("dead man's switch".into())
            .spawn(move || {
                if gone.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    eprintln!(
                        "a mount outlived {limit:?} and is aborted\n{}",
                        switch.state()
                    );
                    signal(pid, Signal::KILL);
                    switch.abort();
                }
            })
            .expect("a thread");
        let mut mount = Self {
            place: Arc::clone(place),
            daemon,
            alive: Some(alive),
            abandoned: false,
        };
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = mount.daemon.try_wait().expect("wait") {
                panic!(
                    "fifofs mount {options:?} ended with {status}\n{}",
                    place.state()
                );
            }
            if connection_of(&place.mount_point()).is_some() && mount.is_served() {
                return mount;
            }
            assert!(
                Instant::now() < deadline,
                "fifofs mount {options:?} was not ready\n{}",
                place.state()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_served(&self) -> bool {
        self.place
            .fifofs(&["ls", self.path().to_str().expect("UTF-8")])
            .try_finish(Duration::from_secs(3))
            .is_some_and(|done| done.status.success())
    }

    pub(crate) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// The mount point.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.mount_point()
    }

    /// A file in the mount.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> i32 {
        self.daemon.id() as i32
    }

    pub(crate) fn shell(&self, script: &str) -> Process {
        self.place.shell(script)
    }

    pub(crate) fn python(&self, script: &str) -> Process {
        self.place.python(script)
    }

    pub(crate) fn raise(&self, flag: &str) {
        self.place.raise(flag);
    }

    pub(crate) fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        self.place.wait_for(what, SOON, condition);
    }

    /// Waits until a script has raised a flag.
    pub(crate) fn wait_flag(&self, flag: &str) {
        let path = self.place.at("flags").join(flag);
        self.wait_for(&format!("the flag {flag}"), || path.exists());
    }

    /// Waits until a name is there.
    pub(crate) fn wait_exists(&self, name: &str) {
        self.wait_for(&format!("{name} to exist"), || {
            self.file(name).symlink_metadata().is_ok()
        });
    }

    /// `cat DIR/NAME`: an ordinary reader. The name must exist.
    pub(crate) fn reader(&self, name: &str) -> Process {
        let mut command = Command::new("cat");
        command.arg(self.file(name));
        self.place.spawn(command)
    }

    /// `fifofs cat DIR/NAME`, once it waits: the reader that may come before the file.
    pub(crate) fn waiting_reader(&self, name: &str) -> Process {
        let reader = self
            .place
            .fifofs(&["cat", self.file(name).to_str().expect("UTF-8")]);
        self.wait_parked(&reader);
        reader
    }

    /// `fifofs cat --next DIR/NAME`, once it waits.
    pub(crate) fn next_reader(&self, name: &str) -> Process {
        let path = self.file(name);
        let reader = self
            .place
            .fifofs(&["cat", "--next", path.to_str().expect("UTF-8")]);
        self.wait_parked(&reader);
        reader
    }

    /// Waits until `name` is done, and gives its content.
    pub(crate) fn finished(&self, name: &str) -> Vec<u8> {
        self.place
            .fifofs(&["cat", self.file(name).to_str().expect("UTF-8")])
            .finish(SOON)
            .succeeded()
            .stdout
    }

    /// Waits until some process of the group of `process` waits for an answer of the mount, and stays so.
    pub(crate) fn wait_parked(&self, process: &Process) {
        let mut samples = 0;
        self.wait_for(&format!("'{}' to wait in the mount", process.what), || {
            samples = if parked_in_group(process.pid()) > 0 {
                samples + 1
            } else {
                0
            };
            samples >= 5
        });
    }

    /// What `fifofs ls DIR` prints.
    pub(crate) fn ls(&self) -> String {
        self.place
            .fifofs(&["ls", self.path().to_str().expect("UTF-8")])
            .finish(SOON)
            .succeeded()
            .text()
    }

    /// `DIR/.fifofs/status`.
    pub(crate) fn status(&self) -> serde_json::Value {
        let text = self
            .reader(".fifofs/status")
            .finish(SOON)
            .succeeded()
            .text();
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("the status is no JSON: {error}\n{text}");
        })
    }

    /// The daemon's resident memory in bytes.
    pub(crate) fn memory_rss(&self) -> u64 {
        memory_rss(self.pid())
    }

    /// How many descriptors the daemon has.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the daemon's descriptors")
            .count()
    }

    /// How many threads the daemon has.
    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.pid()))
            .expect("the daemon's threads")
            .count()
    }

    /// The processor time that the daemon and its helpers have used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let mut nanoseconds = 0;
        for process in self.place.daemons() {
            for task in fs::read_dir(format!("/proc/{}/task", process.pid))
                .into_iter()
                .flatten()
                .flatten()
            {
                // The first field of schedstat: nanoseconds on a processor.
                nanoseconds += fs::read_to_string(task.path().join("schedstat"))
                    .ok()
                    .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                    .unwrap_or(0);
            }
        }
        Duration::from_nanos(nanoseconds)
    }

    /// SIGKILL for the daemon alone, and nothing else: what its helpers then do is theirs.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon.kill().expect("SIGKILL");
        self.daemon.wait().expect("wait");
        self.alive = None;
    }

    /// SIGKILL for the daemon; what is left of the mount stays until the place is dropped.
    pub(crate) fn kill_and_abandon(mut self) {
        self.kill_daemon();
        self.abandoned = true;
    }

    /// Waits for the daemon to end by itself.
    pub(crate) fn wait_daemon(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        let place = Arc::clone(&self.place);
        place.wait_for("the daemon to end", within, || {
            status = self.daemon.try_wait().expect("wait");
            status.is_some()
        });
        self.alive = None;
        status.expect("just set")
    }

    /// Ctrl-C: the daemon exits with 0 within 5 s and nothing is left.
    pub(crate) fn unmount(mut self) {
        signal(self.pid(), Signal::INT);
        let status = self.wait_daemon(Duration::from_secs(5));
        assert_eq!(
            status.code(),
            Some(0),
            "the daemon ended with {status}\n{}",
            self.place.state()
        );
        self.place.assert_nothing_left();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.alive = None;
        if self.abandoned {
            return;
        }
        if let Ok(None) = self.daemon.try_wait() {
            let _ = self.daemon.kill();
            self.place.abort();
            let deadline = Instant::now() + Duration::from_secs(3);
            while matches!(self.daemon.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        self.place.abort();
    }
}

/// `fifofs mount --spill … [OPTIONS] DIR`, marked so that its processes can be found.
pub(crate) fn mount_command(place: &Place, options: &[&str]) -> Command {
    let mut command = Command::new(FIFOFS);
    command
        .arg("mount")
        .arg("--spill")
        .arg(place.at("spill"))
        .args(options)
        .arg(place.mount_point())
        .env("RUST_LOG", "debug")
        .env(MARKER, place.mount_point());
    command
}

/// The FUSE connection of what is mounted at `path`: the minor number of its device.
pub(crate) fn connection_of(path: &Path) -> Option<u32> {
    let path = path.to_str()?;
    fs::read_to_string("/proc/self/mountinfo")
        .ok()?
        .lines()
        .rev()
        .find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            // 36 35 0:57 / /mount/point …
            (fields.get(4) == Some(&path))
                .then(|| fields[2].split_once(':')?.1.parse().ok())
                .flatten()
        })
}

// ---------------------------------------------------------------------------------------------------------------
// Programs

/// What a program printed at one moment.
#[derive(Clone)]
pub(crate) struct Chunk {
    /// Since the program was started.
    pub(crate) at: Duration,
    pub(crate) bytes: Vec<u8>,
}

/// One of the output streams of a program.
struct Output {
    chunks: Arc<Mutex<Vec<Chunk>>>,
    thread: JoinHandle<()>,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static, started: Instant) -> Self {
        let chunks = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&chunks);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("not poisoned").push(Chunk {
                    at: started.elapsed(),
                    bytes: buffer[..length].to_vec(),
                });
            }
        });
        Self { chunks, thread }
    }

    fn bytes(&self) -> Vec<u8> {
        let chunks = self.chunks.lock().expect("not poisoned");
        chunks
            .iter()
            .flat_map(|chunk| chunk.bytes.iter().copied())
            .collect()
    }
}

/// A running program in a process group of its own; killed with its group when dropped.
pub(crate) struct Process {
    child: Child,
    what: String,
    started: Instant,
    stdout: Output,
    stderr: Output,
    place: Option<Arc<Place>>,
}

/// How a program ended.
pub(crate) struct Finished {
    what: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// From its start to its end.
    pub(crate) took: Duration,
}

impl Process {
    fn start(mut command: Command, place: Option<Arc<Place>>) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let what = command
            .get_args()
            .last()
            .map_or_else(String::new, |argument| {
                argument.to_string_lossy().into_owned()
            });
        let what = what
            .trim_start_matches(SHELL_PRELUDE)
            .trim_start_matches(PYTHON_PRELUDE);
        let what = format!("{program} … {}", what.trim());
        let started = Instant::now();
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let stdout = Output::of(child.stdout.take().expect("piped"), started);
        let stderr = Output::of(child.stderr.take().expect("piped"), started);
        Self {
            child,
            what,
            started,
            stdout,
            stderr,
            place,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it printed so far.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// What it printed so far, and when.
    pub(crate) fn chunks(&self) -> Vec<Chunk> {
        self.stdout.chunks.lock().expect("not poisoned").clone()
    }

    /// Waits until all that it printed is exactly `expected`.
    pub(crate) fn wait_output(&self, expected: &[u8]) {
        let condition = || self.output() == expected;
        let what = format!(
            "'{}' to print {:?}",
            self.what,
            String::from_utf8_lossy(expected)
        );
        let place = self.place.as_ref().expect("a program of a place");
        let deadline = Instant::now() + SOON;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "waited {SOON:?} in vain for {what}; it printed {:?} and {:?}\n{}",
                String::from_utf8_lossy(&self.output()),
                String::from_utf8_lossy(&self.stderr.bytes()),
                place.state()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits for its end and for the end of its output; `None` if that takes longer.
    pub(crate) fn try_finish(mut self, within: Duration) -> Option<Finished> {
        let deadline = Instant::now() + within;
        self.end(deadline)
    }

    fn end(&mut self, deadline: Instant) -> Option<Finished> {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        };
        let took = self.started.elapsed();
        while !(self.stdout.thread.is_finished() && self.stderr.thread.is_finished()) {
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Some(Finished {
            what: self.what.clone(),
            status,
            stdout: self.stdout.bytes(),
            stderr: String::from_utf8_lossy(&self.stderr.bytes()).into_owned(),
            took,
        })
    }

    /// Waits for its end and for the end of its output; a later end is a failure.
    pub(crate) fn finish(mut self, within: Duration) -> Finished {
        match self.end(Instant::now() + within) {
            Some(finished) => finished,
            None => panic!(
                "'{}' did not end within {within:?}; it printed {} bytes and {:?}\n{}",
                self.what,
                self.output().len(),
                String::from_utf8_lossy(&self.stderr.bytes()),
                self.place.as_ref().map_or(String::new(), Place::state)
            ),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.pid()) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        // One that is stuck in a mount ends when the mount is aborted, after this.
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Finished {
    /// What it printed, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn status_text(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("status {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => self.status.to_string(),
        }
    }

    fn everything(&self) -> String {
        let stdout = self.text();
        let start: String = stdout.chars().take(2_000).collect();
        format!(
            "'{}' ended with {} after {:?}\nstdout ({} bytes): {start}\nstderr: {}",
            self.what,
            self.status_text(),
            self.took,
            self.stdout.len(),
            self.stderr
        )
    }

    /// It must have exited with 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.success(), "{}", self.everything());
        self
    }

    /// It must have exited with another status than 0, not by a signal, and have said `words` on standard error.
    #[track_caller]
    pub(crate) fn failed_saying(self, words: &str) -> Self {
        assert!(
            self.status.code().is_some_and(|code| code != 0),
            "should have failed: {}",
            self.everything()
        );
        assert!(
            self.stderr.contains(words),
            "should have said '{words}': {}",
            self.everything()
        );
        self
    }

    /// It must have printed exactly this.
    #[track_caller]
    pub(crate) fn printed(self, expected: impl AsRef<[u8]>) -> Self {
        if self.stdout != expected.as_ref() {
            eprintln!("{}", self.everything());
        }
        assert_same(&self.stdout, expected.as_ref());
        self
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Small things

/// The two must be the same bytes; else says where they differ.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    if got == expected {
        return;
    }
    let at = got
        .iter()
        .zip(expected)
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| got.len().min(expected.len()));
    let around = |bytes: &[u8]| {
        let start = at.saturating_sub(16).min(bytes.len());
        let end = (at + 48).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..end]).into_owned()
    };
    panic!(
        "{} bytes instead of {}, the first difference at {at}: {:?} instead of {:?}",
        got.len(),
        expected.len(),
        around(got),
        around(expected)
    );
}

/// Fails with the package to install if a program is missing: `("unzip", "unzip")` is (program, Debian package).
#[track_caller]
pub(crate) fn needs(programs: &[(&str, &str)]) {
    let path = env::var_os("PATH").unwrap_or_default();
    for (program, package) in programs {
        let found = env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .any(|directory| directory.join(program).is_file());
        assert!(
            found,
            "this test runs {program}, which is missing: apt-get install {package} (scripts/test does)"
        );
    }
}

/// Some tests are about other users and need to become one.
#[track_caller]
pub(crate) fn needs_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test becomes other users: run it as root"
    );
}

/// The system's Python, which other users may run too.
pub(crate) fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    }
}

pub(crate) fn signal(pid: i32, which: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, which);
    }
}

/// Programs started in the background by a shell ignore SIGINT and SIGQUIT, and so would all that they start.
fn default_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for which in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGHUP] {
            // SAFETY: setting the default action installs no handler that could run.
            unsafe { libc::signal(which, libc::SIG_DFL) };
        }
    });
}

/// A process as `/proc/PID/stat` has it.
pub(crate) struct Proc {
    pub(crate) pid: i32,
    pub(crate) ppid: i32,
    pub(crate) group: i32,
    pub(crate) state: char,
    pub(crate) comm: String,
}

/// All processes that can be seen.
pub(crate) fn processes() -> Vec<Proc> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// One process, if it is there.
pub(crate) fn process(pid: i32) -> Option<Proc> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // PID (COMM) STATE PPID PGRP …, and COMM may contain anything.
    let (start, rest) = stat.rsplit_once(')')?;
    let comm = start.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Proc {
        pid,
        ppid,
        group,
        state,
        comm,
    })
}

/// How many threads of a process group wait for an answer of a FUSE file system.
pub(crate) fn parked_in_group(group: i32) -> usize {
    processes()
        .into_iter()
        .filter(|process| process.group == group)
        .map(|process| {
            fs::read_dir(format!("/proc/{}/task", process.pid))
                .into_iter()
                .flatten()
                .flatten()
                .filter(|task| {
                    fs::read_to_string(task.path().join("wchan"))
                        .is_ok_and(|at| at.contains("fuse") || at.contains("request_wait"))
                })
                .count()
        })
        .sum()
}

/// The resident memory of a process in bytes.
pub(crate) fn memory_rss(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .expect("VmRSS");
    kibibytes << 10
}

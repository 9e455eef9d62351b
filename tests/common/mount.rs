//! A running `fifofs mount`, and queries of tests about it.
//!
//! Knows the command line and what is visible of a daemon from outside; knows nothing of its internals.
//! Invariant: a mount ends with its test, and before its limit in any case.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::old_kernel::without_pidfd_info;
use super::place::{MARKER, Place};
use super::procfs::{connection_of, memory_rss, parked_in_group, process};
use super::program::{Process, signal};
use super::{FIFOFS, SOON};

/// How long a mount may live before a timer thread aborts it.
const MOUNT_LIMIT: Duration = Duration::from_secs(300);

/// The name of the process that makes the kernel write back.
const FLUSHER: &str = "fifofs-flusher";

/// A running `fifofs mount`.
pub(crate) struct Mount {
    place: Arc<Place>,
    daemon: Child,
    /// Dropped when the mount ends: the timer thread waits for it.
    alive: Option<Sender<()>>,
    /// Whether the mount point is left as it is.
    abandoned: bool,
}

impl Mount {
    /// `fifofs mount [OPTIONS] DIR` on a fresh directory.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in(&Place::new(), options)
    }

    /// The same in an existing place.
    pub(crate) fn start_in(place: &Arc<Place>, options: &[&str]) -> Self {
        Self::start_for(MOUNT_LIMIT, place, options)
    }

    /// The same with another limit for the timer thread.
    pub(crate) fn start_for(limit: Duration, place: &Arc<Place>, options: &[&str]) -> Self {
        Self::start_by(limit, place, options, |command| command)
    }

    /// The same as on an older kernel, which tells less about processes.
    pub(crate) fn start_without_pidfd_info(options: &[&str]) -> Self {
        Self::start_by(MOUNT_LIMIT, &Place::new(), options, without_pidfd_info)
    }

    fn start_by(
        limit: Duration,
        place: &Arc<Place>,
        options: &[&str],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(place.at("daemon.log"))
            .expect("the daemon's log");
        let daemon = change(&mut mount_command(place, options))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("fifofs itself must start");
        let (alive, gone) = mpsc::channel();
        let pid = daemon.id() as i32;
        // A weak reference: the thread may outlive the last test by a moment, and then the place would not be
        // removed.
        let switch = Arc::downgrade(place);
        thread::Builder::new()
            .name("dead man's switch".into())
            .spawn(move || {
                if gone.recv_timeout(limit) == Err(RecvTimeoutError::Timeout)
                    && let Some(switch) = switch.upgrade()
                {
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
            .try_finish(SOON)
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

    /// Waits until a name exists.
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

    /// Waits until `name` is done, and returns its content.
    pub(crate) fn finished(&self, name: &str) -> Vec<u8> {
        self.place
            .fifofs(&["cat", self.file(name).to_str().expect("UTF-8")])
            .finish(SOON)
            .succeeded()
            .stdout
    }

    /// Waits until a process of the group of `process` waits for an answer of the mount, and stays so.
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

    /// The output of `fifofs ls DIR`.
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

    /// The number of the daemon's descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the daemon's descriptors")
            .count()
    }

    /// The number of the daemon's threads.
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

    /// The helper that makes the kernel write back dirty pages; it exists once a reader has waited for that.
    pub(crate) fn flusher(&self) -> Option<i32> {
        let daemons = self.place.daemons();
        let flusher = daemons.iter().find(|helper| helper.comm == FLUSHER);
        flusher.map(|helper| helper.pid)
    }

    /// Kills the flusher, if there is one; it is dead on return. Returns its process id.
    pub(crate) fn kill_flusher(&self) -> Option<i32> {
        let flusher = self.flusher()?;
        signal(flusher, Signal::KILL);
        self.wait_for("the flusher to die", || {
            process(flusher).is_none_or(|process| process.state == 'Z')
        });
        Some(flusher)
    }

    /// Kills only the daemon: its helpers then act on their own.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon.kill().expect("SIGKILL");
        self.daemon.wait().expect("wait");
        self.alive = None;
    }

    /// Kills the daemon; the rest of the mount stays until the place is dropped.
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

    /// Sends Ctrl-C: the daemon exits with 0 and nothing is left.
    pub(crate) fn unmount(mut self) {
        signal(self.pid(), Signal::INT);
        let status = self.wait_daemon(SOON);
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
        // Not debug: that would log each event, and would not test what users get.
        .env("RUST_LOG", "info")
        .env(MARKER, place.mount_point());
    command
}

//! The place of a test: a directory of its own, and the processes in it.
//!
//! Knows how to start programs, find the daemons of its mount and remove that mount; does not know how a mount is
//! made. Invariant: when a place is dropped, nothing is mounted in it and no daemon of it lives.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::mount::UnmountFlags;
use rustix::process::Signal;

use super::FIFOFS;
use super::procfs::{Proc, connection_of, parked_threads, processes, tasks};
use super::program::{Process, default_signals, signal};
use super::script::{PYTHON_PRELUDE, SHELL_PRELUDE, python};
use super::testing::{SOON, until_within};

/// An environment variable of every daemon, by which its helpers are found, however they are started.
pub(crate) const MARKER: &str = "FIFOFS_TEST_MOUNT";

/// A temporary directory with what a mount needs: `mount` (the mount point), `spill`, `flags`, `plain` (to compare
/// with) and `daemon.log`. It outlives the mounts made in it, so a mount can be started where another one died.
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
        // Other users must reach the mount, so that it is the mount that refuses them.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let path = root.path().canonicalize().expect("its real path");
        for name in ["mount", "spill", "flags", "plain"] {
            fs::create_dir(path.join(name)).expect("a directory in it");
        }
        Arc::new(Self { root, path })
    }

    /// The path of the mount point, or of anything else in this place.
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

    /// Processes that are the daemon of a mount in this place, or its helpers. Without zombies, and without
    /// processes that wait for an answer of a mount: reading their environment might block.
    pub(crate) fn daemons(&self) -> Vec<Proc> {
        let marker = format!("{MARKER}={}\0", self.mount_point().display());
        processes()
            .into_iter()
            .filter(|process| process.state != 'Z' && parked_threads(process.pid) == 0)
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
        self.wait_for("nothing of the mount to be left", SOON, || {
            connection_of(&self.mount_point()).is_none() && self.daemons().is_empty()
        });
        let spilled: Vec<_> = fs::read_dir(self.at("spill"))
            .expect("the spill directory")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(spilled.is_empty(), "spill files were left: {spilled:?}");
    }

    /// Waits until `condition` holds; otherwise fails and prints the state of the world.
    #[track_caller]
    pub(crate) fn wait_for(
        self: &Arc<Self>,
        what: &str,
        within: Duration,
        condition: impl FnMut() -> bool,
    ) {
        until_within(within, what, condition, || self.state());
    }

    /// The state of the world, for failures.
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
            let _ = writeln!(state, "{} {}", process.pid, process.state);
            for task in tasks(process.pid) {
                let read = |file| fs::read_to_string(task.join(file)).unwrap_or_default();
                let _ = writeln!(state, "  {} {}", read("comm").trim(), read("wchan"));
            }
        }
        state.push_str("--- the end of the daemon's log\n");
        let log = fs::read(self.at("daemon.log")).unwrap_or_default();
        let end = &log[log.len().saturating_sub(12_000)..];
        state.push_str(&String::from_utf8_lossy(end));
        state
    }

    /// Aborts everything that hangs in the mount, and removes the mount.
    pub(super) fn abort(&self) {
        for _ in 0..8 {
            let Some(connection) = connection_of(&self.mount_point()) else {
                break;
            };
            let _ = fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1");
            // FORCE aborts the connection, too, if fusectl is not mounted.
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
            // Removing the directory would go into the mount: leave it.
            eprintln!("{} is still mounted", self.mount_point().display());
            self.root.disable_cleanup(true);
        }
    }
}

//! A mount with a place for FIFOs beside it, and its end whatever happens.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::processes::{Usage, usage, wait_for};

/// The longest that one mount lives.
const MOUNT_LIMIT: Duration = Duration::from_secs(120);

/// A fresh directory with a fresh mount. Files whose names end in `.follow`, `.stream` or `.settled` are delivered so,
/// all others by the default.
pub(crate) struct World {
    root: PathBuf,
    mount: PathBuf,
    daemon: Child,
    names: Cell<usize>,
    /// Dropped when the mount ends: the dead man's switch waits for it.
    alive: Option<Sender<()>>,
    /// Owns `root`; removed only when nothing is mounted any more.
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Outcome<World> {
        let failed = |error| format!("cannot make a directory for a mount: {error}");
        let directory = tempfile::Builder::new()
            .prefix("fifofs-bench-")
            .tempdir()
            .map_err(failed)?;
        let root = directory.path().canonicalize().map_err(failed)?;
        let mount = root.join("mount");
        let log = fs::File::create(root.join("log")).map_err(failed)?;
        let daemon = Command::new(env!("CARGO_BIN_EXE_fifofs"))
            .arg("mount")
            .args(["--deliver", "*.follow=follow"])
            .args(["--deliver", "*.stream=stream"])
            .args(["--deliver", "*.settled=settled"])
            .arg(&mount)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start fifofs: {error}"))?;
        let (alive, gone) = mpsc::channel();
        let (late, pid) = (mount.clone(), Pid::from_child(&daemon));
        thread::spawn(move || {
            if gone.recv_timeout(MOUNT_LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("a mount outlived {MOUNT_LIMIT:?} and is aborted");
                let _ = kill_process(pid, Signal::KILL);
                abort(&late);
            }
        });
        let world = World {
            root,
            mount,
            daemon,
            names: Cell::new(0),
            alive: Some(alive),
            directory,
        };
        wait_for("the mount", || world.log().contains("serving"))
            .map_err(|error| format!("{error}; its log: {}", world.log()))?;
        Ok(world)
    }

    /// What its daemon uses.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        usage(self.daemon.id(), &self.mount)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }

    /// A name that nothing had yet.
    fn name(&self, suffix: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{}{suffix}", self.names.get())
    }

    /// A new file in the mount, which does not exist yet, whose name ends like this.
    pub(crate) fn file(&self, suffix: &str) -> Place {
        let name = self.name(suffix);
        let path = self.mount.join(&name);
        let wait = self.mount.join(".fifofs/wait").join(name);
        Place { path, wait }
    }

    /// A new FIFO.
    pub(crate) fn fifo(&self, suffix: &str) -> Outcome<Place> {
        let path = self.root.join(self.name(suffix));
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0)
            .map_err(|errno| format!("cannot make the FIFO {}: {errno}", path.display()))?;
        let wait = path.clone();
        Ok(Place { path, wait })
    }

    /// A path outside the mount, in the directory that goes away with it.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// Where a writer writes, and where a reader waits for it.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    wait: PathBuf,
}

impl Place {
    /// What the writer is given.
    pub(crate) fn writer(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }

    /// What the reader is given.
    pub(crate) fn reader(&self) -> &str {
        self.wait.to_str().unwrap_or_default()
    }

    /// Removes the file, so that its memory is there for the next.
    pub(crate) fn remove(self) -> Outcome<()> {
        fs::remove_file(&self.path)
            .map_err(|error| format!("cannot remove {}: {error}", self.path.display()))
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.contains(&format!(" {} ", path.display()))
}

/// Lets go of everything that hangs in a mount, and takes it away.
fn abort(mount: &Path) {
    let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
    if is_mounted(mount) && rustix::mount::unmount(mount, flags).is_err() {
        let _ = Command::new("fusermount3").arg("-uz").arg(mount).status();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut ended = false;
        while !ended && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
            ended = matches!(self.daemon.try_wait(), Ok(Some(_)) | Err(_));
        }
        if !ended {
            eprintln!("the daemon did not end within 5 s of SIGTERM and is killed");
            let _ = self.daemon.kill();
        }
        if is_mounted(&self.mount) {
            eprintln!("{} was still mounted", self.mount.display());
            abort(&self.mount);
        }
        if !ended {
            let _ = self.daemon.wait();
        }
        self.alive.take();
        let log = self.log();
        let said: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains("serving"))
            .collect();
        if !said.is_empty() {
            eprintln!("the daemon said:\n{}", said.join("\n"));
        }
        if is_mounted(&self.mount) {
            // Removing the directory would go into the mount: rather leave it.
            self.directory.disable_cleanup(true);
        }
    }
}

//! Where a row is measured: a directory with FIFOs and, if wanted, a mount in it; removes both, whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::processes::{Usage, usage, wait_for};
use crate::{Outcome, cleanup};

/// How long the mount of a row may live.
const MOUNT_LIMIT: Duration = Duration::from_secs(120);

/// A fresh directory.
pub(crate) struct Site {
    root: PathBuf,
    names: AtomicUsize,
    /// Owns `root`; removed only once nothing is mounted in it any more.
    directory: tempfile::TempDir,
}

impl Site {
    /// Makes one below `$TMPDIR` or `/tmp`.
    pub(crate) fn new() -> Outcome<Site> {
        Site::below(&std::env::temp_dir())
    }

    pub(crate) fn below(base: &Path) -> Outcome<Site> {
        let failed = |error| format!("cannot make a directory in {}: {error}", base.display());
        let directory = tempfile::Builder::new()
            .prefix("fifofs-bench-")
            .tempdir_in(base)
            .map_err(failed)?;
        let root = directory.path().canonicalize().map_err(failed)?;
        cleanup::add_directory(&root);
        Ok(Site {
            root,
            names: AtomicUsize::new(0),
            directory,
        })
    }

    /// A path in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A name that was not used yet.
    fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A new FIFO.
    pub(crate) fn fifo(&self, suffix: &str) -> Outcome<Place> {
        let path = self.at(&self.name(suffix));
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0)
            .map_err(|errno| format!("cannot make the FIFO {}: {errno}", path.display()))?;
        let wait = path.clone();
        Ok(Place { path, wait })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if cleanup::mounts_below(&self.root).is_empty() {
            cleanup::remove_directory(&self.root);
        } else {
            // Removing the directory would go into the mount: leave it.
            self.directory.disable_cleanup(true);
        }
    }
}

/// A site with a fresh mount. Files with names that end in `.follow`, `.stream` or `.settled` are delivered so, all
/// others by the default.
pub(crate) struct World {
    pub(crate) site: Site,
    mount: PathBuf,
    daemon: Child,
    /// Dropped when the mount ends: the thread that aborts the mount waits for it.
    alive: Option<Sender<()>>,
}

impl World {
    pub(crate) fn new() -> Outcome<World> {
        World::with(&[], MOUNT_LIMIT)
    }

    /// With options of `fifofs mount`, and a limit after which it counts as hung.
    pub(crate) fn with(options: &[&str], limit: Duration) -> Outcome<World> {
        let site = Site::new()?;
        let mount = site.at("mount");
        let log = fs::File::create(site.at("log"))
            .map_err(|error| format!("cannot make a log: {error}"))?;
        let daemon = Command::new(crate::fifofs()?)
            .arg("mount")
            .args(["--deliver", "*.follow=follow"])
            .args(["--deliver", "*.stream=stream"])
            .args(["--deliver", "*.settled=settled"])
            .args(options)
            .arg(&mount)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start fifofs: {error}"))?;
        let (alive, gone) = mpsc::channel();
        let (late, pid) = (mount.clone(), Pid::from_child(&daemon));
        thread::spawn(move || {
            if gone.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("fifofs: a mount outlived {limit:?} and is aborted");
                let _ = kill_process(pid, Signal::KILL);
                abort(&late);
            }
        });
        let mut world = World {
            site,
            mount,
            daemon,
            alive: Some(alive),
        };
        let mut serves = false;
        let waited = wait_for("the mount", || {
            serves = world.log().contains("serving");
            serves || matches!(world.daemon.try_wait(), Ok(Some(_)) | Err(_))
        });
        match waited {
            Ok(()) if serves => Ok(world),
            _ => {
                let why = world.log();
                // The error below repeats it.
                let _ = fs::remove_file(world.site.at("log"));
                Err(why.trim().trim_start_matches("fifofs: ").to_owned())
            }
        }
    }

    /// The resources that its daemon uses.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        usage(self.daemon.id(), &self.mount)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.at("log")).unwrap_or_default()
    }

    /// A new path in the mount, which does not exist yet and has this suffix.
    pub(crate) fn file(&self, suffix: &str) -> Place {
        let name = self.site.name(suffix);
        let path = self.mount.join(&name);
        let wait = self.mount.join(".fifofs/pipe").join(name);
        Place { path, wait }
    }
}

/// Where a writer writes, and where a reader waits for it.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    wait: PathBuf,
}

impl Place {
    /// The path for the writer.
    pub(crate) fn writer(&self) -> &str {
        self.path.to_str().unwrap_or_default()
    }

    /// The path for the reader.
    pub(crate) fn reader(&self) -> &str {
        self.wait.to_str().unwrap_or_default()
    }

    /// Removes the file, which frees its memory.
    pub(crate) fn remove(self) -> Outcome<()> {
        remove(&self.path)
    }

    /// Removes all files of its name, in which `%` stands for a number.
    pub(crate) fn remove_all(self, count: usize) -> Outcome<()> {
        let each = |index: usize| self.writer().replace('%', &index.to_string());
        (0..count).try_for_each(|index| remove(Path::new(&each(index))))
    }
}

pub(crate) fn remove(path: &Path) -> Outcome<()> {
    fs::remove_file(path).map_err(|error| format!("cannot remove {}: {error}", path.display()))
}

/// Ends all requests that hang in a mount, and removes it.
fn abort(mount: &Path) {
    let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
    let mounted = !cleanup::mounts_below(mount).is_empty();
    if mounted && rustix::mount::unmount(mount, flags).is_err() {
        let _ = Command::new("fusermount3").arg("-uz").arg(mount).status();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let mut ended = matches!(self.daemon.try_wait(), Ok(Some(_)));
        if !ended {
            let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !ended && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
            ended = matches!(self.daemon.try_wait(), Ok(Some(_)) | Err(_));
        }
        if !ended {
            eprintln!("fifofs: the daemon did not end within 5 s of SIGTERM and is killed");
            let _ = self.daemon.kill();
        }
        if !cleanup::mounts_below(&self.mount).is_empty() {
            eprintln!("fifofs: {} was still mounted", self.mount.display());
            abort(&self.mount);
        }
        if !ended {
            let _ = self.daemon.wait();
        }
        self.alive.take();
        for line in self.log().lines().filter(|line| !line.contains("serving")) {
            eprintln!("{line}");
        }
    }
}

//! Mounts: making them, finding them, and the paths to wait by.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::capture::{self, Capture};
use crate::core::namespace::Creator;
use crate::core::rules::{Deliver, FailOn, Linger, Rules};
use crate::core::spool::{Limits, Pool};
use crate::core::{CONTROL_NAME, Settings};
use crate::error::{Error, Result};
use crate::fuse::Session;
use crate::fuse::mountpoint::{self, MountOptions};
use crate::limits;
use crate::router::Router;
use crate::temporary;

/// With stream delivery, how far a writer may be ahead of its readers.
const DEFAULT_WINDOW_BYTES: u64 = 1 << 20;

/// In a mount, how long a write waits for readers. While it does, the kernel
/// holds the file's lock against everybody else: another writer may have to sit
/// out two such waits before its own, and should be done within a second.
const PATIENCE: Duration = Duration::from_millis(300);

/// How a mount is to be made; see [`Mount::builder`].
///
/// ```
/// use fifofs::{Deliver, Mount};
///
/// let builder = Mount::builder().deliver("*.log", Deliver::Stream).memory(64 << 20);
/// let mount = builder.mount_temporary()?;
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is mounted until `mount` is called"]
pub struct MountBuilder {
    rules: std::result::Result<Rules, String>,
    linger: Linger,
    fail_on: FailOn,
    window: u64,
    memory: Option<u64>,
    spill: Option<PathBuf>,
    max_size: Option<u64>,
    allow_other: bool,
    readers_wait: bool,
    consume: bool,
}

impl MountBuilder {
    /// Files whose name or path matches `glob` are delivered in this way; of
    /// several globs that match the last one counts. A glob that is not well
    /// formed is an error of [`MountBuilder::mount`].
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().deliver("logs/**", fifofs::Deliver::Follow).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn deliver(self, glob: &str, way: Deliver) -> Self {
        self.rule(|rules| rules.push(Some(glob), way))
    }

    /// All files that no glob matches are delivered in this way.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().deliver_all(fifofs::Deliver::Settled).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn deliver_all(self, way: Deliver) -> Self {
        self.rule(|rules| rules.push(None, way))
    }

    fn rule(mut self, push: impl FnOnce(&mut Rules) -> Result<()>) -> Self {
        if let Ok(rules) = &mut self.rules
            && let Err(error) = push(rules)
        {
            self.rules = Err(error.to_string());
        }
        self
    }

    /// When a file that was closed is done.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().linger(fifofs::Linger::Exit).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Which ends of a writer give its readers an error after the last byte.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().fail_on(fifofs::FailOn::Status).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn fail_on(mut self, fail_on: FailOn) -> Self {
        self.fail_on = fail_on;
        self
    }

    /// With stream delivery, how many bytes a writer may be ahead of the
    /// slowest reader. 1 MiB unless set.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().window(256 << 10).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn window(mut self, bytes: u64) -> Self {
        self.window = bytes;
        self
    }

    /// How many bytes are kept in memory, over all files. Unless set, 1 GiB or
    /// an eighth of what the machine or the control group has, whichever is
    /// less.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().memory(256 << 20).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The directory for what does not fit into memory. Unless set, `$TMPDIR`
    /// or `/var/tmp`.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().spill("/var/tmp").mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn spill(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spill = Some(directory.into());
        self
    }

    /// How many bytes are kept in all; past it writes fail with `ENOSPC`.
    /// Unless set, what is free in the spill directory, less 5 %.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().max_size(4 << 30).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Lets other users in; modes and owners count for them. The kernel allows
    /// it to root, and to others if `/etc/fuse.conf` says `user_allow_other`.
    ///
    /// ```
    /// let builder = fifofs::Mount::builder().allow_other(true);
    /// ```
    pub fn allow_other(mut self, allow: bool) -> Self {
        self.allow_other = allow;
        self
    }

    /// Removes a file once a reader has read it to its end.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().consume(true).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn consume(mut self, consume: bool) -> Self {
        self.consume = consume;
        self
    }

    /// Whether a process that opens a file while it is being written waits for it,
    /// which it does unless this is set to false. Then it sees the file as it is;
    /// whoever opens it below `.fifofs/wait` or `.fifofs/next` still waits, and
    /// so do readers in this process.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().readers_wait(false).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn readers_wait(mut self, wait: bool) -> Self {
        self.readers_wait = wait;
        self
    }

    /// Mounts at `directory`, which is made if it is missing, and serves it
    /// from threads of this process.
    ///
    /// # Errors
    ///
    /// If an option does not make sense, or the directory or this machine does
    /// not allow a mount; the error says what to do about it.
    ///
    /// ```
    /// let place = tempfile::tempdir()?;
    /// let mount = fifofs::Mount::builder().mount(place.path())?;
    /// std::fs::write(mount.path().join("out.txt"), "hello\n")?;
    /// mount.unmount()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn mount(self, directory: impl AsRef<Path>) -> Result<Mount> {
        self.mount_at(directory.as_ref(), false)
    }

    /// Mounts at a fresh directory, of mode 0700, below `$XDG_RUNTIME_DIR` if
    /// there is one, else `$TMPDIR` or `/tmp`. It is removed with the mount.
    ///
    /// # Errors
    ///
    /// As [`MountBuilder::mount`].
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// println!("write to {}", mount.path().join("out").display());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn mount_temporary(self) -> Result<Mount> {
        let directory = temporary::directory()?;
        let mount = self.mount_at(directory.path(), true)?;
        // From here on it goes with the mount.
        let _ = directory.keep();
        Ok(mount)
    }

    fn mount_at(self, directory: &Path, remove_directory: bool) -> Result<Mount> {
        let rules = self.rules.map_err(Error::usage)?;
        let spill_directory = self.spill.unwrap_or_else(limits::spill_directory);
        let spill_directory = limits::check_spill_directory(&spill_directory)?;
        let pool = Pool::new(Limits {
            memory: self.memory.unwrap_or_else(limits::default_memory),
            max_size: self.max_size,
            spill_directory,
        });
        let settings = Settings {
            rules,
            linger: self.linger,
            fail_on: self.fail_on,
            window_bytes: self.window,
            // Where nobody else waits, nobody is hindered either.
            patience: match self.readers_wait {
                true => PATIENCE,
                false => Duration::MAX,
            },
            unseen_bytes: limits::unseen_bytes(),
            readers_wait: self.readers_wait,
            consume: self.consume,
            owner: Creator {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
                mode: 0o755,
            },
        };
        let options = MountOptions {
            allow_other: self.allow_other,
            remove_directory,
        };
        let session = Session::start(directory, &options, settings, pool)?;
        Ok(Mount { session })
    }
}

/// A mount served by this process. Dropping it unmounts; whoever waits in it
/// gets an error then.
///
/// `Send` and `Sync`.
///
/// ```
/// use fifofs::{Deliver, Mount};
///
/// # let place = tempfile::tempdir()?;
/// # let directory = place.path().join("cap");
/// let mount = Mount::builder()
///     .deliver("*.log", Deliver::Stream)
///     .memory(256 << 20)
///     .mount(&directory)?;
/// std::fs::write(mount.path().join("out.txt"), "hello\n")?;
/// mount.unmount()?;
/// assert!(!directory.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mount {
    session: Session,
}

impl Mount {
    /// A mount with every option at its default.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn builder() -> MountBuilder {
        MountBuilder {
            rules: Ok(Rules::new()),
            linger: Linger::Auto,
            fail_on: FailOn::Signal,
            window: DEFAULT_WINDOW_BYTES,
            memory: None,
            spill: None,
            max_size: None,
            allow_other: false,
            readers_wait: true,
            consume: false,
        }
    }

    /// Where it is mounted, as an absolute path.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// assert!(mount.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        self.session.directory()
    }

    /// Waits until somebody has unmounted it.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// let directory = mount.path().to_owned();
    /// let other = std::thread::spawn(move || fifofs::unmount(directory));
    /// mount.wait();
    /// other.join().unwrap()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn wait(&self) {
        // Nothing is ever sent: the channel ends with the mount.
        let _ = self.session.ended().recv();
    }

    /// A channel on which nothing is ever sent, and which is disconnected when
    /// the mount is gone: to wait for that among other things.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// let ended = mount.ended().recv_timeout(Duration::from_millis(10));
    /// assert_eq!(ended, Err(crossbeam_channel::RecvTimeoutError::Timeout));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn ended(&self) -> Receiver<()> {
        self.session.ended()
    }

    /// Captures the file at `path`, relative to the mount: what a program writes
    /// there comes to this process. Directories above it are made. Any number of
    /// captures may be there at once.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] of kind `AlreadyExists` if something stands there or it is
    /// captured already; if something above it is no directory;
    /// [`Error::Usage`] if `path` is absolute, empty, or leads out of the mount.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Mount, Target};
    ///
    /// let mount = Mount::builder().mount_temporary()?;
    /// let capture = mount.capture("run-17/out.log")?;
    /// let output = capture.run(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
    /// assert!(output.bytes.starts_with(b"[package]"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn capture(&self, path: impl AsRef<Path>) -> Result<Capture> {
        let inside = capture::inside(path.as_ref())?;
        // An earlier capture of the path may have gone a moment ago.
        self.router().settle_names();
        Capture::of(Arc::clone(self.router()), self.path(), &inside)
    }

    pub(crate) fn router(&self) -> &Arc<Router> {
        self.session.router()
    }

    /// Unmounts. Dropping does the same, and logs errors.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// mount.unmount()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn unmount(mut self) -> Result<()> {
        self.session.unmount()
    }
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mount").field("path", &self.path()).finish()
    }
}

/// The directories at which fifofs is mounted, as far as this process sees.
///
/// # Errors
///
/// If `/proc/self/mountinfo` cannot be read.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// assert!(fifofs::mounts()?.iter().any(|directory| directory == mount.path()));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn mounts() -> Result<Vec<PathBuf>> {
    mountpoint::all_mounts()
}

/// The mount that holds a path, which need not exist.
///
/// # Errors
///
/// If `/proc/self/mountinfo` cannot be read.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let found = fifofs::mount_of(mount.path().join("not/there/yet"))?;
/// assert_eq!(found.as_deref(), Some(mount.path()));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn mount_of(path: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    let path = absolute(path.as_ref())?;
    Ok(mountpoint::find_mount(&path)?.map(|found| found.directory))
}

/// Unmounts whatever fifofs mount is at `directory`, also one whose daemon was
/// killed.
///
/// # Errors
///
/// If there is none, or the system refuses.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// fifofs::unmount(mount.path())?;
/// mount.wait();
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn unmount(directory: impl AsRef<Path>) -> Result<()> {
    mountpoint::unmount(directory.as_ref())
}

/// The path to open to wait for a file of a mount: for the file itself, or with
/// `next` for the next time that it is written. Reading it gives what the file
/// holds, as soon as its delivery allows.
///
/// # Errors
///
/// If the path is in no fifofs mount.
///
/// ```
/// let mount = fifofs::Mount::builder().mount_temporary()?;
/// let path = fifofs::wait_path(mount.path().join("a/b.txt"), false)?;
/// assert_eq!(path, mount.path().join(".fifofs/wait/a%2Fb.txt"));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn wait_path(path: impl AsRef<Path>, next: bool) -> Result<PathBuf> {
    let given = path.as_ref();
    let path = absolute(given)?;
    let mount = mountpoint::find_mount(&path)?.map(|found| found.directory);
    let no_mount = || {
        let reason = std::io::Error::other("it is in no fifofs mount");
        Error::io("wait for", given, reason)
            .with_remedy("give a path below a directory that `fifofs mount` serves")
    };
    let mount = mount.ok_or_else(no_mount)?;
    let inside = path.strip_prefix(&mount).map_err(|_| no_mount())?;
    let mut name = Vec::new();
    for component in inside.iter() {
        if !name.is_empty() {
            name.extend_from_slice(b"%2F");
        }
        for byte in component.as_bytes() {
            match byte {
                b'%' => name.extend_from_slice(b"%25"),
                byte => name.push(*byte),
            }
        }
    }
    if name.is_empty() {
        let reason = std::io::Error::from_raw_os_error(libc::EISDIR);
        return Err(Error::io("wait for", given, reason).with_remedy("name a file in the mount"));
    }
    let which = if next { "next" } else { "wait" };
    Ok(mount
        .join(CONTROL_NAME)
        .join(which)
        .join(OsStr::from_bytes(&name)))
}

/// A path with everything resolved that exists, and the rest, which does not
/// exist yet, taken as it is.
fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |error| Error::io("find", path, error);
    let full = std::path::absolute(path).map_err(failed)?;
    let mut existing = full.as_path();
    let mut rest = Vec::new();
    // The last component stays as it is: it may be a link in the mount.
    while let Some(parent) = existing.parent() {
        rest.push(existing.components().next_back());
        existing = parent;
        if let Ok(resolved) = existing.canonicalize() {
            let mut path = resolved;
            for component in rest.iter().rev().flatten() {
                match component {
                    Component::ParentDir => {
                        path.pop();
                    }
                    component => path.push(component),
                }
            }
            return Ok(path);
        }
    }
    Ok(full)
}

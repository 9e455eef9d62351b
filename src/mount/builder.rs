//! The options of a mount, and making it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Mount;
use crate::core::Settings;
use crate::core::namespace::Creator;
use crate::core::rules::{Deliver, FailOn, Linger, Rules};
use crate::error::{Error, Result};
use crate::forked::Owned;
use crate::fuse::Session;
use crate::fuse::mounting::{self, MountOptions};
use crate::limits;
use crate::temporary;

/// With stream delivery, how many bytes a writer may be ahead of its readers.
pub(crate) const DEFAULT_WINDOW_BYTES: u64 = 1 << 20;

/// In a mount, how long a write waits for readers. While it waits, the kernel holds the file's lock: another
/// writer may have to wait twice as long before its own wait, and should be done within a second.
const PATIENCE: Duration = Duration::from_millis(150);

/// Options of a mount; see [`Mount::builder`].
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
    /// Source and the kernel's options; mounting fills in the rest.
    options: MountOptions,
    readers_wait: bool,
    consume: bool,
    require_visible: bool,
    fifos: Rules,
    records: bool,
}

impl MountBuilder {
    /// With every option at its default.
    pub(super) fn new() -> MountBuilder {
        MountBuilder {
            rules: Ok(Rules::new()),
            linger: Linger::Auto,
            fail_on: FailOn::Crash,
            window: DEFAULT_WINDOW_BYTES,
            memory: None,
            spill: None,
            max_size: None,
            allow_other: false,
            options: MountOptions::default(),
            readers_wait: true,
            consume: false,
            require_visible: false,
            fifos: Rules::new(),
            records: false,
        }
    }

    /// Files whose name or path matches `glob` are delivered in this way; if several globs match, the last one
    /// counts. A malformed glob is an error of [`MountBuilder::mount`].
    ///
    /// `*` and `?` stop at `/`, `**` does not. A glob without `/` matches the file's name at any depth; one with
    /// `/` matches the whole path from the root of the mount, with or without a leading `/`.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().deliver("logs/**", fifofs::Deliver::Follow).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn deliver(self, glob: &str, way: Deliver) -> Self {
        self.add(|rules| rules.push(Some(glob), way))
    }

    /// All files that no glob matches are delivered in this way.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().deliver_all(fifofs::Deliver::Settled).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn deliver_all(self, way: Deliver) -> Self {
        self.add(|rules| rules.push(None, way))
    }

    /// Adds a rule from text: `GLOB=WAY`, as [`MountBuilder::deliver`], or `WAY`, as
    /// [`MountBuilder::deliver_all`]. A glob may itself contain `=`: the last one counts.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if `text` is no rule.
    ///
    /// ```
    /// let builder = fifofs::Mount::builder().rule("*.log=stream")?.rule("settled")?;
    /// assert!(builder.rule("*.log=quickly").is_err());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn rule(mut self, text: &str) -> Result<Self> {
        match &mut self.rules {
            Ok(rules) => rules.parse(text)?,
            // Earlier errors are reported by `mount`.
            Err(_) => Rules::new().parse(text)?,
        }
        Ok(self)
    }

    fn add(mut self, push: impl FnOnce(&mut Rules) -> Result<()>) -> Self {
        if let Ok(rules) = &mut self.rules
            && let Err(error) = push(rules)
        {
            self.rules = Err(error.to_string());
        }
        self
    }

    /// When a closed file is done.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().linger(fifofs::Linger::Exit).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn linger(mut self, linger: Linger) -> Self {
        self.linger = linger;
        self
    }

    /// Which ends of a writer give its readers an error instead of an end of file.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().fail_on(fifofs::FailOn::Status).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn fail_on(mut self, fail_on: FailOn) -> Self {
        self.fail_on = fail_on;
        self
    }

    /// With stream delivery, how many bytes a writer may be ahead of the slowest reader. 1 MiB unless set. A
    /// write beyond that waits at most 150 ms, and is then accepted; it waits without a limit if
    /// [`MountBuilder::readers_wait`] is false.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().window(256 << 10).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn window(mut self, bytes: u64) -> Self {
        self.window = bytes;
        self
    }

    /// How many bytes are kept in memory, over all files: contents, and names, attributes and open files, which
    /// cannot be spilled. Unless set, 1 GiB or an eighth of what the machine has, RLIMIT_AS allows or a control
    /// group allows, whichever is least.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().memory(256 << 20).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// The directory for bytes that do not fit into memory. Unless set, `$TMPDIR`, or `/var/tmp`, or `/tmp` if
    /// that is missing.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().spill("/var/tmp").mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn spill(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spill = Some(directory.into());
        self
    }

    /// The directory that [`spill`](MountBuilder::spill) set, or the default one.
    ///
    /// ```
    /// let builder = fifofs::Mount::builder().spill("/var/tmp");
    /// assert_eq!(builder.spill_directory(), std::path::Path::new("/var/tmp"));
    /// ```
    pub fn spill_directory(&self) -> PathBuf {
        self.spill
            .clone()
            .unwrap_or_else(limits::default_spill_directory)
    }

    /// How many bytes are kept in all; beyond that writes fail with `ENOSPC`. Unless set, the free space of the
    /// spill directory, less 5 %.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().max_size(4 << 30).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Lets other users in; modes and owners apply to them. The kernel allows it to root, and to others if
    /// `/etc/fuse.conf` says `user_allow_other`.
    ///
    /// ```
    /// let builder = fifofs::Mount::builder().allow_other(true);
    /// ```
    pub fn allow_other(mut self, allow: bool) -> Self {
        self.allow_other = allow;
        self
    }

    /// The source of the mount, as `df`, `findmnt` and `/proc/mounts` show it: `fifofs` unless set.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().source("captures").mount_temporary()?;
    /// assert!(std::fs::read_to_string("/proc/mounts")?.contains("captures"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn source(mut self, name: impl Into<String>) -> Self {
        self.options.source = Some(name.into());
        self
    }

    /// An option of mount(8) that the kernel implements itself: `ro`, `noexec` or `noatime`. `nosuid` and
    /// `nodev` are always set.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for any other option.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().kernel_option("noexec")?.mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn kernel_option(mut self, option: &str) -> Result<Self> {
        self.options.kernel_option(option)?;
        Ok(self)
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

    /// Refuses with `EPERM` an open for writing by a process that is not visible from here, because its pid
    /// namespace is not below that of this process: if it were killed, its readers would not get an error.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().require_visible(true).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn require_visible(mut self, require: bool) -> Self {
        self.require_visible = require;
        self
    }

    /// What mkfifo(3) makes in the mount: `kernel` (the default), a FIFO of the kernel, independent of fifofs;
    /// `virtual`, a name that works as a FIFO for its readers, and as a regular file for its writers; or a glob
    /// of the paths at which FIFOs are virtual.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for another word, or a malformed glob.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().fifos("virtual")?.mount_temporary()?;
    /// let path = mount.path().join("p");
    /// std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    /// std::fs::write(&path, "a message").expect("no reader is waited for");
    /// assert_eq!(std::fs::read_to_string(&path).expect("it is read once"), "a message");
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn fifos(mut self, which: &str) -> Result<Self> {
        self.fifos = Rules::new();
        match which {
            "kernel" => {}
            "virtual" => self.fifos.push(None, Deliver::Auto)?,
            glob if glob.contains(['*', '?', '[', '/']) => {
                self.fifos.push(Some(glob), Deliver::Auto)?;
            }
            word => {
                return Err(Error::usage(format!(
                    "invalid kind of FIFOs '{word}' (expected virtual, kernel, or a glob such as \
                     '*.pipe' or '**')"
                )));
            }
        }
        Ok(self)
    }

    /// Whether a process that opens a file while it is being written waits for it. True unless set. If false,
    /// the process sees the file as it is; a process that opens it below a door of `.fifofs` still waits, and so
    /// do readers in this process.
    ///
    /// If false, two more things change: a write that is further ahead than [`MountBuilder::window`] waits as
    /// long as it must, as no other process waits for the file meanwhile; and for files without a capture
    /// [`Deliver::Stream`] becomes [`Deliver::Follow`], as they have no readers.
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().readers_wait(false).mount_temporary()?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn readers_wait(mut self, wait: bool) -> Self {
        self.readers_wait = wait;
        self
    }

    /// Records every operation, for [`Study`](crate::explain::Study).
    pub(crate) fn records(mut self) -> Self {
        self.records = true;
        self
    }

    /// Mounts at `directory`, which is made if it is missing, and serves it from threads of this process.
    ///
    /// # Errors
    ///
    /// If an option does not make sense, or the directory or this machine does not allow a mount; the error says
    /// what to do about it.
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

    /// Mounts at a fresh directory, of mode 0700, below `$XDG_RUNTIME_DIR` if there is one, else `$TMPDIR` or
    /// `/tmp`. It is removed with the mount.
    ///
    /// # Errors
    ///
    /// Those of [`MountBuilder::mount`].
    ///
    /// ```
    /// let mount = fifofs::Mount::builder().mount_temporary()?;
    /// println!("write to {}", mount.path().join("out").display());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn mount_temporary(self) -> Result<Mount> {
        let directory = temporary::directory()?;
        let mut mount = self.mount_at(directory.path(), true)?;
        // From here on the directory is removed with the mount.
        let lock = directory.keep();
        lock.make_read_only();
        mount.directory = Some(lock);
        Ok(mount)
    }

    fn mount_at(self, directory: &Path, remove_directory: bool) -> Result<Mount> {
        let rules = self.rules.map_err(Error::usage)?;
        limits::require_descriptors(directory)?;
        let pool = limits::pool(limits::Given {
            memory: self.memory,
            max_size: self.max_size,
            spill_directory: self.spill,
        })?;
        let settings = Settings {
            rules,
            linger: self.linger,
            fail_on: self.fail_on,
            window_bytes: self.window,
            // If no other process waits for files, a write that waits hinders none.
            patience: match self.readers_wait {
                true => PATIENCE,
                false => Duration::MAX,
            },
            unseen_bytes: limits::unseen_bytes(),
            readers_wait: self.readers_wait,
            consume: self.consume,
            require_visible: self.require_visible,
            fifos: self.fifos,
            splice_ends_at_size: mounting::splice_ends_at_size(),
            records: self.records,
            owner: Creator {
                uid: rustix::process::getuid().as_raw(),
                gid: rustix::process::getgid().as_raw(),
                mode: 0o755,
            },
            place: None,
        };
        let options = MountOptions {
            allow_other: self.allow_other,
            remove_directory,
            ..self.options
        };
        let session = Session::start(directory, &options, settings, pool)?;
        Ok(Mount {
            session: Owned::new(session),
            directory: None,
        })
    }
}

//! What a program writes to the path it is given, in this process.
//!
//! A [`Capture`] is a file of a mount, a [`TemporaryPipe`](crate::TemporaryPipe)
//! a FIFO; both are a [`Target`]. Knows paths, children and readers; how bytes
//! get here is the router's (or the FIFO's) affair.

mod events;
mod reader;
mod shared;
mod target;

pub use events::CaptureEvents;
pub use events::Events;
pub use reader::{Canceller, Reader};
pub(crate) use target::start;
pub use target::{Backend, Output, Process, Running, Target};

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::core::CaptureId;
use crate::error::{Error, Result};
use crate::router::Router;
use shared::SharedMount;

/// A file of a mount whose bytes come to this process.
///
/// The file is not there until the program makes it, and is removed with the
/// capture. To the program it is a regular file: it may seek back, rename over
/// it, map it. Its [`Reader`]s get what it holds as soon as its delivery allows.
///
/// `Send` and `Sync`. Dropping it removes the file and, of [`Capture::new`], its
/// directory with all that was left there; a reader that is still there goes on
/// with what the file held. Drop it after the child has ended. The last capture,
/// reader or [`CaptureEvents`] that keeps the mount of [`Capture::new`] unmounts it
/// when it is dropped, which takes a second at most.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::{Capture, Target};
///
/// let capture = Capture::new("report.zip")?;
/// let output = capture.run(Command::new("zip").arg("-q").arg(capture.path()).arg("Cargo.toml"))?;
/// assert!(output.status.success());
/// assert!(output.bytes.starts_with(b"PK"));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub struct Capture {
    router: Arc<Router>,
    id: CaptureId,
    path: PathBuf,
    /// The same, relative to the mount.
    inside: PathBuf,
    /// The directory in the root that goes with it.
    directory: Option<OsString>,
    /// Keeps the mount that the process shares.
    mount: Option<Arc<SharedMount>>,
}

impl Capture {
    /// A file of this name, in a directory of its own on a mount that all
    /// captures of the process share. The first one makes the mount, in a
    /// directory of its own (mode 0700) below `$XDG_RUNTIME_DIR` or else
    /// `$TMPDIR`; it goes with the last capture and reader, or with the process,
    /// however that ends. In that mount other processes see files as they are
    /// ([`MountBuilder::readers_wait`](crate::MountBuilder::readers_wait) is false),
    /// and all other options are at their defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if `name` is not a plain file name; [`Error::Io`] if there
    /// can be no mount, with what to do about it.
    ///
    /// ```
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("report.zip")?;
    /// assert!(capture.path().ends_with("report.zip"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn new(name: impl AsRef<OsStr>) -> Result<Capture> {
        let name = name.as_ref();
        let is_plain = Path::new(name).file_name() == Some(name);
        if !is_plain || name.as_encoded_bytes().contains(&0) {
            return Err(Error::usage(format!(
                "{} cannot be captured: give a plain file name, such as report.zip",
                Path::new(name).display()
            )));
        }
        let mount = SharedMount::get()?;
        let directory = mount.free_name();
        let path = [directory.clone(), name.to_owned()];
        let router = Arc::clone(mount.mount().router());
        let mut capture = Capture::of(router, mount.mount().path(), &path)?;
        capture.directory = Some(directory);
        capture.mount = Some(mount);
        Ok(capture)
    }

    /// Captures a path of a mount; see [`Mount::capture`](crate::Mount::capture).
    pub(crate) fn of(router: Arc<Router>, mount: &Path, inside: &[OsString]) -> Result<Capture> {
        let path: PathBuf = mount.iter().chain(inside.iter().map(|c| &**c)).collect();
        let id = router.capture(inside).map_err(|errno| {
            let remedy = match errno {
                Errno::EXIST => "capture it before anything makes it, and once at a time",
                Errno::PERM => "give a path outside of .fifofs",
                Errno::NAMETOOLONG => "give names of at most 255 bytes",
                _ => "give a path whose upper parts are directories",
            };
            Error::io("capture", &path, errno.into()).with_remedy(remedy)
        })?;
        Ok(Capture {
            router,
            id,
            path,
            inside: inside.iter().collect(),
            directory: None,
            mount: None,
        })
    }

    /// A reader that waits for the file to be made, and ends when it is done as
    /// any file of the mount is: when nobody has it open for writing any more and
    /// it has lingered. To end it with a child, see [`Target::reader_until`].
    ///
    /// Several readers get all the bytes each.
    ///
    /// # Errors
    ///
    /// If the mount is gone.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("log.txt")?;
    /// let mut reader = capture.reader()?;
    /// std::fs::write(capture.path(), "hello\n")?;
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self) -> Result<Reader> {
        self.open(false)
    }

    /// A reader, of those only whose child holds the path if it is to be `of_holders`.
    fn open(&self, of_holders: bool) -> Result<Reader> {
        self.router.owner().check("read", &self.path)?;
        let local = self
            .router
            .read_capture(self.id, of_holders)
            .map_err(|errno| Error::io("read", &self.path, errno.into()))?;
        Ok(Reader::of_capture(
            local,
            self.path.clone(),
            self.mount.clone(),
        ))
    }

    /// Where bytes are given out as they come, keeps no more than `bytes` of what
    /// every reader has: for output that is passed on and never asked for again.
    /// Reading or changing what was dropped fails. A program that is further than
    /// that ahead of its readers is slowed down, each of the kernel's writes by
    /// up to 200 ms. Everything is kept unless this is called.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("lines.txt")?;
    /// capture.keep_at_most(64 << 20);
    /// let script = "seq 1 100000 > \"$1\"";
    /// let mut sink = std::io::sink();
    /// capture.run_to(Command::new("sh").args(["-c", script, "sh"]).arg(capture.path()), &mut sink)?;
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn keep_at_most(&self, bytes: u64) {
        if self.router.owner().is_this() {
            self.router.keep_at_most(self.id, bytes);
        }
    }

    /// The permissions of the file at the path (chmod(2)), if one stands there. The mount itself is not
    /// asked, which whoever serves it had better leave alone.
    ///
    /// ```
    /// use std::fs::{File, Permissions};
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("key.pem")?;
    /// assert_eq!(capture.permissions(), None);
    /// File::create(capture.path())?.set_permissions(Permissions::from_mode(0o600))?;
    /// assert_eq!(capture.permissions(), Some(0o600));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn permissions(&self) -> Option<u32> {
        self.router.look(|core| core.captured_mode(self.id))
    }

    /// Has what stands at the path not be done, for as long as the value is there: for who knows of
    /// more who may come to write it than a child.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("log.txt")?;
    /// let hold = capture.hold();
    /// let mut reader = capture.reader()?;
    /// std::fs::write(capture.path(), "one\n")?;
    /// let mut file = std::fs::File::options().append(true).open(capture.path())?;
    /// std::io::Write::write_all(&mut file, b"two\n")?;
    /// drop(file);
    /// drop(hold);
    /// let mut text = String::new();
    /// reader.read_to_string(&mut text)?;
    /// assert_eq!(text, "one\ntwo\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hold(&self) -> CaptureHold {
        self.router.hold_capture(self.id);
        CaptureHold {
            router: Arc::clone(&self.router),
            id: self.id,
        }
    }

    /// What happens to the file, from now on.
    ///
    /// ```
    /// use fifofs::{Capture, Event, Target};
    ///
    /// let capture = Capture::new("log.txt")?;
    /// let events = capture.events();
    /// std::fs::write(capture.path(), "hello\n")?;
    /// for event in events {
    ///     match event? {
    ///         Event::Wrote { offset, bytes, .. } => println!("{bytes} bytes at {offset}"),
    ///         Event::Done { .. } => break,
    ///         _ => {}
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> CaptureEvents {
        CaptureEvents::new(&self.router, self.inside.clone(), self.mount.clone())
    }
}

/// Keeps what stands at a captured path from being done, until it is dropped; see
/// [`Capture::hold`]. It keeps no mount.
///
/// ```
/// let capture = fifofs::Capture::new("log.txt")?;
/// let hold = capture.hold();
/// drop(hold);
/// # Ok::<(), fifofs::Error>(())
/// ```
pub struct CaptureHold {
    router: Arc<Router>,
    id: CaptureId,
}

impl Drop for CaptureHold {
    fn drop(&mut self) {
        self.router.give_back(self.id);
    }
}

impl std::fmt::Debug for CaptureHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureHold").finish_non_exhaustive()
    }
}

impl Target for Capture {
    fn path(&self) -> &Path {
        &self.path
    }

    fn reader_until(&self, child: &mut Child) -> Result<Reader> {
        self.router.owner().check("read", &self.path)?;
        match child.try_wait() {
            Ok(None) => self
                .router
                .hold_until_exit(self.id, child.id().cast_signed())
                .map_err(|errno| {
                    Error::io("watch the process that writes", &self.path, errno.into())
                        .with_remedy("allow this process more open files (`ulimit -n`)")
                })?,
            // It has exited, or somebody else has waited for it.
            Ok(Some(_)) | Err(_) => self.router.release_capture(self.id),
        }
        self.open(true)
    }

    fn spawn(&self, command: &mut Command) -> Result<Running> {
        self.router.owner().check("capture", &self.path)?;
        self.router.settle_capture(self.id);
        start(command, |child| self.reader_until(child))
    }

    fn hang_up(&self) {
        if !self.router.owner().is_this() {
            return;
        }
        // As from a pipe: who does not ignore the signal never sees the error.
        for writer in self.writers() {
            // One that has exited meanwhile needs none.
            let _ = Pid::from_raw(writer.pid).map(|pid| kill_process(pid, Signal::PIPE));
        }
        self.router.hang_up(self.id);
    }

    fn writers(&self) -> Vec<Process> {
        if !self.router.owner().is_this() {
            return Vec::new();
        }
        let writers = self.router.writers_of(self.id);
        let process = |(pid, name)| Process { pid, name };
        writers.into_iter().map(process).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.router.owner().is_this() {
            self.router.end_capture(self.id, self.directory.take());
        }
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("path", &self.path).finish()
    }
}

/// The components of a path in a mount, if it can be captured.
pub(crate) fn inside(path: &Path) -> Result<Vec<OsString>> {
    let refused = || {
        Error::usage(format!(
            "{} cannot be captured: give the path of a file, relative to the mount and without ..",
            path.display()
        ))
    };
    let mut components = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => components.push(name.to_owned()),
            Component::CurDir => {}
            _ => return Err(refused()),
        }
    }
    // `components` does not tell of what can only be a directory.
    let text = path.as_os_str().as_encoded_bytes();
    let is_directory = text.ends_with(b"/") || text.ends_with(b"/.");
    if components.is_empty() || is_directory || text.contains(&0) {
        return Err(refused());
    }
    Ok(components)
}

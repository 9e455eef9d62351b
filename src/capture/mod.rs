//! Captures: this process reads what a program writes to a path.
//!
//! A [`Capture`] is a file of a mount, a [`TemporaryPipe`] a FIFO; both are a [`Target`]. Knows paths, children and
//! readers; the router (or the FIFO) brings the bytes here.

mod buffered_pipe;
mod builder;
mod canceller;
mod directory;
mod events;
mod hold;
mod of_mount;
mod positional;
mod process;
mod reader;
mod run;
mod running;
mod sealed;
mod shared;
mod target;
mod targets;
mod temporary_pipe;
mod waiting;

pub use builder::CaptureBuilder;
pub use canceller::Canceller;
pub use directory::{CaptureDir, DirOutput};
pub use events::CaptureEvents;
pub use events::Events;
pub use hold::CaptureHold;
pub use positional::PositionalReader;
pub(crate) use process::Found;
pub use process::{Process, ProcessRef};
pub use reader::Reader;
pub use running::{RunError, RunOutput, Running};
pub use target::Target;
pub use targets::Backend;
pub use temporary_pipe::TemporaryPipe;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::core::CaptureId;
use crate::core::patching::Reading;
use crate::core::request::Request;
use crate::error::{Error, Result};
use crate::router::{ExitHold, LocalReader, Router};
use hold::Holder;
use sealed::{Prepared, Sealed};
use shared::Lease;
pub use shared::unmount_idle;

/// A file of a mount that this process reads.
///
/// The file does not exist until the program makes it, and is removed with the capture. To the program it is a regular
/// file: it may seek back, rename over it, map it. Its [`Reader`]s get the bytes as soon as its delivery mode allows.
///
/// `Send` and `Sync`. Dropping it removes the file and, for [`Capture::new`], its directory with all that was left
/// there; a remaining reader can still read the file's bytes. Drop it after the child has ended. The mount of
/// [`Capture::new`] is kept for some seconds after the last capture, reader or [`CaptureEvents`], see [`unmount_idle`].
///
/// ```
/// use std::process::Command;
///
/// use fifofs::Capture;
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
    /// The path relative to the mount.
    inside: PathBuf,
    /// The directory in the root of the mount that is removed with the capture.
    directory: Option<OsString>,
    /// The process with which the last reader was to end.
    holder: Mutex<Option<Holder>>,
    /// Keeps the mount that the process shares.
    mount: Option<Lease>,
}

impl Capture {
    /// Captures a file of this name, in a directory of its own on a mount that all captures of the process share. The
    /// first one makes the mount, in a directory of its own (mode 0700) below `$XDG_RUNTIME_DIR` or else `$TMPDIR`; the
    /// mount ends some seconds after the last capture and reader, see [`unmount_idle`], or with the process, however
    /// that ends. In that mount other processes see files as they are
    /// ([`MountBuilder::readers_wait`](crate::MountBuilder::readers_wait) is false), and all other options are at their
    /// defaults.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if `name` is not a plain file name; [`Error::Io`] if no mount can be made; the error says what
    /// to do about it.
    ///
    /// ```
    /// use fifofs::{Capture, Target};
    ///
    /// let capture = Capture::new("report.zip")?;
    /// assert!(capture.path().ends_with("report.zip"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn new(name: impl AsRef<OsStr>) -> Result<Capture> {
        Capture::builder(name).capture()
    }

    /// As [`Capture::new`], with other options.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Deliver};
    ///
    /// let capture = Capture::builder("report.txt").deliver(Deliver::Settled).capture()?;
    /// let output = capture.run(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
    /// assert!(output.bytes.starts_with(b"[package]"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn builder(name: impl AsRef<OsStr>) -> CaptureBuilder {
        CaptureBuilder::new(name.as_ref())
    }

    /// Captures a file of this name in a directory of its own on a shared mount.
    fn on(mount: Lease, name: &OsStr) -> Result<Capture> {
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
            holder: Mutex::default(),
            mount: None,
        })
    }

    /// The path to give to the program, absolute.
    ///
    /// ```
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// assert!(capture.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A reader that waits for the file to be made, and ends when it is done as any file of the mount is: when no
    /// process has it open for writing any more and it has lingered. To end it with a process, see
    /// [`Capture::reader_until_exit`].
    ///
    /// Its blocking reads fail with [`Error::Missing`] if no process has opened the path and this process has no living
    /// child that might: the program failed before it made its output, and was waited for. If another process may still
    /// write, such as one that is no child, or a thread of this process, set a timeout or a deadline, or keep a
    /// [`Capture::hold`].
    ///
    /// Of several readers each gets all bytes.
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
        let reading = Reading::default();
        let local = self.open(reading)?;
        Ok(self.reader_of(local, None).open_ended())
    }

    fn open(&self, reading: Reading) -> Result<LocalReader> {
        self.router.owner().check("read", &self.path)?;
        self.router
            .read_capture(self.id, reading)
            .map_err(|errno| Error::io("read", &self.path, errno.into()))
    }

    fn reader_of(&self, local: LocalReader, until: Option<ExitHold>) -> Reader {
        let (path, mount) = (self.path.clone(), self.mount.clone());
        Reader::of_capture((local, self.id), until, path, mount)
    }

    /// If bytes are passed on as they are written, keeps at most `bytes` of what every reader has got: for output that
    /// is passed on and never asked for again. Reading or changing dropped bytes fails. A program that is further than
    /// that ahead of its readers is slowed down: each of the kernel's writes takes up to 200 ms longer. Everything is
    /// kept unless this is called.
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
            let id = self.id;
            self.router.tell(Request::KeepAtMost { id, bytes });
        }
    }

    /// The permissions of the file at the path (chmod(2)), if there is one. Does not go through the mount: the process
    /// that serves a mount should not wait for it.
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

    /// Keeps the file at the path from being done until the guard is dropped: for callers that expect other writers
    /// than a child.
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
        CaptureHold::new(&self.router, self.id)
    }

    /// The events of the file, from now on.
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

impl Capture {
    /// A reader of what a process and its descendants write. It ends when the process has exited (it need not be
    /// reaped) and no process has the file open for writing any more; it fails with [`Error::Missing`] if there is no
    /// file then. If the file never existed, processes that this one left behind are given 200 ms to open it. It does
    /// not hang if the process dies early. Until the process has exited the file is not done for other readers either,
    /// unless this one is dropped first.
    ///
    /// The process is a child, a pidfd or a process id: see [`ProcessRef`]. Call this right after starting the process,
    /// before any bytes can be missed; it may already have exited.
    ///
    /// The output of an earlier child is not given again: if this one writes nothing, there is nothing. But a second
    /// call for the same child, with no other in between, gives all of that child's output again (not by the pidfd of a
    /// process that was reaped, nor by a `tokio::process::Child` that was waited for: these do not identify it). After
    /// a child whose output was not read to its end prefer [`Capture::spawn`], which discards the rest before the next
    /// child can write.
    ///
    /// # Errors
    ///
    /// If the mount is gone, or the process cannot be watched.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::Capture;
    ///
    /// let (data, log) = (Capture::new("data.csv")?, Capture::new("run.log")?);
    /// let script = "echo 1,2 > \"$1\"; echo well > \"$2\"";
    /// let mut command = Command::new("sh");
    /// command.args(["-c", script, "sh"]).args([data.path(), log.path()]);
    /// let mut child = command.spawn()?;
    /// // Two outputs of one program.
    /// let mut readers = [data.reader_until_exit(&child)?, log.reader_until_exit(child.id())?];
    /// assert_eq!(readers[0].read_all()?, b"1,2\n");
    /// assert_eq!(readers[1].read_all()?, b"well\n");
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader_until_exit<'p>(&self, process: impl Into<ProcessRef<'p>>) -> Result<Reader> {
        let until = self.end_with(process.into())?;
        let reading = Reading {
            of_holders: true,
            by_position: false,
        };
        self.open(reading).map(|local| self.reader_of(local, until))
    }

    /// Starts a program that writes to [`Capture::path`], and reads it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be started.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Running};
    ///
    /// let capture = Capture::new("copy.toml")?;
    /// let Running { mut child, mut reader, .. } =
    ///     capture.spawn(Command::new("cp").arg("Cargo.toml").arg(capture.path()))?;
    /// assert!(reader.read_all()?.starts_with(b"[package]"));
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spawn(&self, command: &mut Command) -> Result<Running> {
        run::spawn(self, command)
    }

    /// Ends all reading: every further write fails with `EPIPE`, and the processes that have the file open for writing
    /// get SIGPIPE, as with a pipe. This includes writes to files that appear at the path later.
    ///
    /// ```
    /// use std::io::Read;
    /// use std::process::Command;
    ///
    /// use fifofs::{Capture, Running};
    ///
    /// let capture = Capture::new("endless.txt")?;
    /// let script = "exec yes > \"$1\"";
    /// let mut command = Command::new("sh");
    /// let Running { mut child, mut reader, .. } =
    ///     capture.spawn(command.args(["-c", script, "sh"]).arg(capture.path()))?;
    /// reader.read_exact(&mut [0; 100])?;
    /// capture.hang_up();
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hang_up(&self) {
        if !self.router.owner().is_this() {
            return;
        }
        // As with a pipe: a writer that does not ignore the signal never sees the error.
        for writer in self.writers() {
            // A writer that has exited meanwhile needs no signal.
            let _ =
                Pid::from_raw(writer.pid.cast_signed()).map(|pid| kill_process(pid, Signal::PIPE));
        }
        self.router.tell(Request::HangUp { id: self.id });
    }

    /// The processes that have the file open for writing now.
    ///
    /// ```
    /// use fifofs::Capture;
    ///
    /// let capture = Capture::new("out.txt")?;
    /// let file = std::fs::File::create(capture.path())?;
    /// assert_eq!(capture.writers()[0].pid, std::process::id());
    /// drop(file);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn writers(&self) -> Vec<Process> {
        if !self.router.owner().is_this() {
            return Vec::new();
        }
        let writers = self.router.writers_of(self.id);
        let process = |(pid, name): (i32, String)| Process {
            pid: pid.cast_unsigned(),
            name,
        };
        writers.into_iter().map(process).collect()
    }
}

impl Sealed for Capture {
    fn prepare(&self) -> Result<Prepared> {
        self.router.owner().check("capture", &self.path)?;
        self.router.settle_capture(self.id);
        Ok(Prepared(None))
    }

    fn read_of(&self, _: Prepared, process: ProcessRef<'_>) -> Result<Reader> {
        self.reader_until_exit(process)
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
    // `components` drops a trailing slash or dot, which only a directory can have.
    let text = path.as_os_str().as_encoded_bytes();
    let is_directory = text.ends_with(b"/") || text.ends_with(b"/.");
    if components.is_empty() || is_directory || text.contains(&0) {
        return Err(refused());
    }
    Ok(components)
}

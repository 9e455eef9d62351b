//! A directory in which all files that a program leaves are captured.
//!
//! Knows names, states and contents of the files below it, from this process's own data, without asking the
//! kernel; does not know how the bytes came.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::shared::{Lease, Options};
use super::{Capture, Events, RunError, inside};
use crate::core::status::{FileState, FileStatus};
use crate::core::{Core, LEFT_BEHIND};
use crate::error::{Error, Result};
use crate::router::{Router, has_left_others};

/// How long a process that closed a file is given to exit: it may be dying, and then its end counts. A process
/// that lives on is not waited for any longer.
const DYING: Duration = Duration::from_millis(200);

/// How often to check for its exit: no event reports one.
const DYING_INTERVAL: Duration = Duration::from_millis(5);

/// How often to check whether processes that the program left behind still run.
const LEFT_INTERVAL: Duration = Duration::from_millis(10);

/// How often to check for files that are being written, even if no event comes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A directory for a program that writes several files, or chooses their names itself: all files that it
/// leaves there come to this process.
///
/// It is on the mount of [`Capture::new`], with its options: other processes see its files as they are.
/// [`CaptureDir::capture`] gives the bytes of a file with a known name as they are written. The contents of
/// files are in the mount's memory and, beyond its bound, on disk.
///
/// `Send` and `Sync`. Dropping it removes the directory with all that is in it.
///
/// ```
/// use std::path::Path;
/// use std::process::Command;
///
/// use fifofs::CaptureDir;
///
/// let directory = CaptureDir::new()?;
/// let output = directory.run(
///     Command::new("split").args(["-l", "20", "Cargo.toml"]).arg(directory.path().join("part-")),
/// )?;
/// assert!(output.status.success());
/// assert!(output.files[Path::new("part-aa")].starts_with(b"[package]"));
/// assert!(output.files.contains_key(Path::new("part-ab")));
/// # Ok::<(), fifofs::Error>(())
/// ```
pub struct CaptureDir {
    mount: Lease,
    /// The directory's name in the mount.
    name: OsString,
    path: PathBuf,
}

/// The files that a program left in a [`CaptureDir`], and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirOutput {
    /// Its exit status.
    pub status: ExitStatus,
    /// The contents of every regular file, by its path in the directory. A file with several names is listed
    /// under each of them; symbolic links are not listed.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// The program's standard output, if that is piped.
    pub stdout: Vec<u8>,
    /// The program's standard error, if that is piped.
    pub stderr: Vec<u8>,
}

impl CaptureDir {
    /// Makes an empty directory.
    ///
    /// # Errors
    ///
    /// If no mount can be made; the error says what to do about it.
    ///
    /// ```
    /// let directory = fifofs::CaptureDir::new()?;
    /// assert!(directory.path().is_dir());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn new() -> Result<CaptureDir> {
        let mount = Lease::get(&Options::default())?;
        let name = mount.free_name();
        let path = mount.mount().path().join(&name);
        let made = mount.mount().router().make_directory(&name);
        made.map_err(|errno| Error::io("make", &path, errno.into()))?;
        Ok(CaptureDir { mount, name, path })
    }

    /// The absolute path of the directory.
    ///
    /// ```
    /// let directory = fifofs::CaptureDir::new()?;
    /// assert!(directory.path().is_absolute());
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Captures a file in it, by its path relative to the directory: see
    /// [`Mount::capture`](crate::Mount::capture). Dropping the capture removes the file.
    ///
    /// # Errors
    ///
    /// Those of [`Mount::capture`](crate::Mount::capture).
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// use fifofs::CaptureDir;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = CaptureDir::new()?;
    /// let log = directory.capture("run.log")?;
    /// let script = "cd $0; echo 1,2 > data.csv; echo well > run.log";
    /// let mut child = Command::new("sh").arg("-c").arg(script).arg(directory.path()).spawn()?;
    /// assert_eq!(log.reader_until_exit(&child)?.read_all()?, b"well\n");
    /// child.wait()?;
    /// assert_eq!(directory.read("data.csv")?, b"1,2\n");
    /// # Ok(())
    /// # }
    /// ```
    pub fn capture(&self, path: impl AsRef<Path>) -> Result<Capture> {
        let below = inside(path.as_ref())?;
        let router = self.router();
        router.owner().check("capture a file of", &self.path)?;
        router.settle_names();
        let inside: Vec<OsString> = std::iter::once(self.name.clone()).chain(below).collect();
        let mut capture = Capture::of(Arc::clone(router), self.mount.mount().path(), &inside)?;
        capture.mount = Some(self.mount.clone());
        Ok(capture)
    }

    /// The paths of the regular files that are there now, relative to the directory, in order.
    ///
    /// ```
    /// let directory = fifofs::CaptureDir::new()?;
    /// std::fs::create_dir(directory.path().join("a"))?;
    /// std::fs::write(directory.path().join("a/b.txt"), "hello\n")?;
    /// assert_eq!(directory.files(), [std::path::Path::new("a/b.txt")]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = self
            .look(|core| core.files_below(&self.name))
            .unwrap_or_default();
        files.sort();
        files
    }

    /// The contents of the file at a path in it, also while it is written. Does not wait.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is no regular file; [`Error::Failed`] if a writer crashed or failed.
    ///
    /// ```
    /// let directory = fifofs::CaptureDir::new()?;
    /// std::fs::write(directory.path().join("out.txt"), "hello\n")?;
    /// assert_eq!(directory.read("out.txt")?, b"hello\n");
    /// assert!(directory.read("other.txt").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let below = inside(path.as_ref())?;
        let full = self.path.join(path.as_ref());
        self.router().owner().check("read", &full)?;
        let inside: Vec<OsString> = std::iter::once(self.name.clone()).chain(below).collect();
        let Some((content, failed)) = self.router().look(|core| core.file_content(&inside)) else {
            return Err(Error::Missing { path: full });
        };
        if failed {
            return Err(Error::failed(full));
        }
        let bytes = content.to_vec();
        bytes.map_err(|error| Error::io("read", &full, error))
    }

    /// Runs a program to its end. Returns, once no process has a file here open for writing any more, its exit
    /// status and every file that it left here; also its standard output and error where those are
    /// [`Stdio::piped`](std::process::Stdio::piped). Its standard input, if it is piped, is at its end.
    /// Processes that it left behind are given 200 ms to open a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be started; [`Error::Failed`] if it succeeded, but another writer of a file
    /// crashed or failed. If the program did not succeed, such files are left out. They stay in the directory,
    /// also for the next program: remove them first, or use one directory for each program.
    ///
    /// ```
    /// let directory = fifofs::CaptureDir::new()?;
    /// let mut command = std::process::Command::new("cp");
    /// let output = directory.run(command.arg("Cargo.toml").arg(directory.path()))?;
    /// assert!(output.files[std::path::Path::new("Cargo.toml")].starts_with(b"[package]"));
    /// # Ok::<(), fifofs::Error>(())
    /// ```
    pub fn run(&self, command: &mut Command) -> std::result::Result<DirOutput, RunError> {
        self.router().owner().check("capture", &self.path)?;
        let child = command.spawn();
        let fail = |error| Error::io("run", command.get_program(), error);
        let child = child.map_err(fail)?;
        let pid = child.id().cast_signed();
        // This closes the standard input, and reads both pipes at once.
        let ended = child.wait_with_output().map_err(fail)?;
        let collected = self.settle(pid);
        let collected = collected.and_then(|()| self.collect(ended.status));
        match collected {
            Ok(files) => Ok(DirOutput {
                status: ended.status,
                files,
                stdout: ended.stdout,
                stderr: ended.stderr,
            }),
            Err(error) => Err(RunError {
                status: Some(ended.status),
                stdout: ended.stdout,
                stderr: ended.stderr,
                ..RunError::from(error)
            }),
        }
    }

    fn collect(&self, status: ExitStatus) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for path in self.files() {
            match self.read(&path) {
                Ok(bytes) => drop(files.insert(path, bytes)),
                // The file was removed a moment ago; or the exit status tells what happened to it.
                Err(Error::Missing { .. }) => {}
                Err(Error::Failed { .. }) if !status.success() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    /// Waits until no process writes to a file here or is about to, after the program with this process id has
    /// ended.
    fn settle(&self, program: i32) -> Result<()> {
        let late = Instant::now() + LEFT_BEHIND;
        // Subscribed before the first look, so that no event is missed.
        let mut events = Events::new(self.router(), None);
        let is_written = |file: &FileStatus| file.state == FileState::Writing;
        loop {
            let wait = match self.any(is_written) {
                true => LOOK_INTERVAL,
                false if Instant::now() < late && has_left_others(program) => LEFT_INTERVAL,
                false => break,
            };
            events.set_timeout(Some(wait));
            match events.next() {
                Some(Ok(_) | Err(Error::TimedOut { .. })) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(Error::cancelled(&self.path)),
            }
        }
        let deadline = Instant::now() + DYING;
        let is_dying = |file: &FileStatus| {
            let was_closed = file.state == FileState::Closed;
            was_closed && file.writers.iter().any(|writer| writer.running)
        };
        while self.any(is_dying) && Instant::now() < deadline {
            thread::sleep(DYING_INTERVAL);
        }
        Ok(())
    }

    /// Whether a file here satisfies `is_so`.
    fn any(&self, is_so: impl Fn(&FileStatus) -> bool) -> bool {
        let status = self.look(Core::status).unwrap_or_default();
        let mut files = status.files.iter();
        files.any(|file| file.path.starts_with(&self.name) && is_so(file))
    }

    fn router(&self) -> &Arc<Router> {
        self.mount.mount().router()
    }

    /// None in a forked child, which has no mount.
    fn look<R>(&self, look: impl FnOnce(&Core) -> R) -> Option<R> {
        let router = self.router();
        router.owner().is_this().then(|| router.look(look))
    }
}

impl Drop for CaptureDir {
    fn drop(&mut self) {
        let router = self.router();
        if router.owner().is_this() {
            router.remove_directory(&self.name);
        }
    }
}

impl std::fmt::Debug for CaptureDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("CaptureDir");
        text.field("path", &self.path).finish()
    }
}

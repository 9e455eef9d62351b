//! Processes: those that have a file open, and the one with whose exit a reader ends.
//!
//! Knows process ids and pidfds, not files. A process id may be reused before it is looked up, so
//! ids are turned into pidfds as early as possible.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::error::Error;

/// A process that has a file open.
///
/// ```
/// use fifofs::Capture;
///
/// let capture = Capture::new("out.txt")?;
/// for process in capture.writers() {
///     println!("{} ({}) still writes", process.name, process.pid);
/// }
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its name as `ps` shows it, of at most 15 bytes.
    pub name: String,
}

/// The process with whose exit a reader ends; see
/// [`Capture::reader_until_exit`](crate::Capture::reader_until_exit).
///
/// Made from one of:
/// - a child, by reference: [`std::process::Child`], or with the feature `tokio`
///   `tokio::process::Child`. A child that was waited for has exited;
/// - a pidfd (pidfd_open(2)) of any process, borrowed or owned. Only a pidfd cannot mistake one
///   process for another, even if another thread reaps it;
/// - a process id (`u32`), of any process. It must not have been reaped before, or another process
///   may have the id by now. An id that no process has counts as exited.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::{Capture, ProcessRef};
///
/// let capture = Capture::new("copy.toml")?;
/// let mut child = Command::new("cp").arg("Cargo.toml").arg(capture.path()).spawn()?;
/// let process = ProcessRef::from(child.id());
/// assert!(capture.reader_until_exit(process)?.read_all()?.starts_with(b"[package]"));
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProcessRef<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    /// A child that was waited for already.
    #[cfg(feature = "tokio")]
    Exited,
    /// A child of this process, unless it was reaped.
    Child(u32),
    Any(u32),
    Borrowed(BorrowedFd<'a>),
    Owned(OwnedFd),
}

/// A process that was not reaped when it was looked up.
pub(crate) struct Found {
    pub(crate) pidfd: OwnedFd,
    pub(crate) pid: i32,
}

impl ProcessRef<'_> {
    /// The process; nothing if it has exited and was reaped.
    ///
    /// # Errors
    ///
    /// `INVAL` if the id or descriptor means no process, `SRCH` if the process is in another pid
    /// namespace and cannot be watched; others if this process has no descriptors left.
    pub(crate) fn find(self) -> Result<Option<Found>, Errno> {
        match self.0 {
            #[cfg(feature = "tokio")]
            Kind::Exited => Ok(None),
            Kind::Child(pid) => open_child(raw(pid)?),
            Kind::Any(pid) => open(raw(pid)?),
            Kind::Borrowed(pidfd) => {
                let pidfd = rustix::io::fcntl_dupfd_cloexec(pidfd, 0)?;
                find_behind(pidfd)
            }
            Kind::Owned(pidfd) => find_behind(pidfd),
        }
    }
}

impl ProcessRef<'_> {
    /// Its id, if that is known without a lookup.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.0 {
            Kind::Child(pid) | Kind::Any(pid) => i32::try_from(pid).ok(),
            _ => None,
        }
    }

    /// As [`ProcessRef::find`], with an error that names the path that the process writes.
    pub(crate) fn find_for(self, path: &Path) -> Result<Option<Found>, Error> {
        self.find().map_err(|errno| match errno {
            Errno::INVAL => Error::usage("0 and what is above 2147483647 are no process ids"),
            Errno::BADF => Error::usage("that is no pidfd, such as pidfd_open(2) gives"),
            errno => cannot_watch(path, errno),
        })
    }
}

/// Why the process that writes `path` cannot be watched.
pub(crate) fn cannot_watch(path: &Path, errno: Errno) -> Error {
    let error = Error::io("watch the process that writes", path, errno.into());
    match errno {
        Errno::SRCH => {
            error.with_remedy("give one that this process sees: it is in another pid namespace")
        }
        _ => error.with_remedy("allow this process more open files (`ulimit -n`)"),
    }
}

fn raw(pid: u32) -> Result<Pid, Errno> {
    // `from_raw` panics at negative numbers.
    let pid = i32::try_from(pid).map_err(|_| Errno::INVAL)?;
    Pid::from_raw(pid).ok_or(Errno::INVAL)
}

fn open(pid: Pid) -> Result<Option<Found>, Errno> {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(Found {
            pidfd,
            pid: pid.as_raw_nonzero().get(),
        })),
        // No process has the id, or (EINVAL up to Linux 6.15, ENOENT since) it is the id of another
        // process's thread.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn open_child(pid: Pid) -> Result<Option<Found>, Errno> {
    let Some(found) = open(pid)? else {
        return Ok(None);
    };
    // A process that this one cannot wait for is no child and has the id by chance. WNOWAIT reaps
    // nothing.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(found.pidfd.as_fd()), look)) {
        Ok(_) => Ok(Some(found)),
        Err(Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The process behind a pidfd.
fn find_behind(pidfd: OwnedFd) -> Result<Option<Found>, Errno> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(path)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    match pid.and_then(|pid| pid.trim().parse::<i32>().ok()) {
        Some(-1) => Ok(None),
        Some(pid) if pid > 0 => Ok(Some(Found { pidfd, pid })),
        // A process of a pid namespace that is not visible here.
        Some(_) => Err(Errno::SRCH),
        // No pidfd.
        None => Err(Errno::BADF),
    }
}

/// Whether this process has a living child that waiting for any child would find.
pub(super) fn has_living_child() -> io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match rustix::io::retry_on_intr(|| waitid(WaitId::All, look)) {
        Ok(None) => return Ok(true),
        Err(Errno::CHILD) => return Ok(false),
        Err(errno) => return Err(errno.into()),
        // A zombie is reported first, even if there are other children.
        Ok(Some(_)) => {}
    }
    let own = std::process::id().cast_signed();
    let is_alive = |pid: i32| {
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
        pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), look), Ok(None)))
    };
    let mut children = crate::router::all_processes()
        .filter(|pid| crate::router::parent_process(*pid) == Some(own));
    Ok(children.any(is_alive))
}

impl From<u32> for ProcessRef<'_> {
    fn from(pid: u32) -> Self {
        ProcessRef(Kind::Any(pid))
    }
}

impl<'a> From<&'a Child> for ProcessRef<'a> {
    fn from(child: &'a Child) -> Self {
        ProcessRef(Kind::Child(child.id()))
    }
}

impl<'a> From<&'a mut Child> for ProcessRef<'a> {
    fn from(child: &'a mut Child) -> Self {
        ProcessRef::from(&*child)
    }
}

#[cfg(feature = "tokio")]
impl<'a> From<&'a ::tokio::process::Child> for ProcessRef<'a> {
    fn from(child: &'a ::tokio::process::Child) -> Self {
        ProcessRef(child.id().map_or(Kind::Exited, Kind::Child))
    }
}

impl<'a> From<BorrowedFd<'a>> for ProcessRef<'a> {
    fn from(pidfd: BorrowedFd<'a>) -> Self {
        ProcessRef(Kind::Borrowed(pidfd))
    }
}

impl<'a> From<&'a OwnedFd> for ProcessRef<'a> {
    fn from(pidfd: &'a OwnedFd) -> Self {
        ProcessRef(Kind::Borrowed(pidfd.as_fd()))
    }
}

impl From<OwnedFd> for ProcessRef<'_> {
    fn from(pidfd: OwnedFd) -> Self {
        ProcessRef(Kind::Owned(pidfd))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing::Guard;

    #[test]
    fn a_child_is_found_by_all_that_names_it_until_it_is_reaped() {
        let mut child = Guard::of(Command::new("sleep").arg("60"));
        let pidfd = pidfd_open(raw(child.0.id()).unwrap(), PidfdFlags::empty()).unwrap();
        let by_each = |child: &Child| {
            [
                ProcessRef::from(child.id()).find(),
                ProcessRef::from(child).find(),
                ProcessRef::from(&pidfd).find(),
                ProcessRef::from(pidfd.try_clone().unwrap()).find(),
            ]
            .map(|found| found.unwrap().map(|found| found.pid))
        };
        let pid = child.pid();
        assert_eq!(by_each(&child.0), [Some(pid); 4]);
        assert!(has_living_child().unwrap());
        child.0.kill().unwrap();
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(pidfd.as_fd()), look).unwrap();
        assert_eq!(by_each(&child.0), [Some(pid); 4], "a zombie");
        child.0.wait().unwrap();
        assert_eq!(by_each(&child.0), [None; 4]);
    }

    #[test]
    fn an_id_or_descriptor_that_means_no_process_is_refused() {
        let find = |process: ProcessRef<'_>| process.find().map(|found| found.map(|f| f.pid));
        assert_eq!(find(ProcessRef::from(0)), Err(Errno::INVAL));
        assert_eq!(find(ProcessRef::from(u32::MAX)), Err(Errno::INVAL));
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert_eq!(find(ProcessRef::from(file)), Err(Errno::BADF));
    }

    #[test]
    fn a_process_that_is_no_child_is_found_by_its_id_but_not_as_a_child() {
        let parent = std::os::unix::process::parent_id();
        // In a pid namespace of its own the tests' parent may have no number.
        let other = if parent == 0 { 1 } else { parent };
        let found = open(raw(other).unwrap()).unwrap().unwrap();
        assert_eq!(found.pid.cast_unsigned(), other);
        assert!(open_child(raw(other).unwrap()).unwrap().is_none());
    }
}

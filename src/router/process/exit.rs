//! Whether and how processes that are not children of this one ended.
//!
//! A pidfd stands for one process, even if its id is reused, and becomes readable when the process has
//! exited. How it exited can be read in one of two places, before and after its parent has reaped it:
//!
//! ```text
//! running ──exit──► zombie ────────reaped──► gone
//!                   /proc/PID/stat           PIDFD_GET_INFO
//! ```
//!
//! The kernel records the status for the pidfd only at the reaping (Linux 6.15 and later); on older kernels a
//! process that was reaped before the event loop looked is [`Ending::Unknown`]. A process that had a file of
//! the mount open was seen to die, though: see `death`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use rustix::process::{PidfdFlags, geteuid, pidfd_open};

use super::super::timers::REAPING;
use super::{BUFFER_BYTES, Stat, positive, read_stat, thread_group};
use crate::core::generation::Ending;

/// A field of `/proc/PID/stat`, as proc(5) counts them.
pub(super) const EXIT_CODE: usize = 52;

/// Watches for the end of one process. Its descriptor polls readable once all
/// threads of the process have exited.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    pidfd: OwnedFd,
    process: i32,
    /// When it was first seen as a zombie whose status this process may not read.
    unreadable_since: OnceLock<Instant>,
}

impl ExitWatch {
    /// Watches the process that thread `tid` belongs to.
    ///
    /// # Errors
    ///
    /// `SRCH` if it is gone, or is in a pid namespace that cannot be seen (FUSE then gives 0); others if this
    /// process may have no more descriptors.
    pub(crate) fn open(tid: i32) -> Result<ExitWatch, Errno> {
        let thread = positive(tid).ok_or(Errno::SRCH)?;
        let (pidfd, process) = match pidfd_open(thread, PidfdFlags::empty()) {
            Ok(pidfd) => (pidfd, tid),
            // No leader of a process: EINVAL up to Linux 6.15, ENOENT since.
            Err(Errno::INVAL | Errno::NOENT) => open_by_thread(tid)?,
            Err(errno) => return Err(errno),
        };
        Ok(ExitWatch::of(pidfd, process))
    }

    /// Watches the process of a pidfd, which has this id or had it a moment ago.
    pub(crate) fn of(pidfd: OwnedFd, process: i32) -> ExitWatch {
        ExitWatch {
            pidfd,
            process,
            unreadable_since: OnceLock::new(),
        }
    }

    /// The process's id, as long as it is not reaped.
    pub(crate) fn pid(&self) -> i32 {
        self.process
    }

    /// How the process ended, if it has. Costs a poll while it runs. A zombie whose status this process may
    /// not read counts as running for a while, until it is reaped: then the kernel tells the status of any
    /// process.
    pub(crate) fn state(&self) -> Ending {
        if !self.has_exited() {
            return Ending::Running;
        }
        // It may be reaped between the first read and the second; then the first succeeds the next time.
        for _ in 0..2 {
            let info = pidfd_info(self.as_fd());
            if let Some(exit) = info.as_ref().and_then(PidfdInfo::exit) {
                return exit;
            }
            if let Some(exit) = self.zombie_exit(info.as_ref()) {
                return exit;
            }
        }
        Ending::Unknown
    }

    /// Whether all of its threads have exited.
    pub(crate) fn has_exited(&self) -> bool {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let now = Timespec::default();
        // An error would be EINTR or ENOMEM: the caller asks again.
        matches!(poll(&mut polled, Some(&now)), Ok(1))
    }

    /// Whether its parent has reaped it, so that another process may have its id.
    fn is_reaped(&self) -> bool {
        // SAFETY: the descriptor is open, and signal 0 is not sent.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                0,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        sent != 0 && Errno::from_io_error(&std::io::Error::last_os_error()) == Some(Errno::SRCH)
    }

    /// The exit of a process that is not reaped yet.
    fn zombie_exit(&self, info: Option<&PidfdInfo>) -> Option<Ending> {
        if self.is_reaped() {
            // Another process may have the id, and be in execve(2).
            return None;
        }
        let mut buffer = [0; BUFFER_BYTES];
        let stat = read_stat(format_args!("/proc/{}/stat", self.process), &mut buffer)?;
        let status = exit_status(&stat)?;
        // If it is not reaped even now, it still had the id then.
        if self.is_reaped() {
            return None;
        }
        // Without the permission to trace the process every status reads 0.
        let may_read =
            geteuid().is_root() || info.is_none_or(|info| info.real_user == geteuid().as_raw());
        if status == 0 && !may_read {
            let since = self.unreadable_since.get_or_init(Instant::now);
            let is_told_later = info.is_some() && since.elapsed() < REAPING;
            return Some(match is_told_later {
                true => Ending::Running,
                false => Ending::Unknown,
            });
        }
        Some(from_wait_status(status))
    }
}

/// Whether all threads of a process have exited; false if that cannot be found out.
pub(super) fn has_exited(pid: i32) -> bool {
    match ExitWatch::open(pid) {
        Ok(watch) => watch.has_exited(),
        Err(errno) => errno == Errno::SRCH,
    }
}

impl AsFd for ExitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The wait status of a process that has exited. `X` means that its parent is reaping it: this may last long
/// if the parent's thread does not get to run, and the pidfd tells the status only afterwards.
fn exit_status(stat: &Stat<'_>) -> Option<i32> {
    match stat.state()? {
        b'Z' | b'X' => stat.number(EXIT_CODE),
        _ => None,
    }
}

/// From a wait status.
pub(super) fn from_wait_status(status: i32) -> Ending {
    if libc::WIFEXITED(status) {
        Ending::Status(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Ending::Signal(libc::WTERMSIG(status))
    } else {
        Ending::Unknown
    }
}

/// The parent of thread `tid`, if the kernel tells.
pub(super) fn parent(tid: i32) -> Option<i32> {
    let flags = PidfdFlags::from_bits_retain(libc::PIDFD_THREAD);
    let thread = pidfd_open(positive(tid)?, flags).ok()?;
    Some(pidfd_info(thread.as_fd())?.parent.cast_signed())
}

/// A pidfd for the process of a thread that is not its leader, and its id.
fn open_by_thread(tid: i32) -> Result<(OwnedFd, i32), Errno> {
    // Since Linux 6.9.
    let flags = PidfdFlags::from_bits_retain(libc::PIDFD_THREAD);
    let thread = pidfd_open(positive(tid).ok_or(Errno::SRCH)?, flags).ok();
    let process = || match &thread {
        Some(thread) => match pidfd_info(thread.as_fd()) {
            Some(info) => Some(info.process.cast_signed()),
            // PIDFD_GET_INFO is of Linux 6.13.
            None => thread_group(tid),
        },
        None => thread_group(tid),
    };
    let before = process().ok_or(Errno::SRCH)?;
    let leader = positive(before).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(leader, PidfdFlags::empty())?;
    // The thread still exists, so its process did all the time, and no other process can have had the id when
    // the pidfd was opened.
    match process() == Some(before) {
        true => Ok((pidfd, before)),
        false => Err(Errno::SRCH),
    }
}

/// `struct pidfd_info` of Linux's `include/uapi/linux/pidfd.h`, first version
/// (`PIDFD_INFO_SIZE_VER0`, 64 bytes). The kernel learns from the size in the
/// ioctl's number how much to fill in.
#[repr(C)]
#[derive(Debug, Default)]
struct PidfdInfo {
    /// Requested fields; on return the fields given.
    mask: u64,
    control_group: u64,
    thread: u32,
    process: u32,
    parent: u32,
    real_user: u32,
    other_credentials: [u32; 7],
    /// A wait status, given with [`INFO_EXIT`].
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// `PIDFD_INFO_EXIT`, since Linux 6.15; older kernels leave the bit unset.
const INFO_EXIT: u64 = 1 << 3;

/// `PIDFD_GET_INFO`, since Linux 6.13: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xFF, 11);

impl PidfdInfo {
    fn exit(&self) -> Option<Ending> {
        (self.mask & INFO_EXIT != 0).then(|| from_wait_status(self.exit_code))
    }
}

/// The kernel's data on the process or thread of a pidfd; `None` if it is gone or the kernel is too old.
fn pidfd_info(pidfd: BorrowedFd<'_>) -> Option<PidfdInfo> {
    let mut info = PidfdInfo {
        mask: INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the number is PIDFD_GET_INFO for a structure of the size of
    // `PidfdInfo`, which the kernel reads and fills in and does not keep. All
    // its fields are integers, so that whatever is written is valid.
    unsafe { ioctl(pidfd, Updater::<GET_INFO, PidfdInfo>::new(&mut info)) }.ok()?;
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NO_PROCESS, idle_thread};
    use super::*;
    use crate::testing::{Guard, until};
    use std::process::Command;

    fn shell(script: &str) -> Guard {
        Guard::of(Command::new("sh").args(["-c", script]))
    }

    /// Waits for the end without reaping.
    fn ended(watch: &ExitWatch) -> Ending {
        until("the process has ended", || watch.state() != Ending::Running);
        watch.state()
    }

    #[test]
    fn a_running_process_is_running() {
        let child = Guard::sleeping();
        let watch = ExitWatch::open(child.pid()).unwrap();
        assert_eq!(watch.pid(), child.pid());
        assert_eq!(watch.state(), Ending::Running);
    }

    #[test]
    fn the_end_is_known_of_a_zombie_and_stays_known_when_it_is_reaped() {
        for (script, expected) in [
            ("exit 0", Ending::Status(0)),
            ("exit 3", Ending::Status(3)),
            ("kill -9 $$", Ending::Signal(libc::SIGKILL)),
            ("kill -TERM $$", Ending::Signal(libc::SIGTERM)),
            ("ulimit -c 0; kill -SEGV $$", Ending::Signal(libc::SIGSEGV)),
        ] {
            // The read keeps it from ending before it is watched.
            let mut child = Guard::of(
                Command::new("sh")
                    .args(["-c", &format!("read line; {script}")])
                    .stdin(std::process::Stdio::piped()),
            );
            let watch = ExitWatch::open(child.pid()).unwrap();
            drop(child.0.stdin.take());
            assert_eq!(ended(&watch), expected, "{script}, zombie");
            child.0.wait().unwrap();
            // Before Linux 6.15 this cannot be read any more.
            let told = pidfd_info(watch.as_fd()).map_or(Ending::Unknown, |_| expected);
            assert_eq!(watch.state(), told, "{script}, reaped");
        }
    }

    #[test]
    fn a_process_that_is_being_reaped_has_exited_as_a_zombie_has() {
        // As long as it takes, neither the pidfd nor anything else tells.
        let stat = |state: &str| format!("7 (a b) {state} 1{} 9\n", " 0".repeat(EXIT_CODE - 5));
        for (state, expected) in [("Z", Some(9)), ("X", Some(9)), ("R", None), ("D", None)] {
            let text = stat(state);
            let found = exit_status(&Stat::parse(text.as_bytes()).unwrap());
            assert_eq!(found, expected, "{state}");
        }
    }

    #[test]
    fn a_zombie_can_be_watched_and_a_reaped_process_cannot() {
        let mut child = shell("exit 3");
        until("it is a zombie", || {
            let mut buffer = [0; BUFFER_BYTES];
            read_stat(format_args!("/proc/{}/stat", child.pid()), &mut buffer)
                .is_some_and(|stat| stat.state() == Some(b'Z'))
        });
        assert_eq!(
            ExitWatch::open(child.pid()).unwrap().state(),
            Ending::Status(3)
        );
        child.0.wait().unwrap();
        assert_eq!(ExitWatch::open(child.pid()).unwrap_err(), Errno::SRCH);
        assert_eq!(ExitWatch::open(NO_PROCESS).unwrap_err(), Errno::SRCH);
        assert_eq!(ExitWatch::open(0).unwrap_err(), Errno::SRCH);
        assert_eq!(ExitWatch::open(-1).unwrap_err(), Errno::SRCH);
    }

    #[test]
    fn a_thread_leads_to_its_process() {
        let (thread, stop) = idle_thread();
        let watch = ExitWatch::open(thread).unwrap();
        assert_eq!(watch.pid(), std::process::id().cast_signed());
        drop(stop);
        until("the thread has ended", || thread_group(thread).is_none());
        assert_eq!(watch.state(), Ending::Running);
        assert_eq!(ExitWatch::open(thread).unwrap_err(), Errno::SRCH);
    }

    #[test]
    fn a_process_of_several_threads_ends_as_one() {
        // The other thread ends the process while the first still waits.
        let script = "import os,sys,threading\n\
            threading.Thread(target=lambda:(sys.stdin.read(),os._exit(7))).start()\n\
            threading.Event().wait()";
        let mut child = Guard::of(
            Command::new("python3")
                .args(["-c", script])
                .stdin(std::process::Stdio::piped()),
        );
        let tasks = format!("/proc/{}/task", child.pid());
        let other = || {
            let ids = std::fs::read_dir(&tasks).ok()?.flatten();
            ids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
                .find(|id| *id != child.pid())
        };
        until("there are two threads", || other().is_some());
        let watch = ExitWatch::open(other().unwrap()).unwrap();
        assert_eq!(watch.pid(), child.pid());
        assert_eq!(watch.state(), Ending::Running);
        drop(child.0.stdin.take());
        assert_eq!(ended(&watch), Ending::Status(7));
        child.0.wait().unwrap();
    }

    #[test]
    fn an_id_that_another_process_has_by_now_does_not_deceive() {
        let mut child = shell("exit 3");
        let mut watch = ExitWatch::open(child.pid()).unwrap();
        child.0.wait().unwrap();
        // What a reused id would look like: a zombie that is not the one.
        let impostor = shell("exit 4");
        let other = ExitWatch::open(impostor.pid()).unwrap();
        assert_eq!(ended(&other), Ending::Status(4));
        watch.process = impostor.pid();
        assert_eq!(watch.zombie_exit(None), None);
        assert_ne!(watch.state(), Ending::Status(4));
    }
}

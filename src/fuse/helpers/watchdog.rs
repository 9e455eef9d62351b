//! A process that detaches the mount when the daemon dies without doing so.
//!
//! Knows a directory and a connection number, and by [`death`] whether the daemon
//! lives; knows nothing of what is mounted. The invariants: it detaches only a
//! mount that is the daemon's (same directory and device number, or the same unique
//! number, wherever it was moved to), and while the daemon lives it never touches the
//! mount, for then it could hang with it.
//!
//! At its daemon's request it also forks the flusher.
//!
//! ```text
//!            arm(number)              unmounted()
//! unarmed ───────────────► armed ─────────────────► unmounted
//!    │                       │                         │
//!    │ daemon dead           │ daemon dead             │ daemon dead
//!    ▼                       ▼                         ▼
//! a dead fifofs mount     the mount with that number   the connection that processes with
//! there is detached       is detached                  open files still use is ended
//! ```

mod death;

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::UnmountFlags;
use rustix::net::{SendFlags, Shutdown, shutdown};
use rustix::path::Arg;
use rustix::process::{PidfdFlags, WaitOptions, pidfd_open, waitpid};

use self::death::is_dying;
use super::flusher::{self, Flusher, START};
use super::lines::each_line;
use super::memory::Needed;
use super::message;
use super::process::{Helper, above_stdio, exit, fork_helper, raw_fork, reap};
use crate::fuse::mounting::{
    MountLine, Mounted, abort, abort_file, escape, fusermount, may_mount, means_dead, unescaped,
};
use crate::router::is_own_thread;

/// Longer than any line of mountinfo can be but by overlay options of many
/// pages, and than `/proc/PID/status`; longer lines are skipped.
const BUFFER_BYTES: usize = 16 << 10;
/// The number is that of the mount's device.
const ARMED: u8 = b'A';
/// The number is the mount's, as [`unique_mount_id`] gives it. It comes before the other one.
const IDENTIFIED: u8 = b'I';
/// The daemon uses its own mount from now on. The message carries the file that ends the connection.
const USES_ITSELF: u8 = b'U';
/// Nothing is mounted any more.
const UNMOUNTED: u8 = b'N';

/// The daemon's end. Dropping it is like the daemon's death: the mount is detached,
/// soon after, or if it is unmounted its connection is ended.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Shut down before the process is waited for.
    socket: Arc<OwnedFd>,
    helper: Helper,
}

impl Watchdog {
    /// Starts the process that watches over the mount to be made at `directory`
    /// (absolute and canonical), and with `remove_directory` removes that too
    /// if it is empty. Gives the mount's flusher with it, whose process it forks.
    ///
    /// To be called before the device is opened, by a thread in the mount
    /// namespace that will hold the mount, and in the process that will serve
    /// it: if that ends, the mount goes, whatever children of it still hold the
    /// device; soon after, too, if its main thread alone ends.
    ///
    /// # Errors
    ///
    /// If no process or socket can be made, or `/proc` is not there.
    pub(crate) fn start(
        directory: &Path,
        remove_directory: bool,
    ) -> io::Result<(Watchdog, Flusher)> {
        let (ours, theirs) = message::pair()?;
        let theirs = above_stdio(theirs)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let status = rustix::fs::open("/proc/self/status", flags, Mode::empty())?;
        let status = above_stdio(status)?;
        // Its socket may stay open in a child that was forked and never called exec.
        let daemon = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let daemon = above_stdio(daemon)?;
        let socket = Arc::new(ours);
        let (flusher, mut worker, flusher_socket) =
            Flusher::prepare(directory, Arc::clone(&socket))?;
        let mut state = WatchdogState::new(directory, remove_directory)?;
        let needed = state.needed().together(worker.needed());
        let own = [theirs.as_fd(), status.as_fd(), daemon.as_fd()];
        let [theirs, status, daemon] = own;
        let flusher_socket = flusher_socket.as_fd();
        let mut was_asked = false;
        let body = || -> Infallible {
            loop {
                match state.watch(theirs, status, daemon) {
                    Ending::DaemonDied => {
                        state.perform();
                        exit(0)
                    }
                    Ending::Asked => {
                        let mut pid = 0;
                        if !std::mem::replace(&mut was_asked, true) {
                            let abort_file = state.abort_file.as_ref().map(AsFd::as_fd);
                            let others = own.into_iter().chain(abort_file);
                            // SAFETY: this process has one thread.
                            pid = unsafe { worker.fork(flusher_socket, others) };
                            // SAFETY: this process has no more use for it, and the flusher's end
                            // is seen only when no copy is left.
                            unsafe { rustix::io::close(flusher_socket.as_raw_fd()) };
                        }
                        flusher::answer(theirs, pid);
                    }
                }
            }
        };
        let keep = [theirs, status, daemon, flusher_socket];
        // SAFETY: the methods of `WatchdogState` and `Worker` but `new` are async-signal-safe, as said there.
        let helper = unsafe { fork_helper(c"fifofs-watchdog", &keep, needed, body) }?;
        Ok((Watchdog { socket, helper }, flusher))
    }

    /// Waits until it watches. The mount can be made meanwhile.
    ///
    /// # Errors
    ///
    /// If it was killed.
    pub(crate) fn ready(&self) -> io::Result<()> {
        self.helper.ready()
    }

    /// Says which mount was made, and which connection it has.
    ///
    /// # Errors
    ///
    /// If the watchdog was killed.
    pub(crate) fn arm(&self, mounted: &Mounted) -> io::Result<()> {
        let tell = |kind, number| message::send(&*self.socket, kind, number, SendFlags::empty());
        // Looked at here: when the watchdog comes to it, the mount may have been moved.
        if let Some(mount_id) = unique_mount_id(&mounted.directory) {
            tell(IDENTIFIED, mount_id)?;
        }
        Ok(tell(ARMED, mounted.device_number)?)
    }

    /// Reports to it that the daemon uses its own mount, which has this connection.
    pub(crate) fn own_use(&self, device_number: u64) -> OwnUse {
        OwnUse {
            watchdog: Some(Arc::clone(&self.socket)),
            device_number,
        }
    }

    /// Tells it that nothing is mounted any more: from now on the watchdog touches neither mounts nor
    /// directories. It must be kept until the device is read no more: processes with open files may go on
    /// using them, and if the daemon dies, it may be one of these itself.
    pub(crate) fn unmounted(&self) {
        // A watchdog that was killed does nothing anyway.
        let _ = message::send(&*self.socket, UNMOUNTED, 0, SendFlags::empty());
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The flusher, which it starts, has a copy, which must not keep it waiting.
        let _ = shutdown(&*self.socket, Shutdown::Both);
        reap(self.helper.pid());
    }
}

/// Sees whether the daemon uses its own mount, for which the watchdog must look at it: such a daemon
/// may be kept from dying by a request that it cannot answer any more.
#[derive(Debug)]
pub(crate) struct OwnUse {
    /// None once the watchdog was told.
    watchdog: Option<Arc<OwnedFd>>,
    device_number: u64,
}

impl OwnUse {
    /// A request came from this thread. To be called before it is answered, and by the process that
    /// answers.
    pub(crate) fn note(&mut self, thread: i32) {
        if let Some(watchdog) = &self.watchdog
            && is_own_thread(thread)
        {
            log::debug!("thread {thread} of this process uses the mount that it serves");
            // Here and not by the watchdog, for which the mount might be gone by then, and the number another's:
            // now the connection is there, as it waits for an answer.
            let file = abort_file(self.device_number);
            // A watchdog that was killed does not look.
            let _ = message::send_file(&**watchdog, USES_ITSELF, file.as_ref());
            self.watchdog = None;
        }
    }
}

enum Ending {
    DaemonDied,
    /// Not an end: the flusher is to be started.
    Asked,
}

/// All that the watchdog will need, allocated before the fork. Every method but
/// `new` runs after it and is async-signal-safe: system calls, and slices of
/// memory that is there.
struct WatchdogState {
    directory: CString,
    escaped_directory: Vec<u8>,
    remove_directory: bool,
    fusermount: Option<CString>,
    /// The number of the mount it was armed for.
    armed: Option<u64>,
    /// The unique number of the mount it was armed for, if the kernel tells it.
    mount_id: Option<u64>,
    uses_itself: bool,
    /// The file that ends the connection of a daemon that uses its own mount, if it can be opened.
    abort_file: Option<OwnedFd>,
    unmounted: bool,
    buffer: Vec<u8>,
    /// Room for the path to which the mount was moved, and a NUL.
    moved_to: Vec<u8>,
}

impl WatchdogState {
    fn new(directory: &Path, remove_directory: bool) -> io::Result<WatchdogState> {
        // A process that may mount by itself may unmount.
        let fusermount = match may_mount() {
            true => None,
            false => fusermount().ok(),
        };
        Ok(WatchdogState {
            directory: CString::new(directory.as_os_str().as_bytes())?,
            escaped_directory: escape(directory),
            remove_directory,
            fusermount: fusermount.and_then(|program| {
                CString::new(program.into_os_string().into_encoded_bytes()).ok()
            }),
            armed: None,
            mount_id: None,
            uses_itself: false,
            abort_file: None,
            unmounted: false,
            buffer: vec![0; BUFFER_BYTES],
            moved_to: vec![0; libc::PATH_MAX as usize],
        })
    }

    /// What it uses of the heap.
    fn needed(&self) -> Needed {
        let fusermount = self
            .fusermount
            .as_deref()
            .map_or(&[][..], CStr::to_bytes_with_nul);
        let pieces = [
            self.directory.as_bytes_with_nul(),
            &self.escaped_directory,
            fusermount,
            &self.buffer,
            &self.moved_to,
        ];
        Needed::of(pieces)
    }

    /// Waits until the daemon says what to do, or is dead.
    fn watch(
        &mut self,
        socket: BorrowedFd<'_>,
        status: BorrowedFd<'_>,
        daemon: BorrowedFd<'_>,
    ) -> Ending {
        loop {
            let has_ended = death::sleep(socket, daemon, self.uses_itself);
            match message::receive(socket) {
                Err(Errno::AGAIN) if has_ended || is_dying(status, &mut self.buffer) => {
                    return Ending::DaemonDied;
                }
                Err(Errno::AGAIN) => {}
                Err(_) => return Ending::DaemonDied,
                Ok((START, ..)) => return Ending::Asked,
                Ok((USES_ITSELF, _, file)) => {
                    self.uses_itself = true;
                    self.abort_file = file;
                }
                Ok((UNMOUNTED, ..)) => self.unmounted = true,
                Ok((IDENTIFIED, mount_id, _)) => self.mount_id = Some(mount_id),
                Ok((_, number, _)) => self.armed = Some(number),
            }
        }
    }

    fn perform(&mut self) {
        // First of all, and wherever its mount is by now: it may use the mount beyond the unmount, or have been
        // killed before it could say that it has unmounted.
        if let Some(file) = &self.abort_file {
            abort(file);
        }
        if self.unmounted {
            return;
        }
        if self.is_ours() {
            self.detach(&self.directory);
        } else if self.was_moved()
            && let Ok(place) = CStr::from_bytes_until_nul(&self.moved_to)
        {
            self.detach(place);
        }
        if self.remove_directory {
            // Fails where something is in it or mounted on it, as it should.
            let _ = rustix::fs::rmdir(&*self.directory);
        }
    }

    /// Whether the topmost mount on the directory is the daemon's.
    fn is_ours(&mut self) -> bool {
        let Some((number, is_fifofs)) = self.topmost() else {
            return false;
        };
        match self.armed {
            // A number is free for the next mount as soon as the last is gone.
            Some(armed) => {
                is_fifofs
                    && number == armed
                    && (self.mount_id.is_none()
                        || self.mount_id == unique_mount_id(&*self.directory))
            }
            // Killed between mounting and arming. The directory held no live
            // mount of ours before, so a dead one is it. This is the one look
            // at the mount, and cannot hang with the daemon: that is dead.
            None => {
                is_fifofs
                    && matches!(rustix::fs::statfs(&*self.directory), Err(error) if means_dead(error))
            }
        }
    }

    /// Whether the daemon's mount is somewhere else by now, since it or a directory above it was
    /// moved: `moved_to` is where. (By its unique number: the device's alone may be another's.)
    fn was_moved(&mut self) -> bool {
        let (Some(armed), Some(mount_id)) = (self.armed, self.mount_id) else {
            return false;
        };
        let (buffer, place) = (&mut self.buffer, &mut self.moved_to);
        let mut is_found = false;
        let look = |line: &[u8]| {
            let line = MountLine::parse(line)
                .filter(|line| line.is_fifofs() && line.device_number() == Some(armed));
            if let Some(line) = line
                && !is_found
            {
                place.fill(0);
                let path = unescaped(line.escaped_point);
                place.iter_mut().zip(path).for_each(|(to, from)| *to = from);
                is_found = CStr::from_bytes_until_nul(place)
                    .is_ok_and(|place| unique_mount_id(place) == Some(mount_id));
            }
        };
        each_line(c"/proc/self/mountinfo", buffer, look).is_ok() && is_found
    }

    /// The device number of the last mount listed on the directory, and whether
    /// it is a fifofs one.
    fn topmost(&mut self) -> Option<(u64, bool)> {
        let (buffer, directory) = (&mut self.buffer, &self.escaped_directory);
        let mut found = None;
        each_line(c"/proc/self/mountinfo", buffer, |line| {
            if let Some(line) = MountLine::parse(line)
                && line.escaped_point == directory
            {
                found = line
                    .device_number()
                    .map(|number| (number, line.is_fifofs()));
            }
        })
        .ok()?;
        found
    }

    fn detach(&self, directory: &CStr) {
        // FORCE aborts the connection, which also frees a daemon that waits for
        // itself.
        let flags = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        if rustix::mount::unmount(directory, flags) != Err(Errno::PERM) {
            return;
        }
        self.armed.and_then(abort_file).inspect(abort);
        if let Some(program) = &self.fusermount {
            run_fusermount(program, directory);
        }
    }
}

/// A number that no other mount of this boot had or will have: since Linux 6.8. Async-signal-safe, and asks
/// nothing of the mount's daemon.
fn unique_mount_id(directory: impl Arg) -> Option<u64> {
    // STATX_MNT_ID_UNIQUE of linux/stat.h.
    let wanted = StatxFlags::from_bits_retain(0x4000);
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(CWD, directory, flags, wanted).ok()?;
    (stat.stx_mask & wanted.bits() != 0).then_some(stat.stx_mnt_id)
}

fn run_fusermount(program: &CStr, directory: &CStr) {
    let arguments = [c"fusermount3", c"-u", c"-z", c"-q", c"--", directory].map(CStr::as_ptr);
    let mut arguments = arguments.iter().copied();
    // By position, as a slice of pointers with a null at its end.
    let arguments: [_; 7] = std::array::from_fn(|_| arguments.next().unwrap_or(ptr::null()));
    let environment = [ptr::null()];
    // SAFETY: a process of one thread forks, and the child only calls execve.
    match unsafe { raw_fork(0) } {
        Ok(None) => {
            // SAFETY: strings that end in NUL, arrays that end in null, all of
            // them alive.
            unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            exit(127)
        }
        Ok(child) => {
            let wall = WaitOptions::from_bits_retain(libc::__WALL as u32);
            let _ = retry_on_intr(|| waitpid(child, wall));
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests;

//! A filesystem with the smallest possible daemon, and its writer.
//!
//! A process that waits for a mount which it serves itself could not be killed: so the daemon is a process of its own,
//! and the only one that has `/dev/fuse`. Its end, in whatever way, fails all requests; and it ends with this process,
//! which does not wait for it meanwhile. The mount is attached nowhere, and known by a descriptor alone: it ends when
//! that is closed, also by the end of the process.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::baselines::Load;
use super::daemon::Cache;
use crate::Outcome;

pub(crate) struct Mount {
    cache: Cache,
    /// Closed first: the daemon still answers the requests that this causes.
    root: OwnedFd,
    daemon: Daemon,
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Mount {
    pub(crate) fn new(cache: Cache) -> Outcome<Mount> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = rustix::fs::open("/dev/fuse", flags, Mode::empty())
            .map_err(|errno| format!("cannot open /dev/fuse: {errno}"))?;
        let root = mount(&device).map_err(|errno| format!("cannot mount: {errno}"))?;
        let failed = |error| format!("cannot start this program again as the daemon: {error}");
        let daemon = std::env::current_exe()
            .and_then(|program| {
                Command::new(program)
                    .args(["floor", "--daemon", cache.argument()])
                    .stdin(Stdio::from(device))
                    .spawn()
            })
            .map_err(failed)?;
        Ok(Mount {
            cache,
            root,
            daemon: Daemon(daemon),
        })
    }

    /// The rate of the calls of write(2), to a file that is empty before and after.
    pub(crate) fn rate(&self, load: Load) -> Outcome<f64> {
        let writer = || {
            if self.cache == Cache::Past {
                self.share_a_processor()
                    .map_err(|errno| format!("cannot choose a processor: {errno}"))?;
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
            let mut file = rustix::fs::openat(&self.root, "file", flags, Mode::RWXU)
                .map(File::from)
                .map_err(|errno| format!("cannot open the file: {errno}"))?;
            let (start, end) = load.write(&mut file)?;
            // Pages that are not written back yet never will be, and their memory is free.
            file.set_len(0)
                .map_err(|error| format!("cannot empty the file: {error}"))?;
            Ok(load.rate(end - start))
        };
        // In a thread of its own, as it may be bound to a processor.
        let written = thread::scope(|scope| scope.spawn(writer).join());
        written.map_err(|_| "the writer panicked".to_owned())?
    }

    /// Binds this thread and the daemon to one processor: the last, as interrupts mostly go to the first.
    fn share_a_processor(&self) -> Result<(), Errno> {
        let allowed = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        let last = (0..CpuSet::MAX_CPU).rfind(|processor| allowed.is_set(*processor));
        one.set(last.unwrap_or(0));
        sched_setaffinity(Some(Pid::from_child(&self.daemon.0)), &one)?;
        sched_setaffinity(None, &one)
    }
}

/// A mount that is attached nowhere; its INIT waits in the device (`Documentation/filesystems/fuse.rst`).
fn mount(device: &OwnedFd) -> Result<OwnedFd, Errno> {
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "fifofs-floor")?;
    fsconfig_set_string(&context, "fd", device.as_raw_fd().to_string())?;
    fsconfig_set_string(&context, "rootmode", "40000")?;
    fsconfig_set_string(&context, "user_id", "0")?;
    fsconfig_set_string(&context, "group_id", "0")?;
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

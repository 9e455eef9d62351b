//! Holders of a captured file, which keep it from being done: a process, or a guard of the caller.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Capture, Found, ProcessRef, process};
use crate::core::CaptureId;
use crate::core::request::Request;
use crate::error::Result;
use crate::router::{ExitHold, Router};
use crate::sync::lock;

/// Keeps the file at a captured path from being done, until the guard is dropped; see
/// [`Capture::hold`](crate::Capture::hold). It does not keep the mount.
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

impl CaptureHold {
    pub(super) fn new(router: &Arc<Router>, id: CaptureId) -> CaptureHold {
        router.tell(Request::Hold { id, again: false });
        CaptureHold {
            router: Arc::clone(router),
            id,
        }
    }
}

impl Drop for CaptureHold {
    fn drop(&mut self) {
        let (id, left_others) = (self.id, false);
        self.router.tell(Request::LetGo { id, left_others });
    }
}

impl std::fmt::Debug for CaptureHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureHold").finish_non_exhaustive()
    }
}

/// A process; with the inode of its pidfd it can be told from a later process of the same id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pid: i32,
    /// The inode of its pidfds, different for each process since Linux 6.9; none once it was
    /// reaped.
    inode: Option<u64>,
}

impl Holder {
    fn new(pid: i32, pidfd: &OwnedFd) -> Holder {
        let status = rustix::fs::fstat(pidfd);
        Holder {
            pid,
            inode: status.ok().map(|status| status.st_ino),
        }
    }

    fn is(self, other: Holder) -> bool {
        let inodes = self.inode.zip(other.inode);
        self.pid == other.pid && inodes.is_none_or(|(one, other)| one == other)
    }
}

impl Capture {
    /// Makes the end of the file depend on a process, if that has not exited.
    pub(super) fn end_with(&self, process: ProcessRef<'_>) -> Result<Option<ExitHold>> {
        self.router.owner().check("read", &self.path)?;
        let pid = process.pid();
        let found = process.find_for(&self.path)?;
        let holder = match &found {
            Some(Found { pidfd, pid }) => Some(Holder::new(*pid, pidfd)),
            None => pid.map(|pid| Holder { pid, inode: None }),
        };
        let again = self.is_holder_again(holder);
        match found {
            Some(Found { pidfd, pid }) => self
                .router
                .hold_until_exit(self.id, (pidfd, pid), again)
                .map_err(|errno| process::cannot_watch(&self.path, errno)),
            None => {
                self.router.release_capture(self.id, again);
                Ok(None)
            }
        }
    }

    /// Whether `holder` is the process that was asked for last; remembers it.
    fn is_holder_again(&self, holder: Option<Holder>) -> bool {
        let mut last = lock(&self.holder);
        let again = last.zip(holder).is_some_and(|(last, now)| now.is(last));
        if !again {
            *last = holder;
        }
        again
    }
}

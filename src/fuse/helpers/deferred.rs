//! A helper that the watchdog forks when the daemon first needs it.
//!
//! Knows how it is asked for and how it is forked; does not know what it does. The
//! invariant: it shares no descriptor with the watchdog but the one that it keeps, and is
//! a child of the daemon, which is the one to wait for its end.
//!
//! By then the daemon may be large, and a fork would copy all of its page tables; the watchdog is
//! small, as it has given back what it does not need.

use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::net::SendFlags;
use rustix::process::setsid;

use super::memory::Needed;
use super::message;
use super::process::{exit, raw_fork};
use crate::fuse::timers::HELPER_STARTS;

/// Asks for the deferred helper; the answer has its process id, or 0.
pub(super) const START: u8 = b'S';

/// A helper that the watchdog forks when it is asked to: a child of the daemon, in
/// a session of its own, that nobody notices but who asks for it by [`super::process::reap`].
pub(crate) struct DeferredHelper<F> {
    /// At most 15 bytes.
    pub(crate) name: &'static CStr,
    /// The one descriptor that it keeps, not below 3, and the watchdog until then.
    pub(crate) keep: OwnedFd,
    /// What `body` uses of the heap.
    pub(crate) needed: Needed,
    /// What it does: async-signal-safe work only, as in `helper_process`.
    pub(crate) body: F,
}

/// Has the watchdog start its deferred helper.
#[derive(Debug)]
pub(crate) struct HelperStarter(Arc<OwnedFd>);

impl HelperStarter {
    /// Of the daemon's end of the watchdog's socket.
    pub(super) fn new(watchdog: Arc<OwnedFd>) -> Self {
        HelperStarter(watchdog)
    }

    /// Starts it; gives its process id. To be called once.
    ///
    /// # Errors
    ///
    /// If there can be no process, or the watchdog was killed or stopped.
    pub(crate) fn start(self) -> io::Result<i32> {
        let socket = &*self.0;
        message::send(socket, START, 0, SendFlags::empty())?;
        let mut waited_for = [PollFd::new(socket, PollFlags::IN)];
        retry_on_intr(|| poll(&mut waited_for, Some(&HELPER_STARTS)))?;
        let (_, pid, _) = message::receive(socket)?;
        match i32::try_from(pid) {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => Err(io::Error::other("the watchdog could not start it")),
        }
    }
}

/// Forks the deferred helper. Async-signal-safe. Gives 0 if it cannot be.
///
/// # Safety
///
/// To be called in a process of one thread; `body` must do only async-signal-safe
/// work, and what is in `others` must not be of use to it.
pub(super) unsafe fn fork<'fd>(
    name: &CStr,
    others: impl Iterator<Item = BorrowedFd<'fd>>,
    body: impl FnOnce() -> Infallible,
) -> i32 {
    // Dropping it would free memory, which is not async-signal-safe: another thread may have held the
    // allocator's lock when the watchdog was forked.
    let body = ManuallyDrop::new(body);
    // SAFETY: the child's branch diverges, and does only async-signal-safe work.
    match unsafe { raw_fork(libc::CLONE_PARENT) } {
        Ok(None) => {
            for other in others {
                // SAFETY: the child's copies, which nothing in it uses.
                unsafe { rustix::io::close(other.as_raw_fd()) };
            }
            let _ = setsid();
            let _ = rustix::thread::set_name(name);
            // Never returns.
            let _ = Some(ManuallyDrop::into_inner(body)).map(|body| body());
            exit(0)
        }
        Ok(Some(pid)) => pid.as_raw_nonzero().get(),
        Err(_) => 0,
    }
}

/// Says which process the deferred helper is. Async-signal-safe.
pub(super) fn answer(socket: BorrowedFd<'_>, pid: i32) {
    let _ = message::send(socket, START, pid.unsigned_abs().into(), SendFlags::empty());
}

//! The inherited standard descriptors and signal dispositions of this process.
//!
//! Before `main` the Rust runtime opens `/dev/null` in place of a closed descriptor, so that output would be
//! lost silently, and ignores SIGPIPE. So both are recorded before that.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};

static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Whether SIGPIPE was ignored, as systemd does for services and `trap '' PIPE` for a shell's commands.
static IGNORED_PIPE: AtomicBool = AtomicBool::new(false);

/// The signals that were blocked.
static BLOCKED: OnceLock<libc::sigset_t> = OnceLock::new();

/// The C runtime calls this before the Rust runtime starts.
#[used]
// SAFETY: the section holds an array of functions of this type, called in turn; the functions of the C library
// that this one calls need no later setup.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for (number, was_closed) in (0..).zip(&WAS_CLOSED) {
        // SAFETY: the call changes nothing.
        let is_closed = unsafe { libc::fcntl(number, libc::F_GETFD) } < 0;
        was_closed.store(is_closed, Ordering::Relaxed);
    }
    IGNORED_PIPE.store(ignores_pipe(), Ordering::Relaxed);
    let mut blocked = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the call changes nothing; a set of signals consists of integers.
    unsafe {
        if libc::sigprocmask(libc::SIG_SETMASK, ptr::null(), blocked.as_mut_ptr()) == 0 {
            let _ = BLOCKED.set(blocked.assume_init());
        }
    }
}

fn ignores_pipe() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the call changes nothing; the structure consists of integers, and an optional function, for which
    // zero is valid.
    unsafe {
        libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Records SIGPIPE again: Python ignores it at its start, as the Rust runtime does, and its command has reset
/// that when the command line is parsed: then the present disposition counts.
pub(crate) fn look_at_pipe_again() {
    IGNORED_PIPE.fetch_and(ignores_pipe(), Ordering::Relaxed);
}

/// Gives a started program the inherited disposition of SIGPIPE: the standard library sets the default.
/// Async-signal-safe.
pub(crate) fn restore_pipe() {
    if IGNORED_PIPE.load(Ordering::Relaxed) {
        // SAFETY: signal(2) is async-signal-safe, and this is no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}

/// Blocks the inherited signals for a started program: the standard library unblocks all. Async-signal-safe.
pub(crate) fn restore_blocked() {
    if let Some(blocked) = BLOCKED.get() {
        // SAFETY: sigprocmask(2) is async-signal-safe; the kernel filled the set.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, blocked, ptr::null_mut()) };
    }
}

/// Fails if a descriptor was closed when this process was started.
///
/// # Errors
///
/// `EBADF`.
pub(crate) fn check_open(number: RawFd) -> io::Result<()> {
    let known = usize::try_from(number).ok();
    match known.and_then(|number| WAS_CLOSED.get(number)) {
        Some(was_closed) if was_closed.load(Ordering::Relaxed) => Err(Errno::BADF.into()),
        _ => Ok(()),
    }
}

/// Writes all bytes to standard output, which another process may have made nonblocking (Node and ssh do so with
/// pipes that they share).
///
/// # Errors
///
/// Those of write(2).
pub(crate) fn write(mut bytes: &[u8]) -> io::Result<()> {
    let output = io::stdout();
    while !bytes.is_empty() {
        match rustix::io::write(&output, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::new(&output, PollFlags::OUT)];
                retry_on_intr(|| rustix::event::poll(&mut room, None))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

//! What this process was started with: its standard descriptors, and how it takes signals.
//!
//! Before `main` the Rust runtime opens `/dev/null` in place of a closed descriptor, so that what is written
//! there would be lost without a word, and ignores SIGPIPE. So both are looked at before that.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::{Errno, retry_on_intr};

static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Whether SIGPIPE was ignored, as systemd has it for services and `trap '' PIPE` for a shell's commands.
static IGNORED_PIPE: AtomicBool = AtomicBool::new(false);

/// Which signals were blocked.
static BLOCKED: OnceLock<libc::sigset_t> = OnceLock::new();

/// What the C runtime calls before the Rust runtime begins.
#[used]
// SAFETY: an array of functions of this type, called in turn, is what the section holds; those of
// the C library that this one calls need nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for (number, was_closed) in (0..).zip(&WAS_CLOSED) {
        // SAFETY: it asks, and changes nothing.
        let is_closed = unsafe { libc::fcntl(number, libc::F_GETFD) } < 0;
        was_closed.store(is_closed, Ordering::Relaxed);
    }
    IGNORED_PIPE.store(ignores_pipe(), Ordering::Relaxed);
    let mut blocked = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: it asks, and changes nothing; a set of signals is integers.
    unsafe {
        if libc::sigprocmask(libc::SIG_SETMASK, ptr::null(), blocked.as_mut_ptr()) == 0 {
            let _ = BLOCKED.set(blocked.assume_init());
        }
    }
}

fn ignores_pipe() -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: it asks, and changes nothing; all of the structure is integers, and an optional function,
    // for which zero is valid.
    unsafe {
        libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Python ignores SIGPIPE whatever it was told to, as the Rust runtime does, and its command has undone that
/// when the command line is looked at: then that is what counts.
pub(crate) fn look_at_pipe_again() {
    IGNORED_PIPE.fetch_and(ignores_pipe(), Ordering::Relaxed);
}

/// Has a program that is started take SIGPIPE as this process was told to: the standard library gives it the
/// default. Async-signal-safe.
pub(crate) fn restore_pipe() {
    if IGNORED_PIPE.load(Ordering::Relaxed) {
        // SAFETY: it is async-signal-safe, and this is no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}

/// Blocks the signals for it that were blocked here: the standard library unblocks all. Async-signal-safe.
pub(crate) fn restore_blocked() {
    if let Some(blocked) = BLOCKED.get() {
        // SAFETY: it is async-signal-safe; the set is one that the kernel gave.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, blocked, ptr::null_mut()) };
    }
}

/// That a descriptor is none that was closed when this process was started.
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

/// Writes all of it to standard output, which somebody may have made one that does not block (Node and ssh do so
/// with pipes that they share).
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

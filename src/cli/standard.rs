//! The standard descriptors that this process was started without.
//!
//! The Rust runtime opens `/dev/null` in place of a closed one before `main`, so that what is written
//! there would be lost without a word. So it is looked at before that.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

static WAS_CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

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

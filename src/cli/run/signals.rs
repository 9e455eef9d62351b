//! Signals to this process that are meant for the program.
//!
//! Knows which signals they are and where they came from; `supervise` handles them. Invariant: a
//! signal that was ignored when this process was started stays ignored, for the program too.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use fifofs::{Error, Result};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

use super::event::Event;

/// Signals that are passed on to the program.
const PASSED_ON: [i32; 6] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];

/// The signals that have come.
pub(super) struct Signals(SignalDelivery<UnixStream, WithOrigin>);

impl Signals {
    /// Records each signal from now on. Started programs get the default dispositions: exec resets
    /// signals with a handler.
    pub(super) fn watch() -> Result<Self> {
        let failed = |error| Error::io("handle", "signals", error);
        let wanted = PASSED_ON.into_iter().filter(|number| !is_ignored(*number));
        let wanted = wanted.chain([SIGCHLD]);
        let (read, write) = UnixStream::pair().map_err(failed)?;
        let signals = SignalDelivery::with_pipe(read, write, WithOrigin::default(), wanted);
        Ok(Signals(signals.map_err(failed)?))
    }

    /// Signals that have come since the last call.
    pub(super) fn pending(&mut self) -> impl Iterator<Item = Event> {
        self.0.pending().map(|origin| match origin.signal {
            SIGCHLD => Event::ChildEnded,
            number => Event::Signal {
                number,
                for_the_group: is_for_the_group(&origin),
            },
        })
    }
}

impl AsFd for Signals {
    /// Readable when signals have come.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }
}

/// Whether the terminal sent it: Ctrl-C, Ctrl-\ and hangups go to the whole foreground group, so
/// the program, which is in the same group, has got it already.
fn is_for_the_group(origin: &Origin) -> bool {
    origin.cause == Cause::Kernel
}

fn is_ignored(number: i32) -> bool {
    // SAFETY: the structure consists of integers, and an optional function, for which zero is
    // valid; without a new action sigaction(2) changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(number, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// Whether a signal asks for the end: that of this process once the program has ended.
pub(super) fn ends(number: i32) -> bool {
    [SIGTERM, SIGINT, SIGHUP, SIGQUIT].contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_recognized() {
        // The Rust runtime ignores SIGPIPE.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGURG));
    }
}

//! Sees that a mount is gone, whichever process unmounted it.
//!
//! The kernel wakes pollers of a mountinfo when a mount comes or goes (proc_pid_mountinfo(5)); between such
//! moments this costs nothing.
//!
//! The invariant: only a list that was read to its end, twice, and does not have the mount says that
//! it is gone. No error does: a process that has no descriptor or no memory left still serves its
//! mount. So the list is read through the descriptor that is polled, which takes no other.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::mountinfo::{MOUNTINFO, lists};
use crate::fuse::timers::MOUNT_LIST_RETRY;

/// A list of mounts is read in steps of so many bytes, which the kernel fills a page at a time.
const STEP_BYTES: usize = 64 << 10;

/// Waits until no mount has this device number any more, or `stop` is readable.
pub(crate) fn wait_until_gone(device_number: u64, stop: &impl AsFd) {
    let mut list = List::default();
    let mut failure = None;
    loop {
        let wait = match list.lacks(device_number) {
            Ok(true) => return,
            Ok(false) => {
                failure = None;
                None
            }
            Err(error) => {
                // Said once, not once a second.
                if failure.replace(error.kind()) != Some(error.kind()) {
                    log::error!(
                        "cannot read {MOUNTINFO}, and so not see whether the mount is still \
                         there; this is tried again every second: {error}"
                    );
                }
                Some(MOUNT_LIST_RETRY)
            }
        };
        if list.wait_for_change(stop, wait) {
            return;
        }
    }
}

/// The list of mounts, opened once it can be.
#[derive(Default)]
struct List {
    /// Polling compares with the last poll of the same open file.
    file: Option<File>,
}

impl List {
    /// Whether no mount of ours with this number is in it.
    fn lacks(&mut self, device_number: u64) -> io::Result<bool> {
        // A long list is read in pieces, and may miss a line if it changes meanwhile: only a mount that is
        // missing twice is gone.
        Ok(!self.has(device_number)? && !self.has(device_number)?)
    }

    fn has(&mut self, device_number: u64) -> io::Result<bool> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(MOUNTINFO)?,
        };
        let file = self.file.insert(file);
        let (mut text, mut length) = (Vec::new(), 0);
        loop {
            text.resize(length + STEP_BYTES, 0);
            match file.read_at(&mut text[length..], length as u64) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(lists(&text[..length], device_number))
    }

    /// Waits until it may have changed, or for so long; says whether `stop` is readable.
    fn wait_for_change(&self, stop: impl AsFd, at_most: Option<Duration>) -> bool {
        let stop = stop.as_fd();
        let list = self.file.as_ref().map_or(stop, AsFd::as_fd);
        let mut polled = [
            PollFd::new(&stop, PollFlags::IN),
            PollFd::new(&list, PollFlags::PRI),
        ];
        let timeout = at_most.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => !polled[0].revents().is_empty(),
            Err(rustix::io::Errno::INTR) => false,
            Err(errno) => {
                log::error!("cannot wait for a change of {MOUNTINFO}: {errno}");
                std::thread::sleep(MOUNT_LIST_RETRY);
                false
            }
        }
    }
}

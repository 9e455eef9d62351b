//! Sees that a mount is gone, by whomever it was unmounted.
//!
//! The kernel wakes whoever polls a mountinfo when a mount comes or goes
//! (proc_pid_mountinfo(5)); between such moments this costs nothing.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};

use super::mountinfo::{MOUNTINFO, is_mounted};
use crate::error::{Error, Result};

/// Waits until no mount has this device number any more, or `stop` is readable.
pub(crate) fn wait_until_gone(device_number: u64, stop: &impl AsFd) -> Result<()> {
    let failed = |error| Error::io("watch", MOUNTINFO, error);
    // Polling compares with the last poll of the same open file.
    let changes = File::open(MOUNTINFO).map_err(failed)?;
    loop {
        // A long list is read in pieces, and may miss a line if it changes
        // meanwhile: only what is missing twice is gone.
        if !is_mounted(device_number)? && !is_mounted(device_number)? {
            return Ok(());
        }
        let mut polled = [
            PollFd::new(&changes, PollFlags::PRI),
            PollFd::new(stop, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))
            .map_err(|errno| failed(errno.into()))?;
        if !polled[1].revents().is_empty() {
            return Ok(());
        }
    }
}

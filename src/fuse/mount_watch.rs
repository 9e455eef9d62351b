//! Sees that a mount is gone, by whomever it was unmounted.
//!
//! The kernel wakes whoever polls `/proc/self/mountinfo` when a mount comes or
//! goes (proc_pid_mountinfo(5)); between such moments this costs nothing.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};

/// Waits until no mount has this device number any more, or the other end of
/// `stop` is closed.
pub(crate) fn wait_until_gone(device_number: u64, stop: &impl AsFd) -> io::Result<()> {
    let mut mountinfo = File::open("/proc/self/mountinfo")?;
    // Polling compares with the last poll of the same open file.
    let changes = File::open("/proc/self/mountinfo")?;
    let mut is_listed = || -> io::Result<bool> {
        let mut list = String::new();
        mountinfo.rewind()?;
        mountinfo.read_to_string(&mut list)?;
        Ok(lists(&list, device_number))
    };
    loop {
        // A long list is read in pieces, and may miss a line if it changes
        // meanwhile: only what is missing twice is gone.
        if !is_listed()? && !is_listed()? {
            return Ok(());
        }
        let mut polled = [
            PollFd::new(&changes, PollFlags::PRI),
            PollFd::new(stop, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
        if !polled[1].revents().is_empty() {
            return Ok(());
        }
    }
}

/// Whether a mount of this number is there. FUSE mounts have no block device:
/// their major number is 0.
fn lists(mountinfo: &str, device_number: u64) -> bool {
    let device = format!("0:{device_number}");
    mountinfo
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(&device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_known_by_its_whole_number() {
        let line = "36 35 0:42 / /mnt rw - fuse.fifofs fifofs rw\n";
        assert!(lists(line, 42));
        assert!(!lists(line, 4));
        assert!(!lists("", 42));
    }
}

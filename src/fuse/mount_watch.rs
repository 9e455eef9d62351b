//! Sees that a mount is gone, by whomever it was unmounted.
//!
//! The kernel wakes whoever polls `/proc/self/mountinfo` when a mount comes or
//! goes (proc_pid_mountinfo(5)); between such moments this costs nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};

/// Whether a mount of this number is there.
pub(crate) fn is_mounted(device_number: u64) -> io::Result<bool> {
    let list = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(lists(&list, device_number))
}

/// Waits until no mount has this device number any more, or `stop` is readable.
pub(crate) fn wait_until_gone(device_number: u64, stop: &impl AsFd) -> io::Result<()> {
    // Polling compares with the last poll of the same open file.
    let changes = File::open("/proc/self/mountinfo")?;
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

//! Signals for all processes of a session.
//!
//! Knows /proc and how to signal what it lists without hitting another that got its number. A
//! program that is run by a shell may have made process groups of its own, as timeout(1) does; the
//! session they are in stays the same.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal};

/// Sends a signal to every process of the session `leader`, but for the leader itself and those in
/// `but_group`.
pub(super) fn signal(leader: Pid, but_group: Option<Pid>, signal: Signal) {
    let Ok(entries) = fs::read_dir("/proc") else {
        return;
    };
    let numbers = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(number)
    });
    for pid in numbers.filter(|pid| *pid != leader) {
        // First, so that it is of the process that the session is asked of, or of none any more.
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        // SAFETY: both ask, and change nothing. rustix cannot give the 0 of what is outside of this pid
        // namespace.
        let (session, group) = unsafe { (libc::getsid(number(pid)), libc::getpgid(number(pid))) };
        if session == number(leader) && but_group.map(number) != Some(group) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
        }
    }
}

fn number(pid: Pid) -> libc::pid_t {
    pid.as_raw_nonzero().get()
}

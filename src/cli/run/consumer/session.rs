//! All processes of a session: sends them signals, and checks whether they have handled one.
//!
//! Knows /proc and how to signal its processes without hitting another with a reused id. A program
//! run by a shell may have made process groups of its own, as timeout(1) does; the session stays the
//! same.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};

/// Which processes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// Those that have a handler for the signal.
    Catching,
    NotCatching,
}

/// Context switches of each process. As long as they stay the same, the processes wait.
pub(super) type Done = Vec<(Pid, u64)>;

/// Sends a signal to processes of the session `leader`, but not to the leader itself; returns whether
/// there were any.
pub(super) fn signal(leader: Pid, which: Which, signal: Signal) -> bool {
    let mut is_any = false;
    for process in members(leader) {
        if process.is_meant(which, signal) {
            let sent = rustix::process::pidfd_send_signal(&process.pidfd, signal);
            is_any |= sent.is_ok();
        }
    }
    is_any
}

/// Their context switches, if each of these processes waits and has handled the signal. Only main
/// threads count: in Python that thread handles signals.
pub(super) fn at_rest(leader: Pid, which: Which, signal: Signal) -> Option<Done> {
    let mut done = Vec::new();
    for process in members(leader).filter(|process| process.is_meant(which, signal)) {
        if !process.has_handled(signal) {
            return None;
        }
        done.push((process.pid, process.switches?));
    }
    Some(done)
}

struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    state: char,
    caught: u64,
    /// Signals that are pending or blocked.
    held_back: u64,
    /// Context switches of its main thread.
    switches: Option<u64>,
}

impl Process {
    fn is_meant(&self, which: Which, signal: Signal) -> bool {
        let catches = self.caught & bit(signal) != 0;
        match which {
            Which::All => true,
            Which::Catching => catches,
            Which::NotCatching => !catches,
        }
    }

    fn has_handled(&self, signal: Signal) -> bool {
        let is_caught = self.caught & !self.held_back & bit(signal) != 0;
        is_caught && self.state == 'S'
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// The living processes of a session, without its leader.
fn members(leader: Pid) -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(move |pid| *pid != leader)
        .filter_map(move |pid| member(pid, leader))
}

fn member(pid: Pid, session: Pid) -> Option<Process> {
    let number = |pid: Pid| pid.as_raw_nonzero().get();
    // First, so that everything below is about this process, or about none if it has ended.
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // SAFETY: the call changes nothing. rustix cannot return the 0 of a process outside of this pid
    // namespace.
    if unsafe { libc::getsid(number(pid)) } != number(session) {
        return None;
    }
    // Unlike other files of that directory, it can be read without blocking at any time.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let mask = |name: &str| field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
    let count = |name: &str| field(name).and_then(|count| count.parse::<u64>().ok());
    let state = field("State:")?.chars().next()?;
    let switches = count("voluntary_ctxt_switches:").zip(count("nonvoluntary_ctxt_switches:"));
    let is_living = !['Z', 'X'].contains(&state);
    is_living.then_some(Process {
        pid,
        pidfd,
        state,
        caught: mask("SigCgt:")?,
        held_back: mask("SigPnd:")? | mask("ShdPnd:")? | mask("SigBlk:")?,
        switches: switches.map(|(voluntary, others)| voluntary + others),
    })
}

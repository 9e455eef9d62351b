//! What `/proc` says about processes and mounts.
//!
//! Knows the format of those files and nothing of who asks. The invariant: a process or a mount
//! that has gone meanwhile is absent from an answer, never a failure ([`memory_rss`] excepted,
//! which has no answer then).

use std::fs;
use std::path::Path;

/// A process as `/proc/PID/stat` has it.
pub(crate) struct Proc {
    pub(crate) pid: i32,
    pub(crate) ppid: i32,
    pub(crate) group: i32,
    pub(crate) state: char,
    pub(crate) comm: String,
}

/// All processes that can be seen.
pub(crate) fn processes() -> Vec<Proc> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// One process, if it is there.
pub(crate) fn process(pid: i32) -> Option<Proc> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // PID (COMM) STATE PPID PGRP …, and COMM may contain anything.
    let (start, rest) = stat.rsplit_once(')')?;
    let comm = start.split_once('(')?.1.to_owned();
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let ppid = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Proc {
        pid,
        ppid,
        group,
        state,
        comm,
    })
}

/// How many threads of a process group wait for an answer of a FUSE file system.
pub(crate) fn parked_in_group(group: i32) -> usize {
    processes()
        .into_iter()
        .filter(|process| process.group == group)
        .map(|process| {
            fs::read_dir(format!("/proc/{}/task", process.pid))
                .into_iter()
                .flatten()
                .flatten()
                .filter(|task| {
                    fs::read_to_string(task.path().join("wchan"))
                        .is_ok_and(|at| at.contains("fuse") || at.contains("request_wait"))
                })
                .count()
        })
        .sum()
}

/// The resident memory of a process in bytes.
pub(crate) fn memory_rss(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process's status");
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .expect("VmRSS");
    kibibytes << 10
}

/// The FUSE connection of what is mounted at `path`: the minor number of its device.
pub(crate) fn connection_of(path: &Path) -> Option<u32> {
    let path = path.to_str()?;
    fs::read_to_string("/proc/self/mountinfo")
        .ok()?
        .lines()
        .rev()
        .find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            // 36 35 0:57 / /mount/point …
            (fields.get(4) == Some(&path))
                .then(|| fields[2].split_once(':')?.1.parse().ok())
                .flatten()
        })
}

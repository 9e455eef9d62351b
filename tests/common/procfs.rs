//! Processes and mounts as `/proc` shows them.
//!
//! Knows the formats of those files, not its callers. Invariant: a process or a mount that has ended
//! meanwhile is absent from the result, never an error (except in [`memory_rss`], which has no result
//! then). And it reads no file that could block on a process which waits for its mount: `status` does
//! not block, `stat`, `cmdline` and `environ` do while such a process is in exec(2).

use std::fs;
use std::path::{Path, PathBuf};

/// A process as `/proc/PID/status` has it.
pub(crate) struct Proc {
    pub(crate) pid: i32,
    pub(crate) ppid: i32,
    pub(crate) group: i32,
    pub(crate) state: char,
    pub(crate) comm: String,
}

/// All visible processes.
pub(crate) fn processes() -> Vec<Proc> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// One process, if it exists.
pub(crate) fn process(pid: i32) -> Option<Proc> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim)
    };
    Some(Proc {
        pid,
        ppid: field("PPid")?.parse().ok()?,
        // One number for each pid namespace, beginning with that of the reader.
        group: field("NSpgid")?.split_whitespace().next()?.parse().ok()?,
        state: field("State")?.chars().next()?,
        comm: field("Name")?.to_owned(),
    })
}

/// The number of threads of a process group that wait for an answer of a FUSE filesystem.
pub(crate) fn parked_in_group(group: i32) -> usize {
    let mut processes = processes();
    processes.retain(|process| process.group == group);
    processes
        .iter()
        .map(|process| parked_threads(process.pid))
        .sum()
}

/// The number of such threads of a process.
pub(crate) fn parked_threads(pid: i32) -> usize {
    let waits = |task: &PathBuf| {
        fs::read_to_string(task.join("wchan"))
            .is_ok_and(|at| at.contains("fuse") || at.contains("request_wait"))
    };
    tasks(pid).filter(waits).count()
}

/// The directories of a process's threads in /proc.
pub(crate) fn tasks(pid: i32) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let entries = entries.into_iter().flatten().flatten();
    entries.map(|task| task.path())
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

/// The FUSE connection of the mount at `path`: the minor number of its device.
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

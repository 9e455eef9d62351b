//! Processes that use a mount and keep it busy, as far as this process may see.
//!
//! Knows `/proc` and the status document; changes nothing. The invariant: only a thread with a deadline reads
//! from the mount itself, so that a daemon that hangs blocks no caller.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::mountinfo::FoundMount;
use crate::core::CONTROL_NAME;
use crate::core::status::Status;
use crate::fuse::timers::STATUS_DEADLINE;
use crate::procfs::{field, hexadecimal, number};
use crate::router::{all_processes, has_descriptor, process_name};

/// The beginning of the names of a mount's helper processes.
const HELPER_PREFIX: &str = "fifofs-";

/// The processes that have something of a mount open, work in it, map its files, or wait in open(2): their
/// ids and names. Its own helpers do not count, nor does this process, which ends soon and may have inherited
/// a descriptor from one of the users.
pub(super) fn users_of(mount: &FoundMount) -> Vec<(i32, String)> {
    let holders = all_processes().filter(|pid| holds(*pid, mount));
    let holders = holders.map(|pid| (pid, process_name(pid)));
    let mut users: BTreeMap<i32, String> = holders.collect();
    users.extend(waiting_in(&mount.directory));
    let us = rustix::process::getpid().as_raw_pid();
    users.retain(|pid, name| *pid > 0 && *pid != us && !name.starts_with(HELPER_PREFIX));
    users.into_iter().collect()
}

fn holds(pid: i32, mount: &FoundMount) -> bool {
    // By fdinfo, which does not ask the filesystem.
    let is_there = |info: &[u8]| field(info, b"mnt_id:").and_then(number) == Some(mount.id);
    has_descriptor(pid, is_there)
        || is_in(pid, mount.device_number)
        || maps(pid, mount.device_number)
}

/// Whether its working or root directory is there.
fn is_in(pid: i32, device_number: u64) -> bool {
    ["cwd", "root"].into_iter().any(|link| {
        let path = format!("/proc/{pid}/{link}");
        // Only the device number is read, which the kernel knows by itself.
        let stat = rustix::fs::statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::empty());
        stat.is_ok_and(|stat| {
            stat.stx_dev_major == 0 && u64::from(stat.stx_dev_minor) == device_number
        })
    })
}

/// Whether it maps a file that is there, as a program that is executed does (proc_pid_maps(5)).
fn maps(pid: i32, device_number: u64) -> bool {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.split(|byte| *byte == b'\n').any(|line| {
        let device = line.split(|byte| *byte == b' ').nth(3);
        let minor = device.and_then(|device| device.strip_prefix(b"00:"));
        minor.and_then(hexadecimal) == Some(device_number)
    })
}

/// The processes whose open(2) waits, so that they have no descriptor yet.
fn waiting_in(directory: &Path) -> Vec<(i32, String)> {
    let path = directory.join(CONTROL_NAME).join("status");
    let (answer, answered) = mpsc::sync_channel(1);
    let ask = move || {
        // Without the permission to read it fewer users are found.
        let _ = answer.send(fs::read(path).unwrap_or_default());
    };
    let thread = std::thread::Builder::new().name("fifofs-status".to_owned());
    if thread.spawn(ask).is_err() {
        return Vec::new();
    }
    let text = answered.recv_timeout(STATUS_DEADLINE).unwrap_or_default();
    let status: Status = serde_json::from_slice(&text).unwrap_or_default();
    let readers = status.files.into_iter().flat_map(|file| file.readers);
    let readers = readers.chain(status.waiting);
    readers
        .map(|reader| (reader.pid.cast_signed(), reader.name))
        .collect()
}

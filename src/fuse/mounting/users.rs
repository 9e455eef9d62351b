//! Who uses a mount, as far as this process may see: why it is busy.
//!
//! Knows `/proc` and the status document; changes nothing. The invariant: the mount itself is asked
//! by a thread with a deadline only, so that a daemon that hangs keeps nobody waiting.

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

/// What the helper processes of a mount call themselves.
const HELPER_PREFIX: &str = "fifofs-";

/// The processes that have something of a mount open, work in it, map its files, or wait for one
/// to be opened: their ids and names. Its own helpers are none, nor is this process, which ends soon
/// and may have inherited a descriptor from one of them.
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
    // By fdinfo, which says it without asking the file system.
    let is_there = |info: &[u8]| field(info, b"mnt_id:").and_then(number) == Some(mount.id);
    has_descriptor(pid, is_there)
        || is_in(pid, mount.device_number)
        || maps(pid, mount.device_number)
}

/// Whether its working or root directory is there.
fn is_in(pid: i32, device_number: u64) -> bool {
    ["cwd", "root"].into_iter().any(|link| {
        let path = format!("/proc/{pid}/{link}");
        // Nothing but the device is asked for, which the kernel knows by itself.
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

/// Those whose open(2) waits, who have no descriptor yet.
fn waiting_in(directory: &Path) -> Vec<(i32, String)> {
    let path = directory.join(CONTROL_NAME).join("status");
    let (answer, answered) = mpsc::sync_channel(1);
    let ask = move || {
        // Who may not ask sees less.
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

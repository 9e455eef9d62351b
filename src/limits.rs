//! How much memory and disk a mount takes unless it is told.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The most memory that is taken without being told.
const MOST_MEMORY_BYTES: u64 = 1 << 30;

/// 1 GiB, or an eighth of what there is: in the machine, or in the control group
/// that this process is in, whichever has less.
pub(crate) fn default_memory() -> u64 {
    let machine = machine_memory();
    let available = control_group_memory().map_or(machine, |limit| limit.min(machine));
    MOST_MEMORY_BYTES.min(available / 8)
}

/// How much of one file the kernel holds before it writes it back: a hundredth of
/// what may be dirty at all, which is a part of the memory there is (fs/fuse:
/// `BDI_CAP_STRICTLIMIT` with a `max_ratio` of 1). Rounded up.
pub(crate) fn unseen_bytes() -> u64 {
    machine_memory() / 64
}

fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// The least `memory.max` of our control group and those above it (version 2).
fn control_group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    path.ancestors()
        .take_while(|group| group.starts_with("/sys/fs/cgroup"))
        .filter_map(|group| fs::read_to_string(group.join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}

/// Where bytes go that do not fit into memory, unless that is `given`: an absolute path, as a daemon
/// changes its working directory. Sees that there is such a directory, and warns if it is in memory
/// itself.
pub(crate) fn spill_directory(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(directory) = given {
        return check(&directory, "name another spill directory");
    }
    let directory = std::env::var_os("TMPDIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    check(&directory, "set $TMPDIR to another directory")
}

fn check(directory: &Path, remedy: &str) -> Result<PathBuf> {
    let failed = |error: std::io::Error| {
        Error::io("use for spilled bytes", directory, error).with_remedy(remedy)
    };
    if !fs::metadata(directory).map_err(failed)?.is_dir() {
        return Err(failed(std::io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    let file_system = rustix::fs::statfs(directory).map_err(|errno| failed(errno.into()))?;
    if file_system.f_type == libc::TMPFS_MAGIC {
        log::warn!(
            "{} is in memory (tmpfs): what is spilled there saves none; {remedy}",
            directory.display()
        );
    }
    // Better to hear of it now than when memory is full.
    tempfile::tempfile_in(directory).map_err(failed)?;
    directory.canonicalize().map_err(failed)
}

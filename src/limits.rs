//! Default limits of memory, disk and descriptors of a mount.

mod control_groups;

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::core::spool::{Limits, Pool};
use crate::error::{Error, Result};

/// The most memory that a mount takes by default.
const MOST_MEMORY_BYTES: u64 = 1 << 30;

/// Values that replace the defaults of [`pool`].
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Bytes in memory and on disk.
    pub(crate) max_size: Option<u64>,
    pub(crate) spill_directory: Option<PathBuf>,
}

/// 1 GiB, or an eighth of the memory there is, whichever is less: in the machine, in the address space
/// that this process may have (RLIMIT_AS), or in any of its control groups, which mostly contain the
/// programs whose output is kept, too.
pub(crate) fn default_memory() -> u64 {
    let limits = [
        getrlimit(Resource::As).current,
        control_groups::memory_limit(Path::new("/")),
    ];
    let available = limits
        .into_iter()
        .flatten()
        .fold(machine_memory(), u64::min);
    MOST_MEMORY_BYTES.min(available / 8)
}

/// How many bytes of one file the kernel holds before it writes them back: a hundredth of what may be
/// dirty at all, which is a part of the memory there is (fs/fuse: `BDI_CAP_STRICTLIMIT` with a
/// `max_ratio` of 1). Rounded up.
pub(crate) fn unseen_bytes() -> u64 {
    machine_memory() / 64
}

fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram as u64 * u64::from(info.mem_unit)
}

/// Where bytes go that do not fit into memory, by default: on disk rather than in `/tmp`, which is
/// often in memory. A container may have no `/var/tmp`.
pub(crate) fn default_spill_directory() -> PathBuf {
    let named = std::env::var_os("TMPDIR").filter(|directory| !directory.is_empty());
    let on_disk = Path::new("/var/tmp");
    match named {
        Some(directory) => directory.into(),
        None if on_disk.is_dir() => on_disk.into(),
        None => std::env::temp_dir(),
    }
}

/// Descriptors that a mount takes, including some for writing processes: each takes one.
const DESCRIPTORS: u64 = 32;

/// Refuses to mount if this process has too few descriptors left for a mount: nothing could be written
/// in it.
pub(crate) fn require_descriptors(directory: &Path) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit >= DESCRIPTORS {
        return Ok(());
    }
    let why = format!("a mount needs {DESCRIPTORS} descriptors, and this process may have {limit}");
    let error = Error::io("mount", directory, io::Error::other(why));
    Err(error.with_remedy("allow it more (`ulimit -n`)"))
}

/// The memory and disk of a mount: as `given`, or the defaults. Makes the spill file now: an error is
/// better at the start than when memory is full.
pub(crate) fn pool(given: Given) -> Result<Pool> {
    let (directory, remedy) = match given.spill_directory {
        Some(directory) => (directory, "name another spill directory"),
        None => {
            let remedy = "set $TMPDIR to another directory";
            (default_spill_directory(), remedy)
        }
    };
    let failed = |error: io::Error| {
        Error::io("make a file for spilled bytes in", &directory, error).with_remedy(remedy)
    };
    let pool = Pool::new(Limits {
        memory: given.memory.unwrap_or_else(default_memory),
        max_size: given.max_size,
        // Absolute, as a daemon changes its working directory.
        spill_directory: directory.canonicalize().map_err(failed)?,
    });
    pool.open_spill_file().map_err(failed)?;
    Ok(pool)
}

//! By what means this process may mount.
//!
//! Knows capabilities and where libfuse's helper is; mounts nothing.

use std::io;
use std::path::PathBuf;

use rustix::fs::Access;
use rustix::thread::{CapabilitySet, capabilities};

/// Whether mount(2) is allowed here.
pub(crate) fn may_mount() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Where `fusermount3` is: on the path, or where distributions put it.
///
/// # Errors
///
/// `NotFound`.
pub(crate) fn fusermount() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("fusermount3"))
        .find(|program| rustix::fs::access(program, Access::EXEC_OK).is_ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no fusermount3"))
}

//! The version of the kernel, for limitations that no request reveals.

/// Major and minor number.
pub(super) type Version = (u32, u32);

/// The first version that can map files with direct I/O (`FUSE_DIRECT_IO_ALLOW_MMAP`): streams, and all files that
/// `fifofs explain` watches.
pub(super) const MAPS_ALL: Version = (6, 6);

/// The version of the kernel, as numbers and as its own text.
pub(super) fn version() -> (Version, String) {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    ((next(), next()), release)
}

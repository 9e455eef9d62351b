//! The version of the kernel, for what it cannot do and no request tells.

/// Major and minor number.
pub(super) type Version = (u32, u32);

/// The first that maps files of a mount past the page cache (`FUSE_DIRECT_IO_ALLOW_MMAP`): streams, and whatever
/// `fifofs explain` watches.
pub(super) const MAPS_ALL: Version = (6, 6);

/// The kernel's version, and how it calls itself.
pub(super) fn version() -> (Version, String) {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    ((next(), next()), release)
}

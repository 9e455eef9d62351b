//! Programs that move bytes by splice(2), or by sendfile(2) into a pipe, through what has no size.
//!
//! Since Linux 6.5 splice(2) ends at the size of a file without asking the daemon: of a file without one it
//! moves nothing, and that looks like its end. The kernel has one size for that and for stat(2): since it
//! keeps sizes of files itself, for write-back, it takes the daemon's only when it first sees an inode. So a
//! program that is known to splice is shown a size of one byte, by an inode of its own. Its splice(2) then
//! asks for a page and is refused, upon which it reads.
//!
//! These programs are known by their names. Other programs would break if they saw that byte: Node reads as
//! many bytes as fstat(2) says. On older kernels nothing is changed: there splice(2) and copy_file_range(2)
//! read, and the latter ends at the size: GNU `cat` would copy the one byte.

/// As `ps` shows them: the `cat` of uutils and of busybox (Alpine's), also as a part of their one binary, and
/// `pv`. Other programs of those names are not affected: they read to the end whatever the size.
const SPLICERS: &[&str] = &["busybox", "cat", "coreutils", "pv"];

/// The size that these programs are shown.
pub(in crate::core) const SHOWN_BYTES: u64 = 1;

/// Whether a program of this name is one of them.
pub(in crate::core) fn is_splicer(program: &str) -> bool {
    SPLICERS.contains(&program)
}

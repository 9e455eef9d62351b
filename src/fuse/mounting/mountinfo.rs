//! What `/proc/thread-self/mountinfo` says: where fifofs is mounted, and which
//! mount holds a path.
//!
//! Knows the format of that file; does not know what is to be done about a
//! mount. The invariant: no function here touches a mount (stat, open,
//! readdir), so none can hang with a daemon that does not answer.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The mounts that the calling thread sees: it may have a mount namespace of its own.
pub(super) const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// The type under which the kernel lists our mounts.
pub(super) const FILE_SYSTEM_TYPE: &str = "fuse.fifofs";

/// A fifofs mount found in mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundMount {
    /// Where it is mounted.
    pub(crate) directory: PathBuf,
    /// The connection's number below `/sys/fs/fuse/connections`, which is the
    /// minor device number of the mount.
    pub(crate) device_number: u64,
    /// The mount's number in this namespace.
    pub(super) id: u64,
}

/// The fifofs mount that holds `path` (absolute and canonical), if one does.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(crate) fn find_mount(path: &Path) -> Result<Option<FoundMount>> {
    Ok(holder_of(path, &read_mountinfo()?))
}

/// Where fifofs is mounted, in the order of mounting.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(crate) fn all_mounts() -> Result<Vec<PathBuf>> {
    let mountinfo = read_mountinfo()?;
    let ours = mount_lines(&mountinfo).filter(|line| line.is_fifofs());
    Ok(ours.map(|line| line.directory()).collect())
}

/// Whether a fifofs mount of this number is there.
pub(crate) fn is_mounted(device_number: u64) -> Result<bool> {
    Ok(lists(&read_mountinfo()?, device_number))
}

/// Whether a list of mounts has a fifofs mount of this number.
pub(super) fn lists(mountinfo: &[u8], device_number: u64) -> bool {
    mount_lines(mountinfo)
        .any(|line| line.is_fifofs() && line.device_number() == Some(device_number))
}

/// The fifofs mount exactly at `directory`.
pub(super) fn mount_at(directory: &Path) -> Result<Option<FoundMount>> {
    Ok(find_mount(directory)?.filter(|mount| mount.directory == directory))
}

/// One line of mountinfo, still escaped. Parsing allocates nothing, so that the
/// watchdog can use it after its fork. See proc_pid_mountinfo(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountLine<'a> {
    /// The mount's number.
    id: &'a [u8],
    /// `major:minor`; for FUSE the minor is the connection's number.
    pub(crate) device: &'a [u8],
    /// The mount point, octal escapes in it.
    pub(crate) escaped_point: &'a [u8],
    /// The type, with its subtype.
    pub(crate) file_system: &'a [u8],
}

impl<'a> MountLine<'a> {
    /// The parts of `line` (without its newline), if it is a line of mountinfo.
    pub(crate) fn parse(line: &'a [u8]) -> Option<MountLine<'a>> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = fields.next()?;
        let device = fields.nth(1)?;
        let escaped_point = fields.nth(1)?;
        // Options, then any number of optional fields, then a lone hyphen.
        fields.find(|field| *field == b"-")?;
        Some(MountLine {
            id,
            device,
            escaped_point,
            file_system: fields.next()?,
        })
    }

    pub(crate) fn is_fifofs(&self) -> bool {
        self.file_system == FILE_SYSTEM_TYPE.as_bytes()
    }

    pub(crate) fn device_number(&self) -> Option<u64> {
        number(self.device.rsplit(|byte| *byte == b':').next()?)
    }

    fn directory(&self) -> PathBuf {
        unescape(self.escaped_point)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// A mount point as mountinfo writes it: space, tab, newline and backslash in
/// octal (`seq_path_root` in the kernel's `fs/proc_namespace.c`).
pub(crate) fn escape(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            _ => escaped.push(byte),
        }
    }
    escaped
}

fn unescape(escaped: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if byte == b'\\' => {
                path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => path.push(byte),
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

pub(super) fn read_mountinfo() -> Result<Vec<u8>> {
    fs::read(MOUNTINFO).map_err(|error| {
        Error::io("read", MOUNTINFO, error).with_remedy("see that /proc is mounted")
    })
}

fn mount_lines(mountinfo: &[u8]) -> impl Iterator<Item = MountLine<'_>> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(MountLine::parse)
}

/// The topmost mount that holds `path`, of any type; then, whether it is ours.
/// (A later mount on the same directory hides the earlier ones.)
fn holder_of(path: &Path, mountinfo: &[u8]) -> Option<FoundMount> {
    mount_lines(mountinfo)
        .filter(|line| path.starts_with(line.directory()))
        .max_by_key(|line| line.directory().as_os_str().len())
        .filter(MountLine::is_fifofs)
        .and_then(|line| {
            Some(FoundMount {
                directory: line.directory(),
                device_number: line.device_number()?,
                id: number(line.id)?,
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::mounting::testing::{Cleanup, mount};
    use crate::fuse::mounting::{IfBusy, MountOptions, unmount};

    #[test]
    fn names_that_mountinfo_escapes_are_found() {
        let base = Cleanup::new();
        for name in [
            "a b", "a\\b", "a\\040b", "a\nb", "a\tb", "a#b", "äöü", " - ",
        ] {
            let mounted = mount(&base.join(name), &MountOptions::default()).unwrap();
            assert!(all_mounts().unwrap().contains(&base.join(name)), "{name:?}");
            let mountinfo = read_mountinfo().unwrap();
            let escaped = escape(&mounted.directory);
            assert!(mount_lines(&mountinfo).any(|line| line.escaped_point == escaped));
            unmount(&base.join(name), IfBusy::Refuse).unwrap();
        }
    }

    #[test]
    fn a_mount_is_known_by_its_whole_number_beside_names_that_are_not_unicode() {
        let mountinfo = b"40 22 0:42 / /\xff rw - fuse.fifofs fifofs rw\n";
        assert!(lists(mountinfo, 42));
        assert!(!lists(mountinfo, 4) && !lists(mountinfo, 2) && !lists(b"", 42));
        let base = Cleanup::new();
        let directory = base.join(OsString::from_vec(b"\xff\xfe".to_vec()));
        mount(&directory, &MountOptions::default()).unwrap();
        let found = mount_at(&directory).unwrap().unwrap();
        assert!(is_mounted(found.device_number).unwrap());
        unmount(&directory, IfBusy::Refuse).unwrap();
    }

    #[test]
    fn the_longest_prefix_holds_a_path_and_later_lines_hide_earlier_ones() {
        let mountinfo = b"\
            22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            40 22 0:50 / /a rw,nosuid shared:3 master:1 - fuse.fifofs fifofs rw,user_id=0\n\
            41 40 0:51 / /a/b\\040c rw - fuse.fifofs fifofs rw\n\
            42 22 0:52 / /t rw - fuse.fifofs fifofs rw\n\
            43 42 0:53 / /t rw - tmpfs tmpfs rw\n\
            broken line\n";
        let number = |path: &str| holder_of(Path::new(path), mountinfo).map(|m| m.device_number);
        assert_eq!(number("/a"), Some(50));
        assert_eq!(number("/a/b/x"), Some(50));
        assert_eq!(number("/a/b c/x"), Some(51));
        assert_eq!(number("/ab"), None);
        assert_eq!(number("/t/x"), None);
        assert_eq!(number("/"), None);
    }

    #[test]
    fn escapes_are_undone_and_stray_backslashes_kept() {
        assert_eq!(unescape(br"/a\040b\134c\012"), Path::new("/a b\\c\n"));
        assert_eq!(unescape(br"/a\4\\"), Path::new(r"/a\4\\"));
        assert_eq!(escape(Path::new("/a b\\\n\t")), br"/a\040b\134\012\011");
    }
}

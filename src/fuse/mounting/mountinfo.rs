//! What `/proc/thread-self/mountinfo` says: where fifofs is mounted, and which
//! mount holds a path.
//!
//! Knows the format of that file; does nothing to a mount. The invariant: no function here touches a mount
//! (stat, open, readdir), so none can hang with a daemon that does not answer.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::procfs::number;

/// The mounts that the calling thread sees: it may have a mount namespace of its own.
pub(super) const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// The type under which the kernel lists our mounts.
pub(super) const FILE_SYSTEM_TYPE: &str = "fuse.fifofs";

/// A fifofs mount found in mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundMount {
    /// Where it is mounted.
    pub(crate) directory: PathBuf,
    /// What of it is there: `/`, or below that what a bind mount shows of it.
    pub(crate) root: PathBuf,
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

/// The fifofs mount that holds `path`, and where the path is in that. Of a bind mount of a part, in
/// which there is no `.fifofs`, it is the mount of the whole.
///
/// # Errors
///
/// If mountinfo cannot be read, or only a part is in sight.
pub(crate) fn find_whole(path: &Path) -> Result<Option<(FoundMount, PathBuf)>> {
    let mountinfo = read_mountinfo()?;
    let Some(holder) = holder_of(path, &mountinfo) else {
        return Ok(None);
    };
    let inside = path.strip_prefix(&holder.directory).unwrap_or(path);
    if holder.is_whole() {
        let inside = inside.to_owned();
        return Ok(Some((holder, inside)));
    }
    let is_there = |mount: &FoundMount| {
        mount.device_number == holder.device_number
            && mount.is_whole()
            && mount.is_topmost(&mountinfo)
    };
    let Some(whole) = fifofs_mounts(&mountinfo).find(is_there) else {
        let reason = format!(
            "only {} of a fifofs mount is at {}, without its directory .fifofs",
            holder.root.display(),
            holder.directory.display()
        );
        let error = Error::io("find the mount of", path, std::io::Error::other(reason));
        return Err(error
            .with_remedy("bind all of the mount there (`mount --bind`), not a directory of it"));
    };
    let inside: PathBuf = holder.root.join(inside).components().skip(1).collect();
    Ok(Some((whole, inside)))
}

/// Where fifofs is mounted, or a part of it, in the order of mounting.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(crate) fn all_mounts() -> Result<Vec<PathBuf>> {
    let mounts = fifofs_mounts(&read_mountinfo()?)
        .map(|mount| mount.directory)
        .collect();
    Ok(mounts)
}

/// Where all of a fifofs mount is, in the order of mounting.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(crate) fn whole_mounts() -> Result<Vec<PathBuf>> {
    let mountinfo = read_mountinfo()?;
    let whole = fifofs_mounts(&mountinfo).filter(FoundMount::is_whole);
    Ok(whole.map(|mount| mount.directory).collect())
}

/// Where the fifofs mount of this number is, or a part of it, each with whether nothing else is
/// mounted over it.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(super) fn places_of(device_number: u64) -> Result<Vec<(PathBuf, bool)>> {
    let mountinfo = read_mountinfo()?;
    let places = fifofs_mounts(&mountinfo).filter(|mount| mount.device_number == device_number);
    let places = places.map(|mount| {
        let is_topmost = mount.is_topmost(&mountinfo);
        (mount.directory, is_topmost)
    });
    Ok(places.collect())
}

/// What is mounted below a directory, of any type.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(super) fn mounts_below(directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(below(directory, &read_mountinfo()?))
}

fn below(directory: &Path, mountinfo: &[u8]) -> Vec<PathBuf> {
    let places = mount_lines(mountinfo).map(|line| line.directory());
    let below = places.filter(|place| place.starts_with(directory) && place != directory);
    let mut below: Vec<PathBuf> = below.collect();
    below.dedup();
    below
}

/// Whether a list of mounts has a fifofs mount of this number.
pub(super) fn lists(mountinfo: &[u8], device_number: u64) -> bool {
    mount_lines(mountinfo)
        .any(|line| line.is_fifofs() && line.device_number() == Some(device_number))
}

impl FoundMount {
    /// Not a bind mount of a part.
    fn is_whole(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Nothing else is mounted over it.
    fn is_topmost(&self, mountinfo: &[u8]) -> bool {
        holder_of(&self.directory, mountinfo).is_some_and(|holder| holder.id == self.id)
    }
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
    /// What of the file system is mounted, octal escapes in it.
    escaped_root: &'a [u8],
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
        let escaped_root = fields.next()?;
        let escaped_point = fields.next()?;
        // Options, then any number of optional fields, then a lone hyphen.
        fields.find(|field| *field == b"-")?;
        Some(MountLine {
            id,
            device,
            escaped_root,
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
    PathBuf::from(OsString::from_vec(unescaped(escaped).collect()))
}

/// The bytes of an escaped path. It allocates nothing.
pub(crate) fn unescaped(escaped: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = escaped;
    std::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        let (byte, tail) = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if byte == b'\\' => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
            }
            _ => (byte, tail),
        };
        rest = tail;
        Some(byte)
    })
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
        .and_then(|line| found(&line))
}

fn fifofs_mounts(mountinfo: &[u8]) -> impl Iterator<Item = FoundMount> {
    mount_lines(mountinfo).filter_map(|line| found(&line))
}

/// What a line says, if it is of a fifofs mount.
fn found(line: &MountLine<'_>) -> Option<FoundMount> {
    line.is_fifofs().then_some(())?;
    Some(FoundMount {
        directory: line.directory(),
        root: unescape(line.escaped_root),
        device_number: line.device_number()?,
        id: number(line.id)?,
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
        assert_eq!(
            places_of(found.device_number).unwrap(),
            [(directory.clone(), true)]
        );
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
    fn what_is_mounted_below_a_directory_is_found_whatever_its_type() {
        let mountinfo = b"\
            40 22 0:50 / /a rw - fuse.fifofs fifofs rw\n\
            41 40 0:51 / /a/s\\040b rw - tmpfs tmpfs rw\n\
            42 40 0:52 / /a/c rw - fuse.fifofs fifofs rw\n\
            43 22 0:53 / /ab rw - tmpfs tmpfs rw\n";
        assert_eq!(
            below(Path::new("/a"), mountinfo),
            [Path::new("/a/s b"), Path::new("/a/c")]
        );
        assert!(below(Path::new("/a/c"), mountinfo).is_empty());
    }

    #[test]
    fn a_mount_below_another_is_not_the_topmost() {
        let mountinfo = b"\
            40 22 0:50 / /a rw - fuse.fifofs fifofs rw\n\
            41 22 0:50 /s\\040b /p rw - fuse.fifofs fifofs rw\n\
            42 22 0:52 / /t rw - fuse.fifofs fifofs rw\n\
            43 42 0:53 / /t rw - tmpfs tmpfs rw\n";
        let found: Vec<_> = fifofs_mounts(mountinfo)
            .map(|mount| (mount.is_whole(), mount.is_topmost(mountinfo), mount.root))
            .collect();
        let expected = [(true, true, "/"), (false, true, "/s b"), (true, false, "/")];
        assert_eq!(
            found,
            expected.map(|(whole, topmost, root)| (whole, topmost, root.into()))
        );
    }

    #[test]
    fn escapes_are_undone_and_stray_backslashes_kept() {
        assert_eq!(unescape(br"/a\040b\134c\012"), Path::new("/a b\\c\n"));
        assert_eq!(unescape(br"/a\4\\"), Path::new(r"/a\4\\"));
        assert_eq!(escape(Path::new("/a b\\\n\t")), br"/a\040b\134\012\011");
    }
}

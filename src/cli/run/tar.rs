//! Packs all files that a program left in a mount as a tar stream.
//!
//! Knows files, their holes and their order. Invariants: the same files give the same stream;
//! symbolic links are stored, never followed; and the kernel is not asked, as this process serves
//! the mount: if it were killed during such a wait, it would stay.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use fifofs::{Entry, EntryKind, MountView};
use tar::{Builder, EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::cli::text::say;

/// Permissions with the set-id and sticky bits.
const MODE_BITS: u32 = 0o7777;

/// How much of a file is read at once.
const PIECE_BYTES: u64 = 256 << 10;

/// Writes all files of a mount, ordered by name, as tar to `output`.
pub(super) fn write(view: &MountView, output: impl Write) -> io::Result<()> {
    let mut archive = Archive {
        view,
        builder: Builder::new(output),
        linked: HashMap::new(),
    };
    for entry in view.entries() {
        archive.add(&entry)?;
    }
    archive.builder.into_inner()?.flush()
}

struct Archive<'a, W: Write> {
    view: &'a MountView,
    builder: Builder<W>,
    /// The first name of each file with several names, by inode number.
    linked: HashMap<u64, PathBuf>,
}

impl<W: Write> Archive<'_, W> {
    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let mut header = header(entry);
        let path = &entry.path;
        if entry.kind != EntryKind::Directory && entry.links > 1 {
            if let Some(first) = self.linked.get(&entry.inode) {
                header.set_entry_type(EntryType::Link);
                return self.builder.append_link(&mut header, path, first);
            }
            self.linked.insert(entry.inode, path.clone());
        }
        let kind = match (entry.kind, &entry.target) {
            (EntryKind::File, _) => return self.add_file(entry, header),
            (EntryKind::Symlink, Some(target)) => {
                header.set_entry_type(EntryType::Symlink);
                return self.builder.append_link(&mut header, path, target);
            }
            (EntryKind::Directory, _) => EntryType::Directory,
            _ if entry.mode & libc::S_IFMT == libc::S_IFIFO => EntryType::Fifo,
            _ => {
                say(&format!(
                    "'{}' is left out of the archive, which has only files, directories, links and FIFOs",
                    path.display()
                ));
                return Ok(());
            }
        };
        header.set_entry_type(kind);
        self.builder.append_data(&mut header, path, io::empty())
    }

    fn add_file(&mut self, entry: &Entry, mut header: Header) -> io::Result<()> {
        // It may have been removed a moment ago.
        let Some(mut ranges) = self.view.data_ranges(entry.inode) else {
            return Ok(());
        };
        let length = |ranges: &[Range<u64>]| ranges.iter().map(|r| r.end - r.start).sum();
        let mut maps = Vec::new();
        if length(&ranges) < entry.size {
            // As GNU tar does, whether the file ends with a hole or not.
            ranges.push(entry.size..entry.size);
            maps = sparse(&mut header, entry.size, &ranges);
        }
        header.set_size(length(&ranges));
        let content = Content::new(self.view, entry.inode, ranges);
        let content = io::Cursor::new(maps).chain(content);
        self.builder.append_data(&mut header, &entry.path, content)
    }
}

/// Makes `header` that of a sparse file with only `ranges` in the archive ("Old GNU Format" of
/// "Storing Sparse Files" in tar's manual); returns the blocks that follow it.
fn sparse(header: &mut Header, size: u64, ranges: &[Range<u64>]) -> Vec<u8> {
    let fill = |fields: &mut [GnuSparseHeader], ranges: &[Range<u64>]| {
        for (field, range) in fields.iter_mut().zip(ranges) {
            field.set_offset(range.start);
            field.set_length(range.end - range.start);
        }
    };
    let mut blocks = Vec::new();
    header.set_entry_type(EntryType::GNUSparse);
    if let Some(header) = header.as_gnu_mut() {
        let (first, others) = ranges.split_at(ranges.len().min(header.sparse.len()));
        header.set_real_size(size);
        header.set_is_extended(!others.is_empty());
        fill(&mut header.sparse, first);
        let mut others = others
            .chunks(GnuExtSparseHeader::new().sparse.len())
            .peekable();
        while let Some(ranges) = others.next() {
            let mut block = GnuExtSparseHeader::new();
            fill(&mut block.sparse, ranges);
            block.set_is_extended(others.peek().is_some());
            blocks.extend_from_slice(block.as_bytes());
        }
    }
    blocks
}

/// As many bytes of a file as its header says: if it shrinks while it is read, that is an error, as
/// the archive would be broken.
struct Content<'a> {
    view: &'a MountView,
    inode: u64,
    /// Bytes that were read and not passed on yet.
    piece: io::Cursor<Vec<u8>>,
    /// The range to read next, and those after it.
    range: Range<u64>,
    ranges: std::vec::IntoIter<Range<u64>>,
}

impl<'a> Content<'a> {
    fn new(view: &'a MountView, inode: u64, ranges: Vec<Range<u64>>) -> Self {
        Content {
            view,
            inode,
            piece: io::Cursor::default(),
            range: 0..0,
            ranges: ranges.into_iter(),
        }
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let given = self.piece.read(buffer)?;
        if given > 0 || buffer.is_empty() {
            return Ok(given);
        }
        while self.range.is_empty() {
            match self.ranges.next() {
                Some(range) => self.range = range,
                None => return Ok(0),
            }
        }
        let length = (self.range.end - self.range.start).min(PIECE_BYTES) as usize;
        let piece = self.view.read_at(self.inode, self.range.start, length)?;
        if piece.is_empty() {
            let reason = "a file became shorter while it was packed";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        self.range.start += piece.len() as u64;
        self.piece = io::Cursor::new(piece);
        self.piece.read(buffer)
    }
}

fn header(entry: &Entry) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode & MODE_BITS);
    header.set_uid(entry.uid.into());
    header.set_gid(entry.gid.into());
    header.set_size(0);
    // tar has no times before 1970.
    let modified = entry.modified.duration_since(UNIX_EPOCH);
    header.set_mtime(modified.map_or(0, |time| time.as_secs()));
    header
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use fifofs::Mount;

    use super::*;

    fn mount() -> Mount {
        Mount::builder().mount_temporary().expect("a mount")
    }

    fn packed(mount: &Mount) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mount.view(), &mut bytes).expect("an archive");
        bytes
    }

    /// The names in their order, with kind, mode and content or target.
    fn listed(bytes: &[u8]) -> Vec<(String, String)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().expect("entries");
        let describe = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a path").display().to_string();
            let mode = entry.header().mode().expect("a mode");
            let kind = entry.header().entry_type();
            let link = entry
                .link_name()
                .expect("a link")
                .map(|path| path.display().to_string());
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("UTF-8");
            (
                name,
                format!("{kind:?} {mode:o} {}{content}", link.unwrap_or_default()),
            )
        };
        entries.map(describe).collect()
    }

    #[test]
    fn all_kinds_of_files_are_there_in_the_order_of_their_names() {
        let place = mount();
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("deep")).expect("mkdir");
        fs::set_permissions(at("deep"), fs::Permissions::from_mode(0o750)).expect("chmod");
        fs::create_dir(at("void")).expect("mkdir");
        fs::set_permissions(at("void"), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::write(at("deep/x"), "content").expect("write");
        fs::set_permissions(at("deep/x"), fs::Permissions::from_mode(0o4711)).expect("chmod");
        fs::hard_link(at("deep/x"), at("same")).expect("link");
        symlink("/etc/passwd", at("away")).expect("symlink");
        let listed = listed(&packed(&place));
        let expected = [
            ("away", "Symlink 777 /etc/passwd"),
            ("deep", "Directory 750 "),
            ("deep/x", "Regular 4711 content"),
            ("same", "Link 4711 deep/x"),
            ("void", "Directory 755 "),
        ];
        let listed: Vec<(&str, &str)> = listed
            .iter()
            .map(|(name, what)| (name.trim_end_matches('/'), what.as_str()))
            .collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn times_and_long_names_are_kept_when_it_is_unpacked() {
        let place = mount();
        let name = format!("{}/{}", "d".repeat(120), "f".repeat(200));
        let path = place.path().join(&name);
        fs::create_dir(path.parent().expect("a parent")).expect("mkdir");
        fs::write(&path, "x").expect("write");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
        fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(time))
            .expect("a time");
        let bytes = packed(&place);
        assert_eq!(bytes, packed(&place));
        let out = tempfile::tempdir().expect("a directory");
        tar::Archive::new(&bytes[..])
            .unpack(out.path())
            .expect("unpack");
        let metadata = fs::metadata(out.path().join(&name)).expect("the file");
        assert_eq!(metadata.modified().expect("a time"), time);
    }

    #[test]
    fn holes_take_no_room_in_the_archive_and_stay_holes() {
        let place = mount();
        let path = place.path().join("x");
        fs::write(&path, "start").expect("write");
        let file = fs::File::options().write(true).open(&path).expect("open");
        let length = 64 << 20;
        for offset in (1 << 20..length).step_by(1 << 20) {
            rustix::io::pwrite(&file, b"data", offset).expect("write");
        }
        rustix::fs::ftruncate(&file, length).expect("a length");
        fs::File::create(place.path().join("y"))
            .and_then(|file| file.set_len(length))
            .expect("a hole alone");
        let bytes = packed(&place);
        assert!(bytes.len() < 1 << 20, "{} bytes", bytes.len());
        let out = tempfile::tempdir().expect("a directory");
        tar::Archive::new(&bytes[..])
            .unpack(out.path())
            .expect("unpack");
        for name in ["x", "y"] {
            let read = |place: &Path| fs::read(place.join(name)).expect("read");
            assert!(read(place.path()) == read(out.path()), "{name}");
        }
    }
}

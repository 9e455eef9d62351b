//! All that a program left in a directory, as a tar stream.
//!
//! Knows files, their holes and the order they are in; knows nothing of mounts. The invariant: the same files
//! give the same stream, and nothing outside of the directory is read: symbolic links are stored,
//! never followed.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header, HeaderMode};

/// What a name may have beyond that of the owner, group and others: set-id bits and the sticky one.
const MODE_BITS: u32 = 0o7777;

/// What `st_blocks` counts, see stat(2).
const BLOCK_BYTES: u64 = 512;

/// Writes the files below `directory`, in the order of their names, as tar to `output`.
pub(super) fn write(directory: &Path, output: impl Write) -> io::Result<()> {
    let mut archive = Archive {
        root: directory,
        builder: Builder::new(output),
        linked: HashMap::new(),
    };
    archive.add_directory(Path::new(""))?;
    archive.builder.into_inner()?.flush()
}

struct Archive<'a, W: Write> {
    root: &'a Path,
    builder: Builder<W>,
    /// The first name of each file that has several, by device and number.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Archive<'_, W> {
    /// What is in a directory, which is given as its path from the root.
    fn add_directory(&mut self, inside: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(inside))? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names {
            let inside = inside.join(name);
            // What was there a moment ago may be gone.
            match fs::symlink_metadata(self.root.join(&inside)) {
                Ok(metadata) => self.add(&inside, &metadata)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn add(&mut self, inside: &Path, metadata: &Metadata) -> io::Result<()> {
        let mut header = header(metadata);
        let kind = metadata.file_type();
        if !kind.is_dir() && metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            if let Some(first) = self.linked.get(&file) {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                return self.builder.append_link(&mut header, inside, first);
            }
            self.linked.insert(file, inside.to_owned());
        }
        if kind.is_dir() {
            self.builder.append_data(&mut header, inside, io::empty())?;
            self.add_directory(inside)
        } else if kind.is_symlink() {
            let target = fs::read_link(self.root.join(inside))?;
            self.builder.append_link(&mut header, inside, target)
        } else if kind.is_file() {
            self.add_file(inside, &mut header)
        } else if kind.is_fifo() {
            self.builder.append_data(&mut header, inside, io::empty())
        } else {
            log::warn!(
                "{}: left out, as tar has no sockets and devices",
                inside.display()
            );
            Ok(())
        }
    }

    fn add_file(&mut self, inside: &Path, header: &mut Header) -> io::Result<()> {
        let mut options = fs::File::options();
        // Nobody can put a link or a FIFO in its place meanwhile.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = options
            .read(true)
            .custom_flags(flags)
            .open(self.root.join(inside))?;
        let metadata = file.metadata()?;
        let length = metadata.len();
        if metadata.blocks() * BLOCK_BYTES < length {
            // Finds its holes, and makes a header of its own.
            return self.builder.append_file(inside, &mut file);
        }
        header.set_size(length);
        let mut content = Exactly(file.take(length));
        self.builder.append_data(header, inside, &mut content)
    }
}

/// As many bytes of a file as its header says: one that shrinks while it is read is an error, as
/// the archive would be broken.
struct Exactly(io::Take<fs::File>);

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.read(buffer)?;
        if length == 0 && self.0.limit() > 0 && !buffer.is_empty() {
            let reason = "a file became shorter while it was packed";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        Ok(length)
    }
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(metadata, HeaderMode::Complete);
    header.set_mode(metadata.mode() & MODE_BITS);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    fn packed(directory: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(directory, &mut bytes).expect("an archive");
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
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        fs::create_dir(at("deep")).expect("mkdir");
        fs::set_permissions(at("deep"), fs::Permissions::from_mode(0o750)).expect("chmod");
        fs::create_dir(at("void")).expect("mkdir");
        fs::set_permissions(at("void"), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::write(at("deep/x"), "content").expect("write");
        fs::set_permissions(at("deep/x"), fs::Permissions::from_mode(0o4711)).expect("chmod");
        fs::hard_link(at("deep/x"), at("same")).expect("link");
        symlink("/etc/passwd", at("away")).expect("symlink");
        let listed = listed(&packed(place.path()));
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
        let place = tempfile::tempdir().expect("a directory");
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
        let bytes = packed(place.path());
        assert_eq!(bytes, packed(place.path()));
        let out = tempfile::tempdir().expect("a directory");
        tar::Archive::new(&bytes[..])
            .unpack(out.path())
            .expect("unpack");
        let metadata = fs::metadata(out.path().join(&name)).expect("the file");
        assert_eq!(metadata.modified().expect("a time"), time);
    }

    #[test]
    fn holes_take_no_room_in_the_archive_and_stay_holes() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("x");
        fs::write(&path, "start").expect("write");
        let file = fs::File::options().write(true).open(&path).expect("open");
        let length = 64 << 20;
        for offset in (8 << 20..length).step_by(8 << 20) {
            rustix::io::pwrite(&file, b"data", offset).expect("write");
        }
        rustix::fs::ftruncate(&file, length).expect("a length");
        fs::File::create(place.path().join("y"))
            .and_then(|file| file.set_len(length))
            .expect("a hole alone");
        let bytes = packed(place.path());
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

    #[test]
    fn files_whose_links_are_elsewhere_are_packed_with_content() {
        let place = tempfile::tempdir().expect("a directory");
        let inside = place.path().join("in");
        fs::create_dir(&inside).expect("mkdir");
        fs::write(place.path().join("outside"), "content").expect("write");
        fs::hard_link(place.path().join("outside"), inside.join("x")).expect("link");
        let listed: BTreeMap<_, _> = listed(&packed(&inside)).into_iter().collect();
        assert!(listed["x"].ends_with("content"));
    }
}

//! Chunks on disk: one unlinked file for all files of a mount, and places in it.
//!
//! Knows how to make a file without a name and which parts of it are free; knows nothing of the bytes, the
//! files that they belong to, or offsets in these. Invariants: it takes one descriptor, however much it
//! holds; a place is not reused before its last holder has dropped it; and `used` is the number of bytes
//! written to the existing places.
//!
//! Some of the freed space keeps its blocks, for reuse soon; the rest becomes holes, many places at a time;
//! when the disk is full all of it does. On a filesystem that cannot punch holes all of it is kept until it
//! is reused, or until no place is left.
//!
//! Places give themselves back when dropped, maybe on a reader's thread; hence the mutex around the space. It
//! is a leaf of the lock order: it is held for a look at a few ranges, and nothing is locked, written or
//! waited for meanwhile.

use std::fs::{File, Permissions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::extents::Extents;
use super::memory::CHUNK_BYTES;
use crate::sync::lock;

/// Freed bytes that keep their blocks: enough to punch holes for hundreds of places at once, and little
/// beside the size of a disk.
const IDLE_BYTES_MAX: u64 = 16 << 20;

/// The file that chunks spill to, divided into places of one chunk each. A chunk's place is independent of
/// its offset in its own file.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    /// Made before it is needed, so that a mount which may have no more descriptors can spill.
    file: OnceLock<File>,
    /// Bytes in places.
    used: AtomicU64,
    /// Guards the warning at the first spill.
    begun: Once,
    /// Guards the report of a limit that the file has reached.
    limited: Once,
    /// Leaf lock.
    space: Mutex<Space>,
}

/// Free space, in whole places.
#[derive(Debug, Default)]
struct Space {
    /// Freed, and still with blocks.
    idle: Extents,
    /// Freed, and made holes.
    holes: Extents,
    /// The end of the part of the file that was ever used.
    end: u64,
    /// Number of places taken.
    taken: u64,
    /// Whether the filesystem has refused to punch holes.
    keeps_blocks: bool,
}

impl Spill {
    /// Spills to a file in `directory`, which is not made yet.
    pub(super) fn new(directory: PathBuf) -> Arc<Spill> {
        Arc::new(Spill {
            directory,
            file: OnceLock::new(),
            used: AtomicU64::new(0),
            begun: Once::new(),
            limited: Once::new(),
            space: Mutex::default(),
        })
    }

    /// Where the file is made.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Bytes in places.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Freed bytes that still take blocks.
    pub(super) fn idle(&self) -> u64 {
        lock(&self.space).idle.total()
    }

    /// The file, made if there is none yet.
    ///
    /// # Errors
    /// Of making it.
    pub(super) fn open(&self) -> io::Result<&File> {
        match self.file.get() {
            Some(file) => Ok(file),
            None => {
                let made = unlinked_file(&self.directory)?;
                Ok(self.file.get_or_init(|| made))
            }
        }
    }

    /// Writes one chunk's bytes to a new place.
    ///
    /// # Errors
    /// ENOSPC if there is no file and none can be made, whatever the reason: the ENOENT of a missing spill
    /// directory, say, would only mislead the program that writes. The log has the reason. Else those of
    /// [`Place::append`].
    pub(super) fn store(self: &Arc<Self>, bytes: &[u8]) -> Result<Place, Errno> {
        self.with_idle_space(|| self.store_in_free_space(bytes))
    }

    /// Calls `write`; on a full disk punches holes in the freed space and calls it once more.
    fn with_idle_space<T>(&self, mut write: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        match write() {
            Err(Errno::NOSPC) if self.punch_idle(lock(&self.space)) => write(),
            done => done,
        }
    }

    fn store_in_free_space(self: &Arc<Self>, bytes: &[u8]) -> Result<Place, Errno> {
        let file = self.open().map_err(|error| {
            log::warn!(
                "cannot make a spill file in {}: {error}",
                self.directory.display()
            );
            Errno::NOSPC
        })?;
        self.begun
            .call_once(|| warn_if_in_memory(file, &self.directory));
        let position = lock(&self.space).take(bytes.len() == CHUNK_BYTES);
        let mut place = Place {
            spill: self.clone(),
            position,
            length: 0,
        };
        place.write(0, bytes)?;
        Ok(place)
    }

    /// The error that a program gets for a failed write.
    fn refused(&self, error: &io::Error) -> Errno {
        let limit = match Errno::from_io_error(error) {
            Some(Errno::FBIG) => "the limit of this process on the size of files (`ulimit -f`)",
            Some(Errno::DQUOT) => "the disk quota of this user",
            other => return other.unwrap_or(Errno::IO),
        };
        self.limited.call_once(|| {
            log::warn!(
                "the spill file in {} cannot grow: {limit} is reached; raise it, keep more in memory \
                 (--memory), or spill elsewhere (--spill)",
                self.directory.display()
            );
        });
        Errno::NOSPC
    }

    fn give_back(&self, position: u64) {
        let mut space = lock(&self.space);
        space.taken -= 1;
        space.idle.insert(position..position + CHUNK_BYTES as u64);
        let Some(file) = self.file.get() else { return };
        if space.taken == 0 && space.keeps_blocks {
            // No place is taken, and none can be until the lock is released.
            if rustix::fs::ftruncate(file, 0).is_ok() {
                *space = Space {
                    keeps_blocks: true,
                    ..Space::default()
                };
            }
            return;
        }
        let is_much = space.taken == 0 || space.idle.total() > IDLE_BYTES_MAX;
        if is_much {
            self.punch_idle(space);
        }
    }

    /// Punches holes in the freed space; returns whether that freed blocks.
    fn punch_idle(&self, mut space: MutexGuard<'_, Space>) -> bool {
        let Some(file) = self.file.get().filter(|_| !space.keeps_blocks) else {
            return false;
        };
        // Taken out meanwhile, so that no place is made there.
        let surplus = std::mem::take(&mut space.idle);
        drop(space);
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punch = |range: Range<u64>| {
            rustix::fs::fallocate(file, mode, range.start, range.end - range.start)
        };
        let all = 0..u64::MAX;
        let punched = surplus.overlapping(&all).try_for_each(punch);
        let mut space = lock(&self.space);
        for range in surplus.overlapping(&all) {
            match punched {
                Ok(()) => space.holes.insert(range),
                Err(_) => space.idle.insert(range),
            }
        }
        space.keeps_blocks |= punched == Err(Errno::OPNOTSUPP);
        punched.is_ok() && surplus.total() > 0
    }
}

impl Space {
    /// Takes a place. One that will not be filled gets no space with blocks, which it does not need.
    fn take(&mut self, is_filled: bool) -> u64 {
        let chunk = CHUNK_BYTES as u64;
        self.taken += 1;
        let idle = match is_filled || self.keeps_blocks {
            true => self.idle.at_or_after(0),
            false => None,
        };
        if let Some(Range { start, .. }) = idle {
            self.idle.remove(start..start + chunk);
            return start;
        }
        if let Some(Range { start, .. }) = self.holes.at_or_after(0) {
            self.holes.remove(start..start + chunk);
            return start;
        }
        self.end += chunk;
        self.end - chunk
    }
}

/// One chunk's bytes on disk, freed on drop.
#[derive(Debug)]
pub(super) struct Place {
    spill: Arc<Spill>,
    position: u64,
    /// Bytes of it that were written, as counted in `used`.
    length: usize,
}

impl Place {
    /// Writes `bytes` at `start`, which must be past the length of every slot: no segment refers to these
    /// bytes yet, so a failure needs no undoing.
    ///
    /// # Errors
    /// ENOSPC if the spill file cannot grow because of a limit of the filesystem, of its user (EDQUOT) or of
    /// the daemon's process (EFBIG): the program's own file is not too large, nor its quota used up, and the
    /// kernel turns other errors than ENOSPC at write-back into EIO.
    pub(super) fn append(&mut self, start: usize, bytes: &[u8]) -> Result<(), Errno> {
        let spill = Arc::clone(&self.spill);
        spill.with_idle_space(|| self.write(start, bytes))
    }

    fn write(&mut self, start: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.spill
            .open()
            .and_then(|file| file.write_all_at(bytes, self.position + start as u64))
            .map_err(|error| self.spill.refused(&error))?;
        let more = (start + bytes.len()).saturating_sub(self.length);
        self.spill.used.fetch_add(more as u64, Ordering::Relaxed);
        self.length += more;
        Ok(())
    }

    /// Reads the bytes from `start` on into all of `out`.
    pub(super) fn read(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        let file = self.spill.open()?;
        file.read_exact_at(out, self.position + start as u64)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.spill
            .used
            .fetch_sub(self.length as u64, Ordering::Relaxed);
        self.spill.give_back(self.position);
    }
}

/// Opens a file in `directory` that has no name, readable and writable by this user alone.
fn unlinked_file(directory: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(directory)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Warns if the spill directory is itself in memory.
fn warn_if_in_memory(file: &File, directory: &Path) {
    // `RAMFS_MAGIC` of `include/uapi/linux/magic.h`.
    const RAMFS: libc::__fsword_t = 0x8584_58f6;
    let kind = rustix::fs::fstatfs(file).map(|status| status.f_type);
    if kind.is_ok_and(|kind| kind == libc::TMPFS_MAGIC || kind == RAMFS) {
        log::warn!(
            "bytes are spilled to {}, which is in memory (tmpfs) and so saves none; name another \
             directory with --spill or $TMPDIR",
            directory.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const CHUNK: u64 = CHUNK_BYTES as u64;

    fn spill() -> (Arc<Spill>, tempfile::TempDir) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        (Spill::new(directory.path().to_owned()), directory)
    }

    fn store(spill: &Arc<Spill>, fill: u8) -> Place {
        spill.store(&[fill; CHUNK_BYTES]).expect("room")
    }

    fn content(place: &Place) -> Vec<u8> {
        let mut bytes = vec![0; place.length];
        place.read(0, &mut bytes).expect("readable");
        bytes
    }

    #[test]
    fn a_limit_that_the_spill_file_reaches_is_a_full_disk_to_the_program() {
        let (spill, _directory) = spill();
        let refused = |errno| spill.refused(&io::Error::from_raw_os_error(errno));
        assert_eq!(refused(libc::EFBIG), Errno::NOSPC);
        assert_eq!(refused(libc::EDQUOT), Errno::NOSPC);
        assert_eq!(refused(libc::ENOSPC), Errno::NOSPC);
        assert_eq!(refused(libc::EIO), Errno::IO);
    }

    fn end(spill: &Spill) -> u64 {
        lock(&spill.space).end
    }

    /// Bytes of disk that the file takes.
    fn blocks(spill: &Spill) -> u64 {
        spill.open().unwrap().metadata().expect("fstat").blocks() * 512
    }

    #[test]
    fn spill_files_have_no_name_and_are_private() {
        let (spill, directory) = spill();
        let file = spill.open().expect("a spill file");
        file.write_all_at(b"x", 5).expect("writable");
        let status = file.metadata().expect("fstat");
        assert_eq!((status.nlink(), status.mode() & 0o7777), (0, 0o600));
        assert_eq!(directory.path().read_dir().expect("readable").count(), 0);
    }

    #[test]
    fn freed_space_is_used_again_and_the_file_grows_no_further() {
        let (spill, _directory) = spill();
        let mut places: Vec<_> = (0..8).map(|fill| store(&spill, fill)).collect();
        assert_eq!((spill.used(), end(&spill)), (8 * CHUNK, 8 * CHUNK));
        places.remove(2);
        places.remove(4);
        assert_eq!((spill.used(), spill.idle()), (6 * CHUNK, 2 * CHUNK));
        let again = [store(&spill, 20), store(&spill, 21)];
        assert_eq!((end(&spill), spill.idle()), (8 * CHUNK, 0));
        for (place, fill) in places.iter().zip([0, 1, 3, 4, 6, 7]) {
            assert!(content(place) == [fill; CHUNK_BYTES]);
        }
        assert!(content(&again[0]) == [20; CHUNK_BYTES]);
        drop((places, again));
        assert_eq!((spill.used(), spill.idle()), (0, 0));
    }

    #[test]
    fn a_few_bytes_do_not_take_blocks_that_they_do_not_need() {
        let (spill, _directory) = spill();
        let mut places: Vec<_> = (0..4).map(|fill| store(&spill, fill)).collect();
        places.truncate(1);
        let little = spill.store(b"little").expect("room");
        assert_eq!(
            (spill.idle(), content(&little)),
            (3 * CHUNK, b"little".to_vec())
        );
    }

    #[test]
    fn most_freed_space_leaves_the_disk_and_all_of_it_with_the_last_place() {
        let (spill, _directory) = spill();
        let kept = store(&spill, 1);
        let many: Vec<_> = (0..2 * IDLE_BYTES_MAX / CHUNK)
            .map(|_| store(&spill, 2))
            .collect();
        let full = blocks(&spill);
        drop(many);
        assert!(spill.idle() <= IDLE_BYTES_MAX);
        let punches = !lock(&spill.space).keeps_blocks;
        assert!(
            !punches || blocks(&spill) <= full - IDLE_BYTES_MAX,
            "{full} bytes on disk became {}",
            blocks(&spill)
        );
        drop(kept);
        assert_eq!((spill.used(), spill.idle()), (0, 0));
        // A filesystem may keep a block for its own records.
        assert!(blocks(&spill) <= 64 << 10, "{} bytes", blocks(&spill));
    }

    #[test]
    fn where_no_holes_can_be_punched_all_space_is_used_again_and_the_disk_is_free_at_the_end() {
        let (spill, _directory) = spill();
        lock(&spill.space).keeps_blocks = true;
        let kept = store(&spill, 1);
        let count = 2 * IDLE_BYTES_MAX / CHUNK;
        for _ in 0..2 {
            let many: Vec<_> = (0..count).map(|_| store(&spill, 2)).collect();
            drop(many);
            assert_eq!(spill.idle(), count * CHUNK);
        }
        assert_eq!(end(&spill), (count + 1) * CHUNK);
        let little = spill.store(b"little").expect("room");
        assert_eq!(spill.idle(), (count - 1) * CHUNK);
        drop((kept, little));
        assert_eq!((spill.used(), end(&spill)), (0, 0));
        assert!(blocks(&spill) <= 64 << 10, "{} bytes", blocks(&spill));
    }
    #[test]
    fn where_the_disk_is_full_freed_blocks_are_written_again() {
        let (spill, _directory) = spill();
        let kept = store(&spill, 1);
        drop((store(&spill, 2), store(&spill, 3)));
        let idle = spill.idle();
        assert!(idle > 0);
        // A disk on which only those blocks are free.
        let done = spill.with_idle_space(|| match spill.idle() {
            0 => Ok(()),
            _ => Err(Errno::NOSPC),
        });
        let keeps_blocks = lock(&spill.space).keeps_blocks;
        assert!(done == Ok(()) || keeps_blocks, "{done:?}");
        // No second try, as no blocks are left to free.
        let mut tries = 0;
        let refused = spill.with_idle_space(|| {
            tries += 1;
            Err::<(), Errno>(Errno::NOSPC)
        });
        assert_eq!((refused, tries), (Err(Errno::NOSPC), 1));
        assert!(content(&kept) == [1; CHUNK_BYTES]);
    }
}

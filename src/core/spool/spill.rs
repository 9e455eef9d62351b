//! Chunks on disk: one unlinked file per spool, and places in it.
//!
//! Knows how to make a file without a name and which places of it are free; knows nothing of what
//! the bytes are, or of offsets in the spool's file. The invariant: a place is used for nothing
//! else before the last holder has dropped it, and is counted by the pool for exactly the bytes
//! that were written to it.
//!
//! Places give themselves back when dropped, which readers do on their own threads; hence the
//! mutex around the free ones. It is a leaf of the lock order: it is held for a push or a pop, and
//! nothing is locked, written or waited for meanwhile.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::pool::{CHUNK_BYTES, Pool};

/// The unlinked file that one spool's chunks spill to, shared with its snapshots. Divided into
/// places of one chunk each, taken in any order: positions say nothing about file offsets.
#[derive(Debug)]
struct SpillFile {
    file: File,
    pool: Pool,
    /// Spools that may still read it. With none left, closing the file frees everything at once,
    /// and freeing place by place (a system call each) would be for nothing.
    owners: AtomicUsize,
    /// Leaf lock.
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// Positions given back.
    free: Vec<u64>,
    /// Where the file was never used.
    end: u64,
}

/// A spool's hold on its spill file. The file is closed when no spool and no place holds it.
#[derive(Debug)]
pub(super) struct Spill(Arc<SpillFile>);

impl Spill {
    /// Makes the spill file of one spool.
    ///
    /// # Errors
    /// ENOSPC, whatever the reason: to the program that writes, what cannot be put on disk is a
    /// full disk, and the ENOENT of a missing spill directory would only mislead it. The log has
    /// the reason.
    pub(super) fn new(pool: &Pool) -> Result<Spill, Errno> {
        let directory = pool.spill_directory();
        let file = unlinked_file(directory).map_err(|error| {
            log::warn!(
                "cannot make a spill file in {}: {error}",
                directory.display()
            );
            Errno::NOSPC
        })?;
        Ok(Spill(Arc::new(SpillFile {
            file,
            pool: pool.clone(),
            owners: AtomicUsize::new(1),
            places: Mutex::default(),
        })))
    }

    /// Writes one chunk's bytes to a place that nobody refers to yet.
    pub(super) fn store(&self, bytes: &[u8]) -> Result<Place, Errno> {
        let position = {
            let mut places = self.0.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.free.pop().unwrap_or_else(|| {
                places.end += CHUNK_BYTES as u64;
                places.end - CHUNK_BYTES as u64
            })
        };
        let mut place = Place {
            spill: self.0.clone(),
            position,
            length: 0,
        };
        place.append(0, bytes)?;
        Ok(place)
    }
}

impl Clone for Spill {
    fn clone(&self) -> Spill {
        self.0.owners.fetch_add(1, Ordering::Relaxed);
        Spill(self.0.clone())
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.0.owners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One chunk's bytes on disk, freed on drop.
#[derive(Debug)]
pub(super) struct Place {
    spill: Arc<SpillFile>,
    position: u64,
    /// Bytes of it that were written, by which it is counted.
    length: usize,
}

impl Place {
    /// Writes `bytes` at `start`. Only for bytes that nobody refers to yet: past what any slot
    /// counts as content. That is why a failure needs no undoing.
    pub(super) fn append(&mut self, start: usize, bytes: &[u8]) -> Result<(), Errno> {
        self.spill
            .file
            .write_all_at(bytes, self.position + start as u64)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let more = (start + bytes.len()).saturating_sub(self.length);
        self.spill.pool.add_spilled(more);
        self.length += more;
        Ok(())
    }

    /// Reads the bytes from `start` on, as many as `out` takes.
    pub(super) fn read(&self, start: usize, out: &mut [u8]) -> io::Result<()> {
        self.spill
            .file
            .read_exact_at(out, self.position + start as u64)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.spill.pool.remove_spilled(self.length);
        if self.spill.owners.load(Ordering::Relaxed) == 0 {
            return;
        }
        // A filesystem that cannot punch keeps the blocks until the place is used again.
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&self.spill.file, mode, self.position, CHUNK_BYTES as u64);
        let mut places = self
            .spill
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        places.free.push(self.position);
    }
}

/// Opens a file in `directory` that has no name, readable and writable by this user alone.
fn unlinked_file(directory: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(directory)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::unlinked_file;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn spill_files_have_no_name_and_are_private() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = unlinked_file(directory.path()).expect("a spill file");
        file.write_all_at(b"x", 5).expect("writable");
        let status = file.metadata().expect("fstat");
        assert_eq!((status.nlink(), status.mode() & 0o7777), (0, 0o600));
        assert_eq!(directory.path().read_dir().expect("readable").count(), 0);
    }
}

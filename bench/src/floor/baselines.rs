//! Writes blocks, and measures what the daemon is compared with. Leaves no file, however it ends: a FIFO has lost its
//! name before it is written, and the file in tmpfs never had one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use aligned_vec::avec;
use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::{Outcome, PAGE_BYTES};

/// The size of the FIFO's pipe, and of its reader's reads: the most that any user may set by default (pipe(7),
/// pipe-max-size).
const PIPE_BYTES: usize = 1 << 20;

/// A writer's load.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    block_bytes: usize,
    total_bytes: usize,
}

impl Load {
    pub(crate) const fn new(name: &'static str, block_bytes: usize, total_bytes: usize) -> Load {
        Load {
            name,
            block_bytes,
            total_bytes,
        }
    }

    /// Writes everything, one write(2) for each block. Returns when it began and ended.
    pub(crate) fn write(self, file: &mut File) -> Outcome<(Instant, Instant)> {
        let block = avec![[PAGE_BYTES]| b'x'; self.block_bytes];
        let start = Instant::now();
        for _ in 0..self.total_bytes / self.block_bytes {
            file.write_all(&block)
                .map_err(|error| format!("cannot write: {error}"))?;
        }
        Ok((start, Instant::now()))
    }

    /// The rate in units of 10^6 bytes per second.
    pub(crate) fn rate(self, taken: Duration) -> f64 {
        self.total_bytes as f64 / 1e6 / taken.as_secs_f64()
    }
}

/// From before the first write until the last byte came.
pub(crate) fn fifo(load: Load) -> Outcome<f64> {
    let failed = |error: io::Error| format!("cannot measure a FIFO: {error}");
    let (mut reader, mut writer) = ends().map_err(failed)?;
    let mut buffer = avec![[PAGE_BYTES]| 0; PIPE_BYTES];
    thread::scope(|scope| {
        // It owns its end: the reader sees the end of file when the writer is done.
        let writing = scope.spawn(move || load.write(&mut writer));
        let (mut came, mut last) = (0, Instant::now());
        loop {
            match reader.read(&mut buffer).map_err(failed)? {
                0 => break,
                length => came += length,
            }
            last = Instant::now();
        }
        let (start, _) = writing.join().map_err(|_| "the writer panicked")??;
        if came != load.total_bytes {
            return Err(format!("a FIFO lost bytes: {came} came"));
        }
        Ok(load.rate(last - start))
    })
}

/// A new FIFO whose name is removed already: the reader's end and the writer's.
fn ends() -> io::Result<(File, File)> {
    let directory = tempfile::Builder::new().prefix("fifofs-floor-").tempdir()?;
    let path = directory.path().join("fifo");
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0)?;
    // Opening it otherwise would wait for the writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let reader = rustix::fs::open(&path, flags, Mode::empty())?;
    let writer = File::options().write(true).open(&path)?;
    rustix::fs::fcntl_setfl(&reader, OFlags::empty())?;
    rustix::pipe::fcntl_setpipe_size(&reader, PIPE_BYTES)?;
    Ok((File::from(reader), writer))
}

/// The calls of write(2), to a new file in memory.
pub(crate) fn tmpfs(load: Load) -> Outcome<f64> {
    let failed = |error: io::Error| format!("cannot make a file in /dev/shm: {error}");
    if !rustix::fs::statfs("/dev/shm").is_ok_and(|found| found.f_type == libc::TMPFS_MAGIC) {
        return Err("/dev/shm is no tmpfs".to_owned());
    }
    let mut file = tempfile::tempfile_in("/dev/shm").map_err(failed)?;
    let (start, end) = load.write(&mut file)?;
    Ok(load.rate(end - start))
}

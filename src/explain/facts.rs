//! What a program did to its outputs, in numbers.
//!
//! Knows nothing of how they are gathered (`observer`), of what they mean for a way
//! of capturing (`verdict`), nor of how to say it (`words`).

use std::path::PathBuf;

use serde::Serialize;

/// One opening of a file.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let explained = study.finish()?.explain(&["out.txt"])?.remove(0);
/// let opened = &explained.facts.opened[0];
/// assert_eq!((opened.mode, opened.appends), ("write", false));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Opened {
    /// Seconds since the program was started.
    pub seconds: f64,
    /// The process.
    pub pid: i32,
    /// What it is called.
    pub name: String,
    /// `read`, `write`, or `read and write`.
    pub mode: &'static str,
    /// With `O_APPEND`.
    pub appends: bool,
    /// With `O_TRUNC`, or by making it.
    pub empties: bool,
    /// With `O_EXCL`: it had to be new.
    pub exclusive: bool,
}

/// A process that opened a file, or wrote to it.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let explained = study.finish()?.explain(&["out.txt"])?.remove(0);
/// let worker = &explained.facts.workers[0];
/// assert_eq!(worker.pid, std::process::id() as i32);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Worker {
    /// Its number.
    pub pid: i32,
    /// What it is called.
    pub name: String,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
}

/// Bytes that were written again with others.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// let file = std::fs::File::create(study.path().join("out.txt"))?;
/// for text in ["hello\n", "H"] {
///     std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), 0)?;
/// }
/// drop(file);
/// let explained = study.finish()?.explain(&["out.txt"])?.remove(0);
/// let rewritten = explained.facts.rewritten.expect("something");
/// assert_eq!((rewritten.first, rewritten.bytes), ((0, 1), 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Rewritten {
    /// By how many writes.
    pub writes: u64,
    /// How many bytes, counting each as often as it changed.
    pub bytes: u64,
    /// The first range: its first byte, and one past its last.
    pub first: (u64, u64),
    /// How much had been written when that happened.
    pub first_after_bytes: u64,
    /// And how long after the first byte of the file, in seconds.
    pub first_after_seconds: f64,
}

/// What was done to one output, over all files that ever stood at its path.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let study = fifofs::explain::Study::new()?;
/// std::fs::write(study.path().join("out.txt"), "hello\n")?;
/// let found = study.finish()?;
/// let facts = &found.explain(&["out.txt"])?[0].facts;
/// assert_eq!((facts.writes, facts.written_bytes), (1, 6));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// The first openings, 32 at most, in their order.
    pub opened: Vec<Opened>,
    /// How often it was opened for writing.
    pub openings: u64,
    /// How often that happened when everybody had closed it: a pipe would have
    /// ended there.
    pub reopenings: u64,
    /// How often it was opened for reading only.
    pub read_openings: u64,
    /// Whether it was opened in such a way that it had to be new.
    pub exclusive: bool,
    /// Who worked on it.
    pub workers: Vec<Worker>,
    /// How often bytes were written.
    pub writes: u64,
    /// How many, in all.
    pub written_bytes: u64,
    /// How many writes began before the end of what was written.
    pub writes_back: u64,
    /// How far before it, at most, in bytes.
    pub furthest_back: u64,
    /// What they changed.
    pub rewritten: Option<Rewritten>,
    /// How many of them filled a gap that was left before.
    pub filled: u64,
    /// How many writes began beyond the end, and so left a gap.
    pub gaps: u64,
    /// The lengths in bytes it was set to that it did not have: of each file that
    /// stood there the first 32.
    pub resized: Vec<u64>,
    /// How many bytes were reserved for it (`fallocate`).
    pub allocated_bytes: u64,
    /// How often a part of it was made zeros (`fallocate`).
    pub punched: u64,
    /// How many bytes were read back.
    pub read_bytes: u64,
    /// Whether it was mapped into memory.
    pub mapped: bool,
    /// The names it was written under before it was moved to its own.
    #[serde(serialize_with = "super::as_texts")]
    pub moved_from: Vec<PathBuf>,
    /// The names that it was moved to from its own.
    #[serde(serialize_with = "super::as_texts")]
    pub moved_to: Vec<PathBuf>,
    /// How often another file was put in its place.
    pub replaced: u64,
    /// How often it was removed.
    pub removed: u64,
    /// Whether somebody looked whether anything stood there before it was made.
    pub looked_first: bool,
    /// Seconds from the first opening to the last close.
    pub seconds: f64,
}

impl Facts {
    /// The same with those of another file that stood at the same path.
    pub(super) fn add(&mut self, one: &Facts) {
        self.opened.extend(one.opened.iter().cloned());
        self.openings += one.openings;
        self.reopenings += one.reopenings;
        self.read_openings += one.read_openings;
        self.exclusive |= one.exclusive;
        self.writes += one.writes;
        self.written_bytes += one.written_bytes;
        self.writes_back += one.writes_back;
        self.furthest_back = self.furthest_back.max(one.furthest_back);
        match (&mut self.rewritten, &one.rewritten) {
            (Some(known), Some(more)) => {
                known.writes += more.writes;
                known.bytes += more.bytes;
            }
            (none @ None, Some(more)) => *none = Some(more.clone()),
            (_, None) => {}
        }
        self.filled += one.filled;
        self.gaps += one.gaps;
        self.resized.extend(&one.resized);
        self.allocated_bytes += one.allocated_bytes;
        self.punched += one.punched;
        self.read_bytes += one.read_bytes;
        self.mapped |= one.mapped;
    }
}

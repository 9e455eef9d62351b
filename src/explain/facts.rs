//! What a program did with its outputs, in numbers.
//!
//! Does not know how the facts are gathered (`observer`), what they mean for a way of capturing
//! (`verdict`), nor how to put them into words (`words`).

use std::path::PathBuf;

use serde::Serialize;

/// One open of a file.
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
    /// The process's name.
    pub name: String,
    /// `read`, `write`, or `read and write`.
    pub mode: &'static str,
    /// Whether it was opened with `O_APPEND`.
    pub appends: bool,
    /// Whether it was opened with `O_TRUNC`, or created.
    pub empties: bool,
    /// Whether it was opened with `O_EXCL`: it had to be new.
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
    /// The process id.
    pub pid: i32,
    /// The process's name.
    pub name: String,
    /// The signal that killed it, if one did.
    pub signal: Option<i32>,
}

/// Bytes that were overwritten with different ones.
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
    /// The number of writes that did so.
    pub writes: u64,
    /// The number of bytes; each counts as often as it changed.
    pub bytes: u64,
    /// The first range: its first byte, and one past its last.
    pub first: (u64, u64),
    /// How many bytes had been written by then.
    pub first_after_bytes: u64,
    /// Seconds between the first byte of the file and that write.
    pub first_after_seconds: f64,
}

/// What was done to one output, over all files that were ever at its path.
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
    /// The first opens, at most 32, in order.
    pub opened: Vec<Opened>,
    /// The number of opens for writing.
    pub openings: u64,
    /// How many of those came when all writers had closed it: a pipe would have ended there.
    pub reopenings: u64,
    /// The number of opens for reading only.
    pub read_openings: u64,
    /// Whether an open required it to be new (`O_EXCL`).
    pub exclusive: bool,
    /// The processes that opened it or wrote to it.
    pub workers: Vec<Worker>,
    /// The number of writes.
    pub writes: u64,
    /// The number of bytes written.
    pub written_bytes: u64,
    /// The number of writes that began before the end of the written bytes.
    pub writes_back: u64,
    /// The greatest distance of such a write from that end, in bytes.
    pub furthest_back: u64,
    /// The bytes that those writes changed.
    pub rewritten: Option<Rewritten>,
    /// How many of those writes filled a gap.
    pub filled: u64,
    /// The number of writes that began beyond the end, and so left a gap.
    pub gaps: u64,
    /// The lengths in bytes that it was set to, if they differed from its own: the first 32 for
    /// each file at the path.
    pub resized: Vec<u64>,
    /// The number of bytes reserved for it (`fallocate`).
    pub allocated_bytes: u64,
    /// How often a part of it was zeroed (`fallocate`).
    pub punched: u64,
    /// The number of bytes read back.
    pub read_bytes: u64,
    /// Whether it was mapped into memory.
    pub mapped: bool,
    /// The names under which it was written before it was renamed to its own.
    #[serde(serialize_with = "super::as_texts")]
    pub moved_from: Vec<PathBuf>,
    /// The names to which it was renamed from its own.
    #[serde(serialize_with = "super::as_texts")]
    pub moved_to: Vec<PathBuf>,
    /// How often another file replaced it.
    pub replaced: u64,
    /// How often it was removed.
    pub removed: u64,
    /// Whether a process looked the path up before the file was made.
    pub looked_first: bool,
    /// Seconds from the first opening to the last close.
    pub seconds: f64,
}

impl Facts {
    /// Adds the facts of another file at the same path.
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

//! The state of a mount, as it is shown to users.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::generation::{Ending, Generation, Phase, Way, Writer};
use super::ids::FifoId;
use super::readers::reader::{Awaits, Reader};
use super::{Core, File};
use crate::json;

/// The state of a mount at a moment: its files, their writers and readers, and what each reader waits for.
///
/// As JSON it is the document behind `.fifofs/status`.
///
/// ```
/// use fifofs::{FileState, Mount};
///
/// let mount = Mount::builder().mount_temporary()?;
/// let writer = std::fs::File::create(mount.path().join("a.log"))?;
/// let status = mount.status();
/// assert_eq!(status.files[0].state, FileState::Writing);
/// assert_eq!(status.files[0].writers[0].pid, std::process::id());
/// drop(writer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The version of fifofs.
    pub version: String,
    /// Memory and disk in use, and what is left.
    pub memory: MemoryStatus,
    /// All files, ordered by path.
    pub files: Vec<FileStatus>,
    /// Readers of paths at which there is no file.
    pub waiting: Vec<ReaderStatus>,
    /// Warnings about the mount as a whole, mostly about what the daemon cannot see from where it runs.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Memory and disk that a mount uses, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// Memory used by contents.
    pub used: u64,
    /// Memory used by what cannot be spilled: names, attributes, open files.
    #[serde(default)]
    pub kept: u64,
    /// Contents on disk.
    pub spilled: u64,
    /// How much more can be written.
    pub available: u64,
}

/// The state of a file's generation (its last writing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// A process has it open for writing.
    Writing,
    /// No process has it open for writing, but one may open it again.
    Closed,
    /// It is whole.
    Done,
    /// A writer came to a bad end, or bytes were lost: the file may not be whole.
    Failed,
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileState::Writing => "writing",
            FileState::Closed => "closed",
            FileState::Done => "done",
            FileState::Failed => "failed",
        })
    }
}

/// The state of a virtual FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FifoState {
    /// It was not written to, or all that was written has been read.
    Empty,
    /// Its present message waits for a reader.
    Unread,
    /// A reader has taken a message and not read it to its end.
    BeingRead,
}

impl fmt::Display for FifoState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FifoState::Empty => "waits for a writer",
            FifoState::Unread => "unread",
            FifoState::BeingRead => "being read",
        })
    }
}

/// The state of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileStatus {
    /// Its path, relative to the mount. In JSON, bytes that are not UTF-8 are replaced.
    #[serde(with = "json::path")]
    pub path: PathBuf,
    /// Its state.
    pub state: FileState,
    /// Its state as a FIFO, if it is a virtual one. The other numbers are those of its present message, not of an
    /// earlier one that is still being read.
    #[serde(default)]
    pub fifo: Option<FifoState>,
    /// The number of its generation (writing), counted from 1; 0 if it was never opened for writing.
    pub generation: u64,
    /// Its way of delivery, once that is chosen.
    pub way: Option<Way>,
    /// The reason for that way, in words.
    pub reason: Option<String>,
    /// Its length in bytes, as far as they have arrived.
    pub size: u64,
    /// The length, in bytes, of its beginning that was written without a gap.
    pub frontier: u64,
    /// The highest offset up to which any reader was given bytes.
    pub delivered: u64,
    /// The number of bytes that are no longer kept: with [`Way::Stream`] from the start, or those that a reader
    /// by position has [released](crate::PositionalReader::release).
    pub dropped: u64,
    /// Its writers: all that still run or came to a bad end, and the last of the others.
    pub writers: Vec<WriterStatus>,
    /// Its waiting readers.
    pub readers: Vec<ReaderStatus>,
    /// A warning about it for users.
    pub warning: Option<String>,
}

/// A process that wrote a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WriterStatus {
    /// Its process id; 0 if it cannot be seen.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Whether it still runs.
    pub running: bool,
    /// How it ended, in words, if it failed.
    pub failure: Option<String>,
}

/// A waiting reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReaderStatus {
    /// Its process id; 0 if it cannot be seen.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// The path that it follows, relative to the mount. In JSON, bytes that are not UTF-8 are replaced.
    #[serde(with = "json::path")]
    pub path: PathBuf,
    /// The offset up to which it was given bytes.
    pub position: u64,
    /// What it waits for, in words, if it waits.
    pub waits_for: Option<String>,
}

impl File {
    /// The state of the file; one that was never opened for writing is whole.
    pub(super) fn state(&self) -> FileState {
        match self.phase() {
            Phase::Unopened | Phase::Done => FileState::Done,
            Phase::Writing => FileState::Writing,
            Phase::Closed { .. } => FileState::Closed,
            Phase::Failed => FileState::Failed,
        }
    }
}

impl Core {
    /// The state of the mount.
    pub(crate) fn status(&self) -> Status {
        let mut files: Vec<FileStatus> = self
            .names
            .files()
            .filter_map(|ino| Some(self.file_status(ino, self.files.get(&ino)?)))
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut waiting: Vec<ReaderStatus> = self
            .readers
            .iter()
            .filter(|reader| reader.source().is_none() && reader.origin().fifo.is_none())
            .map(|reader| self.reader_status(reader))
            .collect();
        waiting.sort_by(|a, b| a.path.cmp(&b.path));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            memory: MemoryStatus {
                used: self.pool.memory_used(),
                kept: self.pool.kept(),
                spilled: self.pool.spilled(),
                available: self.pool.available(),
            },
            files,
            waiting,
            warnings: self.notices.texts(),
        }
    }

    /// The same, as JSON.
    pub(super) fn status_text(&self) -> Vec<u8> {
        // Making JSON of a status cannot fail.
        let mut text = serde_json::to_vec(&self.status()).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn file_status(&self, ino: u64, file: &File) -> FileStatus {
        let generation = file.generation();
        let writers = file.writers().iter().map(|writer| WriterStatus {
            pid: writer.pid.cast_unsigned(),
            name: writer.name.clone(),
            running: writer.ending == Ending::Running,
            failure: match writer.ending {
                Ending::Signal(signal) => Some(format!("killed by signal {signal}")),
                Ending::Status(status) if status != 0 => {
                    Some(format!("exited with status {status}"))
                }
                _ => None,
            },
        });
        let chosen = generation.chosen();
        let fifo = file.fifo();
        // Readers that have not read an earlier message to its end belong to the FIFO, too.
        let is_of_fifo = |reader: &&Reader| {
            fifo.is_some() && reader.origin().fifo == fifo && reader.source() != Some(ino)
        };
        let earlier = self.readers.iter().filter(is_of_fifo);
        let readers = self.readers.of(file).chain(earlier);
        FileStatus {
            path: self.path_of(ino),
            state: file.state(),
            fifo: fifo.map(|id| self.fifo_state(id)),
            generation: generation.number(),
            way: chosen.map(|(way, _)| way),
            reason: chosen.map(|(_, reason)| reason.to_owned()),
            size: file.spool().len(),
            frontier: file.spool().frontier(),
            delivered: generation.delivered(),
            dropped: file.spool().dropped_bytes(),
            writers: writers.collect(),
            readers: readers.map(|reader| self.reader_status(reader)).collect(),
            warning: file.warning().cloned(),
        }
    }

    /// The state of a FIFO.
    pub(super) fn fifo_state(&self, id: FifoId) -> FifoState {
        let is_read = |reader: &Reader| {
            reader.origin().fifo == Some(id) && reader.has_taken() && !reader.is_finished()
        };
        let message = self.fifos.present(id);
        match message.and_then(|ino| self.generation(ino)) {
            _ if self.readers.iter().any(is_read) => FifoState::BeingRead,
            Some(generation) if generation.has_begun() => FifoState::Unread,
            _ => FifoState::Empty,
        }
    }

    fn reader_status(&self, reader: &Reader) -> ReaderStatus {
        let source = reader.source().and_then(|ino| self.generation(ino));
        let is_written = source.is_some_and(Generation::has_begun);
        let waits_for = if reader.origin().fifo.is_some() && !is_written {
            Some("a writer".to_owned())
        } else if reader.source().is_none() {
            Some(match (reader.awaits(), reader.awaited_process()) {
                (Awaits::NextAfter(_), _) => "the next generation".to_owned(),
                (_, Some(pid)) => format!("the file to appear, or process {pid} to end"),
                (_, None) => "the file to appear".to_owned(),
            })
        } else if let (Some(_), Some(pid)) = (reader.open(), reader.awaited_process()) {
            Some(format!("process {pid} to end"))
        } else if reader.open().is_some() {
            Some(self.awaited_writers(reader, "the file to be done"))
        } else if !reader.reads().is_empty() {
            Some(self.awaited_writers(reader, "more bytes"))
        } else {
            None
        };
        ReaderStatus {
            pid: reader.origin().pid.cast_unsigned(),
            name: reader.origin().name.clone(),
            path: reader.path().into_iter().flatten().collect(),
            position: reader.position(),
            waits_for,
        }
    }

    fn awaited_writers(&self, reader: &Reader, what: &str) -> String {
        let Some(generation) = reader.source().and_then(|ino| self.generation(ino)) else {
            return what.to_owned();
        };
        let running = |writer: &&Writer| writer.ending == Ending::Running;
        let writers = generation.writers().iter().filter(running);
        let writers = writers.map(|writer| format!("{} ({})", writer.name, writer.pid));
        // Steps of the script that have it open may be about to rewrite it.
        let steps = generation.open_steps().iter();
        let steps = steps.map(|s| format!("{} ({}), which has it open", s.name, s.pid));
        let awaited: Vec<String> = writers.chain(steps).collect();
        match awaited.is_empty() {
            true => what.to_owned(),
            false => format!("{what}, from {}", awaited.join(", ")),
        }
    }

    /// The path of an inode, or a text in its place if it has no name.
    pub(super) fn path_of(&self, ino: u64) -> PathBuf {
        match self.names.path(ino) {
            Some(path) => path.iter().collect(),
            None => format!("(removed, inode {ino})").into(),
        }
    }
}

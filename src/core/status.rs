//! The state of a mount, as users are shown it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::generation::{Ending, Generation, Phase, Way, Writer};
use super::ids::FifoId;
use super::readers::reader::{Awaits, Reader};
use super::{Core, File};
use crate::json;

/// The state of a mount at a moment: every file, who writes, who reads, and who waits for whom.
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
    /// Of fifofs.
    pub version: String,
    /// What is kept, and how much more can be.
    pub memory: MemoryStatus,
    /// By their paths.
    pub files: Vec<FileStatus>,
    /// Readers of paths where nothing stands.
    pub waiting: Vec<ReaderStatus>,
    /// What cannot be seen from where the mount is served, if it turned out to matter.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a mount keeps, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryStatus {
    /// By contents, in memory.
    pub used: u64,
    /// In memory by what cannot be spilled: names, attributes, open files.
    #[serde(default)]
    pub kept: u64,
    /// On disk.
    pub spilled: u64,
    /// How much more can be kept.
    pub available: u64,
}

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileState {
    /// Somebody has it open for writing.
    Writing,
    /// Nobody has, but somebody may open it again.
    Closed,
    /// It is whole.
    Done,
    /// A writer came to a bad end, or bytes were lost: what there is may not be whole.
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

/// Where a virtual FIFO stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FifoState {
    /// Nobody has written to it, or all that was written was read.
    Empty,
    /// What is or was written to it waits for a reader.
    Unread,
    /// Somebody reads what is or was written to it.
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
    /// Relative to the mount. In JSON, what is no UTF-8 is replaced.
    #[serde(with = "json::path")]
    pub path: PathBuf,
    /// Where it stands.
    pub state: FileState,
    /// Where it stands as a FIFO, if it is a virtual one. What a reader has of an earlier message is not counted in
    /// the other numbers.
    #[serde(default)]
    pub fifo: Option<FifoState>,
    /// Which writing of it this is, counted from 1; 0 if it was never opened for writing.
    pub generation: u64,
    /// How it is delivered, once that is chosen.
    pub way: Option<Way>,
    /// Why in this way.
    pub reason: Option<String>,
    /// Bytes, as far as they have arrived.
    pub size: u64,
    /// The length, in bytes, of what was written without a gap.
    pub frontier: u64,
    /// The highest offset that any reader was given.
    pub delivered: u64,
    /// How many bytes are no longer kept: with [`Way::Stream`] from the start, or what a reader by position
    /// [released](crate::PositionalReader::release).
    pub dropped: u64,
    /// Who wrote it: all that still run or came to a bad end, and the last of the others.
    pub writers: Vec<WriterStatus>,
    /// Who waits for it.
    pub readers: Vec<ReaderStatus>,
    /// What its user should know.
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
    /// Whether it has not ended.
    pub running: bool,
    /// How it ended, in words, if that was bad.
    pub failure: Option<String>,
}

/// A reader that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReaderStatus {
    /// Its process id; 0 if it cannot be seen.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// The path that it follows, relative to the mount. In JSON, what is no UTF-8 is replaced.
    #[serde(with = "json::path")]
    pub path: PathBuf,
    /// How many bytes it was given.
    pub position: u64,
    /// What it waits for, in words, if it waits.
    pub waits_for: Option<String>,
}

impl File {
    /// Where it stands; one that was never opened for writing is whole.
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
    /// The state of everything.
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
        // Nothing in it can fail.
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
        // Those too that have not read an earlier message to its end.
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

    /// Where a FIFO stands.
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
        // They may be about to write it anew.
        let steps = generation.open_steps().iter();
        let steps = steps.map(|s| format!("{} ({}), which has it open", s.name, s.pid));
        let awaited: Vec<String> = writers.chain(steps).collect();
        match awaited.is_empty() {
            true => what.to_owned(),
            false => format!("{what}, from {}", awaited.join(", ")),
        }
    }

    /// The path of an inode, or what stands for it if it has none.
    pub(super) fn path_of(&self, ino: u64) -> PathBuf {
        match self.names.path(ino) {
            Some(path) => path.iter().collect(),
            None => format!("(removed, inode {ino})").into(),
        }
    }
}

//! What users are shown: the status document, and events with their paths.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;

use super::effects::Effects;
use super::events::Event;
use super::generation::{Ending, Phase, Way, Writer};
use super::reader::{Awaits, Reader};
use super::{Core, Env, File};

/// The document behind `.fifofs/status`.
#[derive(Serialize)]
struct Status {
    version: &'static str,
    memory: Memory,
    files: Vec<FileStatus>,
    /// Readers of paths where nothing stands.
    waiting: Vec<ReaderStatus>,
}

/// All in bytes.
#[derive(Serialize)]
struct Memory {
    used: u64,
    spilled: u64,
    available: u64,
}

#[derive(Serialize)]
struct FileStatus {
    path: String,
    state: &'static str,
    generation: u64,
    way: Option<&'static str>,
    reason: Option<String>,
    /// Bytes, as far as they have arrived.
    size: u64,
    frontier: u64,
    delivered: u64,
    dropped: u64,
    writers: Vec<WriterStatus>,
    readers: Vec<ReaderStatus>,
    warning: Option<String>,
}

#[derive(Serialize)]
struct WriterStatus {
    pid: i32,
    name: String,
    running: bool,
    /// How it ended, if that was bad.
    failure: Option<String>,
}

#[derive(Serialize)]
struct ReaderStatus {
    pid: i32,
    name: String,
    path: String,
    /// Bytes it was given.
    position: u64,
    /// What it waits for, if it waits.
    waits_for: Option<String>,
}

impl Core {
    /// The state of everything, as JSON.
    pub(super) fn status(&self) -> Vec<u8> {
        let mut files: Vec<FileStatus> = self
            .names
            .files()
            .filter_map(|ino| Some(self.file_status(ino, self.files.get(&ino)?)))
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut waiting: Vec<ReaderStatus> = self
            .readers
            .values()
            .filter(|reader| reader.source.is_none())
            .map(|reader| self.reader_status(reader))
            .collect();
        waiting.sort_by(|a, b| a.path.cmp(&b.path));
        let status = Status {
            version: env!("CARGO_PKG_VERSION"),
            memory: Memory {
                used: self.pool.memory_used(),
                spilled: self.pool.spilled(),
                available: self.pool.available(),
            },
            files,
            waiting,
        };
        let mut text = serde_json::to_vec(&status).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn file_status(&self, ino: u64, file: &File) -> FileStatus {
        let generation = file.generation.as_ref();
        let state = match generation.map(|g| g.phase) {
            None => "done",
            Some(Phase::Writing) => "writing",
            Some(Phase::Closed { .. }) => "closed",
            Some(Phase::Done) => "done",
            Some(Phase::Failed) => "failed",
        };
        let writers = generation.map_or_else(Vec::new, |generation| {
            let writers = generation.writers.iter().map(|writer| WriterStatus {
                pid: writer.pid,
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
            writers.collect()
        });
        let readers = file.readers.iter().filter_map(|id| self.readers.get(id));
        FileStatus {
            path: self.display_path(ino),
            state,
            generation: generation.map_or(0, |g| g.number),
            way: generation.and_then(|g| g.way).map(Way::as_str),
            reason: generation
                .filter(|g| g.way.is_some())
                .map(|g| g.reason.clone()),
            size: file.spool.len(),
            frontier: file.spool.frontier(),
            delivered: generation.map_or(0, |g| g.delivered),
            dropped: file.spool.base(),
            writers,
            readers: readers.map(|reader| self.reader_status(reader)).collect(),
            warning: file.warning.clone(),
        }
    }

    fn reader_status(&self, reader: &Reader) -> ReaderStatus {
        let waits_for = if reader.source.is_none() {
            Some(match reader.awaits {
                Awaits::NextAfter(_) => "the next generation".to_owned(),
                _ => "the file to appear".to_owned(),
            })
        } else if reader.open.is_some() {
            Some(self.awaited_writers(reader, "the file to be done"))
        } else if !reader.reads.is_empty() {
            Some(self.awaited_writers(reader, "more bytes"))
        } else {
            None
        };
        ReaderStatus {
            pid: reader.pid,
            name: reader.name.clone(),
            path: display(reader.path.as_deref().unwrap_or_default()),
            position: reader.position,
            waits_for,
        }
    }

    fn awaited_writers(&self, reader: &Reader, what: &str) -> String {
        let Some(generation) = reader.source.and_then(|ino| self.generation(ino)) else {
            return what.to_owned();
        };
        let running = |writer: &&Writer| writer.ending == Ending::Running;
        let writers = generation.writers.iter().filter(running);
        let writers = writers.map(|writer| format!("{} ({})", writer.name, writer.pid));
        // They may be about to write it anew.
        let visitors = generation.visitors.iter();
        let visitors = visitors.map(|v| format!("{} ({}), which has it open", v.name, v.pid));
        let awaited: Vec<String> = writers.chain(visitors).collect();
        match awaited.is_empty() {
            true => what.to_owned(),
            false => format!("{what}, from {}", awaited.join(", ")),
        }
    }

    /// The path of an inode, for people.
    pub(super) fn display_path(&self, ino: u64) -> String {
        match self.names.path(ino) {
            Some(path) => display(&path),
            None => format!("(removed, inode {ino})"),
        }
    }

    /// Tells whoever listens what happened to a file.
    pub(super) fn publish<'a>(
        &mut self,
        env: Env<'_>,
        ino: u64,
        effects: &mut Effects,
        event: impl FnOnce() -> Event<'a>,
    ) {
        if self.events.wanted() {
            let path = self.display_path(ino);
            self.publish_as(env, &path, effects, event);
        }
    }

    /// The same, of a path that is gone already.
    pub(super) fn publish_as<'a>(
        &mut self,
        env: Env<'_>,
        path: &str,
        effects: &mut Effects,
        event: impl FnOnce() -> Event<'a>,
    ) {
        if !self.events.wanted() {
            return;
        }
        let answered = self
            .events
            .publish(env.now.monotonic, path, &event(), effects);
        for unique in answered {
            self.waiting.remove(&unique);
        }
    }

    /// As [`Core::warn`], unless this is what was last said of the file: for what would be said at
    /// each write.
    pub(crate) fn warn_once(
        &mut self,
        env: Env<'_>,
        ino: u64,
        message: String,
        effects: &mut Effects,
    ) {
        let is_known = |file: &File| file.warning.as_ref() == Some(&message);
        if !self.files.get(&ino).is_some_and(is_known) {
            self.warn(env, ino, message, effects);
        }
    }

    /// Something users should know: in the log, in the events, in `ls`.
    pub(crate) fn warn(&mut self, env: Env<'_>, ino: u64, message: String, effects: &mut Effects) {
        log::warn!("{}: {message}", self.display_path(ino));
        self.publish(env, ino, effects, || Event::Warning { message: &message });
        if let Some(file) = self.files.get_mut(&ino) {
            file.warning = Some(message);
        }
    }
}

fn display(path: &[OsString]) -> String {
    let path: PathBuf = path.iter().collect();
    path.to_string_lossy().into_owned()
}

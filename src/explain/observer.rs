//! Gathers facts about a program's operations while a recording is replayed.
//!
//! Counts per file, under all its names, and keeps for each output which files were ever at its
//! path.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::facts::{Facts, Opened, Rewritten, Worker};
use super::paths::joined;
use crate::core::Core;
use crate::core::generation::Ending;
use crate::core::recording::{Entry, Recording};
use crate::core::request::{At, Request};
use crate::core::spool::Spool;

/// How many opens, and how many lengths, are listed one by one.
const LISTED_MAX: usize = 32;

/// One written file, under all its names.
#[derive(Debug, Default)]
struct File {
    facts: Facts,
    workers: BTreeMap<i32, String>,
    writers: u32,
    was_closed: bool,
    /// One past the last byte that was written.
    end: u64,
    first_byte: Option<f64>,
    first: Option<f64>,
    last: f64,
}

/// One path, and the files that were there.
#[derive(Debug, Default)]
struct Story {
    path: PathBuf,
    files: Vec<u64>,
    present: Option<u64>,
    /// How often it was looked up before a file was there.
    looks: u64,
    moved_from: Vec<PathBuf>,
    moved_to: Vec<PathBuf>,
    replaced: u64,
    removed: u64,
}

/// Gathers the facts.
pub(super) struct Observer {
    files: HashMap<u64, File>,
    /// By their recorded handles.
    handles: HashMap<u64, (u64, bool)>,
    stories: Vec<Story>,
    signals: HashMap<i32, i32>,
}

impl Observer {
    /// Gathers facts for these paths.
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let story = |path: &PathBuf| Story {
            path: path.clone(),
            ..Story::default()
        };
        Observer {
            files: HashMap::new(),
            handles: HashMap::new(),
            stories: paths.iter().map(story).collect(),
            signals: HashMap::new(),
        }
    }

    /// Call this before an operation is replayed.
    pub(super) fn before(
        &mut self,
        core: &Core,
        entry: &Entry,
        recording: &Recording,
        known: impl Fn(&u64) -> Option<u64>,
    ) {
        let seconds = entry.at.as_secs_f64();
        match &entry.request {
            Request::Write { ino, bytes } => {
                if let Some(ino) = known(ino) {
                    let (offset, mapped) = (bytes.offset, bytes.from_cache);
                    self.write(core, (ino, offset, mapped), entry, recording);
                }
            }
            Request::Read {
                ino,
                fills_pages: mapped,
                ..
            } => {
                if let Some(ino) = known(ino) {
                    let file = self.files.entry(ino).or_default();
                    file.facts.mapped |= mapped;
                    file.facts.read_bytes += if *mapped { 0 } else { entry.length };
                }
            }
            Request::Change { ino, changes } => {
                if let (Some(ino), Some(length)) = (known(ino), &changes.size)
                    && core.spool(ino).map(Spool::len) != Some(*length)
                {
                    let file = self.files.entry(ino).or_default();
                    if file.facts.resized.len() < LISTED_MAX {
                        file.facts.resized.push(*length);
                    }
                    file.end = file.end.min(*length);
                }
            }
            Request::Allocate {
                ino, length, mode, ..
            } => {
                if let Some(ino) = known(ino) {
                    let facts = &mut self.files.entry(ino).or_default().facts;
                    match mode & !libc::FALLOC_FL_KEEP_SIZE {
                        0 => facts.allocated_bytes += length,
                        _ => facts.punched += 1,
                    }
                }
            }
            Request::Release { handle } => self.close(*handle, seconds),
            Request::ProcessEnded {
                pid,
                ending: Ending::Signal(signal),
            } => {
                self.signals.insert(*pid, *signal);
            }
            Request::Rename { from, to, .. } => {
                let names = (name(core, from, &known), name(core, to, &known));
                if let (Some(from), Some(to)) = names {
                    self.rename(&from, &to);
                }
            }
            Request::Lookup { at } => {
                if let Some(path) = name(core, at, &known)
                    && let Some(story) = self.stories.iter_mut().find(|s| s.path == path)
                    && story.files.is_empty()
                {
                    story.looks += 1;
                }
            }
            Request::Unlink { at } => {
                if let Some(path) = name(core, at, &known)
                    && let Some(story) = self.stories.iter_mut().find(|s| s.path == path)
                {
                    story.removed += 1;
                }
            }
            _ => {}
        }
    }

    /// Call this after an operation was replayed.
    pub(super) fn after(
        &mut self,
        core: &Core,
        entry: &Entry,
        known: impl Fn(&u64) -> Option<u64>,
    ) {
        let seconds = entry.at.as_secs_f64();
        match &entry.request {
            Request::Create { flags, writer, .. } => {
                if let (Some(ino), Some(handle)) = entry.made
                    && let Some(ino) = known(&ino)
                {
                    let process = (writer.pid, &*writer.name);
                    self.open(ino, handle, *flags | libc::O_TRUNC, process, seconds);
                }
            }
            Request::Open {
                ino,
                flags,
                writer,
                opener,
                ..
            } => {
                if let (Some(ino), Some(handle)) = (known(ino), entry.made.1) {
                    // O_EXCL counts only for the open that makes the file.
                    let flags = *flags & !libc::O_EXCL;
                    let process = match writer {
                        Some(writer) => (writer.pid, &*writer.name),
                        None => (opener.pid, &*opener.name),
                    };
                    self.open(ino, handle, flags, process, seconds);
                }
            }
            // Known already for a process that has written: recorded writes bypass the kernel's
            // cache.
            Request::AlsoWrites { ino, writer } if !writer.let_go => {
                if let Some(ino) = known(ino) {
                    let file = self.files.entry(ino).or_default();
                    file.workers.insert(writer.pid, writer.name.clone());
                }
            }
            _ => {}
        }
        let moves_names = matches!(
            entry.request,
            Request::Create { .. }
                | Request::MakeNode { .. }
                | Request::MakeSymlink { .. }
                | Request::Link { .. }
                | Request::Unlink { .. }
                | Request::Rename { .. }
                | Request::RemoveDirectory { .. }
                | Request::MakeDirectory { .. }
        );
        if moves_names {
            for story in &mut self.stories {
                story.look(core);
            }
        }
    }

    fn open(&mut self, ino: u64, handle: u64, flags: i32, process: (i32, &str), seconds: f64) {
        let file = self.files.entry(ino).or_default();
        let (mode, writes) = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => ("read", false),
            libc::O_WRONLY => ("write", true),
            _ => ("read and write", true),
        };
        let exclusive = flags & libc::O_EXCL != 0;
        if writes {
            file.facts.openings += 1;
            file.facts.reopenings += u64::from(file.was_closed && file.writers == 0);
            file.writers += 1;
        } else {
            file.facts.read_openings += 1;
        }
        file.facts.exclusive |= exclusive;
        file.workers.insert(process.0, process.1.to_owned());
        let empties = flags & libc::O_TRUNC != 0;
        if empties {
            file.end = 0;
        }
        if file.facts.opened.len() < LISTED_MAX {
            file.facts.opened.push(Opened {
                seconds,
                pid: process.0,
                name: process.1.to_owned(),
                mode,
                appends: flags & libc::O_APPEND != 0,
                empties,
                exclusive,
            });
        }
        file.first.get_or_insert(seconds);
        self.handles.insert(handle, (ino, writes));
    }

    fn close(&mut self, handle: u64, seconds: f64) {
        let Some((ino, writes)) = self.handles.remove(&handle) else {
            return;
        };
        let file = self.files.entry(ino).or_default();
        if writes {
            file.writers = file.writers.saturating_sub(1);
            file.was_closed = true;
            file.last = seconds;
        }
    }

    fn write(
        &mut self,
        core: &Core,
        (ino, offset, mapped): (u64, u64, bool),
        entry: &Entry,
        recording: &Recording,
    ) {
        let (length, seconds) = (entry.length, entry.at.as_secs_f64());
        let file = self.files.entry(ino).or_default();
        let end = offset + length;
        let first_byte = *file.first_byte.get_or_insert(seconds);
        let facts = &mut file.facts;
        facts.mapped |= mapped;
        facts.writes += if mapped { 0 } else { entry.count };
        facts.written_bytes += length;
        if offset < file.end && !mapped {
            facts.writes_back += 1;
            facts.furthest_back = facts.furthest_back.max(file.end - offset);
        } else if offset > file.end && !mapped {
            facts.gaps += 1;
        }
        let before = core
            .spool(ino)
            .map_or(0, |spool| spool.written_within(&(offset..end)));
        let changed = match before {
            0 => None,
            _ => difference(core, (ino, offset), recording, entry),
        };
        match changed {
            Some(range) => {
                let found = facts.rewritten.get_or_insert_with(|| Rewritten {
                    first: range,
                    first_after_bytes: file.end,
                    first_after_seconds: seconds - first_byte,
                    ..Rewritten::default()
                });
                found.writes += 1;
                found.bytes += range.1 - range.0;
            }
            None if offset < file.end && before < length.min(file.end - offset) => {
                facts.filled += 1;
            }
            None => {}
        }
        file.end = file.end.max(end);
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        for story in &mut self.stories {
            if story.path == *to {
                story.moved_from.push(from.to_owned());
            } else if story.path == *from {
                story.moved_to.push(to.to_owned());
            }
        }
    }

    /// The facts of all paths, in their order.
    pub(super) fn facts(mut self) -> Vec<Facts> {
        let stories = std::mem::take(&mut self.stories);
        stories.into_iter().map(|story| self.of(story)).collect()
    }

    fn of(&mut self, story: Story) -> Facts {
        let mut all = Facts::default();
        let mut workers = BTreeMap::new();
        let (mut first, mut last) = (f64::INFINITY, 0_f64);
        for ino in &story.files {
            let Some(file) = self.files.get(ino) else {
                continue;
            };
            all.add(&file.facts);
            workers.extend(file.workers.clone());
            first = first.min(file.first.unwrap_or(f64::INFINITY));
            last = last.max(file.last);
        }
        all.opened.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        all.opened.truncate(LISTED_MAX);
        all.workers = workers
            .into_iter()
            .map(|(pid, name)| Worker {
                pid,
                name,
                signal: self.signals.get(&pid).copied(),
            })
            .collect();
        all.moved_from = story.moved_from;
        all.moved_to = story.moved_to;
        all.replaced = story.replaced;
        all.removed = story.removed;
        // The kernel itself does one lookup before the create.
        all.looked_first = story.looks > 1;
        all.seconds = (last - first).max(0.0);
        all
    }
}

impl Story {
    fn look(&mut self, core: &Core) {
        let components: Vec<_> = self.path.iter().map(Into::into).collect();
        let now = core.names().resolve(&components);
        if now == self.present {
            return;
        }
        if let Some(ino) = now {
            self.replaced += u64::from(!self.files.is_empty());
            if !self.files.contains(&ino) {
                self.files.push(ino);
            }
        }
        self.present = now;
    }
}

/// The first and one past the last byte that a write changes.
fn difference(
    core: &Core,
    (ino, offset): (u64, u64),
    recording: &Recording,
    entry: &Entry,
) -> Option<(u64, u64)> {
    let new = recording.bytes(entry).to_vec().ok()?;
    let before = core.spool(ino)?.read(offset, entry.length as usize);
    let old = before.to_vec().ok()?;
    let differs = |(old, new): (&u8, &u8)| old != new;
    let first = old.iter().zip(&new).position(differs)? as u64;
    let last = old.iter().zip(&new).rposition(differs)? as u64;
    Some((offset + first, offset + last + 1))
}

fn name(core: &Core, (parent, name): &At, known: &impl Fn(&u64) -> Option<u64>) -> Option<PathBuf> {
    let parent = core.names().path(known(parent)?)?;
    Some(joined(&parent).join(name))
}

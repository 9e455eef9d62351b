//! Queries: what can be looked up without a request. They change nothing and never wait.
//!
//! They concern names and attributes, files, captured paths, and readers in this process.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::PathBuf;

use rustix::io::Errno;

use super::captures::Hold;
use super::clock::Monotonic;
use super::control::Place;
use super::generation::{Ending, Generation, Phase, Way, Writer};
use super::ids::{CaptureId, Unique};
use super::namespace::{Inode, Kind, Namespace, ROOT};
use super::operation::Operation;
use super::readers::reader::{Reader, Seen};
use super::recording::Recording;
use super::request::{Needed, Request};
use super::spool::{Pool, Segments, Spool};
use super::{Core, Env, File, Handle};
use crate::error::FailedWriter;

/// The core as a whole.
impl Core {
    /// The tree of names.
    pub(crate) fn names(&self) -> &Namespace {
        &self.names
    }

    /// The store of bytes, for its numbers about space.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether anything is open, or any request waits.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.handles.is_empty() || !self.waiting.is_empty()
    }

    /// When the next [`Request::Tick`](super::request::Request::Tick) is due.
    pub(crate) fn next_alarm(&self) -> Option<Monotonic> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// The thread that made a request which waits.
    pub(crate) fn waiting_thread(&self, unique: Unique) -> Option<i32> {
        self.waiting.get(&unique).map(|(_, thread)| *thread)
    }

    /// The number of requests that wait.
    #[cfg(test)]
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Ends the recording and returns it.
    pub(crate) fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take()
    }

    /// Whether the end of a process has been recorded.
    pub(crate) fn has_seen_end(&self, of: i32) -> bool {
        let recording = self.recording.as_ref();
        recording.is_some_and(|recording| recording.has_seen_end(of))
    }

    /// Whether any file is open for writing.
    pub(crate) fn is_written(&self) -> bool {
        let is_open = |file: &File| file.generation().is_open();
        self.files.values().any(is_open)
    }

    /// The files that are open for writing, by inode, with their paths.
    pub(crate) fn written_files(&self) -> Vec<(u64, PathBuf)> {
        let is_open = |file: &File| file.generation().is_open();
        let open = self.files.iter().filter(|(_, file)| is_open(file));
        let mut files: Vec<_> = open.map(|(ino, _)| (*ino, self.path_of(*ino))).collect();
        files.sort_by(|(_, a), (_, b)| a.cmp(b));
        files
    }

    /// The facts about its process without which an OPEN for reading, or a GETATTR, of this inode cannot be
    /// handled.
    pub(crate) fn needs_of_opener(&self, ino: u64, request: &Request) -> Needed {
        if let Some(number) = self.control.unknown_process(ino) {
            return Needed::Process(number);
        }
        if let Request::Attributes { .. } = request {
            let waits = self.control.waits_for(ino).is_some();
            return if waits { Needed::Name } else { Needed::Nothing };
        }
        // If it has lost its name, another file may stand there that is being written.
        let is_nameless = |inode: &Inode| inode.is_file() && inode.nlink() == 0;
        let has_lost_name = |inode: &Inode| inode.lost_name.is_some();
        let place = self.control.place(ino);
        if matches!(place, Some(Place::ReadingEnd(_)))
            || self.files.get(&ino).is_some_and(File::is_active)
            || self.names.get(ino).is_ok_and(is_nameless)
        {
            Needed::Relations
        } else if self.settings.consume
            || self.settings.records
            || self.is_control(ino)
            || self.names.get(ino).is_ok_and(has_lost_name)
        {
            Needed::Name
        } else {
            Needed::Nothing
        }
    }

    /// Whether an inode number belongs to the control directory.
    pub(crate) fn is_control(&self, ino: u64) -> bool {
        self.control.has(ino)
    }
}

/// Inodes.
impl Core {
    /// Where a symbolic link points.
    pub(crate) fn read_link(&self, ino: u64) -> Result<PathBuf, Errno> {
        if let Some(Place::Link { target }) = self.control.place(ino) {
            return Ok(target.clone());
        }
        match &self.names.get(ino)?.kind {
            Kind::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        }
    }

    /// The value of an extended attribute.
    pub(crate) fn xattr(&self, ino: u64, name: &OsStr) -> Result<Vec<u8>, Errno> {
        let inode = self.names.get(ino).map_err(|_| Errno::NODATA)?;
        let (value, _) = inode.xattrs.get(name).ok_or(Errno::NODATA)?;
        Ok(value.clone())
    }

    /// The names of all extended attributes, each followed by a zero byte.
    pub(crate) fn xattr_names(&self, ino: u64) -> Vec<u8> {
        let inode = self.names.get(ino).ok();
        let names = inode
            .into_iter()
            .flat_map(|inode: &Inode| inode.xattrs.keys());
        names.fold(Vec::new(), |mut list, name: &OsString| {
            list.extend_from_slice(name.as_encoded_bytes());
            list.push(0);
            list
        })
    }

    /// The size of the regular file that a path from the root leads to.
    pub(crate) fn file_size(&self, path: &[OsString]) -> Option<u64> {
        let file = self.files.get(&self.names.resolve(path)?)?;
        Some(file.spool().len())
    }

    /// The regular files below a directory of the root, by their paths from there.
    pub(crate) fn files_below(&self, directory: &OsStr) -> Vec<PathBuf> {
        let paths = self.names.files().flat_map(|ino| self.names.paths(ino));
        let below = paths.filter(|path| path.first().is_some_and(|name| name == directory));
        below.map(|path| path.iter().skip(1).collect()).collect()
    }

    /// The content of the regular file at a path from the root, and whether it failed. Links are not
    /// followed.
    pub(crate) fn file_content(&self, path: &[OsString]) -> Option<(Segments, bool)> {
        let mut steps = path.iter();
        let ino = steps.try_fold(ROOT, |above, name| self.names.find(above, name).ok())?;
        let file = self.files.get(&ino)?;
        let length = usize::try_from(file.spool().len()).ok()?;
        let failed = file.generation().has_failed(self.settings.fail_on);
        Some((file.spool().read(0, length), failed))
    }

    /// The way in which a file is delivered, and the reason, once it is chosen.
    pub(crate) fn way_of(&self, ino: u64) -> Option<(Way, &str)> {
        self.generation(ino)?.chosen()
    }

    /// The bytes of a file, as far as the kernel has passed them on.
    pub(crate) fn spool(&self, ino: u64) -> Option<&Spool> {
        Some(self.files.get(&ino)?.spool())
    }

    /// Whether no process has this file open for writing, though it is not done.
    pub(super) fn is_closed(&self, ino: u64) -> bool {
        let phase = self.files.get(&ino).map(File::phase);
        matches!(phase, Some(Phase::Closed { .. }))
    }

    /// Whether the kernel has an inode open in a matching incarnation, or holds it for an OPEN that waits.
    pub(super) fn is_open_in_kernel(
        &self,
        ino: u64,
        matches: impl Fn(Option<u32>) -> bool,
    ) -> bool {
        let mut readers = self.readers.iter().map(Reader::origin);
        readers.any(|origin| origin.inode == Some(ino) && matches(origin.incarnation))
            || self.handles.values().any(|handle| match handle {
                Handle::Writer { ino: of, .. } => *of == ino && matches(None),
                Handle::Plain {
                    ino: of,
                    incarnation,
                    ..
                } => *of == ino && matches(*incarnation),
                Handle::Reader(_) | Handle::Text(_) | Handle::Events(_) => false,
            })
    }

    /// Whether writes to a file fail because it will have no reader any more.
    pub(crate) fn has_hung_up(&self, ino: u64) -> bool {
        self.files.get(&ino).is_some_and(File::has_hung_up)
    }

    /// Whether a process is a known writer of a file, runs, and has never closed it.
    pub(crate) fn keeps_open(&self, ino: u64, pid: i32) -> bool {
        self.writer(ino, pid).is_some_and(|w| !w.has_closed)
    }

    fn writer(&self, ino: u64, pid: i32) -> Option<&Writer> {
        let writes = |w: &&Writer| w.pid == pid && w.ending == Ending::Running && !w.let_go;
        self.files.get(&ino)?.writers().iter().find(writes)
    }

    /// The file behind a handle that may write, and whether a process is a known writer of it that has not let go
    /// of it; `None` if the handle may not write.
    pub(crate) fn knows_writer(&self, handle: u64, pid: i32) -> Option<(u64, bool)> {
        let Some(Handle::Writer { ino, .. }) = self.handles.get(&handle) else {
            return None;
        };
        // A writer that has ended was another process with the same id.
        Some((*ino, self.writer(*ino, pid).is_some()))
    }
}

/// Captured paths and their readers.
impl Core {
    /// The inode at a captured path.
    pub(crate) fn captured_file(&self, id: CaptureId) -> Option<u64> {
        self.captures.file(&self.names, id)
    }

    /// The mode of the file at a captured path, if there is one, without set-id and sticky bits.
    pub(crate) fn captured_mode(&self, id: CaptureId) -> Option<u32> {
        let inode = self.names.get(self.captured_file(id)?).ok()?;
        inode.is_file().then_some(inode.mode & 0o777)
    }

    /// The generation at a path, for a reader that wants the next one.
    pub(super) fn seen(&self, path: &[OsString]) -> Option<Seen> {
        let ino = self.names.resolve(path)?;
        self.files.get(&ino)?;
        Some(self.seen_file(ino))
    }

    /// The present or last generation of a file.
    pub(super) fn seen_file(&self, ino: u64) -> Seen {
        let generation = self.generation(ino);
        Seen {
            ino,
            number: generation.map_or(0, Generation::number),
            openings: generation
                .filter(|generation| !generation.is_open())
                .map(Generation::openings),
        }
    }

    /// Whether the holders of a path have not opened it: no file is there, or only the one left by earlier
    /// holders.
    pub(crate) fn is_unopened(&self, id: CaptureId) -> bool {
        let path = self.captures.path(id);
        let left_before = path.and_then(|(_, left_before)| left_before);
        let file = self.captured_file(id);
        file.is_none_or(|ino| left_before == Some(self.seen_file(ino)))
    }

    /// Whether a path still has a holder, or is released but its file is not done.
    pub(crate) fn is_left_undone(&self, id: CaptureId) -> bool {
        let file = self.captured_file(id).and_then(|ino| self.files.get(&ino));
        match self.captures.hold(id) {
            Hold::Free => false,
            Hold::Held | Hold::Abandoned => true,
            Hold::Released => file.is_some_and(File::is_active),
        }
    }

    /// The way in which the file of a reader in this process is delivered, once it is chosen.
    pub(crate) fn way_read(&self, handle: u64) -> Option<Way> {
        let source = self.reader_of(handle)?.source()?;
        self.files.get(&source)?.way()
    }

    /// The bytes that a reader in this process was given and that were rewritten since.
    pub(crate) fn rewritten_range(&self, handle: u64) -> Option<std::ops::Range<u64>> {
        self.reader_of(handle)?.rewritten().cloned()
    }

    /// The same for a reader by position: all such ranges, in order.
    pub(crate) fn changed_ranges(&self, handle: u64) -> Vec<Range<u64>> {
        let reader = self.reader_of(handle);
        reader.map_or(Vec::new(), Reader::changed)
    }

    /// The length of the file that a reader in this process reads, if there is one at its path.
    pub(crate) fn length_read(&self, handle: u64) -> Option<u64> {
        let source = self.reader_of(handle)?.source()?;
        Some(self.files.get(&source)?.spool().len())
    }

    /// The writer that failed the file of a reader in this process by its end, if there is one.
    pub(crate) fn failed_writer(&self, handle: u64) -> Option<FailedWriter> {
        let source = self.reader_of(handle)?.source()?;
        let culprit = self.generation(source)?.culprit(self.settings.fail_on)?;
        Some(culprit.as_failed())
    }

    /// Whether the path of a reader in this process has no file and no holder.
    pub(crate) fn has_neither_file_nor_holder(&self, handle: u64) -> bool {
        self.reader_of(handle).is_some_and(|reader| {
            let held = reader.origin().capture.map(|id| self.captures.hold(id));
            reader.source().is_none() && held != Some(Hold::Held)
        })
    }

    /// The offset up to which a reader in this process could read now.
    pub(crate) fn readable(&mut self, env: Env<'_>, handle: u64) -> u64 {
        let Some(Handle::Reader(id)) = self.handles.get(&handle) else {
            return 0;
        };
        let id = *id;
        match self.readers.source(id) {
            Some(ino) => Operation::new(self, env).view(id, ino).limit,
            None => 0,
        }
    }

    fn reader_of(&self, handle: u64) -> Option<&Reader> {
        match self.handles.get(&handle) {
            Some(Handle::Reader(id)) => self.readers.get(*id),
            _ => None,
        }
    }
}

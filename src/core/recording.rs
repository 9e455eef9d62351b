//! A recording: every operation that changed something, with its time and its
//! bytes, so that it can be done again elsewhere.
//!
//! Knows operations, not what they mean; `explain` makes something of them. The
//! bytes are in one more spool, so that they take memory as files do and no
//! more. What is recorded has succeeded. The invariant: a recording is whole, or
//! says that it is not.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use super::clock::Monotonic;
use super::effects::{Caller, Transport};
use super::generation::{Ending, Way, Writer};
use super::namespace::Rename;
use super::spool::{Pool, Segments, Spool};
use super::{Core, Env, Handle};

/// Writes that go on where the last one ended are one entry if they come within
/// this time: what they did apart could not have been seen.
const TOGETHER: Duration = Duration::from_millis(1);

/// The most bytes of one entry: what a request of the kernel may carry.
const TOGETHER_BYTES: u64 = 1 << 20;

/// The most that is recorded: some hundred megabytes, without the bytes written.
const ENTRIES_MAX: usize = 2_000_000;

/// A name in a directory.
pub(crate) type At = (u64, OsString);

/// What was done.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    /// A name was looked for in vain, as the kernel does before it makes it, too.
    Look { at: At },
    /// A file was made and opened.
    Create {
        at: At,
        ino: u64,
        handle: u64,
        flags: i32,
        writer: Writer,
    },
    /// A file, FIFO, socket or device was made.
    MakeNode { at: At, ino: u64, kind: u32 },
    /// A directory was made.
    MakeDirectory { at: At, ino: u64 },
    /// A symbolic link was made.
    MakeSymlink { at: At, ino: u64, target: PathBuf },
    /// A file got one more name.
    Link { at: At, ino: u64 },
    /// A name was removed.
    Unlink { at: At },
    /// A directory was removed.
    RemoveDirectory { at: At },
    /// A name was moved.
    Rename { from: At, to: At, how: Rename },
    /// A file was opened: by whom, and whether as a writer.
    Open {
        ino: u64,
        handle: u64,
        flags: i32,
        opener: Writer,
        writes: bool,
    },
    /// A process wrote that had not opened the file itself.
    WroteToo { ino: u64, writer: Writer },
    /// Bytes were written, by `count` calls that followed each other.
    Write {
        ino: u64,
        offset: u64,
        length: u64,
        /// Where the bytes are, in the recording.
        start: u64,
        /// Whether they came out of a mapping.
        mapped: bool,
        count: u64,
    },
    /// Bytes were read.
    Read {
        ino: u64,
        handle: u64,
        offset: u64,
        length: u64,
        /// Whether for a mapping.
        mapped: bool,
    },
    /// A file was set to a length.
    Resize { ino: u64, length: u64 },
    /// `fallocate(2)`.
    Allocate {
        ino: u64,
        offset: u64,
        length: u64,
        mode: i32,
    },
    /// A handle was closed.
    Close { handle: u64 },
    /// A process ended.
    Ended { pid: i32, ending: Ending },
}

/// One operation and its time.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Monotonic,
    pub(crate) deed: Deed,
}

/// All that happened, in its order.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) entries: Vec<Entry>,
    bytes: Spool,
    /// Why it is not whole, if it is not.
    pub(crate) lost: Option<Errno>,
}

impl Recording {
    /// Of nothing yet.
    pub(super) fn new(pool: &Pool) -> Self {
        Recording {
            entries: Vec::new(),
            bytes: Spool::new(pool),
            lost: None,
        }
    }

    /// The bytes of a `Deed::Write`, or a part of them.
    pub(crate) fn bytes(&self, start: u64, length: usize) -> Segments {
        self.bytes.read(start, length)
    }

    fn push(&mut self, at: Monotonic, deed: Deed) {
        if self.lost.is_some() {
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.lost = Some(Errno::OVERFLOW);
            return;
        }
        self.entries.push(Entry { at, deed });
    }

    fn write(&mut self, now: Monotonic, ino: u64, offset: u64, data: &[u8], mapped: bool) {
        if self.lost.is_some() || data.is_empty() {
            return;
        }
        let start = self.bytes.len();
        if let Err(errno) = self.bytes.write(start, data) {
            self.lost = Some(errno);
            return;
        }
        let more = data.len() as u64;
        if let Some(Entry {
            at,
            deed:
                Deed::Write {
                    ino: same,
                    offset: before,
                    length,
                    mapped: was_mapped,
                    count,
                    ..
                },
        }) = self.entries.last_mut()
            && (*same, *was_mapped) == (ino, mapped)
            && *before + *length == offset
            && *length + more <= TOGETHER_BYTES
            && now.saturating_sub(*at) < TOGETHER
        {
            *length += more;
            *count += 1;
            return;
        }
        let deed = Deed::Write {
            ino,
            offset,
            length: more,
            start,
            mapped,
            count: 1,
        };
        self.push(now, deed);
    }

    fn read(&mut self, now: Monotonic, (ino, handle): (u64, u64), offset: u64, length: u64) {
        if let Some(Entry {
            deed:
                Deed::Read {
                    ino: same,
                    handle: through,
                    offset: before,
                    length: so_far,
                    mapped: false,
                },
            ..
        }) = self.entries.last_mut()
            && (*same, *through) == (ino, handle)
            && *before + *so_far == offset
        {
            *so_far += length;
            return;
        }
        let deed = Deed::Read {
            ino,
            handle,
            offset,
            length,
            mapped: false,
        };
        self.push(now, deed);
    }
}

impl Core {
    /// Adds an operation to the recording, if there is one.
    pub(super) fn record(&mut self, env: Env<'_>, deed: impl FnOnce() -> Deed) {
        if let Some(recording) = &mut self.recording {
            recording.push(env.now.monotonic, deed());
        }
    }

    /// The same for bytes that were written.
    pub(super) fn record_write(
        &mut self,
        env: Env<'_>,
        ino: u64,
        offset: u64,
        data: &[u8],
        mapped: bool,
    ) {
        if let Some(recording) = &mut self.recording {
            recording.write(env.now.monotonic, ino, offset, data, mapped);
        }
    }

    /// The same for bytes that a process reads which does not wait.
    pub(super) fn record_read(
        &mut self,
        env: Env<'_>,
        handle: u64,
        offset: u64,
        length: u32,
        mapped: bool,
    ) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let Some(Handle::Plain { ino, .. } | Handle::Writer { ino, .. }) =
            self.handles.get(&handle)
        else {
            return;
        };
        let (ino, now) = (*ino, env.now.monotonic);
        // Up to its end only: beyond there is nothing to read.
        let size = self.files.get(&ino).map_or(0, |file| file.spool.len());
        let length = u64::from(length).min(size.saturating_sub(offset));
        if mapped {
            let deed = Deed::Read {
                ino,
                handle,
                offset,
                length,
                mapped,
            };
            recording.push(now, deed);
        } else if length > 0 {
            recording.read(now, (ino, handle), offset, length);
        }
    }

    /// The same for a handle that is about to be closed.
    pub(super) fn record_close(&mut self, env: Env<'_>, handle: u64) {
        if let Some(Handle::Writer { .. } | Handle::Plain { .. }) = self.handles.get(&handle) {
            self.record(env, || Deed::Close { handle });
        }
    }

    /// The same for a file that was opened for reading, by one who does not wait.
    pub(super) fn record_open(&mut self, env: Env<'_>, caller: Caller, ino: u64, handle: u64) {
        if self.recording.is_none() || caller.internal {
            return;
        }
        let pid = env.processes.process_of(caller.thread);
        let opener = super::seen_writer(pid, None, env.processes);
        self.record(env, || Deed::Open {
            ino,
            handle,
            flags: libc::O_RDONLY,
            opener,
            writes: false,
        });
    }

    /// How a file is opened that is to be opened in this way: where operations
    /// are recorded, each comes to us as the program made it.
    pub(super) fn transport(&self, wanted: Transport) -> Transport {
        match &self.recording {
            Some(_) => Transport::Direct,
            None => wanted,
        }
    }

    /// Ends the recording and gives it away.
    pub(crate) fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take()
    }

    /// How what is written to a file is delivered, and why, once that is chosen.
    pub(crate) fn way_of(&self, ino: u64) -> Option<(Way, &str)> {
        let generation = self.generation(ino)?;
        Some((generation.way?, generation.reason.as_str()))
    }

    /// Whether the end of a process has been recorded.
    pub(crate) fn has_seen_end(&self, of: i32) -> bool {
        let entries = self
            .recording
            .iter()
            .flat_map(|recording| &recording.entries);
        let is_end = |entry: &Entry| matches!(entry.deed, Deed::Ended { pid, .. } if pid == of);
        entries.rev().any(is_end)
    }

    /// Whether any file is open for writing.
    pub(crate) fn is_written(&self) -> bool {
        let is_open = |file: &super::File| file.generation.as_ref().is_some_and(|g| g.handles > 0);
        self.files.values().any(is_open)
    }

    /// How long a file is.
    pub(crate) fn length_of(&self, ino: u64) -> Option<u64> {
        Some(self.files.get(&ino)?.spool.len())
    }

    /// What a file holds there, or as much of it as there is.
    pub(crate) fn content(&self, ino: u64, offset: u64, length: usize) -> Option<Segments> {
        Some(self.files.get(&ino)?.spool.read(offset, length))
    }

    /// How many bytes of a range of a file were written.
    pub(crate) fn written_within(&self, ino: u64, range: &std::ops::Range<u64>) -> u64 {
        let file = self.files.get(&ino);
        file.map_or(0, |file| file.spool.written_within(range))
    }

    /// Up to where a reader of this process could read now.
    pub(crate) fn readable(&mut self, env: Env<'_>, handle: u64) -> u64 {
        let Some(Handle::Reader(id)) = self.handles.get(&handle) else {
            return 0;
        };
        let id = *id;
        match self.readers.get(&id).and_then(|reader| reader.source) {
            Some(ino) => self.view(env, id, ino).limit,
            None => 0,
        }
    }
}

/// A name in a directory, to be kept.
pub(super) fn at((parent, name): (u64, &OsStr)) -> At {
    (parent, name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::spool::Limits;
    use super::*;

    #[test]
    fn only_writes_that_follow_each_other_at_once_are_one_entry() {
        let pool = Pool::new(Limits {
            memory: 1 << 20,
            max_size: Some(1 << 20),
            spill_directory: std::env::temp_dir(),
        });
        let mut recording = Recording::new(&pool);
        let early = Duration::from_millis(1);
        recording.write(early, 5, 0, b"ab", false);
        recording.write(early, 5, 2, b"c", false);
        recording.write(early, 6, 3, b"another file", false);
        recording.write(early, 5, 3, b"d", false);
        recording.write(early + TOGETHER, 5, 4, b"later", false);
        recording.write(early + TOGETHER, 5, 0, b"back", false);
        let found: Vec<_> = recording
            .entries
            .iter()
            .map(|entry| match &entry.deed {
                Deed::Write {
                    start,
                    length,
                    count,
                    ..
                } => {
                    let mut bytes = Vec::new();
                    let segments = recording.bytes(*start, *length as usize);
                    segments.copy_to(&mut bytes).expect("in memory");
                    (String::from_utf8(bytes).expect("text"), *count)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("abc", 2),
            ("another file", 1),
            ("d", 1),
            ("later", 1),
            ("back", 1),
        ];
        assert_eq!(
            found,
            expected.map(|(text, count)| (text.to_owned(), count))
        );
    }

    #[test]
    fn a_recording_that_does_not_fit_says_so_and_goes_no_further() {
        let pool = Pool::new(Limits {
            memory: 1 << 20,
            max_size: Some(8192),
            spill_directory: std::env::temp_dir(),
        });
        let mut recording = Recording::new(&pool);
        recording.write(Duration::ZERO, 5, 0, &[1; 8192], false);
        recording.write(Duration::ZERO, 5, 8192, &[1; 1], false);
        recording.push(Duration::ZERO, Deed::Close { handle: 1 });
        assert_eq!(recording.lost, Some(Errno::NOSPC));
        assert_eq!(recording.entries.len(), 1);
    }
}

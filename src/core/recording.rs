//! A recording: every request that changed something, with its time and bytes, so that another core can
//! replay it.
//!
//! Knows the requests, not their meaning: `explain` interprets them. The bytes are in a spool of their own,
//! within the same limits as those of files. Only requests that succeeded are recorded. The invariant: a
//! recording is complete, or says that it is not.

use rustix::io::Errno;

use super::clock::Monotonic;
use super::effects::Reply;
use super::request::{Loaded, Request};
use super::spool::{Pool, Segments, Spool};
use super::timers::ONE_ENTRY;

/// The most bytes of one entry: as many as one request of the kernel may carry.
const TOGETHER_BYTES: u64 = 1 << 20;

/// The most entries: some hundred megabytes, without the bytes written.
const ENTRIES_MAX: usize = 2_000_000;

/// A request and its time.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) at: Monotonic,
    /// The request, without the bytes of a write.
    pub(crate) request: Request,
    /// The inode and the handle that it made.
    pub(crate) made: (Option<u64>, Option<u64>),
    /// The number of bytes written or read.
    pub(crate) length: u64,
    /// The position of the written bytes in the recording.
    pub(crate) start: u64,
    /// The number of consecutive writes or reads in this entry.
    pub(crate) count: u64,
}

impl Entry {
    fn new(at: Monotonic, request: Request) -> Entry {
        Entry {
            at,
            request,
            made: (None, None),
            length: 0,
            start: 0,
            count: 1,
        }
    }

    /// Whether another write or read continues this one so closely that both can be one entry: no reader could
    /// see a difference.
    fn is_continued_by(&self, more: &Entry) -> bool {
        match (&self.request, &more.request) {
            (
                Request::Write { ino, bytes },
                Request::Write {
                    ino: same,
                    bytes: next,
                },
            ) => {
                (ino, bytes.from_cache) == (same, next.from_cache)
                    && bytes.offset + self.length == next.offset
                    && self.start + self.length == more.start
                    && self.length + more.length <= TOGETHER_BYTES
                    && more.at.saturating_sub(self.at) < ONE_ENTRY
            }
            (
                Request::Read {
                    handle,
                    wanted,
                    fills_pages: false,
                    ..
                },
                Request::Read {
                    handle: same,
                    wanted: next,
                    fills_pages: false,
                    ..
                },
            ) => handle == same && wanted.offset + self.length == next.offset,
            _ => false,
        }
    }
}

/// All recorded requests, in order.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) entries: Vec<Entry>,
    bytes: Spool,
    /// The reason why it is not complete, if it is not.
    pub(crate) lost: Option<Errno>,
}

impl Recording {
    pub(super) fn new(pool: &Pool) -> Self {
        Recording {
            entries: Vec::new(),
            bytes: Spool::new(pool),
            lost: None,
        }
    }

    /// The bytes that an entry wrote.
    pub(crate) fn bytes(&self, of: &Entry) -> Segments {
        self.bytes.read(of.start, of.length as usize)
    }

    /// Keeps the bytes of a write; if the write then fails, they stay unused.
    fn keep(&mut self, data: &[u8]) -> u64 {
        let start = self.bytes.len();
        if self.lost.is_none()
            && let Err(errno) = self.bytes.write(start, data)
        {
            self.lost = Some(errno);
        }
        start
    }

    fn push(&mut self, entry: Entry) {
        if self.lost.is_some() {
            return;
        }
        if let Some(last) = self.entries.last_mut()
            && last.is_continued_by(&entry)
        {
            last.length += entry.length;
            last.count += 1;
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.lost = Some(Errno::OVERFLOW);
            return;
        }
        self.entries.push(entry);
    }

    /// Makes the entry of a request, if it is to be recorded. This comes before the request is handled, since its
    /// bytes are the file's afterwards.
    pub(super) fn begin(&mut self, at: Monotonic, loaded: &Loaded<'_>) -> Option<Entry> {
        if !loaded.request.is_recorded() {
            return None;
        }
        let mut entry = Entry::new(at, loaded.request.clone());
        if let Request::Write { .. } = loaded.request {
            entry.length = loaded.load.len() as u64;
            entry.start = self.keep(&loaded.load.to_vec());
        }
        Some(entry)
    }

    /// Records an entry after its request was handled, unless the reply shows that it was refused. (A write has
    /// no reply yet.) Of lookups only those that found nothing are recorded.
    pub(super) fn finish(&mut self, mut entry: Entry, reply: Option<&Reply>) {
        let is_look = matches!(entry.request, Request::Lookup { .. });
        match reply {
            Some(Reply::Refused(Errno::NOENT)) if is_look => {}
            Some(Reply::Refused(_)) => return,
            _ if is_look => return,
            Some(Reply::Created { found, handle, .. }) => {
                entry.made = (Some(found.attributes.ino), Some(*handle))
            }
            Some(Reply::Found(found)) => entry.made.0 = Some(found.attributes.ino),
            Some(Reply::Opened { handle, .. }) => entry.made.1 = Some(*handle),
            Some(Reply::Bytes(bytes)) => entry.length = bytes.len() as u64,
            _ => {}
        }
        let is_nothing = match &entry.request {
            Request::Write { .. } => entry.length == 0,
            Request::Read { fills_pages, .. } => entry.length == 0 && !fills_pages,
            _ => false,
        };
        if !is_nothing {
            self.push(entry);
        }
    }

    /// Whether the end of a process has been recorded.
    pub(super) fn has_seen_end(&self, of: i32) -> bool {
        let is_end =
            |entry: &Entry| matches!(entry.request, Request::ProcessEnded { pid, .. } if pid == of);
        self.entries.iter().rev().any(is_end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Bytes;
    use std::time::Duration;

    use super::*;

    fn written(at: Duration, (ino, offset): (u64, u64), data: &[u8], to: &mut Recording) {
        let bytes = Bytes {
            offset,
            from_cache: false,
            kills_set_id: false,
        };
        let mut entry = Entry::new(at, Request::Write { ino, bytes });
        entry.start = to.keep(data);
        entry.length = data.len() as u64;
        to.push(entry);
    }

    #[test]
    fn only_writes_that_follow_each_other_at_once_are_one_entry() {
        let pool = Pool::for_tests(1 << 20, Some(1 << 20));
        let mut recording = Recording::new(&pool);
        let early = Duration::from_millis(1);
        written(early, (5, 0), b"ab", &mut recording);
        written(early, (5, 2), b"c", &mut recording);
        written(early, (6, 3), b"another file", &mut recording);
        written(early, (5, 3), b"d", &mut recording);
        written(early + ONE_ENTRY, (5, 4), b"later", &mut recording);
        written(early + ONE_ENTRY, (5, 0), b"back", &mut recording);
        let found = recording.entries.iter().map(|entry| {
            let bytes = recording.bytes(entry).to_vec().expect("in memory");
            (String::from_utf8(bytes).expect("text"), entry.count)
        });
        let found: Vec<_> = found.collect();
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
        let pool = Pool::for_tests(1 << 20, Some(8192));
        let mut recording = Recording::new(&pool);
        written(Duration::ZERO, (5, 0), &[1; 8192], &mut recording);
        written(Duration::ZERO, (5, 8192), &[1; 1], &mut recording);
        recording.push(Entry::new(Duration::ZERO, Request::Release { handle: 1 }));
        assert_eq!(recording.lost, Some(Errno::NOSPC));
        assert_eq!(recording.entries.len(), 1);
    }
}

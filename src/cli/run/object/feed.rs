//! Feeds an upload: from a file of the mount by position, or from bytes in order.
//!
//! Knows parts and when each is complete; `upload` does the network. Invariants: a part whose bytes have
//! changed since it was sent is sent again before the upload is finished; it reads at least as far as the
//! program may be ahead, so that the program never waits for a reader that waits for it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fifofs::{Error, PositionalReader};

use super::parts::{self, Whole};
use super::{Address, Upload};
use crate::cli::run::end::{End, named};

/// How often to look for patched parts that have stopped changing, while there is nothing else to send.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// This many first parts are kept even if room is scarce: programs mostly patch the beginning at the end.
const KEPT_PARTS: usize = 1;

/// The upload takes no more.
#[derive(Debug)]
pub(in super::super) struct Stopped;

/// The input of an upload.
#[derive(Debug)]
pub(in super::super) struct Feed {
    upload: Arc<Upload>,
    /// The bytes of the next part so far.
    buffer: Vec<u8>,
    next: usize,
}

impl Feed {
    pub(in super::super) fn new(upload: Arc<Upload>) -> Self {
        Feed {
            upload,
            buffer: Vec::new(),
            next: 0,
        }
    }

    /// Takes the next bytes.
    pub(in super::super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let size = parts::range(self.next);
            let room = (size.end - size.start) as usize - self.buffer.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if now.len() == room {
                let part = std::mem::take(&mut self.buffer);
                self.put(self.next, part)?;
                self.next += 1;
            }
        }
        Ok(())
    }

    /// Ends the input.
    pub(in super::super) fn finish(&mut self) -> Result<(), Stopped> {
        let last = std::mem::take(&mut self.buffer);
        if self.next == 0 {
            return self.end(Whole::Bytes(last));
        }
        let bytes = parts::start(self.next) + last.len() as u64;
        if !last.is_empty() {
            self.put(self.next, last)?;
            self.next += 1;
        }
        let count = self.next;
        self.end(Whole::Parts { count, bytes })
    }

    fn put(&self, part: usize, bytes: Vec<u8>) -> Result<(), Stopped> {
        self.upload.put(part, bytes).then_some(()).ok_or(Stopped)
    }

    fn end(&self, whole: Whole) -> Result<(), Stopped> {
        self.upload.finish(whole).then_some(()).ok_or(Stopped)
    }
}

/// Why copying by position ended early.
enum Why {
    Unread(Error),
    /// A part that must be sent again is not completely kept any more.
    GivenUp,
    TooLong,
    Stopped,
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        match error {
            // To a reader by position this means dropped bytes.
            Error::Rewritten { .. } => Why::GivenUp,
            error => Why::Unread(error),
        }
    }
}

impl From<Stopped> for Why {
    fn from(_: Stopped) -> Self {
        Why::Stopped
    }
}

/// Sends a program's output while the program writes it. `delivered` counts the bytes; errors name the output
/// `name`.
pub(in super::super) fn copy(
    reader: &mut PositionalReader,
    name: &Path,
    address: &Address,
    feed: &Feed,
    delivered: &AtomicU64,
) -> End {
    // Before the first read: a program may fill all of `--max-size` before two parts were sent.
    reader.release(0..0);
    let mut copying = Copying {
        reader,
        feed,
        sent: 0,
        next: Vec::new(),
        filled: 0,
        patched: BTreeMap::new(),
        again: HashSet::new(),
    };
    match copying.run(delivered) {
        Ok(()) => End::Whole,
        Err(Why::Unread(error)) => End::Unread(named(error, name)),
        Err(Why::GivenUp) => {
            let why = "the program changed a part of it that was sent and is not kept any more";
            End::Unwritten(address.failed(why).with_remedy("keep more, by --max-size"))
        }
        Err(Why::TooLong) => End::Unwritten(address.failed("an object is of 5 TiB at most")),
        Err(Why::Stopped) => End::Closed,
    }
}

struct Copying<'a> {
    reader: &'a mut PositionalReader,
    feed: &'a Feed,
    /// The number of parts sent, from the first on.
    sent: usize,
    /// The next part, and how much of it was read. Bytes that change meanwhile are read again.
    next: Vec<u8>,
    filled: usize,
    /// Sent parts that the last look found changed, and where.
    patched: BTreeMap<usize, Vec<Range<u64>>>,
    /// Parts that were sent again before the end, which happens once.
    again: HashSet<usize>,
}

impl Copying<'_> {
    fn run(&mut self, delivered: &AtomicU64) -> Result<(), Why> {
        let mut look = Instant::now() + LOOK_INTERVAL;
        loop {
            let next = parts::range(self.sent);
            let at = next.start + self.filled as u64;
            if Instant::now() >= look {
                self.send_quiet()?;
                look = Instant::now() + LOOK_INTERVAL;
            }
            match self.reader.wait_for(at + 1, Some(look)) {
                Ok(true) if self.sent == parts::PARTS_AT_MOST => return Err(Why::TooLong),
                Ok(true) => {}
                Ok(false) => break,
                Err(Error::TimedOut { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
            self.next.resize((next.end - next.start) as usize, 0);
            self.filled += self
                .reader
                .read_some_at(at, &mut self.next[self.filled..])?;
            if self.filled == self.next.len() && self.reread_changes(&next)? {
                let bytes = std::mem::take(&mut self.next);
                self.filled = 0;
                self.sent += 1;
                self.put(self.sent - 1, bytes)?;
                delivered.fetch_max(next.end, Ordering::Relaxed);
                look = Instant::now() + LOOK_INTERVAL;
            }
        }
        // It may have changed, and is shorter than a part.
        self.next = Vec::new();
        self.send_rest()?;
        delivered.store(self.reader.length(), Ordering::Relaxed);
        Ok(())
    }

    /// Reads again the bytes of the next part that changed while it was filled. False if the file now ends
    /// before the part does.
    fn reread_changes(&mut self, next: &Range<u64>) -> Result<bool, Why> {
        let length = self.reader.length();
        if length < next.end {
            self.filled = length.saturating_sub(next.start) as usize;
            return Ok(false);
        }
        for range in self.reader.changed() {
            let (start, end) = (range.start.max(next.start), range.end.min(next.end));
            if start < end {
                let (from, to) = (start - next.start, end - next.start);
                let buffer = &mut self.next[from as usize..to as usize];
                self.reader.read_at(start, buffer)?;
            }
        }
        Ok(true)
    }

    /// Sends a part as it is now; less of it if the file ends there.
    fn send(&mut self, part: usize) -> Result<(), Why> {
        let range = parts::range(part);
        let end = range.end.min(self.reader.length().max(range.start));
        let mut bytes = vec![0; (end - range.start) as usize];
        let length = self.reader.read_at(range.start, &mut bytes)?;
        bytes.truncate(length);
        self.put(part, bytes)
    }

    /// Passes on a part, whose bytes are then not needed any more unless they change.
    fn put(&self, part: usize, bytes: Vec<u8>) -> Result<(), Why> {
        // Release first: the program may wait for room, and `put` for the network.
        if part >= KEPT_PARTS {
            self.reader.release(parts::range(part));
        }
        Ok(self.feed.put(part, bytes)?)
    }

    /// Sends patched parts again that have not changed for a while: this uses the time until the program
    /// writes more.
    fn send_quiet(&mut self) -> Result<(), Why> {
        let patched = self.patched();
        let rested: Vec<usize> = patched
            .iter()
            .filter(|(part, ranges)| self.patched.get(part) == Some(ranges))
            .map(|(part, _)| *part)
            .collect();
        for part in rested {
            if parts::range(part).end <= self.reader.length() && self.again.insert(part) {
                self.send(part)?;
            }
        }
        self.patched = patched;
        Ok(())
    }

    /// The file is done: sends the parts that were not sent, or have changed since.
    fn send_rest(&mut self) -> Result<(), Why> {
        let length = self.reader.length();
        let count = parts::count(length);
        if count > parts::PARTS_AT_MOST {
            return Err(Why::TooLong);
        }
        if count == 0 || count == 1 && self.sent == 0 {
            let mut bytes = vec![0; length as usize];
            self.reader.read_at(0, &mut bytes)?;
            return Ok(self.feed.end(Whole::Bytes(bytes))?);
        }
        let patched = self.patched().into_keys();
        for part in patched.chain(self.sent..count).filter(|part| *part < count) {
            self.send(part)?;
        }
        let bytes = length;
        Ok(self.feed.end(Whole::Parts { count, bytes })?)
    }

    /// The sent parts that have changed, and where.
    fn patched(&self) -> BTreeMap<usize, Vec<Range<u64>>> {
        let mut patched = BTreeMap::<usize, Vec<Range<u64>>>::new();
        for range in self.reader.changed() {
            for part in parts::touched(&range).take_while(|part| *part < self.sent) {
                patched.entry(part).or_default().push(range.clone());
            }
        }
        patched
    }
}

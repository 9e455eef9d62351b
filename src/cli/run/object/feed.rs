//! What goes into an upload: a file of the mount by position, or bytes one after the other.
//!
//! Knows parts and when each is complete; the network is the upload's affair. The invariant: a part
//! that was sent and whose bytes have changed since is sent again before the upload is finished.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fifofs::{Error, PositionalReader};

use super::{Address, Upload, parts};
use crate::cli::run::copy::{End, named};

/// How often it is looked for parts that were patched and are at rest, while nothing else is to be
/// sent.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What an object is made of, once all of it is there.
#[derive(Debug)]
#[cfg_attr(not(feature = "object-store"), allow(dead_code))]
pub(super) enum Whole {
    /// The first so many parts, which were sent.
    Parts(usize),
    /// These few bytes, of which nothing was sent.
    Bytes(Vec<u8>),
}

/// Nobody takes any more.
#[derive(Debug)]
pub(in super::super) struct Stopped;

/// The way into an upload.
#[derive(Debug)]
pub(in super::super) struct Feed {
    upload: Arc<Upload>,
    /// The beginning of the next part.
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

    /// Those were all.
    pub(in super::super) fn finish(&mut self) -> Result<(), Stopped> {
        let last = std::mem::take(&mut self.buffer);
        if self.next == 0 {
            return self.end(Whole::Bytes(last));
        }
        if !last.is_empty() {
            self.put(self.next, last)?;
            self.next += 1;
        }
        self.end(Whole::Parts(self.next))
    }

    fn put(&self, part: usize, bytes: Vec<u8>) -> Result<(), Stopped> {
        self.upload.put(part, bytes).then_some(()).ok_or(Stopped)
    }

    fn end(&self, whole: Whole) -> Result<(), Stopped> {
        self.upload.finish(whole).then_some(()).ok_or(Stopped)
    }
}

/// Why copying by position ended before its time.
enum Why {
    Unread(Error),
    TooLong,
    Stopped,
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Why::Unread(error)
    }
}

impl From<Stopped> for Why {
    fn from(_: Stopped) -> Self {
        Why::Stopped
    }
}

/// Sends what a program writes, while it writes it. `delivered` counts the bytes; errors call the
/// output `name`.
pub(in super::super) fn copy(
    reader: &mut PositionalReader,
    name: &Path,
    address: &Address,
    feed: &Feed,
    delivered: &AtomicU64,
) -> End {
    let mut copying = Copying {
        reader,
        feed,
        sent: 0,
        patched: BTreeMap::new(),
        again: HashSet::new(),
    };
    match copying.run(delivered) {
        Ok(()) => End::Whole,
        Err(Why::Unread(error)) => End::Unread(named(error, name)),
        Err(Why::TooLong) => End::Unwritten(address.failed("an object is of 5 TiB at most")),
        Err(Why::Stopped) => End::Closed,
    }
}

struct Copying<'a> {
    reader: &'a mut PositionalReader,
    feed: &'a Feed,
    /// How many parts were sent, from the first on.
    sent: usize,
    /// Those of them that were found changed at the last look, and where.
    patched: BTreeMap<usize, Vec<Range<u64>>>,
    /// Those that were sent again already before the end, which is done once.
    again: HashSet<usize>,
}

impl Copying<'_> {
    fn run(&mut self, delivered: &AtomicU64) -> Result<(), Why> {
        loop {
            let next = parts::range(self.sent);
            let look = Instant::now() + LOOK_INTERVAL;
            match self.reader.wait_for(next.end, Some(look)) {
                Ok(true) if self.sent == parts::PARTS_AT_MOST => return Err(Why::TooLong),
                Ok(true) => {
                    self.send(self.sent)?;
                    self.sent += 1;
                    delivered.fetch_max(next.end, Ordering::Relaxed);
                }
                Ok(false) => break,
                Err(Error::TimedOut { .. }) => self.send_rested()?,
                Err(error) => return Err(error.into()),
            }
        }
        self.send_rest()?;
        delivered.store(self.reader.length(), Ordering::Relaxed);
        Ok(())
    }

    /// Sends a part as it is now; less of it if the file ends there.
    fn send(&mut self, part: usize) -> Result<(), Why> {
        let range = parts::range(part);
        let end = range.end.min(self.reader.length().max(range.start));
        let mut bytes = vec![0; (end - range.start) as usize];
        let length = self.reader.read_at(range.start, &mut bytes)?;
        bytes.truncate(length);
        Ok(self.feed.put(part, bytes)?)
    }

    /// Sends parts again that were patched and have been at rest for a while: the time until the
    /// program writes more is not lost then.
    fn send_rested(&mut self) -> Result<(), Why> {
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

    /// The file is done: sends what was not sent, or has changed since.
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
        Ok(self.feed.end(Whole::Parts(count))?)
    }

    /// The parts that were sent and have changed, and where.
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

//! Writes to a stream of which all is decided already: those that go on where the last one ended, while
//! there is room and no reader waits but those who gather.
//!
//! Such a write changes nothing but the content and the file's times, so that taking it costs little.
//! Invariant: an allowance holds only until anything else is done to the core ([`Core::revoke`]), so that
//! what was looked at when it was given is still so. Time alone goes on: who gathers does until
//! [`Core::end_gathering`], also if by then it was given something a while ago.

use super::clock::Timestamp;
use super::effects::{Bytes, Caller};
use super::generation::{Generation, Way};
use super::reader::Reader;
use super::{Core, File};

/// Leave to go on writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    ino: u64,
    thread: i32,
    kills_set_id: bool,
    /// Where the next write is to begin.
    at: u64,
    /// How many bytes may come from there.
    bytes: u64,
}

impl Core {
    /// Takes a write of which nothing is to be decided, and says whether it is one: then it is to be
    /// answered.
    pub(crate) fn write_on(
        &mut self,
        now: Timestamp,
        caller: Caller,
        ino: u64,
        bytes: &mut Bytes<'_>,
    ) -> bool {
        let Some(allowance) = &mut self.allowance else {
            return false;
        };
        let length = bytes.data.len() as u64;
        let is_meant = allowance.ino == ino
            && allowance.thread == caller.thread
            && allowance.kills_set_id == bytes.kills_set_id
            && allowance.at == bytes.offset
            && length <= allowance.bytes
            && !bytes.from_cache;
        let Some(file) = self.files.get_mut(&ino).filter(|_| is_meant) else {
            return false;
        };
        // If it fails nothing has changed, and whoever decides finds out why.
        if file.put(bytes.offset, &mut bytes.data).is_err() {
            return false;
        }
        allowance.at += length;
        allowance.bytes -= length;
        self.stamp_write(now, ino);
        true
    }

    /// Something else is done, or nobody knows who writes.
    pub(crate) fn revoke(&mut self) {
        self.allowance = None;
    }

    /// A write was decided: the next may be taken without that, as far as nobody needs to be told.
    pub(super) fn allow(&mut self, caller: Caller, ino: u64, at: u64, kills_set_id: bool) {
        self.allowance = self.allowed_bytes(ino, at).map(|bytes| Allowance {
            ino,
            thread: caller.thread,
            kills_set_id,
            at,
            bytes,
        });
    }

    /// How many bytes may be written from `at` on before anything is to be decided.
    fn allowed_bytes(&self, ino: u64, at: u64) -> Option<u64> {
        if self.recording.is_some() || self.events.wanted() {
            return None;
        }
        let file = self.files.get(&ino).filter(|file| file.may_go_on(at))?;
        let mut bytes = self.room(ino, file)?;
        for id in &file.readers {
            let untold = self.untold_bytes(file, self.readers.get(id)?, at)?;
            bytes = bytes.min(untold);
        }
        Some(bytes)
    }

    /// How many of them a reader need not be told of.
    fn untold_bytes(&self, file: &File, reader: &Reader, at: u64) -> Option<u64> {
        if reader.open.is_some() || reader.pollers.are_waiting() || reader.prior.is_some() {
            return None;
        }
        match &reader.reads[..] {
            [] => Some(u64::MAX),
            [read] if reader.gathers && read.offset >= file.spool.base() => {
                let gathered = at.checked_sub(read.offset)?;
                self.enough(read.length).checked_sub(gathered + 1)
            }
            _ => None,
        }
    }
}

impl File {
    /// Whether it is a stream under way that ends here, with no gap before, and holds no writer up.
    fn may_go_on(&self, at: u64) -> bool {
        let is_stream = |g: &Generation| g.is_active() && g.written && g.way == Some(Way::Stream);
        self.generation.as_ref().is_some_and(is_stream)
            && !self.is_broken()
            && self.held_writes.is_empty()
            && (self.spool.frontier(), self.spool.len()) == (at, at)
    }
}

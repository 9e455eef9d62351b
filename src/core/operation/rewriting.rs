//! Rewriting of delivered bytes: which readers get an error, and what is refused.
//!
//! If a file follows, the readers of the rewritten bytes get an error. A stream is only a pipe: anything that a
//! pipe cannot do is refused where the kernel allows that, and makes the generation fail for good
//! ([`Operation::lose`]).

use std::ffi::OsStr;
use std::ops::Range;

use rustix::io::Errno;

use super::Operation;
use crate::core::File;
use crate::core::event::Event;
use crate::core::generation::Generation;
use crate::core::ids::ReaderId;
use crate::core::readers::reader::Reader;

impl Operation<'_> {
    /// A generation has lost bytes, or was treated as no pipe can be: it will end as failed. A stream fails at
    /// once: it can be neither read nor written any more.
    pub(super) fn lose(&mut self, ino: u64, what: &str, offset: u64, errno: Errno) {
        // Only once, as the kernel goes on to write back all that it holds.
        if !self.generation_mut(ino).is_some_and(Generation::lose) {
            return;
        }
        let message = format!("bytes from {offset} on {what}: {errno}");
        self.warn(ino, message);
        if self.files.get(&ino).is_some_and(File::is_stream) {
            self.touched.contents.add(ino);
            self.touched.room.add(ino);
        }
    }

    /// Refuses to change bytes that are dropped, or that readers of a stream have.
    pub(super) fn refuse_what_was_passed_on(
        &mut self,
        ino: u64,
        range: Range<u64>,
    ) -> Result<(), Errno> {
        let file = self.file(ino)?;
        if !file.has_passed_on(&range) {
            return Ok(());
        }
        let what = match self.is_read_by_position(ino) {
            true => "were changed when they were no longer kept, for want of room (--max-size)",
            false => "cannot be changed",
        };
        // The generation fails, too: many programs ignore this error and go on.
        let errno = Errno::SPIPE;
        self.lose(ino, what, range.start, errno);
        Err(errno)
    }

    /// Whether a process that opens a file as it is counts as one of its writers: as a step of their script, or
    /// because only this process waits for the file.
    pub(super) fn is_of_writers(&self, ino: u64, is_step: bool) -> bool {
        is_step || !self.settings.readers_wait || self.is_captured(ino)
    }

    /// Refuses to let a writer read back bytes that are dropped, and fails the generation: what the program then
    /// writes cannot be trusted. Returns the error.
    pub(super) fn refuse_reading_back(&mut self, ino: u64, offset: u64) -> Errno {
        let what = match self.is_read_by_position(ino) {
            true => "were read back when they were no longer kept, for want of room (--max-size)",
            false => "cannot be read back",
        };
        let errno = Errno::SPIPE;
        self.lose(ino, what, offset, errno);
        errno
    }

    /// Whether a file has a reader by position, so that bytes are dropped only for lack of room.
    fn is_read_by_position(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.is_some_and(|file| self.readers.of(file).any(Reader::reads_by_position))
    }

    /// Refuses to put a file at a name where readers have bytes of a stream.
    pub(super) fn refuse_in_place_of_a_stream(
        &mut self,
        (parent, name): (u64, &OsStr),
        ino: Option<u64>,
    ) -> Result<(), Errno> {
        let ids = self.readers.following(name);
        let replaced: Vec<u64> = ids
            .filter_map(|id| {
                let reader = self.readers.get(id).filter(|r| self.has_streamed(r))?;
                let (_, above) = reader.path()?.split_last()?;
                let is_here = self.names.resolve(above) == Some(parent);
                reader
                    .source()
                    .filter(|_| is_here && reader.source() != ino)
            })
            .collect();
        for source in &replaced {
            self.lose(*source, "cannot be replaced", 0, Errno::SPIPE);
        }
        match replaced[..] {
            [] => Ok(()),
            [..] => Err(Errno::SPIPE),
        }
    }

    /// Whether a reader was given bytes of a stream, and has not got its end.
    pub(super) fn has_streamed(&self, reader: &Reader) -> bool {
        let file = reader.source().and_then(|ino| self.files.get(&ino));
        reader.is_underway() && file.is_some_and(File::is_stream)
    }

    /// Bytes of a file were rewritten: notes that for each reader that has them.
    pub(super) fn rewritten(&mut self, ino: u64, range: Range<u64>) {
        let Some(file) = self.files.get(&ino) else {
            return;
        };
        for id in file.readers().clone() {
            let Some(reader) = self.readers.get(id) else {
                continue;
            };
            let concerned = !reader.is_finished()
                && reader.prior().is_none()
                && reader.position() > range.start;
            if concerned {
                let range = range.start..range.end.min(reader.position());
                self.mark_rewritten(id, range);
                self.touched.readers.add(id);
            }
        }
    }

    /// Keeps the bytes that a reader was given, to compare them with the new content.
    pub(super) fn keep_prior(&mut self, id: ReaderId) {
        let reader = self.core.readers.get_mut(id);
        let gone = reader.and_then(|reader| {
            let file = self.core.files.get(&reader.source()?)?;
            reader.keep_prior(file)
        });
        if let Some(range) = gone {
            self.mark_rewritten(id, range);
        }
    }

    /// Notes that bytes which a reader has were rewritten. Warns if that is its first error.
    pub(super) fn mark_rewritten(&mut self, id: ReaderId, range: Range<u64>) {
        let Some(reader) = self.core.readers.get_mut(id) else {
            return;
        };
        if !reader.mark_rewritten(range.clone()) {
            return;
        }
        self.core.tally.rewritten += 1;
        let (pid, name) = (
            reader.origin().pid.cast_unsigned(),
            reader.origin().name.clone(),
        );
        let Some(ino) = reader.source() else {
            return;
        };
        let message = format!(
            "bytes {} to {} were rewritten after {name} ({pid}) had them; \
             deliver it as settled to have readers wait for the finished file",
            range.start, range.end
        );
        self.publish(ino, || Event::Rewritten {
            pid,
            name,
            from: range.start,
            to: range.end,
        });
        self.warn(ino, message);
    }
}

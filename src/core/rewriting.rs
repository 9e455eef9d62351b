//! When what readers have is not what the program left, or will not be: which of
//! them are told, and how.
//!
//! Of a file that follows, those readers are told whose bytes were rewritten. A stream is a pipe
//! and no more: whatever a pipe cannot do is refused where the kernel lets us, and has the
//! generation fail for good ([`Operation::lose`]).

use std::ffi::OsStr;
use std::ops::Range;

use rustix::io::Errno;

use super::event::Event;
use super::generation::Generation;
use super::ids::ReaderId;
use super::readers::reader::Reader;
use super::{File, Operation};

impl Operation<'_> {
    /// A generation is not what its program believes: it will have failed. A stream has failed
    /// at once: nobody gets or writes any more of it.
    pub(super) fn lose(&mut self, ino: u64, what: &str, offset: u64, errno: Errno) {
        // Once is enough: the kernel goes on with all that it holds.
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

    /// Refuses to change bytes where that cannot be: they are dropped, or readers of a stream have had
    /// them.
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
        // Many a program does not look, or goes on all the same, when it is told that what it
        // wants to mend cannot be mended.
        let errno = Errno::SPIPE;
        self.lose(ino, what, range.start, errno);
        Err(errno)
    }

    /// Whether somebody who has a file open as it is belongs to those who write it: one of the
    /// program, where nobody waits but this process, or who is a step of their script.
    pub(super) fn is_of_writers(&self, ino: u64, is_step: bool) -> bool {
        is_step || !self.settings.readers_wait || self.is_captured(ino)
    }

    /// Refuses to have those who write read what was passed on: what they make of that is
    /// anybody's guess. Gives the error that they get.
    pub(super) fn refuse_reading_back(&mut self, ino: u64, offset: u64) -> Errno {
        let what = match self.is_read_by_position(ino) {
            true => "were read back when they were no longer kept, for want of room (--max-size)",
            false => "cannot be read back",
        };
        let errno = Errno::SPIPE;
        self.lose(ino, what, offset, errno);
        errno
    }

    /// Whether what was passed on of a file is not kept only since there was no room.
    fn is_read_by_position(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.is_some_and(|file| self.readers.of(file).any(Reader::reads_by_position))
    }

    /// Refuses to put another file at a name where readers of a stream have had bytes of one.
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

    /// Whether a reader was given bytes of a stream, and is to get more.
    pub(super) fn has_streamed(&self, reader: &Reader) -> bool {
        let file = reader.source().and_then(|ino| self.files.get(&ino));
        reader.is_underway() && file.is_some_and(File::is_stream)
    }

    /// Bytes that readers were given are no longer so.
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

    /// What a reader was given is kept, to be compared with what it gets next.
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

    /// What a reader was given is no longer so, for good.
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

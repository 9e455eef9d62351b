//! Opening for writing, and writing: what writers do to a file, and what follows for its readers.

use std::path::PathBuf;

use rustix::io::Errno;

use super::Operation;
use super::opening::OPEN_BYTES;
use crate::core::effects::Transport;
use crate::core::event::Event;
use crate::core::generation::{Way, Writer};
use crate::core::notices::Notice;
use crate::core::readers::reader::Reader;
use crate::core::request::{Bytes, Caller};
use crate::core::rules::Deliver;
use crate::core::spool::{self, Load};
use crate::core::touched::TakenWrite;
use crate::core::{Core, Handle};

impl Operation<'_> {
    /// Opens a file for writing, by an OPEN or a CREATE.
    pub(super) fn open_for_writing(
        &mut self,
        ino: u64,
        flags: i32,
        (writer, user): (Writer, Option<u32>),
    ) -> Result<(u64, Transport), Errno> {
        self.refuse_frozen()?;
        self.note_unseen(&writer)?;
        let path = self.names.path(ino);
        self.file(ino)?;
        self.begin_generation(ino, path.as_deref())?;
        let now = self.now;
        let (pid, name) = (writer.pid.cast_unsigned(), writer.name.clone());
        let records = self.recording.is_some();
        let file = self.file_mut(ino)?;
        let is_message = file.fifo().is_some();
        let length = file.spool().len();
        let generation = file.generation_mut();
        let by_stranger = generation.open(now, flags, writer, length);
        let number = generation.number();
        let transport = match file.way() {
            Some(Way::Stream) => Transport::Direct,
            // So that each write reaches us when it is made, and can wait or fail.
            _ if is_message && flags & libc::O_ACCMODE != libc::O_RDWR => Transport::Direct,
            _ if records => Transport::Direct,
            _ => Transport::Cached,
        };
        let cached = transport == Transport::Cached;
        if cached {
            file.writeback_mut().opened();
        }
        self.publish(ino, || Event::Opened {
            pid,
            name: name.clone(),
            generation: number,
        });
        if by_stranger {
            let message = format!("{name} ({pid}) writes to it while others do");
            self.warn(ino, message);
        }
        self.names.pin(ino);
        let _kept = self.pool.for_user(user).keep_anyway(OPEN_BYTES / 2);
        let handle = self.add_handle(Handle::Writer { ino, cached, _kept });
        if flags & libc::O_TRUNC != 0
            && let Err(errno) = self.truncate_by_open(ino)
        {
            self.release(handle);
            return Err(errno);
        }
        // It may be the generation for which a reader waits by name: the next one, or a certain process's.
        self.path_changed(ino);
        self.touched.contents.add(ino);
        self.touched.writeback.add(ino);
        Ok((handle, transport))
    }

    /// Warns of a writer that cannot be seen, or refuses it (`--require-visible`).
    pub(super) fn note_unseen(&mut self, writer: &Writer) -> Result<(), Errno> {
        match (writer.pid, self.settings.require_visible) {
            (0, true) => {
                self.notices.say(Notice::RefusedWriter);
                Err(Errno::PERM)
            }
            (0, false) => {
                self.notices.say(Notice::UnseenWriter);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Makes a new generation if the last one is over.
    fn begin_generation(
        &mut self,
        ino: u64,
        path: Option<&[std::ffi::OsString]>,
    ) -> Result<(), Errno> {
        let has_reader = self.settings.readers_wait || self.is_captured(ino);
        let was_read = self.captures.was_read(&self.names, ino);
        let file = self.core.files.get_mut(&ino).ok_or(Errno::NOENT)?;
        if file.is_active() {
            return Ok(());
        }
        let was_told = file.begin_generation();
        let path: PathBuf = path.unwrap_or_default().iter().collect();
        if let Some((deliver, rule)) = self.core.settings.rules.choose(&path) {
            let way = match deliver {
                Deliver::Auto => None,
                // A file that gets no reader would make its writer wait for ever: a temporary
                // file, say, that is to be renamed when it is whole.
                Deliver::Stream if !has_reader => Some(Way::Follow),
                Deliver::Stream => Some(Way::Stream),
                Deliver::Follow => Some(Way::Follow),
                Deliver::Settled => Some(Way::Settled),
            };
            if let Some(way) = way {
                let reason = format!("--deliver {rule}");
                file.generation_mut().choose(way, reason, false);
            }
        }
        if was_read {
            file.goes_on_with(0);
        }
        // Readers that have not got all of the last generation go on with this one.
        for id in file.readers().clone() {
            let reader = self
                .core
                .readers
                .get(id)
                .filter(|reader| reader.prior().is_none());
            if let Some(position) = reader.and_then(Reader::has_of_source) {
                file.goes_on_with(position);
            }
        }
        if was_told {
            let message = "it is written again after readers were told that it was done; \
                           --linger exit waits until those who write have exited"
                .to_owned();
            self.warn(ino, message);
        }
        Ok(())
    }

    /// Accepts the bytes of a write and answers it, now or when the readers have caught up.
    pub(super) fn write(
        &mut self,
        caller: Caller,
        ino: u64,
        (bytes, mut data): (Bytes, Load<'_>),
    ) -> Result<(), Errno> {
        let Bytes {
            offset,
            from_cache,
            kills_set_id,
        } = bytes;
        if kills_set_id {
            self.drop_privileges(ino, false);
        }
        let length = data.len() as u32;
        let is_busy = self.is_busy(ino);
        let taken = self.take(ino, (offset, from_cache), &mut data);
        if let Err(errno) = taken {
            // The program was told long ago that bytes in the kernel's cache are written.
            if from_cache {
                let what = match errno {
                    Errno::NOSPC => "could not be kept, for want of room (--max-size, --spill)",
                    _ => "could not be kept",
                };
                self.lose(ino, what, offset, errno);
            }
            return Err(errno);
        }
        if !from_cache {
            self.stamp_write(ino);
        }
        self.touched.write = Some(TakenWrite {
            unique: caller.unique,
            thread: caller.thread,
            ino,
            length,
            end: offset + u64::from(length),
            from_cache,
            comes_first: is_busy,
        });
        Ok(())
    }

    /// Writes bytes into a file, at an offset, from the kernel's cache or not.
    pub(super) fn take(
        &mut self,
        ino: u64,
        (offset, from_cache): (u64, bool),
        data: &mut Load<'_>,
    ) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        let length = data.len() as u64;
        spool::end_of(offset, length)?;
        data.align(offset);
        let Core { files, names, .. } = &mut *self.core;
        let file = files.get_mut(&ino).ok_or(Errno::NOENT)?;
        let name = || names.path(ino)?.pop();
        let now = self.now;
        let chosen = file.note_write(now, (offset, from_cache), data.beginning(), name);
        self.publish_chosen(ino, chosen);
        if let Err(errno) = self.file_mut(ino)?.refuse_if_broken() {
            // Readers that a stream still has get the error.
            self.touched.contents.add(ino);
            return Err(errno);
        }
        self.refuse_what_was_passed_on(ino, offset..offset + length)?;
        let changed = match self.with_room(ino, |file| file.write(offset, data, true)) {
            Err(Errno::NOSPC) if self.is_to_wait(ino) => {
                self.file_mut(ino)?.write(offset, data, false)?
            }
            done => done?,
        };
        self.tally.written += length;
        if let Some(range) = changed {
            self.rewritten(ino, range);
        }
        self.publish(ino, || Event::Wrote {
            offset,
            bytes: length,
        });
        self.touched.contents.add(ino);
        Ok(())
    }

    /// Publishes the way of delivery of a file, if its first write has just decided it.
    pub(super) fn publish_chosen(&mut self, ino: u64, chosen: Option<(Way, String)>) {
        if let Some((way, reason)) = chosen {
            self.publish(ino, || Event::Chosen { way, reason });
            // For readers of a settled file no pages need to be written back.
            self.touched.writeback.add(ino);
        }
    }

    /// Sets a file's times after a change for which the kernel leaves that to us.
    pub(super) fn stamp_write(&mut self, ino: u64) {
        if let Ok(inode) = self.core.names.get_mut(ino) {
            inode.mtime = self.wall;
            inode.ctime = self.wall;
        }
    }
}

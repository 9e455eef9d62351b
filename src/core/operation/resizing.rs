//! Changes of a file other than writes: truncation, allocation, holes, copies within the mount.

use rustix::io::Errno;

use super::Operation;
use crate::core::event::Event;
use crate::core::readers::reader::Reader;
use crate::core::spool::{self, Load};
use crate::core::{File, Handle};

/// How much one `copy_file_range` copies at most: the kernel asks again for the rest.
const COPY_BYTES: u64 = 16 << 20;
/// How much of it is in memory at a time.
const COPY_STEP_BYTES: usize = 1 << 20;

impl Operation<'_> {
    /// Sets the length of a file.
    pub(super) fn truncate(&mut self, ino: u64, length: u64) -> Result<(), Errno> {
        spool::end_of(length, 0)?;
        if length < self.file(ino)?.streamed() {
            self.refuse_what_was_passed_on(ino, length..u64::MAX)?;
        }
        let before = self.file(ino)?.spool().len();
        let gone = self.file_mut(ino)?.truncate(length)?;
        if let Some(range) = gone {
            self.rewritten(ino, range);
        }
        if length != before {
            self.publish(ino, || Event::Truncated { length });
        }
        self.touched.writeback.add(ino);
        self.touched.contents.add(ino);
        // A write may wait for the room that is there now.
        self.touched.room.add(ino);
        Ok(())
    }

    /// Empties a file that is opened with O_TRUNC: readers that have bytes of it go on if the new content begins
    /// with those. For a stream that has delivered bytes this is refused.
    pub(super) fn truncate_by_open(&mut self, ino: u64) -> Result<(), Errno> {
        let generation = self.generation(ino);
        if generation.is_some_and(|generation| generation.openings() > 1)
            && self.file(ino)?.streamed() > 0
        {
            self.refuse_what_was_passed_on(ino, 0..u64::MAX)?;
        }
        for id in self.file(ino)?.readers().clone() {
            if self.readers.get(id).is_some_and(Reader::is_underway) {
                self.keep_prior(id);
            }
        }
        self.file_mut(ino)?.generation_mut().forget_delivered();
        self.truncate(ino, 0)?;
        self.stamp_write(ino);
        Ok(())
    }

    /// `fallocate(2)`, with its own mode bits.
    pub(super) fn allocate(
        &mut self,
        ino: u64,
        (offset, length): (u64, u64),
        mode: i32,
    ) -> Result<(), Errno> {
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let end = spool::end_of(offset, length)?;
        match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => self.with_room(ino, |file| file.allocate(offset, length, keep_size))?,
            libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE => {
                self.refuse_what_was_passed_on(ino, offset..end)?;
                let extends = mode & libc::FALLOC_FL_ZERO_RANGE != 0 && !keep_size;
                let changed = self.file_mut(ino)?.zero(offset..end, extends)?;
                if let Some(range) = changed {
                    self.rewritten(ino, range);
                }
            }
            _ => return Err(Errno::OPNOTSUPP),
        }
        self.stamp_write(ino);
        self.touched.writeback.add(ino);
        self.touched.contents.add(ino);
        Ok(())
    }

    /// `copy_file_range(2)` between two files of the mount; returns how much was copied. From a waiting reader's
    /// handle, and from and to streams, it gives `EXDEV`: then the program reads and writes the bytes.
    pub(super) fn copy_range(
        &mut self,
        from: (u64, u64, u64),
        to: (u64, u64),
        length: u64,
    ) -> Result<u32, Errno> {
        let (from_ino, from_handle, mut from_offset) = from;
        let (to_ino, mut to_offset) = to;
        let reads_as_is = matches!(
            self.handles.get(&from_handle),
            Some(Handle::Plain { .. } | Handle::Writer { .. })
        );
        let is_stream = |file: &File| file.spool().dropped_bytes() > 0 || file.is_stream();
        // A recording must contain the writes.
        let is_recorded = self.recording.is_some();
        if is_recorded
            || !reads_as_is
            || is_stream(self.file(from_ino)?)
            || is_stream(self.file(to_ino)?)
        {
            return Err(Errno::XDEV);
        }
        let mut left = length.min(COPY_BYTES);
        let mut copied = 0;
        while left > 0 {
            let step = left.min(COPY_STEP_BYTES as u64) as usize;
            let bytes = self.file(from_ino)?.spool().read(from_offset, step);
            let buffer = bytes.to_vec().map_err(|_| Errno::IO)?;
            if buffer.is_empty() {
                break;
            }
            match self.take(to_ino, (to_offset, false), &mut Load::from(&buffer)) {
                Ok(()) => {}
                Err(_) if copied > 0 => break,
                Err(errno) => return Err(errno),
            }
            let step = buffer.len() as u64;
            from_offset += step;
            to_offset += step;
            left -= step;
            copied += step as u32;
        }
        if copied > 0 {
            self.stamp_write(to_ino);
        }
        Ok(copied)
    }
}

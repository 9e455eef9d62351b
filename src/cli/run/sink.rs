//! The open destination of an output.
//!
//! Knows descriptors and offsets; knows nothing of programs or of where the bytes come from. Invariant:
//! the old content of a regular file stays, except where the output is now.
//!
//! Most destinations are written from start to end, and written bytes cannot be changed. In a regular
//! file that was not opened for appending they can: [`Sink::rewind`] goes back to where the output
//! began.

mod descriptors;
mod holes;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fifofs::{Error, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, OFlags, SeekFrom};
use rustix::io::Errno;

use descriptors::{duplicate, enlarge};

use super::consumer::Consumer;
use super::destinations::Destination;
use super::object;
use super::replacement::{self, Hidden, Replacement};
use super::transfer::{FRAME_BYTES, Frame};
use crate::cli::links;

/// How often to check whether a FIFO has a reader.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Advice if a file cannot be made.
const ELSEWHERE: &str = "give the path of a file in a directory that you may write to";

/// Advice if a file cannot be replaced.
const IN_PLACE: &str = "write it in its place, by `> FILE` instead of `-o FILE`";

/// An open destination.
#[derive(Debug)]
pub(super) struct Sink {
    destination: Destination,
    descriptor: OwnedFd,
    /// Set for a FIFO without a reader: `descriptor` is an `O_PATH` one.
    is_unread: bool,
    /// Set for a regular file that is not opened for appending.
    extent: Option<Extent>,
    /// Set for a file that appears when it is whole.
    replacement: Option<Replacement>,
    /// From here on zeros need not be written: the end of all writes to a new file.
    untouched_from: Option<u64>,
    /// Set for the input of a program.
    feed: Option<Feed>,
    /// Set for an object: `descriptor` only becomes readable at its end.
    object: Option<object::Feed>,
    /// The number of bytes written since the start.
    written: u64,
}

/// How the input of a program is written.
#[derive(Debug)]
struct Feed {
    consumer: Arc<Consumer>,
    form: Form,
    has_begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The bytes and nothing else.
    Plain,
    /// Frames, which contain the offsets of the bytes.
    Frames,
}

/// The part of a regular file that the output takes.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// The offset at which the output begins.
    start: u64,
    /// The length of the file before.
    old_length: u64,
    /// Set while the output is written again.
    again: Option<Again>,
}

#[derive(Debug, Clone, Copy)]
struct Again {
    /// How many bytes were written the last time.
    written_before: u64,
}

/// Why no more can be written.
#[derive(Debug)]
pub(super) enum Stopped {
    /// It has no reader any more.
    Closed,
    Failed(Error),
}

impl From<object::Stopped> for Stopped {
    /// The upload itself reports the reason.
    fn from(_: object::Stopped) -> Self {
        Stopped::Closed
    }
}

impl Sink {
    /// The input of a program, which is started with the first byte.
    pub(super) fn of_consumer(
        destination: &Destination,
        input: OwnedFd,
        consumer: Arc<Consumer>,
        form: Form,
    ) -> Result<Self> {
        let failed = |error| Error::io("write to", destination.to_string(), error);
        let mut sink = Self::of(destination, input, None).map_err(failed)?;
        sink.feed = Some(Feed {
            consumer,
            form,
            has_begun: false,
        });
        Ok(sink)
    }

    /// An object; `end` becomes readable when its upload has ended.
    pub(super) fn of_upload(
        destination: &Destination,
        end: &impl AsFd,
        object: object::Feed,
    ) -> Result<Self> {
        let failed = |error| Error::io("write to", destination.to_string(), error);
        let descriptor = rustix::io::fcntl_dupfd_cloexec(end, 0);
        let descriptor = descriptor.map_err(|errno| failed(errno.into()))?;
        let mut sink = Self::of(destination, descriptor, None).map_err(failed)?;
        sink.object = Some(object);
        Ok(sink)
    }

    pub(super) fn open(destination: &Destination) -> Result<Self> {
        let failed = |error| Error::io("write to", destination.to_string(), error);
        match destination {
            Destination::Descriptor(number) => {
                let descriptor = duplicate(*number).map_err(|error| {
                    failed(error).with_remedy(format!(
                        "open it for writing, as in `fifofs run … {number}>FILE`"
                    ))
                })?;
                Self::of(destination, descriptor, None).map_err(failed)
            }
            Destination::File(path) => {
                let failed = |error: io::Error| {
                    let remedy = match error.raw_os_error() {
                        Some(libc::EPERM | libc::EBUSY) => IN_PLACE,
                        _ => ELSEWHERE,
                    };
                    failed(error).with_remedy(remedy)
                };
                // Not through a link that another user may have laid, to a file or to a device.
                links::followed(path).map_err(failed)?;
                let (descriptor, replacement) =
                    if replacement::is_replaceable(path).map_err(failed)? {
                        let (replacement, file) = Replacement::create(path).map_err(failed)?;
                        (file, Some(replacement))
                    } else {
                        (replacement::open_in_place(path).map_err(failed)?, None)
                    };
                Self::of(destination, descriptor, replacement).map_err(failed)
            }
            Destination::Command(_) | Destination::Remote(_) | Destination::Object(_) => {
                // Their recipients make these.
                Err(failed(io::Error::other("nobody takes it")))
            }
        }
    }

    fn of(
        destination: &Destination,
        descriptor: OwnedFd,
        replacement: Option<Replacement>,
    ) -> io::Result<Self> {
        let status = rustix::fs::fstat(&descriptor)?;
        let flags = rustix::fs::fcntl_getfl(&descriptor)?;
        let appends = flags.contains(OFlags::APPEND);
        let extent = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile if !appends => Some(Extent {
                start: rustix::fs::tell(&descriptor)?,
                old_length: u64::try_from(status.st_size).unwrap_or(0),
                again: None,
            }),
            FileType::Fifo => {
                enlarge(&descriptor);
                None
            }
            _ => None,
        };
        Ok(Sink {
            destination: destination.clone(),
            is_unread: flags.contains(OFlags::PATH),
            descriptor,
            extent,
            untouched_from: replacement.as_ref().map(|_| 0),
            replacement,
            feed: None,
            object: None,
            written: 0,
        })
    }

    /// Whether it has to wait for a reader before it can be written to.
    pub(super) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// Waits until there is a reader, as opening a FIFO does; or until none is wanted any more.
    pub(super) fn wait_for_reader(
        &mut self,
        is_wanted: impl Fn() -> bool,
    ) -> std::result::Result<(), Stopped> {
        while self.is_unread {
            match replacement::open_fifo(&self.descriptor) {
                Ok(Some(opened)) => {
                    enlarge(&opened);
                    self.descriptor = opened;
                    self.is_unread = false;
                }
                Ok(None) if is_wanted() => thread::sleep(LOOK_INTERVAL),
                Ok(None) => {
                    let nobody = io::Error::other("nobody has opened it to read");
                    let destination = self.destination.to_string();
                    return Err(Stopped::Failed(
                        Error::io("write to", destination, nobody)
                            .with_remedy("start its reader first"),
                    ));
                }
                Err(error) => {
                    let destination = self.destination.to_string();
                    return Err(Stopped::Failed(Error::io("write to", destination, error)));
                }
            }
        }
        Ok(())
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Whether written bytes can be written again.
    pub(super) fn can_be_rewritten(&self) -> bool {
        self.extent.is_some() || self.sends_frames() || self.object.is_some()
    }

    /// The object, which is written by position if possible.
    pub(super) fn object(&self) -> Option<(&object::Address, &object::Feed)> {
        match (&self.destination, &self.object) {
            (Destination::Object(address), Some(feed)) => Some((address, feed)),
            _ => None,
        }
    }

    fn sends_frames(&self) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.form == Form::Frames)
    }

    /// Whether the file has bytes beyond the start of the output: those that the output does not reach
    /// must stay, so the output must be finished before it is written.
    pub(super) fn is_inside_file(&self) -> bool {
        self.extent
            .is_some_and(|extent| extent.old_length > extent.start)
    }

    /// A copy of the descriptor, if its other end can close while nothing is written.
    pub(super) fn watchable(&self) -> Option<OwnedFd> {
        let mode = rustix::fs::fstat(&self.descriptor).ok()?.st_mode;
        let watchable = match FileType::from_raw_mode(mode) {
            FileType::Fifo | FileType::Socket => true,
            FileType::CharacterDevice => rustix::termios::isatty(&self.descriptor),
            _ => false,
        };
        let again = || rustix::io::fcntl_dupfd_cloexec(&self.descriptor, 0).ok();
        (watchable && !self.is_unread).then(again).flatten()
    }

    /// Writes all bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), Stopped> {
        if let Some(feed) = self.feed.as_mut().filter(|feed| !feed.has_begun) {
            feed.consumer.start();
            feed.has_begun = true;
        }
        if let Some(object) = &mut self.object {
            return object.write(bytes).map_err(Stopped::from);
        }
        if self.untouched_from.is_some() {
            return self.write_around_holes(bytes);
        }
        if !self.sends_frames() {
            return self.write_raw(bytes);
        }
        for bytes in bytes.chunks(FRAME_BYTES) {
            let (offset, length) = (self.written, bytes.len());
            self.write_raw(&Frame::Data { offset, length }.to_bytes())?;
            self.write_raw(bytes)?;
            self.written = offset + length as u64;
        }
        Ok(())
    }

    /// Writes bytes that are not zeros, or that may replace others.
    fn write_around_holes(&mut self, bytes: &[u8]) -> std::result::Result<(), Stopped> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (length, is_zero) = holes::piece(self.written, rest);
            let piece;
            (piece, rest) = rest.split_at(length);
            let end = self.written + piece.len() as u64;
            let untouched_from = self.untouched_from.unwrap_or(0);
            if is_zero && self.written >= untouched_from {
                // The file offset for later writes, unless the file is written again.
                let at = SeekFrom::Start(end);
                rustix::fs::seek(&self.descriptor, at).map_err(|errno| self.failed(errno))?;
                self.written = end;
            } else {
                self.write_raw(piece)?;
                self.untouched_from = Some(untouched_from.max(end));
            }
        }
        Ok(())
    }

    fn write_raw(&mut self, bytes: &[u8]) -> std::result::Result<(), Stopped> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wrote = match self.extent {
                Some(Extent {
                    start,
                    again: Some(_),
                    ..
                }) => rustix::io::pwrite(&self.descriptor, rest, start + self.written),
                // At the shared file offset, so that other processes which write there do not overwrite
                // this.
                _ => rustix::io::write(&self.descriptor, rest),
            };
            match wrote {
                Ok(length) => {
                    rest = &rest[length..];
                    self.written += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.wait_for_room()?,
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Stopped::Closed),
                Err(errno) => return Err(self.failed(errno)),
            }
        }
        Ok(())
    }

    /// Waits, for a descriptor that another process has made nonblocking.
    fn wait_for_room(&self) -> std::result::Result<(), Stopped> {
        let mut poll = [PollFd::new(&self.descriptor, PollFlags::OUT)];
        match rustix::event::poll(&mut poll, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn failed(&self, errno: Errno) -> Stopped {
        let destination = self.destination.to_string();
        Stopped::Failed(Error::io("write to", destination, errno.into()))
    }

    /// Goes back to where the output began, to write all of it again; returns false if that is not
    /// possible, as when another process has written there meanwhile.
    pub(super) fn rewind(&mut self) -> bool {
        if self.sends_frames() {
            self.written = 0;
            return true;
        }
        let Some(extent) = &mut self.extent else {
            return false;
        };
        let written_before = match extent.again {
            Some(again) => again.written_before.max(self.written),
            None if rustix::fs::tell(&self.descriptor) == Ok(extent.start + self.written) => {
                self.written
            }
            None => return false,
        };
        extent.again = Some(Again { written_before });
        self.written = 0;
        true
    }

    /// Ends the output: cuts off the rest of an earlier time, and gets errors that the filesystem
    /// reports only now.
    pub(super) fn finish(&mut self) -> std::result::Result<(), Stopped> {
        if let Some(object) = &mut self.object {
            return object.finish().map_err(Stopped::from);
        }
        if self.sends_frames() {
            let length = self.written;
            return self.write_raw(&Frame::End { length }.to_bytes());
        }
        self.cut_off()?;
        if self.untouched_from.is_some() {
            // Setting the length makes a hole at the end.
            rustix::fs::ftruncate(&self.descriptor, self.written)
                .map_err(|errno| self.failed(errno))?;
        }
        crate::cli::close_again(self.descriptor.as_fd()).map_err(|errno| self.failed(errno))
    }

    fn cut_off(&mut self) -> std::result::Result<(), Stopped> {
        let Some(Extent {
            start,
            old_length,
            again: Some(again),
        }) = self.extent
        else {
            return Ok(());
        };
        let end = start + self.written;
        let old_end = start + again.written_before;
        if end < old_end.min(old_length) {
            let reason = io::Error::other(
                "the output became shorter, and bytes that stood behind it were written over",
            );
            let destination = self.destination.to_string();
            return Err(Stopped::Failed(Error::io("mend", destination, reason)));
        }
        let done = || -> rustix::io::Result<()> {
            let length = rustix::fs::fstat(&self.descriptor)?.st_size;
            if old_end > end && u64::try_from(length) == Ok(old_end) {
                rustix::fs::ftruncate(&self.descriptor, end.max(old_length))?;
            }
            rustix::fs::seek(&self.descriptor, SeekFrom::Start(end))?;
            Ok(())
        };
        done().map_err(|errno| self.failed(errno))
    }

    /// Puts the file at its path, if it is one that appears when it is whole: with this mode, if there
    /// was no file.
    pub(super) fn appear(self, mode: Option<u32>) -> Result<()> {
        let Some(replacement) = self.replacement else {
            return Ok(());
        };
        let destination = self.destination.to_string();
        replacement
            .appear(&self.descriptor, mode)
            .map_err(|Hidden { error, path }| {
                let remedy = match path {
                    Some(path) => format!("it is {}: move it to where it belongs", path.display()),
                    None => format!("it is lost: {ELSEWHERE}, and run the program again"),
                };
                Error::io("put the output at", destination, error).with_remedy(remedy)
            })
    }

    /// Whether it is a file that appears only when it is whole.
    pub(super) fn appears_later(&self) -> bool {
        self.replacement.is_some()
    }
}

#[cfg(test)]
mod tests;

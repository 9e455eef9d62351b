//! Reads a program's output by position, while the program still changes it.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use rustix::io::Errno;

use super::Capture;
use super::canceller::{Canceller, Cancels};
use super::process::ProcessRef;
use super::shared::Lease;
use super::waiting::{READ_BYTES, bytes_of};
use crate::core::Core;
use crate::core::patching::Reading;
use crate::error::{Error, Result};
use crate::forked::Owned;
use crate::router::{ExitHold, Failure, Given, LocalReader};

/// A program's output, read by position: for destinations that can be written in any order, and more than
/// once, such as the parts of a multipart upload.
///
/// It gives the bytes that are there, whatever the delivery mode. Bytes that change after they were read are
/// no error: [`PositionalReader::changed`] lists what must be read again. All bytes are kept, unless
/// [`PositionalReader::release`] or [`Capture::keep_at_most`] allows dropping some: if the program changes
/// dropped bytes, its write and this reader fail.
///
/// There is no trait for destinations. Destinations differ in the size of their pieces, in how many they send
/// at once, and in when they send changed pieces again; a reader that is asked for its bytes fits all of them,
/// blocking or asynchronous.
///
/// The errors are those of a [`Reader`](crate::Reader), but [`Error::Rewritten`]. `Send`.
///
/// ```
/// use std::process::Command;
///
/// use fifofs::Capture;
///
/// let capture = Capture::new("x.bin")?;
/// let script = "import sys; f = open(sys.argv[1], 'wb'); f.write(b'0123456789'); f.flush(); \
///               f.seek(0); f.write(b'9876')";
/// let mut command = Command::new("python3");
/// let mut child = command.args(["-c", script]).arg(capture.path()).spawn()?;
/// let mut reader = capture.positional_reader(&child)?;
///
/// let mut copy = Vec::new();
/// while reader.wait_for(copy.len() as u64 + 5, None)? {
///     let at = copy.len();
///     copy.resize(at + 5, 0);
///     reader.read_at(at as u64, &mut copy[at..])?;
/// }
/// // It is done, and whole.
/// copy.resize(reader.length() as usize, 0);
/// for range in reader.changed() {
///     let (start, end) = (range.start as usize, range.end as usize);
///     reader.read_at(range.start, &mut copy[start..end])?;
/// }
/// assert_eq!(copy, b"9876456789");
/// child.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PositionalReader {
    local: Owned<LocalReader>,
    path: PathBuf,
    /// The process with which the reader ends; dropped after the reader.
    _until: Owned<Option<ExitHold>>,
    /// Keeps the shared mount.
    _mount: Option<Lease>,
}

impl Capture {
    /// A reader by position of what a process and its descendants write; ends as the one of
    /// [`Capture::reader_until_exit`] does.
    ///
    /// # Errors
    ///
    /// If the mount is gone, or the process cannot be watched.
    ///
    /// ```
    /// use std::process::Command;
    ///
    /// let capture = fifofs::Capture::new("copy.toml")?;
    /// let mut child = Command::new("cp").arg("Cargo.toml").arg(capture.path()).spawn()?;
    /// let mut reader = capture.positional_reader(&child)?;
    /// assert!(!reader.wait_for(u64::MAX, None)?);
    /// let mut bytes = vec![0; reader.length() as usize];
    /// assert_eq!(reader.read_at(0, &mut bytes)?, bytes.len());
    /// assert!(bytes.starts_with(b"[package]"));
    /// child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn positional_reader<'p>(
        &self,
        process: impl Into<ProcessRef<'p>>,
    ) -> Result<PositionalReader> {
        let until = self.end_with(process.into())?;
        let reading = Reading {
            of_holders: true,
            by_position: true,
        };
        Ok(PositionalReader {
            local: Owned::new(self.open(reading)?),
            path: self.path.clone(),
            _until: Owned::new(until),
            _mount: self.mount.clone(),
        })
    }
}

impl PositionalReader {
    /// Waits until the first `length` bytes are there, without a gap. False if the program has ended and its
    /// output is shorter: then it is done, and whole.
    ///
    /// # Errors
    ///
    /// Those of reading, and [`Error::TimedOut`] at the deadline.
    ///
    /// ```
    /// # use std::process::Command;
    /// # let capture = fifofs::Capture::new("copy.toml")?;
    /// # let mut child = Command::new("cp").arg("Cargo.toml").arg(capture.path()).spawn()?;
    /// # let mut reader = capture.positional_reader(&child)?;
    /// assert!(reader.wait_for(9, None)?);
    /// assert!(!reader.wait_for(u64::MAX, None)?);
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for(&mut self, length: u64, deadline: Option<Instant>) -> Result<bool> {
        if length == 0 {
            return Ok(true);
        }
        match self.give(length - 1, 0, deadline) {
            Err(Error::TimedOut { path }) => {
                self.local.get_mut("read", &self.path)?.withdraw();
                Err(Error::TimedOut { path })
            }
            given => Ok(given?.is_some()),
        }
    }

    /// Fills `buffer` with the bytes from `offset` on, and waits for them. Returns how many bytes it read:
    /// fewer than asked for only at the end.
    ///
    /// # Errors
    ///
    /// Those of reading.
    ///
    /// ```
    /// # use std::process::Command;
    /// # let capture = fifofs::Capture::new("copy.toml")?;
    /// # let mut child = Command::new("cp").arg("Cargo.toml").arg(capture.path()).spawn()?;
    /// # let mut reader = capture.positional_reader(&child)?;
    /// let mut bytes = [0; 7];
    /// assert_eq!(reader.read_at(1, &mut bytes)?, 7);
    /// assert_eq!(&bytes, b"package");
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some_at(offset + filled as u64, &mut buffer[filled..])? {
                0 => break,
                length => filled += length,
            }
        }
        Ok(filled)
    }

    /// Reads the bytes from `offset` on that are there without a gap, as many as `buffer` takes; waits only if
    /// there are none. Returns how many bytes it read: 0 at the end.
    ///
    /// # Errors
    ///
    /// Those of reading.
    ///
    /// ```
    /// # use std::process::Command;
    /// # let capture = fifofs::Capture::new("copy.toml")?;
    /// # let mut child = Command::new("cp").arg("Cargo.toml").arg(capture.path()).spawn()?;
    /// # let mut reader = capture.positional_reader(&child)?;
    /// let mut bytes = vec![0; 1 << 20];
    /// assert!((1..bytes.len()).contains(&reader.read_some_at(0, &mut bytes)?));
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_some_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let wanted = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        if wanted == 0 {
            return Ok(0);
        }
        let Some(mut bytes) = self.give(offset, wanted.min(READ_BYTES), None)? else {
            return Ok(0);
        };
        let mut filled = 0;
        while !bytes.is_empty() && filled < buffer.len() {
            let chunk = bytes
                .chunk()
                .map_err(|error| Error::io("read", &self.path, error))?;
            let length = chunk.len().min(buffer.len() - filled);
            buffer[filled..filled + length].copy_from_slice(&chunk[..length]);
            filled += length;
            bytes.advance(length);
        }
        Ok(filled)
    }

    /// The ranges that were read and have changed since, in order, perhaps rounded up; each stays listed until
    /// it is read again. If the file became shorter, this includes bytes that are no longer there.
    ///
    /// ```
    /// # use std::process::Command;
    /// # let capture = fifofs::Capture::new("copy.toml")?;
    /// # let mut child = Command::new("cp").arg("Cargo.toml").arg(capture.path()).spawn()?;
    /// # let mut reader = capture.positional_reader(&child)?;
    /// reader.read_at(0, &mut [0; 7])?;
    /// assert!(reader.changed().is_empty());
    /// # child.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn changed(&self) -> Vec<Range<u64>> {
        match self.local.owner().is_this() {
            true => self.local.look(Core::changed_ranges),
            false => Vec::new(),
        }
    }

    /// Says that these bytes need not be kept. They are kept as long as there is room; when what the program
    /// writes needs room ([`MountBuilder::max_size`](crate::MountBuilder::max_size)), the range that was
    /// released first is dropped as a whole. If the program then changes or reads dropped bytes, its call
    /// fails, and so does the file. Bytes that have changed meanwhile are not released.
    ///
    /// If the reader releases what it reads, the program has to wait when room is scarce, until the reader has
    /// got the bytes that are there. Announce this beforehand with an empty range: otherwise a fast program
    /// may fill all the room before anything is released.
    ///
    /// ```
    /// use std::process::{Command, Stdio};
    ///
    /// let mount = fifofs::Mount::builder().max_size(16 << 20).mount_temporary()?;
    /// let capture = mount.capture("zeros")?;
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "read go; head -c 64M /dev/zero > \"$0\""]);
    /// let mut child = command.arg(capture.path()).stdin(Stdio::piped()).spawn()?;
    /// let mut reader = capture.positional_reader(&child)?;
    /// reader.release(0..0);
    /// drop(child.stdin.take()); // go
    ///
    /// let (mut at, mut bytes) = (0, vec![0; 64 << 10]);
    /// while let length @ 1.. = reader.read_some_at(at, &mut bytes)? as u64 {
    ///     reader.release(at..at + length);
    ///     at += length;
    /// }
    /// assert_eq!(at, 64 << 20);
    /// assert!(child.wait()?.success());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, range: Range<u64>) {
        if self.local.owner().is_this() {
            self.local.release_bytes(range);
        }
    }

    /// The length of the file now, including gaps; 0 if there is no file.
    ///
    /// ```
    /// let capture = fifofs::Capture::new("out.txt")?;
    /// assert_eq!(capture.positional_reader(std::process::id())?.length(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn length(&self) -> u64 {
        match self.local.owner().is_this() {
            true => self.local.look(Core::length_read).unwrap_or(0),
            false => 0,
        }
    }

    /// A handle that ends the waits of this reader, as [`Reader::canceller`](crate::Reader::canceller).
    ///
    /// ```
    /// use fifofs::Error;
    ///
    /// let capture = fifofs::Capture::new("never-written")?;
    /// let mut reader = capture.positional_reader(std::process::id())?;
    /// reader.canceller().cancel();
    /// assert!(matches!(reader.wait_for(1, None), Err(Error::Cancelled { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn canceller(&self) -> Canceller {
        let cancels = Cancels::Capture(self.local.canceller());
        Canceller::new(cancels, self.local.owner())
    }

    /// Waits for bytes; none at the end.
    fn give(
        &mut self,
        offset: u64,
        length: u32,
        deadline: Option<Instant>,
    ) -> Result<Option<crate::core::spool::Cursor>> {
        let local = self.local.get_mut("read", &self.path)?;
        let given = match local.read(offset, length, deadline) {
            Ok(Given::End) => return Ok(None),
            Err(Failure::Errno(Errno::STALE)) => {
                let (path, range) = (self.path.clone(), Some(offset..offset + u64::from(length)));
                return Err(Error::Rewritten { path, range });
            }
            given => bytes_of(given, local, &self.path),
        };
        given
            .map(Some)
            .map_err(|error| Error::io("read", &self.path, error))
    }
}

impl std::fmt::Debug for PositionalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PositionalReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

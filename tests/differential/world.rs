//! A directory in which this very process runs a sequence.
//!
//! Knows the system calls, not which of the two filesystems it is on. Invariant: nothing is done outside the
//! directory, and no call of a sequence waits for another: a process that wrote a file in a mount never waits for it,
//! so this process makes itself a writer of every file that its children write.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::io::{IoSlice, Read as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::{fs, ptr, slice};

use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom, Timespec,
    Timestamps, XattrFlags,
};
use rustix::io::{Errno, dup, pread, pwrite, read, retry_on_intr, write};

use super::operations::*;
use super::outcome::{Content, Outcome, Status, Value, fits};

/// One directory and its open files.
pub(crate) struct World {
    root: PathBuf,
    slots: [Option<OwnedFd>; SLOTS],
}

impl World {
    /// Makes the directory.
    pub(crate) fn new(root: PathBuf) -> Self {
        fs::create_dir(&root).expect("a directory for a sequence");
        Self {
            root,
            slots: [const { None }; SLOTS],
        }
    }

    /// Closes all files.
    pub(crate) fn close_all(&mut self) {
        self.slots = [const { None }; SLOTS];
    }

    /// Removes the directory and its contents.
    pub(crate) fn remove(mut self) -> std::io::Result<()> {
        self.close_all();
        // A user other than root may have locked itself out.
        let mut left = vec![self.root.clone()];
        while let Some(path) = left.pop() {
            rustix::fs::chmod(&path, Mode::RWXU)?;
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    left.push(entry.path());
                }
            }
        }
        fs::remove_dir_all(&self.root)
    }

    fn at(&self, path: Path) -> PathBuf {
        self.root.join(path)
    }

    /// Runs one operation.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Open {
                slot,
                path,
                flags,
                mode,
            } => {
                let flags = OFlags::from_bits_retain(flags.0 as u32) | OFlags::CLOEXEC;
                let opened = rustix::fs::open(self.at(path), flags, Mode::from_raw_mode(*mode))?;
                self.slots[*slot] = Some(opened);
                Ok(Value::Done)
            }
            Close { slot } => Ok(match self.slots[*slot].take() {
                Some(_) => Value::Done,
                None => Value::LeftOut,
            }),
            Dup { from, to } => {
                let Some(file) = &self.slots[*from] else {
                    return Ok(Value::LeftOut);
                };
                self.slots[*to] = Some(dup(file)?);
                Ok(Value::Done)
            }
            Fork { does } => self.fork(&does.0),
            _ => match self.file_of(operation) {
                Some(slot) => match &self.slots[slot] {
                    Some(file) => self.on_file(file.as_fd(), operation),
                    None => Ok(Value::LeftOut),
                },
                None => self.on_path(operation),
            },
        }
    }

    /// The open file of an operation.
    fn file_of(&self, operation: &Operation) -> Option<Slot> {
        match operation {
            Write { slot, .. }
            | PositionedWrite { slot, .. }
            | Read { slot, .. }
            | PositionedRead { slot, .. }
            | MapWrite { slot, .. }
            | MapRead { slot, .. }
            | Seek { slot, .. }
            | FileTruncate { slot, .. }
            | Allocate { slot, .. }
            | Synchronize { slot, .. }
            | FileStat { slot }
            | FileChangeMode { slot, .. }
            | FileSetTimes { slot, .. } => Some(*slot),
            CopyRange { from, .. } => Some(*from),
            _ => None,
        }
    }

    fn on_file(&self, file: BorrowedFd<'_>, operation: &Operation) -> Outcome {
        match *operation {
            Write { length, fill, .. } => number(write(file, &pattern(fill, length))),
            PositionedWrite {
                offset,
                length,
                fill,
                ..
            } => number(pwrite(file, &pattern(fill, length), offset as u64)),
            Read { length, .. } => {
                let mut buffer = vec![0; length];
                let count = read(file, &mut buffer)?;
                buffer.truncate(count);
                Ok(Value::Content(Content(buffer)))
            }
            PositionedRead { offset, length, .. } => {
                let mut buffer = vec![0; length];
                let count = pread(file, &mut buffer, offset as u64)?;
                buffer.truncate(count);
                Ok(Value::Content(Content(buffer)))
            }
            MapWrite {
                offset,
                length,
                fill,
                synchronize,
                ..
            } => mapped(file, true, |bytes| {
                let start = offset.min(bytes.len());
                let end = (offset + length).min(bytes.len());
                bytes[start..end].copy_from_slice(&pattern(fill, end - start));
                if synchronize {
                    // SAFETY: the mapping that was just written to.
                    let done = unsafe {
                        libc::msync(bytes.as_mut_ptr().cast(), bytes.len(), libc::MS_SYNC)
                    };
                    assert_eq!(done, 0, "msync: {}", std::io::Error::last_os_error());
                }
                Value::Number((end - start) as u64)
            }),
            MapRead { offset, length, .. } => mapped(file, false, |bytes| {
                let start = offset.min(bytes.len());
                let end = (offset + length).min(bytes.len());
                Value::Content(Content(bytes[start..end].to_vec()))
            }),
            Seek { whence, offset, .. } => seek(file, whence, offset),
            FileTruncate { length, .. } => done(rustix::fs::ftruncate(file, length as u64)),
            Allocate {
                how,
                offset,
                length,
                ..
            } => done(rustix::fs::fallocate(
                file,
                fallocate_flags(how),
                offset,
                length,
            )),
            Synchronize { data_only, .. } => done(if data_only {
                rustix::fs::fdatasync(file)
            } else {
                rustix::fs::fsync(file)
            }),
            FileStat { .. } => Ok(Value::Status(Status::of(&rustix::fs::fstat(file)?))),
            FileChangeMode { mode, .. } => {
                done(rustix::fs::fchmod(file, Mode::from_raw_mode(mode)))
            }
            FileSetTimes { seconds, .. } => done(rustix::fs::futimens(file, &times(seconds))),
            CopyRange {
                mut from_offset,
                to,
                mut to_offset,
                length,
                ..
            } => {
                let Some(to) = &self.slots[to] else {
                    return Ok(Value::LeftOut);
                };
                number(rustix::fs::copy_file_range(
                    file,
                    from_offset.as_mut(),
                    to,
                    to_offset.as_mut(),
                    length,
                ))
            }
            _ => unreachable!("not about an open file: {operation:?}"),
        }
    }

    fn on_path(&self, operation: &Operation) -> Outcome {
        match *operation {
            Truncate { path, length } => self.truncate(path, length),
            Stat { path, follow } => {
                let flags = if follow {
                    AtFlags::empty()
                } else {
                    AtFlags::SYMLINK_NOFOLLOW
                };
                let stat = rustix::fs::statat(CWD, self.at(path), flags)?;
                Ok(Value::Status(Status::of(&stat)))
            }
            List { path } => Ok(Value::Names(names(&self.at(path))?)),
            Rename { from, to, how } => {
                let flags = match how {
                    Renaming::Replace => RenameFlags::empty(),
                    Renaming::NoReplace => RenameFlags::NOREPLACE,
                    Renaming::Exchange => RenameFlags::EXCHANGE,
                };
                done(rustix::fs::renameat_with(
                    CWD,
                    self.at(from),
                    CWD,
                    self.at(to),
                    flags,
                ))
            }
            Link { from, to, follow } => {
                let flags = if follow {
                    AtFlags::SYMLINK_FOLLOW
                } else {
                    AtFlags::empty()
                };
                done(rustix::fs::linkat(
                    CWD,
                    self.at(from),
                    CWD,
                    self.at(to),
                    flags,
                ))
            }
            SymbolicLink { target, path } => done(rustix::fs::symlink(target, self.at(path))),
            ReadLink { path } => {
                let target = rustix::fs::readlink(self.at(path), Vec::new())?;
                Ok(Value::Text(target.to_string_lossy().into_owned()))
            }
            Unlink { path } => done(rustix::fs::unlink(self.at(path))),
            MakeDirectory { path, mode } => {
                done(rustix::fs::mkdir(self.at(path), Mode::from_raw_mode(mode)))
            }
            RemoveDirectory { path } => done(rustix::fs::rmdir(self.at(path))),
            MakeFile { path, mode } => done(rustix::fs::mknodat(
                CWD,
                self.at(path),
                FileType::RegularFile,
                Mode::from_raw_mode(mode),
                0,
            )),
            ChangeMode { path, mode } => {
                done(rustix::fs::chmod(self.at(path), Mode::from_raw_mode(mode)))
            }
            SetTimes {
                path,
                seconds,
                follow,
            } => {
                let flags = if follow {
                    AtFlags::empty()
                } else {
                    AtFlags::SYMLINK_NOFOLLOW
                };
                done(rustix::fs::utimensat(
                    CWD,
                    self.at(path),
                    &times(seconds),
                    flags,
                ))
            }
            SetAttribute {
                path,
                name,
                length,
                how,
            } => {
                let flags = match how {
                    Setting::Any => XattrFlags::empty(),
                    Setting::Create => XattrFlags::CREATE,
                    Setting::Replace => XattrFlags::REPLACE,
                };
                done(rustix::fs::setxattr(
                    self.at(path),
                    name,
                    &pattern(b'a', length),
                    flags,
                ))
            }
            GetAttribute { path, name, room } => {
                let mut buffer = vec![0; room];
                let length = rustix::fs::getxattr(self.at(path), name, &mut buffer[..])?;
                // With an empty buffer the result is the needed size.
                buffer.truncate(length);
                Ok(Value::Text(format!("{length}: {buffer:?}")))
            }
            ListAttributes { path } => Ok(Value::Names(attributes(&self.at(path))?)),
            RemoveAttribute { path, name } => done(rustix::fs::removexattr(self.at(path), name)),
            _ => unreachable!("not about a path: {operation:?}"),
        }
    }

    fn truncate(&self, path: Path, length: i64) -> Outcome {
        let before = rustix::fs::stat(self.at(path));
        let name = CString::new(self.at(path).as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: a string that ends with a NUL.
        if unsafe { libc::truncate(name.as_ptr(), length) } != 0 {
            return Err(last_error());
        }
        if before.is_ok_and(|before| before.st_size == length) {
            // Does truncate(2) to the present length set the time of a file? ext4 says yes, as POSIX does; tmpfs and
            // FUSE, whose kernel side owns the times of files, say no.
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            };
            let times = Timestamps {
                last_access: now,
                last_modification: now,
            };
            rustix::fs::utimensat(CWD, self.at(path), &times, AtFlags::empty())?;
        }
        Ok(Value::Done)
    }

    /// A child runs it; its result comes back through a pipe.
    fn fork(&mut self, operation: &Operation) -> Outcome {
        let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // SAFETY: other threads of this process may hold locks, but the child uses only those of the allocator, which
        // glibc handles in fork. It ends without running other code of ours.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let outcome = format!("{:?}", self.apply(operation));
            let _ = rustix::io::writev(&to, &[IoSlice::new(outcome.as_bytes())]);
            // SAFETY: ends this process and nothing else.
            unsafe { libc::_exit(0) };
        }
        assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
        drop(to);
        let mut text = String::new();
        File::from(from)
            .read_to_string(&mut text)
            .expect("the child's answer");
        let child = rustix::process::Pid::from_raw(child);
        let _ = retry_on_intr(|| {
            rustix::process::waitpid(child, rustix::process::WaitOptions::empty())
        });
        // In a mount this process would be an ordinary reader of its child's file, and wait for its end, unless it had
        // opened the file for writing itself.
        let written = match operation {
            // A process that makes a file counts as its writer, even if it opens it for reading only.
            Open { path, flags, .. } if flags.writes() || flags.has(TRUNC) || flags.has(CREAT) => {
                Some(path)
            }
            Truncate { path, .. } => Some(path),
            _ => None,
        };
        if let Some(path) = written {
            let _ = rustix::fs::open(self.at(path), OFlags::WRONLY, Mode::empty());
        }
        Ok(Value::Text(text))
    }

    /// Everything in the directory.
    pub(crate) fn survey(&self) -> BTreeMap<PathBuf, Outcome> {
        let mut found = BTreeMap::new();
        // A file with several names is listed under the first of them.
        let mut firsts = BTreeMap::new();
        let mut left = vec![PathBuf::new()];
        while let Some(path) = left.pop() {
            let whole = self.root.join(&path);
            let stat = match rustix::fs::lstat(&whole) {
                Ok(stat) => stat,
                Err(error) => {
                    found.insert(path, Err(error));
                    continue;
                }
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let what = match kind {
                FileType::RegularFile => fs::read(&whole)
                    .map(|bytes| format!("{:?}", Content(bytes)))
                    .unwrap_or_else(|error| error.to_string()),
                FileType::Symlink => format!("{:?}", fs::read_link(&whole)),
                _ => {
                    let inside = names(&whole);
                    // Any order works, except that it decides which of several names is the first.
                    for name in inside.iter().flatten().rev() {
                        let name = name.split(':').next_back().expect("a name");
                        left.push(path.join(name));
                    }
                    format!("{inside:?}")
                }
            };
            let attributes = (kind != FileType::Symlink).then(|| attributes(&whole));
            let first = firsts.entry(stat.st_ino).or_insert_with(|| path.clone());
            let text = format!(
                "{:?} {what} attributes {attributes:?}, the same as {first:?}",
                Status::of(&stat)
            );
            found.insert(path, Ok(Value::Text(text)));
        }
        found
    }
}

fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).expect("an error of the system")
}

fn number(result: Result<usize, Errno>) -> Outcome {
    result.map(|number| Value::Number(number as u64))
}

fn done(result: Result<(), Errno>) -> Outcome {
    result.map(|()| Value::Done)
}

fn pattern(fill: u8, length: usize) -> Vec<u8> {
    (0..length).map(|i| fill.wrapping_add(i as u8)).collect()
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 123_456_789,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn fallocate_flags(how: Allocation) -> FallocateFlags {
    match how {
        Allocation::Extend => FallocateFlags::empty(),
        Allocation::KeepSize => FallocateFlags::KEEP_SIZE,
        Allocation::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Allocation::ZeroRange => FallocateFlags::ZERO_RANGE,
        Allocation::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        Allocation::PunchHoleAlone => FallocateFlags::PUNCH_HOLE,
    }
}

fn seek(file: BorrowedFd<'_>, whence: Whence, offset: i64) -> Outcome {
    let stat = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        // Positions in a directory are opaque cookies.
        return Ok(Value::LeftOut);
    }
    let data = match whence {
        Whence::Start => {
            return rustix::fs::seek(file, SeekFrom::Start(offset as u64)).map(Value::Number);
        }
        Whence::Current => {
            return rustix::fs::seek(file, SeekFrom::Current(offset)).map(Value::Number);
        }
        Whence::End => return rustix::fs::seek(file, SeekFrom::End(offset)).map(Value::Number),
        Whence::Data => true,
        Whence::Hole => false,
    };
    let before = rustix::fs::tell(file)?;
    let answer = rustix::fs::seek(
        file,
        if data {
            SeekFrom::Data(offset as u64)
        } else {
            SeekFrom::Hole(offset as u64)
        },
    );
    // The results may differ, but the next operation must start from the same offset.
    rustix::fs::seek(file, SeekFrom::Start(before))?;
    if offset < 0 {
        return answer.map(Value::Number);
    }
    if answer == Err(Errno::INVAL) {
        // The kernel may have data that the daemon does not know of: then it refuses, and programs read everything.
        return Ok(Value::Fits);
    }
    if offset >= stat.st_size {
        return match answer {
            Err(Errno::NXIO) => Ok(Value::Fits),
            answer => answer.map(Value::Number),
        };
    }
    let mut content = vec![0; stat.st_size as usize];
    match pread(file, &mut content, 0) {
        Ok(length) => content.truncate(length),
        // Open for writing only: there is no content to compare the result with.
        Err(_) => return Ok(Value::Fits),
    }
    Ok(if fits(&content, data, offset as usize, answer) {
        Value::Fits
    } else {
        Value::Misfit {
            answer,
            size: content.len(),
        }
    })
}

/// Maps a whole file at its size; that is the largest range that may be touched without SIGBUS.
fn mapped(file: BorrowedFd<'_>, writable: bool, with: impl FnOnce(&mut [u8]) -> Value) -> Outcome {
    let stat = rustix::fs::fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        // ENODEV, which cannot be compared.
        return Ok(Value::LeftOut);
    }
    let size = stat.st_size as usize;
    let protection = if writable {
        libc::PROT_READ | libc::PROT_WRITE
    } else {
        libc::PROT_READ
    };
    // SAFETY: a new mapping at an address that the kernel chooses. An empty one is refused.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(last_error());
    }
    // SAFETY: `size` bytes are mapped there, no other code has the address, and no process shortens the file
    // meanwhile. It is not written to if it is mapped for reading.
    let value = with(unsafe { slice::from_raw_parts_mut(start.cast(), size) });
    // SAFETY: there are no references to the mapping any more.
    unsafe { libc::munmap(start, size) };
    Ok(value)
}

/// The names in a directory, each with its type.
fn names(path: &std::path::Path) -> Result<BTreeSet<String>, Errno> {
    let directory = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut found = BTreeSet::new();
    for entry in Dir::new(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            assert!(
                found.insert(format!("{:?}:{name}", entry.file_type())),
                "{name} is listed twice"
            );
        }
    }
    Ok(found)
}

/// The user's extended attributes with their values: others belong to the system, and depend on its setup.
fn attributes(path: &std::path::Path) -> Result<BTreeSet<String>, Errno> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::listxattr(path, &mut list[..])?;
    let mut found = BTreeSet::new();
    for name in list[..length].split(|byte| *byte == 0) {
        if name.starts_with(b"user.") {
            let mut value = vec![0; 4096];
            let length = rustix::fs::getxattr(path, name, &mut value[..])?;
            value.truncate(length);
            found.insert(format!("{}: {value:?}", String::from_utf8_lossy(name)));
        }
    }
    Ok(found)
}

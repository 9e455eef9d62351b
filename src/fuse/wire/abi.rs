//! The FUSE protocol: what stands in messages, and where.
//!
//! Structures, fields and constants as in `include/uapi/linux/fuse.h` of Linux, protocol 7.40, in the
//! byte order of the machine; what each means is said there. Knows nothing of what is done about them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The most data one request carries. The kernel allows at most 256 pages.
pub(crate) const MAX_WRITE_BYTES: u32 = 1 << 20;

/// A reply to OPEN: reads and writes bypass the page cache.
pub(crate) const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// A reply to OPEN: what is in the page cache is right.
pub(crate) const FOPEN_KEEP_CACHE: u32 = 1 << 1;
/// A reply to OPEN: there is no position to seek to.
pub(crate) const FOPEN_NONSEEKABLE: u32 = 1 << 2;
/// A READ: by `read(2)`, past the page cache; without it the kernel fills pages.
pub(crate) const READ_LOCKOWNER: u32 = 1 << 1;
/// A WRITE: it comes from the page cache, not from a `write(2)` of the caller.
pub(crate) const WRITE_CACHE: u32 = 1 << 0;
/// A WRITE: set-id bits and capabilities must go.
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// An OPEN that truncates: the same.
pub(crate) const OPEN_KILL_SUIDGID: u32 = 1 << 0;
/// A GETATTR: by a descriptor, not by a path.
pub(crate) const GETATTR_FH: u32 = 1 << 0;
/// A POLL: whoever polls wants to be woken.
pub(crate) const POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

/// A SETATTR: what it is about.
pub(crate) mod fattr {
    pub(crate) const MODE: u32 = 1 << 0;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const CTIME: u32 = 1 << 10;
    /// Set-id bits and capabilities must go.
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// A notification: somebody who polls should ask again.
pub(crate) const NOTIFY_POLL: i32 = 1;
/// A notification: attributes or pages of an inode are out of date.
pub(crate) const NOTIFY_INVAL_INODE: i32 = 2;
/// A notification: a name is out of date.
pub(crate) const NOTIFY_INVAL_ENTRY: i32 = 3;

/// The header of every request.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) len: u32,
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) nodeid: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
    pub(crate) total_extlen: u16,
    pub(crate) padding: u16,
}

/// How long a request's header is.
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();

/// How long what stands between a WRITE's header and its bytes is.
pub(crate) const WRITE_BYTES: usize = size_of::<WriteIn>();

/// What kernels from 7.6 on say first; those from 7.36 on say more.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct InitIn {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) max_readahead: u32,
    pub(crate) flags: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct GetattrIn {
    pub(crate) getattr_flags: u32,
    pub(crate) dummy: u32,
    pub(crate) fh: u64,
}

#[derive(Clone, Copy, Debug, Default, FromBytes)]
#[repr(C)]
pub(crate) struct SetattrIn {
    pub(crate) valid: u32,
    pub(crate) padding: u32,
    pub(crate) fh: u64,
    pub(crate) size: u64,
    pub(crate) lock_owner: u64,
    pub(crate) atime: i64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) atimensec: u32,
    pub(crate) mtimensec: u32,
    pub(crate) ctimensec: u32,
    pub(crate) mode: u32,
    pub(crate) unused4: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) unused5: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct MknodIn {
    pub(crate) mode: u32,
    pub(crate) rdev: u32,
    pub(crate) umask: u32,
    pub(crate) padding: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct MkdirIn {
    pub(crate) mode: u32,
    pub(crate) umask: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct RenameIn {
    pub(crate) newdir: u64,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct Rename2In {
    pub(crate) newdir: u64,
    pub(crate) flags: u32,
    pub(crate) padding: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct LinkIn {
    pub(crate) oldnodeid: u64,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct OpenIn {
    pub(crate) flags: i32,
    pub(crate) open_flags: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct CreateIn {
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    pub(crate) umask: u32,
    pub(crate) open_flags: u32,
}

/// Of READ and READDIR.
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct ReadIn {
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    pub(crate) size: u32,
    pub(crate) read_flags: u32,
    pub(crate) lock_owner: u64,
    pub(crate) flags: i32,
    pub(crate) padding: u32,
}

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct WriteIn {
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    pub(crate) size: u32,
    pub(crate) write_flags: u32,
    pub(crate) lock_owner: u64,
    pub(crate) flags: i32,
    pub(crate) padding: u32,
}

/// Of RELEASE and RELEASEDIR.
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct ReleaseIn {
    pub(crate) fh: u64,
    pub(crate) flags: i32,
    pub(crate) release_flags: u32,
    pub(crate) lock_owner: u64,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct FlushIn {
    pub(crate) fh: u64,
    pub(crate) unused: u32,
    pub(crate) padding: u32,
    pub(crate) lock_owner: u64,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct SetxattrIn {
    pub(crate) size: u32,
    pub(crate) flags: i32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct GetxattrIn {
    pub(crate) size: u32,
    pub(crate) padding: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct InterruptIn {
    pub(crate) unique: u64,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct PollIn {
    pub(crate) fh: u64,
    pub(crate) kh: u64,
    pub(crate) flags: u32,
    pub(crate) events: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct ForgetIn {
    pub(crate) nlookup: u64,
}

/// Followed by as many [`ForgetOne`].
#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct BatchForgetIn {
    pub(crate) count: u32,
    pub(crate) dummy: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct ForgetOne {
    pub(crate) nodeid: u64,
    pub(crate) nlookup: u64,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct FallocateIn {
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) mode: i32,
    pub(crate) padding: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct LseekIn {
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    pub(crate) whence: i32,
    pub(crate) padding: u32,
}

#[derive(Clone, Copy, Debug, FromBytes)]
#[repr(C)]
pub(crate) struct CopyFileRangeIn {
    pub(crate) fh_in: u64,
    pub(crate) off_in: u64,
    pub(crate) nodeid_out: u64,
    pub(crate) fh_out: u64,
    pub(crate) off_out: u64,
    pub(crate) len: u64,
    pub(crate) flags: u64,
}

/// The header of every reply and notification.
#[derive(Clone, Copy, Debug, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct OutHeader {
    pub(crate) len: u32,
    /// 0, a negated errno, or the code of a notification.
    pub(crate) error: i32,
    /// 0 in a notification.
    pub(crate) unique: u64,
}

impl OutHeader {
    /// Of a message that goes on with so many bytes.
    pub(crate) fn new(unique: u64, error: i32, body: usize) -> OutHeader {
        OutHeader {
            len: (size_of::<OutHeader>() + body) as u32,
            error,
            unique,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, IntoBytes, FromBytes, Immutable)]
#[repr(C)]
pub(crate) struct InitOut {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) max_readahead: u32,
    pub(crate) flags: u32,
    pub(crate) max_background: u16,
    pub(crate) congestion_threshold: u16,
    pub(crate) max_write: u32,
    pub(crate) time_gran: u32,
    pub(crate) max_pages: u16,
    pub(crate) map_alignment: u16,
    pub(crate) flags2: u32,
    pub(crate) unused: [u32; 7],
}

#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Attr {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) atime: i64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) atimensec: u32,
    pub(crate) mtimensec: u32,
    pub(crate) ctimensec: u32,
    pub(crate) mode: u32,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) blksize: u32,
    pub(crate) flags: u32,
}

#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct EntryOut {
    pub(crate) nodeid: u64,
    pub(crate) generation: u64,
    pub(crate) entry_valid: u64,
    pub(crate) attr_valid: u64,
    pub(crate) entry_valid_nsec: u32,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) attr: Attr,
}

#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct AttrOut {
    pub(crate) attr_valid: u64,
    pub(crate) attr_valid_nsec: u32,
    pub(crate) dummy: u32,
    pub(crate) attr: Attr,
}

#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct OpenOut {
    pub(crate) fh: u64,
    pub(crate) open_flags: u32,
    pub(crate) padding: u32,
}

/// The reply to WRITE, to POLL, and to GETXATTR where only the length is asked for: each has a structure
/// of its own, all of them one field long.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct NumberOut {
    pub(crate) number: u32,
    pub(crate) padding: u32,
}

/// Followed by its name, and by as many zero bytes as make the next one begin at a multiple of 8.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Dirent {
    pub(crate) ino: u64,
    pub(crate) off: u64,
    pub(crate) namelen: u32,
    /// As `d_type`.
    pub(crate) kind: u32,
}

#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct NotifyInvalInodeOut {
    pub(crate) ino: u64,
    /// Negative: attributes alone.
    pub(crate) off: i64,
    /// 0: to the end.
    pub(crate) len: i64,
}

/// Followed by the name and a zero byte.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct NotifyInvalEntryOut {
    pub(crate) parent: u64,
    pub(crate) namelen: u32,
    pub(crate) flags: u32,
}

/// What follows a request's header, read from its beginning on. What is too short gives EINVAL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a>(pub(crate) &'a [u8]);

impl<'a> Body<'a> {
    /// The next structure.
    pub(crate) fn take<T: FromBytes>(&mut self) -> Result<T, Errno> {
        let (taken, rest) = T::read_from_prefix(self.0).map_err(|_| Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next name, without the zero byte that ends it.
    pub(crate) fn name(&mut self) -> Result<&'a OsStr, Errno> {
        let length = self.0.iter().position(|byte| *byte == 0);
        let (name, rest) = self.0.split_at(length.ok_or(Errno::INVAL)?);
        self.0 = &rest[1..];
        Ok(OsStr::from_bytes(name))
    }

    /// The next bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// A request, taken apart; nothing if it is too short to be one.
pub(crate) fn parse(message: &[u8]) -> Option<(Header, Body<'_>)> {
    let mut body = Body(message);
    let header = body.take().ok()?;
    Some((header, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_refused() {
        assert!(parse(&[0; HEADER_BYTES - 1]).is_none());
        assert!(parse(&[0; HEADER_BYTES]).is_some());
        assert!(Body(&[1, 2]).take::<RenameIn>().is_err());
        assert!(Body(b"ab").name().is_err());
        assert!(Body(b"ab").bytes(3).is_err());
    }

    #[test]
    fn what_is_read_is_followed_by_the_rest() {
        let mut body = Body(b"12345678ab\0\0xyz");
        assert_eq!(
            body.take::<RenameIn>().unwrap().newdir.to_ne_bytes(),
            *b"12345678"
        );
        assert_eq!(
            (body.name().unwrap(), body.name().unwrap()),
            ("ab".as_ref(), "".as_ref())
        );
        assert_eq!((body.bytes(2).unwrap(), body.0), (&b"xy"[..], &b"z"[..]));
    }
}

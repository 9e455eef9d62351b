//! The FUSE protocol: the layout of messages.
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
/// A POLL: the poller wants a notification.
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

/// A notification: pollers should ask again.
pub(crate) const NOTIFY_POLL: i32 = 1;
/// A notification: attributes or pages of an inode are out of date.
pub(crate) const NOTIFY_INVAL_INODE: i32 = 2;
/// A notification: a name is out of date.
pub(crate) const NOTIFY_INVAL_ENTRY: i32 = 3;

/// Structures as they stand in messages, one field after the other.
macro_rules! structures {
    ($($(#[$about:meta])* $name:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
        #[repr(C)]
        pub(crate) struct $name {
            $($(#[$of_field])* pub(crate) $field: $type,)*
        }
    )*};
}

structures! {
    /// The header of every request.
    Header {
        len: u32,
        opcode: u32,
        unique: u64,
        nodeid: u64,
        uid: u32,
        gid: u32,
        pid: u32,
        total_extlen: u16,
        padding: u16,
    }

    /// What kernels from 7.6 on say first; those from 7.36 on say more.
    InitIn {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
    }

    GetattrIn {
        getattr_flags: u32,
        dummy: u32,
        fh: u64,
    }

    SetattrIn {
        valid: u32,
        padding: u32,
        fh: u64,
        size: u64,
        lock_owner: u64,
        /// `atime`, `mtime` and `ctime`.
        seconds: [i64; 3],
        /// `atimensec`, `mtimensec` and `ctimensec`.
        nanoseconds: [u32; 3],
        mode: u32,
        unused4: u32,
        uid: u32,
        gid: u32,
        unused5: u32,
    }

    MknodIn {
        mode: u32,
        rdev: u32,
        umask: u32,
        padding: u32,
    }

    MkdirIn {
        mode: u32,
        umask: u32,
    }

    RenameIn {
        newdir: u64,
    }

    Rename2In {
        newdir: u64,
        flags: u32,
        padding: u32,
    }

    LinkIn {
        oldnodeid: u64,
    }

    OpenIn {
        flags: i32,
        open_flags: u32,
    }

    CreateIn {
        flags: i32,
        mode: u32,
        umask: u32,
        open_flags: u32,
    }

    /// Of READ and READDIR.
    ReadIn {
        fh: u64,
        offset: u64,
        size: u32,
        read_flags: u32,
        lock_owner: u64,
        flags: i32,
        padding: u32,
    }

    WriteIn {
        fh: u64,
        offset: u64,
        size: u32,
        write_flags: u32,
        lock_owner: u64,
        flags: i32,
        padding: u32,
    }

    /// Of RELEASE and RELEASEDIR.
    ReleaseIn {
        fh: u64,
        flags: i32,
        release_flags: u32,
        lock_owner: u64,
    }

    FlushIn {
        fh: u64,
        unused: u32,
        padding: u32,
        lock_owner: u64,
    }

    SetxattrIn {
        size: u32,
        flags: i32,
    }

    GetxattrIn {
        size: u32,
        padding: u32,
    }

    InterruptIn {
        unique: u64,
    }

    PollIn {
        fh: u64,
        kh: u64,
        flags: u32,
        events: u32,
    }

    ForgetIn {
        nlookup: u64,
    }

    /// Followed by as many [`ForgetOne`].
    BatchForgetIn {
        count: u32,
        dummy: u32,
    }

    ForgetOne {
        nodeid: u64,
        nlookup: u64,
    }

    FallocateIn {
        fh: u64,
        offset: u64,
        length: u64,
        mode: i32,
        padding: u32,
    }

    LseekIn {
        fh: u64,
        offset: u64,
        whence: i32,
        padding: u32,
    }

    CopyFileRangeIn {
        fh_in: u64,
        off_in: u64,
        nodeid_out: u64,
        fh_out: u64,
        off_out: u64,
        len: u64,
        flags: u64,
    }

    /// The header of every reply and notification.
    OutHeader {
        len: u32,
        /// 0, a negated errno, or the code of a notification.
        error: i32,
        /// 0 in a notification.
        unique: u64,
    }

    InitOut {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
        max_background: u16,
        congestion_threshold: u16,
        max_write: u32,
        time_gran: u32,
        max_pages: u16,
        map_alignment: u16,
        flags2: u32,
        unused: [u32; 7],
    }

    Attr {
        ino: u64,
        size: u64,
        blocks: u64,
        /// `atime`, `mtime` and `ctime`.
        seconds: [i64; 3],
        /// `atimensec`, `mtimensec` and `ctimensec`.
        nanoseconds: [u32; 3],
        mode: u32,
        nlink: u32,
        uid: u32,
        gid: u32,
        rdev: u32,
        blksize: u32,
        flags: u32,
    }

    EntryOut {
        nodeid: u64,
        generation: u64,
        entry_valid: u64,
        attr_valid: u64,
        entry_valid_nsec: u32,
        attr_valid_nsec: u32,
        attr: Attr,
    }

    AttrOut {
        attr_valid: u64,
        attr_valid_nsec: u32,
        dummy: u32,
        attr: Attr,
    }

    OpenOut {
        fh: u64,
        open_flags: u32,
        padding: u32,
    }

    /// The reply to WRITE, to POLL, and to GETXATTR where only the length is asked for: each has a structure
    /// of its own, all of them one field long.
    NumberOut {
        number: u32,
        padding: u32,
    }

    /// Followed by its name, and by as many zero bytes as make the next one begin at a multiple of 8.
    Dirent {
        ino: u64,
        off: u64,
        namelen: u32,
        /// As `d_type`.
        kind: u32,
    }

    NotifyInvalInodeOut {
        ino: u64,
        /// Negative: attributes alone.
        off: i64,
        /// 0: to the end.
        len: i64,
    }

    /// Followed by the name and a zero byte.
    NotifyInvalEntryOut {
        parent: u64,
        namelen: u32,
        flags: u32,
    }
}

/// How long a request's header is.
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();

/// Length of the structure between a WRITE's header and its data.
pub(crate) const WRITE_BYTES: usize = size_of::<WriteIn>();

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

/// A request, parsed; `None` if it is too short to be one.
pub(crate) fn parse(message: &[u8]) -> Option<(Header, Body<'_>)> {
    let mut body = Body(message);
    let header = body.take().ok()?;
    Some((header, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_cut_off_is_refused() {
        assert!(parse(&[0; HEADER_BYTES - 1]).is_none());
        assert!(parse(&[0; HEADER_BYTES]).is_some());
        assert!(Body(&[1, 2]).take::<RenameIn>().is_err());
        assert!(Body(b"ab").name().is_err());
        assert!(Body(b"ab").bytes(3).is_err());
    }

    #[test]
    fn a_structure_that_is_read_is_followed_by_the_rest() {
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

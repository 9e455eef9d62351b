//! The few messages of the FUSE protocol that are handled without fuser: those
//! that may have to wait, and those that must be fast.
//!
//! Layouts as in `include/uapi/linux/fuse.h` of Linux, protocol 7.40. All
//! fields are in the byte order of the machine.

/// The header of every request: 40 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) opcode: u32,
    pub(crate) unique: u64,
    pub(crate) nodeid: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) pid: u32,
}

/// How long a request's header is.
pub(crate) const HEADER_BYTES: usize = 40;

/// How long what stands between a WRITE's header and its bytes is: `struct fuse_write_in`.
pub(crate) const WRITE_BYTES: usize = 40;

/// The most data one request carries. The kernel allows at most 256 pages.
pub(crate) const MAX_WRITE_BYTES: u32 = 1 << 20;

/// Operations, by their numbers in the protocol.
pub(crate) mod opcode {
    pub(crate) const LOOKUP: u32 = 1;
    pub(crate) const FORGET: u32 = 2;
    pub(crate) const GETATTR: u32 = 3;
    pub(crate) const SETATTR: u32 = 4;
    pub(crate) const UNLINK: u32 = 10;
    pub(crate) const OPEN: u32 = 14;
    pub(crate) const READ: u32 = 15;
    pub(crate) const WRITE: u32 = 16;
    pub(crate) const RELEASE: u32 = 18;
    pub(crate) const GETXATTR: u32 = 22;
    pub(crate) const FLUSH: u32 = 25;
    pub(crate) const INIT: u32 = 26;
    pub(crate) const OPENDIR: u32 = 27;
    pub(crate) const READDIR: u32 = 28;
    pub(crate) const RELEASEDIR: u32 = 29;
    pub(crate) const CREATE: u32 = 35;
    pub(crate) const INTERRUPT: u32 = 36;
    pub(crate) const DESTROY: u32 = 38;
    pub(crate) const IOCTL: u32 = 39;
    pub(crate) const POLL: u32 = 40;
    pub(crate) const BATCH_FORGET: u32 = 42;
    pub(crate) const LSEEK: u32 = 46;
    pub(crate) const STATX: u32 = 52;
}

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
/// A POLL: whoever polls wants to be woken.
pub(crate) const POLL_SCHEDULE_NOTIFY: u32 = 1 << 0;

/// A notification: somebody who polls should ask again.
pub(crate) const NOTIFY_POLL: i32 = 1;
/// A notification: attributes or pages of an inode are out of date.
pub(crate) const NOTIFY_INVAL_INODE: i32 = 2;
/// A notification: a name is out of date.
pub(crate) const NOTIFY_INVAL_ENTRY: i32 = 3;

/// The body of a request, read field by field. A field that is missing reads as
/// zero: the kernel sends whole messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a>(pub(crate) &'a [u8]);

impl Body<'_> {
    /// The 32 bits at a byte offset.
    pub(crate) fn u32(self, at: usize) -> u32 {
        self.0
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_ne_bytes)
    }

    /// The 64 bits at a byte offset.
    pub(crate) fn u64(self, at: usize) -> u64 {
        self.0
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_ne_bytes)
    }
}

/// A request, taken apart; nothing if it is too short to be one.
pub(crate) fn parse(message: &[u8]) -> Option<(Header, &[u8])> {
    if message.len() < HEADER_BYTES {
        return None;
    }
    let fields = Body(message);
    let header = Header {
        opcode: fields.u32(4),
        unique: fields.u64(8),
        nodeid: fields.u64(16),
        uid: fields.u32(24),
        gid: fields.u32(28),
        pid: fields.u32(32),
    };
    Some((header, &message[HEADER_BYTES..]))
}

/// A request that ends a session.
pub(crate) fn destroy_request() -> [u8; HEADER_BYTES] {
    let mut request = [0; HEADER_BYTES];
    request[..4].copy_from_slice(&(HEADER_BYTES as u32).to_ne_bytes());
    request[4..8].copy_from_slice(&opcode::DESTROY.to_ne_bytes());
    request
}

/// How long the header of a reply is.
pub(crate) const REPLY_HEADER_BYTES: usize = 16;

/// The header of a reply (`error` 0 or a negated errno) or of a notification
/// (`unique` 0, `error` its code), followed by `body` bytes.
pub(crate) fn reply_header(unique: u64, error: i32, body: usize) -> [u8; REPLY_HEADER_BYTES] {
    let mut header = [0; REPLY_HEADER_BYTES];
    let length = (REPLY_HEADER_BYTES + body) as u32;
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

/// A body of one 32-bit field and 32 bits of padding: the reply to WRITE, to POLL, and
/// to GETXATTR where only the length is asked for.
pub(crate) fn padded(field: u32) -> [u8; 8] {
    let mut body = [0; 8];
    body[..4].copy_from_slice(&field.to_ne_bytes());
    body
}

/// The body of a reply to OPEN.
pub(crate) fn open_reply(handle: u64, flags: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[..8].copy_from_slice(&handle.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body
}

/// How long `struct fuse_dirent` is without the name.
pub(crate) const DIRENT_BYTES: usize = 24;

/// One name of a listing, not yet padded to 8 bytes.
pub(crate) fn push_dirent(reply: &mut Vec<u8>, ino: u64, cookie: u64, mode: u32, name: &[u8]) {
    reply.extend_from_slice(&ino.to_ne_bytes());
    reply.extend_from_slice(&cookie.to_ne_bytes());
    reply.extend_from_slice(&(name.len() as u32).to_ne_bytes());
    reply.extend_from_slice(&((mode & libc::S_IFMT) >> 12).to_ne_bytes());
    reply.extend_from_slice(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_cut_off_is_none() {
        assert!(parse(&[0; HEADER_BYTES - 1]).is_none());
        assert_eq!(Body(&[1, 2]).u32(0), 0);
    }
}

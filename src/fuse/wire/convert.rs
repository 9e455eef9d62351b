//! Between fuser's types and the core's.

use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileType, Generation, INodeNo, ReplyEmpty, ReplyEntry, ReplyXattr, Request,
};

use super::abi::MAX_WRITE_BYTES;
use crate::core::effects::Reply;
use crate::core::namespace::Creator;
use crate::core::{Attributes, Found};

/// How long the kernel remembers names and attributes. It tells us of every
/// change it makes, and we tell it of every change of our own, so this is as
/// good as for ever; with write-back a short time would cost a question at every
/// write.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);

/// How long the kernel remembers these.
pub(super) fn remembered(attributes: &Attributes) -> Duration {
    match attributes.lasting {
        true => REMEMBERED,
        false => Duration::ZERO,
    }
}

/// What `st_blksize` says of a file: the largest request. `cp`, `cat` and Python
/// take it as the size of their writes.
const FILE_BLOCK_BYTES: u32 = MAX_WRITE_BYTES;
/// And of everything else.
const OTHER_BLOCK_BYTES: u32 = 4096;

pub(super) fn creator(request: &Request, mode: u32) -> Creator {
    Creator {
        uid: request.uid(),
        gid: request.gid(),
        mode: mode & 0o7777,
    }
}

/// What `st_blksize` says.
pub(super) fn block_bytes(mode: u32) -> u32 {
    match mode & libc::S_IFMT {
        libc::S_IFREG => FILE_BLOCK_BYTES,
        _ => OTHER_BLOCK_BYTES,
    }
}

fn file_type(mode: u32) -> FileType {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn file_attr(attributes: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.ino),
        size: attributes.size,
        blocks: attributes.blocks,
        atime: attributes.atime.into(),
        mtime: attributes.mtime.into(),
        ctime: attributes.ctime.into(),
        crtime: SystemTime::UNIX_EPOCH,
        kind: file_type(attributes.mode),
        perm: (attributes.mode & 0o7777) as u16,
        nlink: attributes.nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev,
        blksize: block_bytes(attributes.mode),
        flags: 0,
    }
}

pub(super) fn answer_entry(result: Result<Reply, Errno>, reply: ReplyEntry) {
    match result {
        // Numbers are never used again, so one generation is enough.
        Ok(Reply::Found(Found { attributes, .. })) => reply.entry_with_ttls(
            &remembered(&attributes),
            &remembered(&attributes),
            &file_attr(&attributes),
            Generation(0),
        ),
        Ok(_) => reply.error(Errno::EIO),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn answer_empty(result: Result<Reply, Errno>, reply: ReplyEmpty) {
    match result {
        Ok(_) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

pub(super) fn answer_xattr(value: Vec<u8>, size: u32, reply: ReplyXattr) {
    match size as usize {
        0 => reply.size(value.len() as u32),
        room if value.len() > room => reply.error(Errno::ERANGE),
        _ => reply.data(&value),
    }
}

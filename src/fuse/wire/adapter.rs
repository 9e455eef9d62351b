//! fuser's callbacks: each converts, calls the core, converts back.
//!
//! Only what is answered at once and not asked often comes here; see `device`
//! for the rest.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use fuser::{
    AccessFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, LockOwner,
    RenameFlags, ReplyData, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
};

use super::convert::{answer_empty, answer_entry, answer_xattr, creator};
use crate::core::effects::{Reply, Unique};
use crate::core::namespace::{INODE_BYTES, NAME_MAX, Rename, name_bytes};
use crate::core::request::{Caller, Request as Asked, User, at};
use crate::router::Router;

/// The unit in which `statfs` counts.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// fuser's view of a mount.
pub(crate) struct Adapter {
    pub(crate) router: Arc<Router>,
}

impl Adapter {
    /// Has the core handle a request; its answer.
    fn ask(&self, request: &Request, what: Asked<'_>) -> Result<Reply, Errno> {
        let caller = Caller {
            unique: Unique(request.unique().0),
            thread: request.pid() as i32,
            internal: false,
            user: Some(request.uid()),
        };
        let answer = self.router.ask(caller, what);
        answer.map_err(|errno| Errno::from_i32(errno.raw_os_error()))
    }
}

fn user(request: &Request) -> User {
    User {
        uid: request.uid(),
        gid: request.gid(),
    }
}

impl Filesystem for Adapter {
    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.router.look(|core| core.read_link(ino.0)) {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(errno) => reply.error(Errno::from_i32(errno.raw_os_error())),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let make = Asked::MakeNode {
            at: at(parent.0, name),
            creator: creator(request, mode),
            kind: mode & libc::S_IFMT,
            rdev,
        };
        answer_entry(self.ask(request, make), reply);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let make = Asked::MakeDirectory {
            at: at(parent.0, name),
            creator: creator(request, mode),
        };
        answer_entry(self.ask(request, make), reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let at = at(parent.0, name);
        answer_empty(self.ask(request, Asked::RemoveDirectory { at }), reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let make = Asked::MakeSymlink {
            at: at(parent.0, name),
            creator: creator(request, 0o777),
            target: target.into(),
        };
        answer_entry(self.ask(request, make), reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let how = if flags.is_empty() {
            Rename::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            Rename::KeepTarget
        } else if flags == RenameFlags::RENAME_EXCHANGE {
            Rename::Exchange
        } else {
            return reply.error(Errno::EINVAL);
        };
        let rename = Asked::Rename {
            from: at(parent.0, name),
            to: at(new_parent.0, new_name),
            how,
        };
        answer_empty(self.ask(request, rename), reply);
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let link = Asked::Link {
            ino: ino.0,
            at: at(new_parent.0, new_name),
        };
        answer_entry(self.ask(request, link), reply);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn statfs(&self, request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // The disk is asked once the core is free again.
        let (pool, files) = self
            .router
            .look(|core| (core.pool().clone(), core.names().count()));
        let (size, free) = (pool.max_size(), pool.available());
        // Of which this user may have so much.
        let mine = pool.of(request.uid());
        let available = mine.available();
        let free_files = mine.room() / (INODE_BYTES + name_bytes(OsStr::new("a-common-name")));
        let blocks = |bytes: u64| bytes / u64::from(STATFS_BLOCK_BYTES);
        reply.statfs(
            blocks(size),
            blocks(free),
            blocks(available),
            files as u64 + free_files,
            free_files,
            STATFS_BLOCK_BYTES,
            NAME_MAX as u32,
            STATFS_BLOCK_BYTES,
        );
    }

    fn setxattr(
        &self,
        request: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let set = Asked::SetXattr {
            ino: ino.0,
            name,
            value,
            flags,
        };
        answer_empty(self.ask(request, set), reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        answer_xattr(
            self.router.look(|core| core.xattr_names(ino.0)),
            size,
            reply,
        );
    }

    fn removexattr(&self, request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let remove = Asked::RemoveXattr { ino: ino.0, name };
        answer_empty(self.ask(request, remove), reply);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks permissions itself (`default_permissions`).
        reply.ok();
    }

    fn fallocate(
        &self,
        request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocate = Asked::Allocate {
            ino: ino.0,
            offset,
            length,
            mode,
            by: user(request),
        };
        answer_empty(self.ask(request, allocate), reply);
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _to_handle: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let copy = Asked::Copy {
            from: (from.0, from_handle.0, from_offset),
            to: (to.0, to_offset),
            length,
            by: user(request),
        };
        match self.ask(request, copy) {
            Ok(Reply::Written(length)) => reply.written(length),
            Ok(_) => reply.error(Errno::EIO),
            Err(errno) => reply.error(errno),
        }
    }

    fn getlk(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        _start: u64,
        _end: u64,
        _kind: i32,
        _pid: u32,
        reply: fuser::ReplyLock,
    ) {
        // Locks are the kernel's: it was not asked to send them here.
        reply.error(Errno::ENOSYS);
    }
}

//! fuser's callbacks: each converts, calls the core, converts back.
//!
//! Only what is answered at once and not asked often comes here; see `names` and
//! `device` for the rest.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use fuser::{
    AccessFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, LockOwner,
    RenameFlags, ReplyData, ReplyEmpty, ReplyEntry, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
};

use super::convert::{answer_empty, answer_entry, answer_xattr, creator};
use crate::core::effects::Effects;
use crate::core::namespace::{INODE_BYTES, NAME_MAX, Rename, name_bytes};
use crate::core::{Core, Env};
use crate::router::Router;

/// The unit in which `statfs` counts.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// fuser's view of a mount.
pub(crate) struct Adapter {
    pub(crate) router: Arc<Router>,
}

impl Adapter {
    fn run<R>(
        &self,
        act: impl FnOnce(&mut Core, Env<'_>, &mut Effects) -> Result<R, rustix::io::Errno>,
    ) -> Result<R, Errno> {
        self.router
            .run(act)
            .map_err(|errno| Errno::from_i32(errno.raw_os_error()))
    }
}

impl Filesystem for Adapter {
    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.run(|core, _, _| core.read_link(ino.0)) {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(errno) => reply.error(errno),
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
        let creator = creator(request, mode);
        let kind = mode & libc::S_IFMT;
        let made = self.run(|core, env, effects| {
            core.make_node(env, (parent.0, name), creator, kind, rdev, effects)
        });
        answer_entry(made, reply);
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
        let creator = creator(request, mode);
        let made = self.run(|core, env, _| core.make_directory(env, (parent.0, name), creator));
        answer_entry(made, reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.run(|core, env, _| core.remove_directory(env, (parent.0, name)));
        answer_empty(done, reply);
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let creator = creator(request, 0o777);
        let made =
            self.run(|core, env, _| core.make_symlink(env, (parent.0, name), creator, target));
        answer_entry(made, reply);
    }

    fn rename(
        &self,
        _request: &Request,
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
        let done = self.run(|core, env, effects| {
            core.rename(
                env,
                (parent.0, name),
                (new_parent.0, new_name),
                how,
                effects,
            )
        });
        answer_empty(done, reply);
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        new_parent: INodeNo,
        new_name: &OsStr,
        reply: ReplyEntry,
    ) {
        let made = self.run(|core, env, effects| {
            core.link(env, ino.0, (new_parent.0, new_name), request.uid(), effects)
        });
        answer_entry(made, reply);
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
        let done = self
            .run(|core, env, _| core.set_xattr(env, ino.0, (name, value), flags, request.uid()));
        answer_empty(done, reply);
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.run(|core, _, _| Ok(core.xattr_names(ino.0)));
        answer_xattr(names, size, reply);
    }

    fn removexattr(&self, _request: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.run(|core, env, _| core.remove_xattr(env, ino.0, name));
        answer_empty(done, reply);
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
        let who = (request.uid(), request.gid());
        let done = self.run(|core, env, effects| {
            core.allocate(env, ino.0, offset, length, mode, effects)?;
            core.changed_by(env, ino.0, who, effects);
            Ok(())
        });
        answer_empty(done, reply);
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
        let who = (request.uid(), request.gid());
        let copied = self.run(|core, env, effects| {
            let copied = core.copy_range(
                env,
                (from.0, from_handle.0, from_offset),
                (to.0, to_offset),
                length,
                effects,
            )?;
            core.changed_by(env, to.0, who, effects);
            Ok(copied)
        });
        match copied {
            Ok(length) => reply.written(length),
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

//! Requests of the kernel, each with its arm: parsed, and handed to the core.
//!
//! Knows which facts the router must find out before the core is asked. Requests to the core and frequent
//! ones are handled here; the rest is left to fuser (`rare`).

use std::path::Path;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::abi::{self, Body, Header};
use super::device::{Front, Served};
use super::opcode;
use super::replies::{entry_bytes, number_out};
use crate::core::clock::Timestamp;
use crate::core::effects::Unique;
use crate::core::namespace::{Creator, Rename};
use crate::core::request::{Caller, Opener, Request, User, Wanted, at};
use crate::core::{Change, Changes};

impl Front {
    pub(super) fn caller(&self, header: Header) -> Caller {
        let thread = header.pid as i32;
        Caller {
            unique: Unique(header.unique),
            thread,
            internal: thread != 0 && thread == self.kernel.flusher().pid(),
            user: Some(header.uid),
            incarnation: Some(self.kernel.numbers.inode(header.nodeid).1),
        }
    }

    /// Has a request other than WRITE answered.
    ///
    /// # Errors
    ///
    /// The error to answer with.
    pub(super) fn dispatch(&self, header: Header, mut body: Body<'_>) -> Result<Served, Errno> {
        let (router, kernel) = (&self.router, &self.kernel);
        let caller = self.caller(header);
        let inode = |node| kernel.numbers.inode(node).0;
        let ino = inode(header.nodeid);
        let by = User {
            uid: header.uid,
            gid: header.gid,
        };
        let creator = |mode: u32| Creator {
            uid: by.uid,
            gid: by.gid,
            mode: mode & 0o7777,
        };
        let request = match header.opcode {
            opcode::LOOKUP => Request::Lookup {
                at: at(ino, body.name()?),
            },
            opcode::FORGET => Request::Forget {
                ino,
                lookups: body.take::<abi::ForgetIn>()?.nlookup,
            },
            opcode::BATCH_FORGET => {
                for _ in 0..body.take::<abi::BatchForgetIn>()?.count {
                    let one: abi::ForgetOne = body.take()?;
                    let (ino, lookups) = (inode(one.nodeid), one.nlookup);
                    router.handle(caller, Request::Forget { ino, lookups });
                }
                return Ok(Served::Here);
            }

            opcode::GETATTR => {
                let asked: abi::GetattrIn = body.take()?;
                let by_handle = asked.getattr_flags & abi::GETATTR_FH != 0;
                let opener = Opener::default();
                let ask = Request::Attributes {
                    ino,
                    by_handle,
                    opener,
                };
                router.handle_by_opener(caller, ino, ask);
                return Ok(Served::Here);
            }
            // Then the kernel asks by GETATTR.
            opcode::STATX => return Err(Errno::NOSYS),
            opcode::SETATTR => Request::Change {
                ino,
                changes: changes(body.take()?),
            },
            // Asked for each file that is written to: whether it has capabilities to lose.
            opcode::GETXATTR => {
                let room = body.take::<abi::GetxattrIn>()?.size as usize;
                let name = body.name()?;
                let value = router.look(|core| core.xattr(ino, name))?;
                match room {
                    0 => kernel.reply(caller.unique, number_out(value.len() as u32).as_bytes()),
                    room if value.len() > room => return Err(Errno::RANGE),
                    _ => kernel.reply(caller.unique, &value),
                }
                return Ok(Served::Here);
            }
            opcode::SETXATTR => {
                let set: abi::SetxattrIn = body.take()?;
                Request::SetXattr {
                    ino,
                    name: body.name()?.to_owned(),
                    value: body.bytes(set.size as usize)?.to_vec(),
                    flags: set.flags,
                }
            }
            opcode::REMOVEXATTR => Request::RemoveXattr {
                ino,
                name: body.name()?.to_owned(),
            },

            opcode::MKNOD => {
                let make: abi::MknodIn = body.take()?;
                Request::MakeNode {
                    at: at(ino, body.name()?),
                    creator: creator(make.mode),
                    kind: make.mode & libc::S_IFMT,
                    rdev: make.rdev,
                }
            }
            opcode::MKDIR => {
                let make: abi::MkdirIn = body.take()?;
                Request::MakeDirectory {
                    at: at(ino, body.name()?),
                    creator: creator(make.mode),
                }
            }
            opcode::SYMLINK => Request::MakeSymlink {
                at: at(ino, body.name()?),
                creator: creator(0o777),
                target: Path::new(body.name()?).into(),
            },
            opcode::LINK => Request::Link {
                ino: inode(body.take::<abi::LinkIn>()?.oldnodeid),
                at: at(ino, body.name()?),
            },
            opcode::UNLINK => Request::Unlink {
                at: at(ino, body.name()?),
            },
            opcode::RMDIR => Request::RemoveDirectory {
                at: at(ino, body.name()?),
            },
            opcode::RENAME | opcode::RENAME2 => {
                let (newdir, flags) = match header.opcode {
                    opcode::RENAME => (body.take::<abi::RenameIn>()?.newdir, 0),
                    _ => {
                        let rename: abi::Rename2In = body.take()?;
                        (rename.newdir, rename.flags)
                    }
                };
                Request::Rename {
                    from: at(ino, body.name()?),
                    to: at(inode(newdir), body.name()?),
                    how: match flags {
                        0 => Rename::Replace,
                        libc::RENAME_NOREPLACE => Rename::KeepTarget,
                        libc::RENAME_EXCHANGE => Rename::Exchange,
                        _ => return Err(Errno::INVAL),
                    },
                }
            }

            opcode::OPENDIR => Request::OpenDirectory { ino },
            opcode::READDIR => {
                let read: abi::ReadIn = body.take()?;
                Request::List {
                    ino,
                    handle: read.fh,
                    after: read.offset,
                    room: read.size as usize,
                    entry_bytes,
                }
            }
            opcode::RELEASEDIR => Request::CloseDirectory {
                handle: body.take::<abi::ReleaseIn>()?.fh,
            },

            opcode::CREATE => {
                let create: abi::CreateIn = body.take()?;
                Request::Create {
                    at: at(ino, body.name()?),
                    creator: creator(create.mode),
                    flags: create.flags,
                    writer: router.writer(caller.thread)?,
                }
            }
            opcode::OPEN => {
                let open: abi::OpenIn = body.take()?;
                let flags = open.flags;
                let access = flags & libc::O_ACCMODE;
                let writes = access != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
                let open = Request::Open {
                    ino,
                    flags,
                    writer: match writes {
                        true => Some(router.writer(caller.thread)?),
                        false => None,
                    },
                    opener: Opener::default(),
                    kills_set_id: open.open_flags & abi::OPEN_KILL_SUIDGID != 0,
                };
                if !writes {
                    router.handle_by_opener(caller, ino, open);
                    return Ok(Served::Here);
                }
                open
            }
            opcode::READ => {
                let read: abi::ReadIn = body.take()?;
                Request::Read {
                    ino,
                    handle: read.fh,
                    wanted: Wanted {
                        offset: read.offset,
                        length: read.size,
                        // As they are now: fcntl(2) may have changed them.
                        nonblocking: read.flags & libc::O_NONBLOCK != 0,
                    },
                    fills_pages: read.read_flags & abi::READ_LOCKOWNER == 0,
                }
            }
            opcode::POLL => {
                let poll: abi::PollIn = body.take()?;
                let wants = poll.flags & abi::POLL_SCHEDULE_NOTIFY != 0;
                Request::Poll {
                    handle: poll.fh,
                    kernel_handle: wants.then_some(poll.kh),
                }
            }
            opcode::LSEEK => {
                let seek: abi::LseekIn = body.take()?;
                Request::Seek {
                    ino,
                    handle: seek.fh,
                    offset: seek.offset,
                    data: seek.whence == libc::SEEK_DATA,
                }
            }
            opcode::FALLOCATE => {
                let allocate: abi::FallocateIn = body.take()?;
                Request::Allocate {
                    ino,
                    offset: allocate.offset,
                    length: allocate.length,
                    mode: allocate.mode,
                    by,
                }
            }
            opcode::COPY_FILE_RANGE => {
                let copy: abi::CopyFileRangeIn = body.take()?;
                Request::Copy {
                    from: (ino, copy.fh_in, copy.off_in),
                    to: (inode(copy.nodeid_out), copy.off_out),
                    length: copy.len,
                    by,
                }
            }
            opcode::FLUSH => {
                router.seen_closing(body.take::<abi::FlushIn>()?.fh, caller.thread);
                kernel.reply(caller.unique, &[]);
                return Ok(Served::Here);
            }
            opcode::RELEASE => Request::Release {
                handle: body.take::<abi::ReleaseIn>()?.fh,
            },

            // Nothing is on a disk; and the kernel checks permissions itself (`default_permissions`).
            opcode::FSYNC | opcode::FSYNCDIR | opcode::ACCESS => {
                kernel.reply(caller.unique, &[]);
                return Ok(Served::Here);
            }
            // Python and Perl ask of each file that they open whether it is a terminal.
            opcode::IOCTL => return Err(Errno::NOTTY),
            opcode::INTERRUPT => {
                router.interrupted(Unique(body.take::<abi::InterruptIn>()?.unique));
                return Ok(Served::Here);
            }
            _ => return Ok(Served::ByFuser),
        };
        router.handle(caller, request);
        Ok(Served::Here)
    }
}

fn changes(set: abi::SetattrIn) -> Changes {
    use abi::fattr;
    let is = |flag: u32| set.valid & flag != 0;
    let [atime, mtime, ctime] = std::array::from_fn(|nth| Timestamp {
        seconds: set.seconds[nth],
        nanoseconds: set.nanoseconds[nth],
    });
    let change = |given, now, time| match (is(given), is(now)) {
        (false, _) => None,
        (true, true) => Some(Change::Now),
        (true, false) => Some(Change::To(time)),
    };
    Changes {
        mode: is(fattr::MODE).then_some(set.mode),
        uid: is(fattr::UID).then_some(set.uid),
        gid: is(fattr::GID).then_some(set.gid),
        size: is(fattr::SIZE).then_some(set.size),
        atime: change(fattr::ATIME, fattr::ATIME_NOW, atime),
        mtime: change(fattr::MTIME, fattr::MTIME_NOW, mtime),
        ctime: is(fattr::CTIME).then_some(ctime),
        drops_privileges: is(fattr::KILL_SUIDGID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attributes_marked_as_valid_are_changed() {
        let changes = changes(abi::SetattrIn {
            valid: abi::fattr::SIZE | abi::fattr::MTIME,
            size: 1,
            nanoseconds: [0, 2, 0],
            mode: 3,
            ..Default::default()
        });
        assert_eq!(changes.size, Some(1));
        assert!(matches!(changes.mtime, Some(Change::To(time)) if time.nanoseconds == 2));
        assert_eq!((changes.mode, changes.uid, changes.gid), (None, None, None));
        assert!(changes.atime.is_none() && changes.ctime.is_none() && !changes.drops_privileges);
    }
}

//! Requests of the kernel, read: what is asked for in terms of the core.
//!
//! Knows the layouts of `include/uapi/linux/fuse.h`, and which requests are rare and go to fuser
//! instead (`adapter`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::abi::{self, Body, Header, opcode};
use super::replies::entry_bytes;
use crate::core::clock::Timestamp;
use crate::core::request::{Request, Wanted, at};
use crate::core::{Change, Changes};

/// What is asked for, by a request of which nothing but that is needed.
pub(super) fn request(header: Header, body: &[u8]) -> Option<Request<'_>> {
    let fields = Body(body);
    let ino = header.nodeid;
    Some(match header.opcode {
        opcode::LOOKUP => Request::Lookup {
            at: at(ino, name(body, 0)),
        },
        opcode::SETATTR => Request::Change {
            ino,
            changes: changes(fields),
        },
        opcode::UNLINK => Request::Unlink {
            at: at(ino, name(body, 0)),
        },
        opcode::OPENDIR => Request::OpenDirectory { ino },
        opcode::READDIR => Request::List {
            ino,
            handle: fields.u64(0),
            after: fields.u64(8),
            room: fields.u32(16) as usize,
            entry_bytes,
        },
        opcode::RELEASEDIR => Request::CloseDirectory {
            handle: fields.u64(0),
        },
        opcode::READ => Request::Read {
            ino,
            handle: fields.u64(0),
            wanted: Wanted {
                offset: fields.u64(8),
                length: fields.u32(16),
                // As they are now: fcntl(2) may have changed them.
                nonblocking: fields.u32(32) as i32 & libc::O_NONBLOCK != 0,
            },
            fills_pages: fields.u32(20) & abi::READ_LOCKOWNER == 0,
        },
        opcode::RELEASE => Request::Release {
            handle: fields.u64(0),
        },
        opcode::POLL => {
            let wants = fields.u32(16) & abi::POLL_SCHEDULE_NOTIFY != 0;
            Request::Poll {
                handle: fields.u64(0),
                kernel_handle: wants.then_some(fields.u64(8)),
            }
        }
        opcode::LSEEK => Request::Seek {
            ino,
            handle: fields.u64(0),
            offset: fields.u64(8),
            data: fields.u32(16) as i32 == libc::SEEK_DATA,
        },
        opcode::FORGET => Request::Forget {
            ino,
            lookups: fields.u64(0),
        },
        _ => return None,
    })
}

/// The name that stands at an offset of a request.
pub(super) fn name(body: &[u8], at: usize) -> &OsStr {
    let text = body.get(at..).unwrap_or_default();
    let length = text.iter().position(|byte| *byte == 0);
    OsStr::from_bytes(&text[..length.unwrap_or(text.len())])
}

fn changes(fields: Body<'_>) -> Changes {
    let valid = fields.u32(0);
    let is = |flag: u32| valid & flag != 0;
    let time = |seconds, nanoseconds| Timestamp {
        seconds: fields.u64(seconds) as i64,
        nanoseconds: fields.u32(nanoseconds),
    };
    let change = |given, now, time| match (is(given), is(now)) {
        (false, _) => None,
        (true, true) => Some(Change::Now),
        (true, false) => Some(Change::To(time)),
    };
    use abi::fattr;
    Changes {
        mode: is(fattr::MODE).then(|| fields.u32(68)),
        uid: is(fattr::UID).then(|| fields.u32(76)),
        gid: is(fattr::GID).then(|| fields.u32(80)),
        size: is(fattr::SIZE).then(|| fields.u64(16)),
        atime: change(fattr::ATIME, fattr::ATIME_NOW, time(32, 56)),
        mtime: change(fattr::MTIME, fattr::MTIME_NOW, time(40, 60)),
        ctime: is(fattr::CTIME).then(|| time(48, 64)),
        drops_privileges: is(fattr::KILL_SUIDGID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_its_nul_or_with_the_request() {
        assert_eq!(name(b"....ab\0cd", 4), "ab");
        assert_eq!(name(b"....ab", 4), "ab");
        assert_eq!(name(b"..", 4), "");
    }

    #[test]
    fn only_what_is_marked_as_valid_is_changed() {
        let mut body = [0x11; 88];
        body[..4].copy_from_slice(&(abi::fattr::SIZE | abi::fattr::MTIME).to_ne_bytes());
        let changes = changes(Body(&body));
        assert_eq!(changes.size, Some(0x1111_1111_1111_1111));
        assert!(matches!(changes.mtime, Some(Change::To(time)) if time.nanoseconds == 0x1111_1111));
        assert_eq!((changes.mode, changes.uid, changes.gid), (None, None, None));
        assert!(changes.atime.is_none() && changes.ctime.is_none() && !changes.drops_privileges);
    }
}

//! Names and attributes: what nearly every program asks for, answered by the loop
//! on the device itself. Each converts, calls the core, converts back.
//!
//! The rarer requests of this kind go to fuser; see `adapter`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustix::io::Errno;

use super::abi::{self, Body, Header, opcode};
use super::convert::{REMEMBERED, block_bytes, remembered};
use super::kernel::open_flags;
use crate::core::clock::Timestamp;
use crate::core::effects::{Caller, Effects};
use crate::core::namespace::Creator;
use crate::core::{Attributes, Change, Changes, Core, Env};
use crate::router::Router;

/// The body of the answer to a request, if it is one of these.
pub(super) fn answer(
    router: &Router,
    caller: Caller,
    header: Header,
    body: &[u8],
) -> Option<Result<Vec<u8>, Errno>> {
    let fields = Body(body);
    let ino = header.nodeid;
    Some(match header.opcode {
        opcode::LOOKUP => router.run(|core, env, _| {
            let name = name(body, 0);
            let found = core.lookup(env, ino, name, caller.thread, caller.internal)?;
            let lasting = if found.lasting {
                REMEMBERED
            } else {
                Duration::ZERO
            };
            Ok(entry(&found.attributes, lasting))
        }),
        opcode::SETATTR => {
            let changes = changes(fields);
            router.run(|core, env, effects| {
                let attributes = core.change(env, ino, changes, effects)?;
                Ok(attr(&attributes))
            })
        }
        // Asked for each file that is written to: whether it has capabilities to lose.
        opcode::GETXATTR => {
            let room = fields.u32(0) as usize;
            match router.look(|core| core.xattr(ino, name(body, 8))) {
                Ok(value) if room == 0 => Ok(abi::padded(value.len() as u32).into()),
                Ok(value) if value.len() > room => Err(Errno::RANGE),
                result => result,
            }
        }
        opcode::CREATE => create(router, caller, header, body),
        opcode::UNLINK => router.run(|core, env, effects| {
            core.unlink(env, (ino, name(body, 0)), effects)?;
            Ok(Vec::new())
        }),
        opcode::OPENDIR => router.run(|core, _, _| {
            let handle = match core.is_control(ino) {
                true => 0,
                false => core.names_mut().open_directory(ino)?,
            };
            Ok(abi::open_reply(handle, 0).into())
        }),
        opcode::READDIR => router.run(|core, _, _| list(core, ino, fields)),
        opcode::RELEASEDIR => router.run(|core, _, _| {
            core.names_mut().close_directory(fields.u64(0));
            Ok(Vec::new())
        }),
        _ => return None,
    })
}

/// The name that stands at an offset of a request.
fn name(body: &[u8], at: usize) -> &OsStr {
    let text = body.get(at..).unwrap_or_default();
    let length = text.iter().position(|byte| *byte == 0);
    OsStr::from_bytes(&text[..length.unwrap_or(text.len())])
}

fn create(router: &Router, caller: Caller, header: Header, body: &[u8]) -> Result<Vec<u8>, Errno> {
    let (flags, mode) = (Body(body).u32(0) as i32, Body(body).u32(4));
    let at = (header.nodeid, name(body, 16));
    let creator = Creator {
        uid: header.uid,
        gid: header.gid,
        mode: mode & 0o7777,
    };
    let writer = router.writer(caller.thread)?;
    let act = |core: &mut Core, env: Env<'_>, effects: &mut Effects| {
        core.create(env, at, creator, flags, writer, effects)
    };
    let (attributes, handle, transport) = router.run(act)?;
    let mut reply = entry(&attributes, remembered(&attributes));
    reply.extend_from_slice(&abi::open_reply(handle, open_flags(transport)));
    Ok(reply)
}

/// As much of a listing as was asked for.
fn list(core: &mut Core, ino: u64, fields: Body<'_>) -> Result<Vec<u8>, Errno> {
    let (handle, offset, most) = (fields.u64(0), fields.u64(8), fields.u32(16) as usize);
    let mut reply = Vec::new();
    if core.is_control(ino) {
        return Ok(reply);
    }
    let end = core.names_mut().listing_end(ino, handle, offset)?;
    for (entry, cookie, name) in core.names().list(ino, offset, end)? {
        let name = name.as_bytes();
        let length = (abi::DIRENT_BYTES + name.len()).next_multiple_of(8);
        if reply.len() + length > most {
            break;
        }
        let mode = core.names().get(entry).map_or(0, |inode| inode.st_mode());
        let end = reply.len() + length;
        abi::push_dirent(&mut reply, entry, cookie, mode, name);
        reply.resize(end, 0);
    }
    Ok(reply)
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

/// The body of a reply that names an inode. Numbers are never used again, so one
/// generation is enough.
fn entry(attributes: &Attributes, lasting: Duration) -> Vec<u8> {
    let mut reply = Vec::with_capacity(144);
    let valid = [lasting, remembered(attributes)].map(|time| time.as_secs());
    for field in [attributes.ino, 0, valid[0], valid[1], 0] {
        reply.extend_from_slice(&field.to_ne_bytes());
    }
    push_attributes(&mut reply, attributes);
    reply
}

/// The body of a reply with attributes alone.
pub(super) fn attr(attributes: &Attributes) -> Vec<u8> {
    let mut reply = Vec::with_capacity(104);
    for field in [remembered(attributes).as_secs(), 0] {
        reply.extend_from_slice(&field.to_ne_bytes());
    }
    push_attributes(&mut reply, attributes);
    reply
}

/// `struct fuse_attr`.
fn push_attributes(reply: &mut Vec<u8>, of: &Attributes) {
    let times = [of.atime, of.mtime, of.ctime];
    for field in [of.ino, of.size, of.blocks] {
        reply.extend_from_slice(&field.to_ne_bytes());
    }
    for time in times {
        reply.extend_from_slice(&time.seconds.to_ne_bytes());
    }
    for time in times {
        reply.extend_from_slice(&time.nanoseconds.to_ne_bytes());
    }
    let flags = 0;
    let rest = [
        of.mode,
        of.nlink,
        of.uid,
        of.gid,
        of.rdev,
        block_bytes(of.mode),
        flags,
    ];
    for field in rest {
        reply.extend_from_slice(&field.to_ne_bytes());
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

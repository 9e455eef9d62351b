//! The bodies of answers, as the kernel wants them.
//!
//! Knows the layouts of `include/uapi/linux/fuse.h`; what is answered is decided elsewhere.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::abi;
use super::convert::{REMEMBERED, block_bytes, remembered};
use crate::core::Attributes;
use crate::core::effects::{Listed, Reply, Transport};

/// The body of an answer that is no error, and no bytes of a file.
pub(super) fn body(reply: &Reply) -> Vec<u8> {
    match reply {
        Reply::Found(found) => {
            let lasting = match found.lasting {
                true => REMEMBERED,
                false => Duration::ZERO,
            };
            entry(&found.attributes, lasting)
        }
        Reply::Attributes(attributes) => attr(attributes),
        Reply::Created {
            attributes,
            handle,
            transport,
        } => {
            let mut body = entry(attributes, remembered(attributes));
            body.extend_from_slice(&abi::open_reply(*handle, open_flags(*transport)));
            body
        }
        Reply::Opened { handle, transport } => {
            abi::open_reply(*handle, open_flags(*transport)).into()
        }
        Reply::Handle(handle) => abi::open_reply(*handle, 0).into(),
        Reply::Listing(entries) => listing(entries),
        Reply::Text(bytes) => bytes.clone(),
        Reply::Written(length) => abi::padded(*length).into(),
        Reply::Polled(events) => abi::padded(*events).into(),
        Reply::Sought(offset) => offset.to_ne_bytes().into(),
        Reply::Done => Vec::new(),
        // Those are for this process, which the router has answered, or made elsewhere.
        Reply::Bytes(_)
        | Reply::Events(_)
        | Reply::Captured(_)
        | Reply::Frozen(_)
        | Reply::Refused(_) => Vec::new(),
    }
}

/// How many bytes an entry of a directory takes with a name so long.
pub(super) fn entry_bytes(name: usize) -> usize {
    (abi::DIRENT_BYTES + name).next_multiple_of(8)
}

fn listing(entries: &[Listed]) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in entries {
        let name = entry.name.as_bytes();
        let end = body.len() + entry_bytes(name.len());
        abi::push_dirent(&mut body, entry.ino, entry.cookie, entry.mode, name);
        body.resize(end, 0);
    }
    body
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
fn attr(attributes: &Attributes) -> Vec<u8> {
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

/// What the kernel is told of a handle.
fn open_flags(transport: Transport) -> u32 {
    match transport {
        Transport::Direct => abi::FOPEN_DIRECT_IO,
        // Without a position there is no sendfile(2), which would take the page
        // cache and the size so far for the whole file.
        Transport::Sequential => abi::FOPEN_DIRECT_IO | abi::FOPEN_NONSEEKABLE,
        Transport::Cached => abi::FOPEN_KEEP_CACHE,
    }
}

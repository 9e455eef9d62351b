//! The bodies of answers, as the kernel wants them.
//!
//! Knows the layout of answers; their content is decided elsewhere.

use std::os::unix::ffi::OsStrExt;

use zerocopy::IntoBytes;

use super::abi::{self, Attr, AttrOut, Dirent, EntryOut, MAX_WRITE_BYTES, NumberOut, OpenOut};
use super::numbers::Numbers;
use crate::core::effects::{Listed, Reply, Transport};
use crate::core::{Attributes, Found};

/// Seconds for which the kernel caches names, and attributes of directories. Kernel and daemon tell each
/// other of every change, so this is as good as for ever.
const ENTRY_TTL_SECONDS: u64 = 3600;

/// The same for attributes of files. As good as for ever while this process lives; but writes to the page
/// cache need nothing else of the daemon, and succeed after its death until the kernel asks for attributes
/// again.
const FILE_ATTRIBUTES_TTL_SECONDS: u64 = 1;

/// What `st_blksize` says of a file: the largest request. `cp`, `cat` and Python
/// take it as the size of their writes.
const FILE_BLOCK_BYTES: u32 = MAX_WRITE_BYTES;
/// The same of everything else.
const OTHER_BLOCK_BYTES: u32 = 4096;

/// The body of an answer that is no error, and no bytes of a file.
pub(super) fn body(reply: &Reply, numbers: Numbers) -> Vec<u8> {
    match reply {
        Reply::Found(found) => entry(found, numbers).as_bytes().into(),
        Reply::Attributes(attributes) => AttrOut {
            attr_valid: attributes_valid_seconds(attributes),
            attr_valid_nsec: 0,
            dummy: 0,
            attr: attr(attributes),
        }
        .as_bytes()
        .into(),
        Reply::Created {
            found,
            handle,
            transport,
        } => {
            let entry = entry(found, numbers);
            let open = open(*handle, open_flags(*transport));
            [entry.as_bytes(), open.as_bytes()].concat()
        }
        Reply::Opened { handle, transport } => {
            open(*handle, open_flags(*transport)).as_bytes().into()
        }
        Reply::Handle(handle) => open(*handle, 0).as_bytes().into(),
        Reply::Listing(entries) => listing(entries),
        Reply::Text(bytes) => bytes.clone(),
        Reply::Written(number) | Reply::Polled(number) => number_out(*number).as_bytes().into(),
        Reply::Sought(offset) => offset.to_ne_bytes().into(),
        Reply::Done => Vec::new(),
        // These are answers to this process, given by the router, or are made elsewhere.
        Reply::Bytes(_)
        | Reply::Events(_)
        | Reply::Captured(_)
        | Reply::Frozen(_)
        | Reply::Refused(_) => Vec::new(),
    }
}

/// An answer with one number.
pub(super) fn number_out(number: u32) -> NumberOut {
    NumberOut { number, padding: 0 }
}

/// Bytes of a directory entry with a name of this length.
pub(super) fn entry_bytes(name: usize) -> usize {
    (size_of::<Dirent>() + name).next_multiple_of(8)
}

fn listing(entries: &[Listed]) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in entries {
        let name = entry.name.as_bytes();
        let end = body.len() + entry_bytes(name.len());
        let dirent = Dirent {
            ino: entry.ino,
            off: entry.cookie,
            namelen: name.len() as u32,
            kind: (entry.mode & libc::S_IFMT) >> 12,
        };
        body.extend_from_slice(dirent.as_bytes());
        body.extend_from_slice(name);
        body.resize(end, 0);
    }
    body
}

fn valid_seconds(cacheable: bool) -> u64 {
    match cacheable {
        true => ENTRY_TTL_SECONDS,
        false => 0,
    }
}

fn attributes_valid_seconds(attributes: &Attributes) -> u64 {
    let is_file = attributes.mode & libc::S_IFMT == libc::S_IFREG;
    match attributes.cacheable {
        true if is_file => FILE_ATTRIBUTES_TTL_SECONDS,
        cacheable => valid_seconds(cacheable),
    }
}

fn entry(found: &Found, numbers: Numbers) -> EntryOut {
    let attributes = &found.attributes;
    EntryOut {
        nodeid: numbers.node(attributes.ino, found.incarnation),
        // Numbers are never used again, so one generation is enough. (Up to Linux 5.13 it makes no difference.)
        generation: 0,
        entry_valid: valid_seconds(found.cacheable),
        attr_valid: attributes_valid_seconds(attributes),
        entry_valid_nsec: 0,
        attr_valid_nsec: 0,
        attr: attr(attributes),
    }
}

fn attr(of: &Attributes) -> Attr {
    let times = [of.atime, of.mtime, of.ctime];
    Attr {
        ino: of.st_ino,
        size: of.size,
        blocks: of.blocks,
        seconds: times.map(|time| time.seconds),
        nanoseconds: times.map(|time| time.nanoseconds),
        mode: of.mode,
        nlink: of.nlink,
        uid: of.uid,
        gid: of.gid,
        rdev: of.rdev,
        blksize: match of.mode & libc::S_IFMT {
            libc::S_IFREG => FILE_BLOCK_BYTES,
            _ => OTHER_BLOCK_BYTES,
        },
        flags: 0,
    }
}

fn open(handle: u64, open_flags: u32) -> OpenOut {
    OpenOut {
        fh: handle,
        open_flags,
        padding: 0,
    }
}

/// The flags of an open handle for the kernel.
fn open_flags(transport: Transport) -> u32 {
    match transport {
        Transport::Direct => abi::FOPEN_DIRECT_IO,
        // Without a position there is no sendfile(2), which would take the page
        // cache and the size so far for the whole file.
        Transport::Sequential => abi::FOPEN_DIRECT_IO | abi::FOPEN_NONSEEKABLE,
        Transport::Cached => abi::FOPEN_KEEP_CACHE,
    }
}

//! INIT: the features of the connection, agreed on with the kernel before anything else.

use std::io;

use zerocopy::IntoBytes;

use super::abi::{self, InitIn, InitOut, MAX_WRITE_BYTES, OutHeader};
use super::opcode;

/// The version of the protocol that is spoken here.
const MAJOR: u32 = 7;
/// A newer kernel treats this one as an older daemon.
const MINOR: u32 = 40;
/// The first version whose replies are as long as ours.
const OLDEST_MINOR: u32 = 23;

/// How many requests the kernel may have under way in the background: pages
/// being written back, above all.
const MAX_BACKGROUND: u16 = 64;

/// `FUSE_INIT_EXT`: there are more than 32 flags.
const MORE_FLAGS: u64 = 1 << 30;

/// Features requested of the kernel, by their names in `fuse.h`. Not FUSE_ASYNC_DIO: a writer must wait for
/// the answer (see `router::processor`).
const WANTED: [(u64, &str); 9] = [
    (1 << 0, "FUSE_ASYNC_READ"),
    (1 << 3, "FUSE_ATOMIC_O_TRUNC"),
    // File handles (`name_to_handle_at`) stay good when the kernel has forgotten
    // the file.
    (1 << 4, "FUSE_EXPORT_SUPPORT"),
    (1 << 5, "FUSE_BIG_WRITES"),
    (1 << 16, "FUSE_WRITEBACK_CACHE"),
    (1 << 18, "FUSE_PARALLEL_DIROPS"),
    (1 << 22, "FUSE_MAX_PAGES"),
    // Without it the kernel asks for a file's capabilities at every single
    // write(2).
    (1 << 28, "FUSE_HANDLE_KILLPRIV_V2"),
    (1 << 36, "FUSE_DIRECT_IO_ALLOW_MMAP"),
];

/// The answer to the kernel's INIT, header and all.
///
/// # Errors
///
/// `Unsupported` if the kernel speaks another protocol, `InvalidData` if this is
/// no INIT.
pub(super) fn answer(request: &[u8]) -> io::Result<Vec<u8>> {
    let parsed = abi::parse(request).filter(|(header, _)| header.opcode == opcode::INIT);
    let Some((header, mut body)) = parsed else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let init: InitIn = body.take()?;
    let (major, minor) = (init.major, init.minor);
    if major != MAJOR || minor < OLDEST_MINOR {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the kernel speaks version {major}.{minor} of FUSE, which fifofs does not"),
        ));
    }
    let mut offered = u64::from(init.flags);
    if offered & MORE_FLAGS != 0 {
        offered |= u64::from(body.take::<u32>()?) << 32;
    }
    let mut flags = offered & MORE_FLAGS;
    for (flag, name) in WANTED {
        flags |= offered & flag;
        if offered & flag == 0 {
            // `fifofs doctor` says what that costs.
            log::info!("the kernel has no {name}");
        }
    }
    let pages = MAX_WRITE_BYTES.div_ceil(rustix::param::page_size() as u32);
    let out = InitOut {
        major: MAJOR,
        minor: MINOR,
        max_readahead: init.max_readahead,
        flags: flags as u32,
        max_background: MAX_BACKGROUND,
        // From this number on there is said to be congestion.
        congestion_threshold: MAX_BACKGROUND,
        max_write: MAX_WRITE_BYTES,
        // In nanoseconds.
        time_gran: 1,
        max_pages: pages as u16,
        flags2: (flags >> 32) as u32,
        ..InitOut::default()
    };
    let out_header = OutHeader::new(header.unique, 0, size_of::<InitOut>());
    Ok([out_header.as_bytes(), out.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::super::abi::{Body, Header};
    use super::*;

    fn init(major: u32, flags: u32, more: u32) -> Vec<u8> {
        let header = Header {
            opcode: opcode::INIT,
            ..Header::default()
        };
        let init = InitIn {
            major,
            minor: 45,
            max_readahead: 1 << 17,
            flags,
        };
        [header.as_bytes(), init.as_bytes(), &more.to_ne_bytes()].concat()
    }

    #[test]
    fn features_that_the_kernel_does_not_offer_are_not_requested() {
        let flags = |request: &[u8]| {
            let reply = answer(request).unwrap();
            let mut reply_body = Body(&reply);
            let header: OutHeader = reply_body.take().unwrap();
            assert_eq!(header.len as usize, reply.len());
            let out: InitOut = reply_body.take().unwrap();
            (out.flags, out.flags2)
        };
        let (writeback, more) = (1 << 16, 1 << 30);
        assert_eq!(flags(&init(7, writeback, !0)), (writeback, 0));
        let both = writeback | more;
        assert_eq!(flags(&init(7, both, !0)), (both, 1 << 4));
        let async_dio = 1 << 15;
        assert_eq!(flags(&init(7, async_dio | both, 0)), (both, 0));
    }

    #[test]
    fn another_protocol_and_another_request_are_refused() {
        let kind = |request: &[u8]| answer(request).unwrap_err().kind();
        assert_eq!(kind(&init(8, 0, 0)), io::ErrorKind::Unsupported);
        assert_eq!(kind(&[0; 104]), io::ErrorKind::InvalidData);
    }
}

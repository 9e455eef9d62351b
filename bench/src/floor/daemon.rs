//! The smallest possible daemon. It has one file, under any name, which accepts everything and keeps nothing.
//!
//! Knows only the messages that writing needs; finds fields by their offsets in `include/uapi/linux/fuse.h`, in the
//! byte order of the machine.

use aligned_vec::avec;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::{Outcome, PAGE_BYTES};

/// The most bytes of a WRITE: 256 pages, the kernel's default limit (fs.fuse.max_pages_limit).
const MAX_WRITE: usize = 1 << 20;

/// The headers before a WRITE's bytes: `struct fuse_in_header` and `struct fuse_write_in`, 40 bytes each.
const HEAD_BYTES: usize = 80;

const ROOT: u64 = 1;
const FILE: u64 = 2;

/// For how many seconds the kernel may cache names and attributes.
const VALID: u64 = 3600;

/// Operations, by their numbers in the protocol.
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const OPEN: u32 = 14;
    pub(super) const WRITE: u32 = 16;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// The flags of INIT.
mod init {
    pub(super) const BIG_WRITES: u32 = 1 << 5;
    pub(super) const WRITEBACK_CACHE: u32 = 1 << 16;
    pub(super) const MAX_PAGES: u32 = 1 << 22;
    /// Without it the kernel looks for set-id bits and capabilities to drop at every write(2).
    pub(super) const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    pub(super) const INIT_EXT: u32 = 1 << 30;

    /// For both kinds of cache.
    pub(super) const ALWAYS: u32 = BIG_WRITES | MAX_PAGES | HANDLE_KILLPRIV_V2 | INIT_EXT;
}

const FOPEN_DIRECT_IO: u32 = 1 << 0;
const FOPEN_KEEP_CACHE: u32 = 1 << 1;

/// Whether writes bypass the kernel's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cache {
    Past,
    WriteBack,
}

impl Cache {
    /// The daemon's argument, as clap parses it.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Cache::Past => "past",
            Cache::WriteBack => "write-back",
        }
    }
}

/// Answers requests from `/dev/fuse`, which is standard input, until the mount ends.
pub(crate) fn serve(cache: Cache) -> Outcome<()> {
    let failed = |what: &str, errno: Errno| Err(format!("the daemon cannot {what}: {errno}"));
    if let Err(errno) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return failed("ask to die with its parent", errno);
    }
    let device = rustix::stdio::stdin();
    // The bytes of a WRITE are page-aligned.
    let mut memory = avec![[PAGE_BYTES]| 0; PAGE_BYTES + MAX_WRITE];
    let request = &mut memory[PAGE_BYTES - HEAD_BYTES..];
    let mut answer = Vec::new();
    loop {
        match rustix::io::read(device, &mut *request) {
            Ok(_) => {}
            // The request was withdrawn while it was read.
            Err(Errno::INTR | Errno::NOENT) => continue,
            Err(Errno::NODEV) => return Ok(()),
            Err(errno) => return failed("read /dev/fuse", errno),
        }
        if !answer_to(&Request(request), cache, &mut answer) {
            continue;
        }
        match rustix::io::write(device, &answer) {
            // ENOENT: the caller does not wait any more.
            Ok(_) | Err(Errno::NOENT) => {}
            Err(Errno::NODEV) => return Ok(()),
            Err(errno) => return failed("write to /dev/fuse", errno),
        }
    }
}

/// A request. All fields that the daemon reads are within its first 80 bytes.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    fn u32(&self, at: usize) -> u32 {
        let bytes = self.0[at..].first_chunk();
        bytes.copied().map_or(0, u32::from_ne_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        let bytes = self.0[at..].first_chunk();
        bytes.copied().map_or(0, u64::from_ne_bytes)
    }
}

/// Makes the reply, if the request gets one.
fn answer_to(request: &Request, cache: Cache, answer: &mut Vec<u8>) -> bool {
    let (opcode, unique, node) = (request.u32(4), request.u64(8), request.u64(16));
    // struct fuse_out_header: the length, which is set at the end, the error, and the request's number.
    answer.clear();
    put(answer, &[0, 0]);
    put_long(answer, &[unique]);
    match opcode {
        opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => return false,
        opcode::INIT => put_init(answer, request, cache),
        opcode::LOOKUP => {
            // struct fuse_entry_out
            put_long(answer, &[FILE, 0, VALID, VALID, 0]);
            put_attributes(answer, FILE);
        }
        opcode::GETATTR | opcode::SETATTR => {
            // struct fuse_attr_out
            put_long(answer, &[VALID, 0]);
            put_attributes(answer, node);
        }
        opcode::OPEN => {
            let flags = match cache {
                Cache::Past => FOPEN_DIRECT_IO,
                Cache::WriteBack => FOPEN_KEEP_CACHE,
            };
            // struct fuse_open_out
            put_long(answer, &[0]);
            put(answer, &[flags, 0]);
        }
        // struct fuse_write_out: all bytes were written.
        opcode::WRITE => put(answer, &[request.u32(56), 0]),
        opcode::FLUSH | opcode::RELEASE => {}
        _ => answer[4..8].copy_from_slice(&(-Errno::NOSYS.raw_os_error()).to_ne_bytes()),
    }
    let length = answer.len() as u32;
    answer[..4].copy_from_slice(&length.to_ne_bytes());
    true
}

/// `struct fuse_init_out`.
fn put_init(answer: &mut Vec<u8>, request: &Request, cache: Cache) {
    let (minor, max_readahead, offered) = (request.u32(44), request.u32(48), request.u32(52));
    let wanted = match cache {
        Cache::Past => init::ALWAYS,
        Cache::WriteBack => init::ALWAYS | init::WRITEBACK_CACHE,
    };
    // The kernel chooses how many requests may be in the background.
    put(answer, &[7, minor, max_readahead, offered & wanted, 0]);
    // The granularity of times is 1 ns; the upper half of the word of max_pages is map_alignment.
    let max_pages = [(MAX_WRITE / PAGE_BYTES) as u16, 0];
    put(answer, &[MAX_WRITE as u32, 1]);
    answer.extend(max_pages.iter().flat_map(|half| half.to_ne_bytes()));
    put(answer, &[0; 8]);
}

/// `struct fuse_attr` of an empty file, or of the directory.
fn put_attributes(answer: &mut Vec<u8>, node: u64) {
    let mode = if node == ROOT { 0o40_777 } else { 0o100_666 };
    // Size, blocks, and three times.
    put_long(answer, &[node, 0, 0, 0, 0, 0]);
    // The times' nanoseconds, mode, links, owner and group, device, block size, flags.
    put(answer, &[0, 0, 0, mode, 1, 0, 0, 0, PAGE_BYTES as u32, 0]);
}

fn put(answer: &mut Vec<u8>, words: &[u32]) {
    answer.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
}

fn put_long(answer: &mut Vec<u8>, words: &[u64]) {
    answer.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
}

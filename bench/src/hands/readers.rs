//! Hands that read, and hands that wait for bytes that never come.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};

use aligned_vec::avec;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{MOST_BYTES, PART_BYTES, failed, now, nth, raise_descriptor_limit, ready};
use crate::Outcome;
use crate::PAGE_BYTES;

/// Enough for a thread that opens and reads.
const STACK_BYTES: usize = 64 << 10;

/// What a reader got.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// When the last byte came.
    pub(crate) last: u64,
    pub(crate) bytes: u64,
    /// The first eight bytes as a number: see [`super::writers::write`].
    pub(crate) first: u64,
}

impl Seen {
    /// Adds some bytes that came just now.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.last = now();
        if self.bytes == 0
            && let Some(first) = bytes.first_chunk()
        {
            self.first = u64::from_ne_bytes(*first);
        }
        self.bytes += bytes.len() as u64;
    }
}

/// Reads to the end.
pub(crate) fn read_all(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<Seen> {
    let mut seen = Seen::default();
    loop {
        match source.read(buffer)? {
            0 => return Ok(seen),
            length => seen.add(&buffer[..length]),
        }
    }
}

/// Opens a path and, if it is a FIFO, sets the size of its pipe.
fn open(path: &str, pipe_bytes: usize) -> Outcome<File> {
    let file = File::open(path).map_err(failed("open", path))?;
    let status = rustix::fs::fstat(&file).map_err(|errno| failed("look at", path)(errno.into()))?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Fifo {
        rustix::pipe::fcntl_setpipe_size(file.as_fd(), pipe_bytes)
            .map_err(|errno| failed("set the size of the pipe", path)(errno.into()))?;
    }
    Ok(file)
}

/// Prints `LAST BYTES`.
pub(super) fn read(path: &str, pipe_bytes: usize) -> Outcome<String> {
    let mut buffer = avec![[PAGE_BYTES]| 0; MOST_BYTES];
    ready()?;
    let seen = read_all(&mut open(path, pipe_bytes)?, &mut buffer).map_err(failed("read", path))?;
    Ok(format!("{} {}", seen.last, seen.bytes))
}

/// Prints `HASH BYTES` of everything read.
pub(super) fn hash(path: &str) -> Outcome<String> {
    let mut buffer = avec![[PAGE_BYTES]| 0; MOST_BYTES];
    ready()?;
    let mut file = open(path, MOST_BYTES)?;
    let (mut hasher, mut bytes) = (DefaultHasher::new(), 0);
    loop {
        match file.read(&mut buffer).map_err(failed("read", path))? {
            0 => return Ok(format!("{:016x} {bytes}", hasher.finish())),
            length => {
                hasher.write(&buffer[..length]);
                bytes += length as u64;
            }
        }
    }
}

/// Prints the nanoseconds that each line took; each line contains the time of its write.
pub(super) fn read_lines(path: &str) -> Outcome<String> {
    let mut buffer = avec![[PAGE_BYTES]| 0; 64 << 10];
    let mut taken = Vec::new();
    let mut rest = String::new();
    ready()?;
    let mut file = File::open(path).map_err(failed("open", path))?;
    loop {
        let length = file.read(&mut buffer).map_err(failed("read", path))?;
        let moment = now();
        if length == 0 {
            let taken: Vec<String> = taken.iter().map(u64::to_string).collect();
            return Ok(taken.join(" "));
        }
        rest.push_str(&String::from_utf8_lossy(&buffer[..length]));
        while let Some((line, tail)) = rest.split_once('\n') {
            taken.push(moment.saturating_sub(super::parse(line)?));
            rest = tail.to_owned();
        }
    }
}

/// Reads many files at once, in a thread for each. Prints `LAST BYTES`, as for one.
pub(super) fn gather(template: &str, files: usize) -> Outcome<String> {
    let readers = many(template, files, |path| {
        let mut buffer = avec![[PAGE_BYTES]| 0; PART_BYTES];
        read_all(&mut File::open(path)?, &mut buffer)
    })?;
    ready()?;
    let (mut last, mut sum) = (0, 0);
    for reader in readers {
        let read = reader.join().map_err(|_| "a reader panicked")?;
        let seen = read.map_err(failed("read", template))?;
        last = last.max(seen.last);
        sum += seen.bytes;
    }
    Ok(format!("{last} {sum}"))
}

/// Waits in many threads until it is killed.
pub(super) fn wait(template: &str, count: usize) -> Outcome<String> {
    let readers = many(template, count, |path| {
        let mut buffer = [0; 4096];
        read_all(&mut File::open(path)?, &mut buffer)
    })?;
    ready()?;
    for reader in readers {
        let read = reader.join().map_err(|_| "a reader panicked")?;
        read.map_err(failed("wait for", template))?;
    }
    Err(format!("nobody waits for {template} any more"))
}

/// Waits in epoll_wait(2) for many openings of one path, without a thread for each, until it is killed.
pub(super) fn poll(path: &str, count: usize) -> Outcome<String> {
    raise_descriptor_limit();
    let io = |what| move |errno: Errno| failed(what, path)(errno.into());
    let all = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("wait for"))?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut files = Vec::new();
    for index in 0..count {
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io("open"))?;
        // Existing bytes are read first, so that there is something to wait for.
        let mut had = [0; 4096];
        while rustix::io::read(&file, &mut had).is_ok_and(|length| length > 0) {}
        let data = epoll::EventData::new_u64(index as u64);
        let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&all, &file, data, interest).map_err(io("wait for"))?;
        files.push(file);
    }
    ready()?;
    let mut events = Vec::with_capacity(1);
    loop {
        epoll::wait(&all, spare_capacity(&mut events), None).map_err(io("wait for"))?;
        events.clear();
    }
}

type Readers = Vec<JoinHandle<io::Result<Seen>>>;

fn many(template: &str, count: usize, read: fn(String) -> io::Result<Seen>) -> Outcome<Readers> {
    raise_descriptor_limit();
    let start = |index| {
        let path = nth(template, index);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread
            .spawn(move || read(path))
            .map_err(failed("start a thread for", template))
    };
    (0..count).map(start).collect()
}

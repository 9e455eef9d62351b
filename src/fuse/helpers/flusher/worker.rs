//! The flusher's side: when which file is to be flushed.
//!
//! Everything but [`Worker::new`] runs in a process that was forked from one of several threads,
//! and is async-signal-safe: system calls, and vectors that never grow beyond what they were made
//! for.
//!
//! A file is flushed as soon as a watch reports a write (inotify(7)), but [`FLUSH_EVERY`] after the last
//! flush at the earliest. A watch reports one write and is gone, so that a busy writer pays for it once in
//! that time. For a while after that the file is flushed every [`FLUSH_RETRY`], since the kernel does nothing
//! while it has much to write back. All files are flushed every [`FLUSH_ALL_EVERY`], since no watch reports
//! writes to a mapping. Where there can be no watch, a file counts as written.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::path::DecInt;
use rustix::process::{Resource, Rlimit, setsid};
use rustix::time::{ClockId, clock_gettime};

use super::super::memory::Needed;
use super::super::message;
use super::super::process::{exit, raw_fork};
use super::{ADD, REFUSED, REMOVE};
use crate::core::CONTROL_NAME;
use crate::fuse::timers::{FLUSH_ALL_EVERY, FLUSH_BUSY, FLUSH_EVERY, FLUSH_RETRY};

/// How many files can be flushed at a time. One more is answered by
/// [`Refused`](crate::router::Refused), and asked for again later.
pub(super) const TABLE_SLOTS: usize = 4096;
/// Messages taken in before the next look at the clock.
const MESSAGES_A_TURN: usize = 64;
/// Room for a good hundred of what a watch tells.
const EVENT_BYTES: usize = 2048;

struct Slot {
    ino: u64,
    file: OwnedFd,
    /// The watch that will tell of the next write; none if there was one since the last flush.
    watch: Option<i32>,
    busy_until: Duration,
}

impl Slot {
    fn was_written(&self) -> bool {
        self.watch.is_none()
    }

    fn flush(&mut self, watches: Option<&OwnedFd>) {
        if self.was_written() {
            // First, so that no write is missed.
            self.watch = watches.and_then(|watches| watch(watches, &self.file));
        }
        // What the kernel could not write is its writer's to know.
        begin_writing_back(self.file.as_fd());
    }
}

/// The process's side, allocated before the fork.
pub(in super::super) struct Worker {
    /// Never more than [`TABLE_SLOTS`], so that it never grows.
    table: Vec<Slot>,
    /// `DIR/.fifofs/inode/`, with room for a number and a NUL.
    path: Vec<u8>,
    path_prefix: usize,
    /// The inotify descriptor; none if there can be none.
    watches: Option<OwnedFd>,
    /// The watches that had events.
    told: Vec<i32>,
}

impl Worker {
    pub(super) fn new(directory: &Path) -> Worker {
        let path = directory.join(CONTROL_NAME).join("inode/");
        let mut path = path.into_os_string().into_vec();
        path.reserve_exact(21);
        Worker {
            table: Vec::with_capacity(TABLE_SLOTS),
            path_prefix: path.len(),
            path,
            watches: None,
            told: Vec::with_capacity(TABLE_SLOTS),
        }
    }

    /// What it uses of the heap.
    pub(in super::super) fn needed(&self) -> Needed {
        let Worker {
            table,
            path,
            told,
            path_prefix: _,
            watches: _,
        } = self;
        Needed::default()
            .with_room(table)
            .with_room(path)
            .with_room(told)
    }

    /// Forks the process that does the work: a child of the daemon, in a session of its own, that only
    /// [`reap`](super::super::process::reap) waits for. Returns its id, or 0 if the fork fails.
    ///
    /// # Safety
    ///
    /// To be called in a process of one thread; the new one has no use for `others`.
    pub(in super::super) unsafe fn fork<'fd>(
        &mut self,
        socket: BorrowedFd<'_>,
        others: impl Iterator<Item = BorrowedFd<'fd>>,
    ) -> i32 {
        // SAFETY: the child's branch diverges, and does only async-signal-safe work.
        match unsafe { raw_fork(libc::CLONE_PARENT) } {
            Ok(None) => {
                for other in others {
                    // SAFETY: the child's copies, which nothing in it uses.
                    unsafe { rustix::io::close(other.as_raw_fd()) };
                }
                let _ = setsid();
                let _ = rustix::thread::set_name(c"fifofs-flusher");
                self.work(socket);
                exit(0)
            }
            Ok(Some(pid)) => pid.as_raw_nonzero().get(),
            Err(_) => 0,
        }
    }

    /// Serves until the other end is closed.
    fn work(&mut self, socket: BorrowedFd<'_>) {
        // The usual limit of 1,024 is less than the table's size.
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        let _ = rustix::process::setrlimit(Resource::Nofile, raised);
        self.watches = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let (mut last_round, mut last_look) = (Duration::ZERO, Duration::ZERO);
        loop {
            self.sleep(socket, last_round, last_look);
            for _ in 0..MESSAGES_A_TURN {
                match message::receive(socket) {
                    Ok((kind, ino, _)) => self.obey(kind, ino, socket),
                    Err(Errno::AGAIN) => break,
                    Err(_) => return,
                }
            }
            let now = monotonic();
            if now < last_round + FLUSH_EVERY {
                continue;
            }
            self.hear(now);
            let is_look = now >= last_look + FLUSH_ALL_EVERY;
            let is_retry = now >= last_round + FLUSH_RETRY;
            let mut has_flushed = false;
            for slot in &mut self.table {
                if slot.was_written() || is_retry && now < slot.busy_until || is_look {
                    slot.flush(self.watches.as_ref());
                    has_flushed = true;
                }
            }
            if has_flushed {
                last_round = monotonic();
            }
            if is_look {
                last_look = now;
            }
        }
    }

    /// Until there is a message, or a watch tells something that can be flushed, or what else there
    /// is to flush can be.
    fn sleep(&self, socket: BorrowedFd<'_>, last_round: Duration, last_look: Duration) {
        let now = monotonic();
        let next_round = last_round + FLUSH_EVERY;
        let is_next_round = now < next_round || self.table.iter().any(Slot::was_written);
        let next = if is_next_round {
            next_round
        } else if self.table.iter().any(|slot| now < slot.busy_until) {
            (last_round + FLUSH_RETRY).min(last_look + FLUSH_ALL_EVERY)
        } else {
            last_look + FLUSH_ALL_EVERY
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: next.saturating_sub(now).subsec_nanos().into(),
        };
        let watches = self.watches.as_ref().filter(|_| !is_next_round);
        let watches = watches.map_or(socket, AsFd::as_fd);
        let mut waited_for = [
            PollFd::new(&socket, PollFlags::IN),
            PollFd::new(&watches, PollFlags::IN),
        ];
        let timeout = (!self.table.is_empty()).then_some(&timeout);
        let _ = poll(&mut waited_for, timeout);
    }

    /// Notes the events of watches.
    fn hear(&mut self, now: Duration) {
        let Some(watches) = &self.watches else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
        let mut events = inotify::Reader::new(watches, &mut buffer);
        let mut is_all = false;
        while let Ok(event) = events.next() {
            is_all |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            if self.told.len() == self.told.capacity() {
                is_all = true;
            } else {
                self.told.push(event.wd());
            }
        }
        if self.told.is_empty() {
            return;
        }
        self.told.sort_unstable();
        for slot in &mut self.table {
            if let Some(watch) = slot.watch
                && (is_all || self.told.binary_search(&watch).is_ok())
            {
                slot.watch = None;
                slot.busy_until = now + FLUSH_BUSY;
            }
        }
        self.told.clear();
    }

    fn obey(&mut self, kind: u8, ino: u64, socket: BorrowedFd<'_>) {
        let position = self.table.iter().position(|slot| slot.ino == ino);
        let result = match (kind, position) {
            (ADD, Some(_)) => Ok(()),
            (ADD, None) if self.table.len() >= TABLE_SLOTS => Err(Errno::NFILE),
            (ADD, None) => self.open(ino).map(|file| {
                self.table.push(Slot {
                    ino,
                    file,
                    watch: None,
                    busy_until: monotonic() + FLUSH_BUSY,
                });
            }),
            (REMOVE, Some(position)) => {
                self.remove(position);
                Ok(())
            }
            _ => Ok(()),
        };
        if result.is_err() {
            // May block until the daemon reads its answers; a closed socket shows
            // in the next receive.
            let _ = message::send(socket, REFUSED, ino, SendFlags::empty());
        }
    }

    fn remove(&mut self, position: usize) {
        let slot = self.table.swap_remove(position);
        if let (Some(watches), Some(watch)) = (&self.watches, slot.watch) {
            // It may have reported a write, and so be gone already.
            let _ = inotify::remove_watch(watches, watch);
        }
    }

    /// Blocks until the daemon answers the open.
    fn open(&mut self, ino: u64) -> Result<OwnedFd, Errno> {
        self.path.truncate(self.path_prefix);
        self.path
            .extend_from_slice(DecInt::new(ino).as_bytes_with_nul());
        let path = CStr::from_bytes_with_nul(&self.path).map_err(|_| Errno::INVAL)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
    }
}

/// A watch that tells of the next write to a file, by whatever name.
fn watch(watches: &OwnedFd, file: &OwnedFd) -> Option<i32> {
    const PREFIX: &[u8] = b"/proc/self/fd/";
    let mut path = [0; PREFIX.len() + 21];
    let number = DecInt::from_fd(file);
    let (prefix, rest) = path.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    let number = number.as_bytes_with_nul();
    rest.get_mut(..number.len())?.copy_from_slice(number);
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    let next_write = WatchFlags::MODIFY | WatchFlags::ONESHOT;
    inotify::add_watch(watches, path, next_write).ok()
}

/// Of all of a file. Waits for nothing.
fn begin_writing_back(file: BorrowedFd<'_>) {
    // SAFETY: takes no pointers; the descriptor is borrowed.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

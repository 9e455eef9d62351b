//! Every way in which a program can poll a descriptor; each reads a file to its end.
//!
//! Knows how each interface is used, not what the file is. Level-triggered pollers read once each time they are woken,
//! edge-triggered ones until there is nothing more, as their manuals say.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A poller that was not woken for so long counts as asleep.
const ASLEEP: Duration = Duration::from_secs(60);

const TIMEOUT: Timespec = Timespec {
    tv_sec: ASLEEP.as_secs() as i64,
    tv_nsec: 0,
};

/// How the reading of a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The end of the file.
    Clean,
    Failed(Errno),
    /// An error that is not from a system call.
    Other(String),
    /// It was not woken.
    Asleep,
}

/// The bytes read so far, and how reading ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) got: Vec<u8>,
    pub(crate) end: Option<End>,
}

/// The progress of a thread, shared with other threads.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Progress>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().expect("not poisoned")
    }

    fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
    }

    /// Reads once, and notes bytes or the end of the file.
    fn read(&self, file: &OwnedFd) -> Result<(), Errno> {
        let mut buffer = [0; 4096];
        // Held meanwhile, so that threads which share an open file keep its order.
        let mut progress = self.lock();
        match rustix::io::read(file, &mut buffer)? {
            0 => progress.end = Some(End::Clean),
            length => progress.got.extend_from_slice(&buffer[..length]),
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.lock().end.is_some()
    }
}

/// A way of waiting: returns when woken, or an error of kind `TimedOut`.
type Wait<'a> = &'a mut dyn FnMut() -> io::Result<()>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Once each time, when there must be something.
    Once,
    /// The same, but another thread may have been quicker.
    OnceIfFirst,
    UntilThereIsNothing,
}

fn read_to_end(file: &OwnedFd, shared: &Shared, reads: Reads, wait: Wait<'_>) {
    while !shared.is_over() {
        match wait() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return shared.end(End::Asleep);
            }
            Err(error) => return shared.end(End::Other(error.to_string())),
        }
        while !shared.is_over() {
            match shared.read(file) {
                Err(Errno::AGAIN) if reads == Reads::Once => {
                    shared.end(End::Other("told to read what was not there".into()));
                }
                Err(Errno::AGAIN) => break,
                Err(errno) => shared.end(End::Failed(errno)),
                Ok(()) if reads == Reads::UntilThereIsNothing => {}
                Ok(()) => break,
            }
        }
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

fn woken(ready: usize) -> io::Result<()> {
    if ready > 0 { Ok(()) } else { Err(timed_out()) }
}

fn poll(file: &OwnedFd) -> io::Result<()> {
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    woken(rustix::event::poll(&mut polled, Some(&TIMEOUT))?)
}

fn select(file: &OwnedFd) -> io::Result<()> {
    let fd = file.as_raw_fd();
    let mut timeout = libc::timeval {
        tv_sec: TIMEOUT.tv_sec,
        tv_usec: 0,
    };
    // SAFETY: all zeros is the empty set; the descriptor is open and below FD_SETSIZE, as the assertion checks; all
    // pointers are to values on this stack, or null.
    let ready = unsafe {
        assert!((fd as usize) < libc::FD_SETSIZE);
        let mut set: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(fd, &mut set);
        let null = std::ptr::null_mut();
        libc::select(fd + 1, &mut set, null, null, &mut timeout)
    };
    match ready {
        -1 => Err(io::Error::last_os_error()),
        ready => woken(ready as usize),
    }
}

/// An epoll instance that waits for one descriptor.
struct Epoll {
    epoll: OwnedFd,
    flags: epoll::EventFlags,
}

impl Epoll {
    fn of(file: &OwnedFd, flags: epoll::EventFlags) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = flags | epoll::EventFlags::IN;
        epoll::add(&epoll, file, epoll::EventData::new_u64(0), flags)?;
        Ok(Self { epoll, flags })
    }

    fn wait(&self) -> io::Result<()> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 4];
        let (ready, _) = epoll::wait(&self.epoll, &mut events, Some(&TIMEOUT))?;
        woken(ready.len())
    }

    fn arm_again(&self, file: &OwnedFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(0);
        Ok(epoll::modify(&self.epoll, file, data, self.flags)?)
    }
}

fn by_epoll(file: &OwnedFd, shared: &Shared, flags: epoll::EventFlags) -> io::Result<()> {
    let epoll = Epoll::of(file, flags)?;
    let reads = match flags {
        epoll::EventFlags::ET => Reads::UntilThereIsNothing,
        _ => Reads::Once,
    };
    let mut is_first = true;
    read_to_end(file, shared, reads, &mut || {
        if flags.contains(epoll::EventFlags::ONESHOT) && !std::mem::take(&mut is_first) {
            epoll.arm_again(file)?;
        }
        epoll.wait()
    });
    Ok(())
}

/// Two threads, each with an epoll instance of its own; an event wakes one of them.
fn by_exclusive_epoll(file: &OwnedFd, shared: &Shared) -> io::Result<()> {
    // By this the thread that is woken for the end ends the other, which would keep the file open.
    let over = &eventfd(0, EventfdFlags::CLOEXEC)?;
    let instances = [(); 2].map(|()| Epoll::of(file, epoll::EventFlags::EXCLUSIVE));
    thread::scope(|scope| {
        for epoll in instances {
            let epoll = epoll?;
            let data = epoll::EventData::new_u64(1);
            epoll::add(&epoll.epoll, over, data, epoll::EventFlags::IN)?;
            scope.spawn(move || {
                read_to_end(file, shared, Reads::OnceIfFirst, &mut || epoll.wait());
                rustix::io::write(over, &1_u64.to_ne_bytes()).expect("room for a number");
            });
        }
        Ok(())
    })
}

/// An io_uring for one request at a time.
struct Ring(IoUring);

impl Ring {
    fn new() -> io::Result<Self> {
        let refused = |error| io::Error::other(format!("io_uring is refused here: {error}"));
        IoUring::new(4).map(Ring).map_err(refused)
    }

    /// # Safety
    ///
    /// The memory that the entry points to must live until its completion.
    unsafe fn submit(&mut self, entry: &squeue::Entry) {
        // SAFETY: as the caller promises. There is room, as there is one request at a time.
        unsafe { self.0.submission().push(entry) }.expect("room");
    }

    fn completion(&mut self) -> io::Result<cqueue::Entry> {
        let timeout = types::Timespec::from(ASLEEP);
        let arguments = types::SubmitArgs::new().timespec(&timeout);
        loop {
            if let Some(entry) = self.0.completion().next() {
                return Ok(entry);
            }
            match self.0.submitter().submit_with_args(1, &arguments) {
                Err(error) if error.raw_os_error() == Some(libc::ETIME) => return Err(timed_out()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                submitted => drop(submitted?),
            }
        }
    }
}

fn by_uring_poll(file: &OwnedFd, shared: &Shared, is_multi: bool) -> io::Result<()> {
    let mut ring = Ring::new()?;
    let (reads, mut is_armed) = match is_multi {
        true => (Reads::UntilThereIsNothing, false),
        false => (Reads::Once, false),
    };
    read_to_end(file, shared, reads, &mut || {
        if !is_armed {
            let fd = types::Fd(file.as_raw_fd());
            let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).multi(is_multi);
            // SAFETY: it points to no memory.
            unsafe { ring.submit(&entry.build()) };
        }
        let completion = ring.completion()?;
        is_armed = cqueue::more(completion.flags());
        match completion.result() {
            ..0 => Err(io::Error::from_raw_os_error(-completion.result())),
            _ => Ok(()),
        }
    });
    Ok(())
}

/// Reads in which io_uring itself waits.
fn by_uring_read(file: &OwnedFd, shared: &Shared) -> io::Result<()> {
    rustix::fs::fcntl_setfl(file, OFlags::empty())?;
    let mut ring = Ring::new()?;
    while !shared.is_over() {
        let mut buffer = Box::new([0_u8; 4096]);
        let read = opcode::Read::new(types::Fd(file.as_raw_fd()), buffer.as_mut_ptr(), 4096);
        let read = read.offset(shared.lock().got.len() as u64);
        // SAFETY: the buffer lives until the completion, or for ever.
        unsafe { ring.submit(&read.build()) };
        match ring.completion().map(|completion| completion.result()) {
            Ok(0) => shared.end(End::Clean),
            Ok(length @ 1..) => shared
                .lock()
                .got
                .extend_from_slice(&buffer[..length as usize]),
            Ok(errno) => shared.end(End::Failed(Errno::from_raw_os_error(-errno))),
            Err(error) => {
                Box::leak(buffer);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn by_tokio(file: &OwnedFd, shared: &Shared, interest: Interest) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // SAFETY: the descriptor is borrowed for as long as this lives, so it stays open.
        let async_file = unsafe { AsyncFd::register_with_interest(file.as_fd(), interest) }?;
        while !shared.is_over() {
            let readable = tokio::time::timeout(ASLEEP, async_file.ready(interest));
            let mut ready = readable.await.map_err(|_| timed_out())??;
            if let Ok(read) = ready.try_io(|_| Ok(shared.read(file)?)) {
                read?;
            }
        }
        Ok(())
    })
}

/// The usual use of `AsyncFd`.
pub(crate) const TOKIO: &str = "tokio";

type Kind = fn(&OwnedFd, &Shared) -> io::Result<()>;

const KINDS: [(&str, Kind); 10] = [
    ("poll", |file, shared| {
        read_to_end(file, shared, Reads::Once, &mut || poll(file));
        Ok(())
    }),
    ("select", |file, shared| {
        read_to_end(file, shared, Reads::Once, &mut || select(file));
        Ok(())
    }),
    ("epoll, level", |file, shared| {
        by_epoll(file, shared, epoll::EventFlags::empty())
    }),
    ("epoll, edge", |file, shared| {
        by_epoll(file, shared, epoll::EventFlags::ET)
    }),
    ("epoll, one-shot", |file, shared| {
        by_epoll(file, shared, epoll::EventFlags::ONESHOT)
    }),
    ("epoll, exclusive", by_exclusive_epoll),
    ("io_uring, poll", |file, shared| {
        by_uring_poll(file, shared, false)
    }),
    ("io_uring, multishot poll", |file, shared| {
        by_uring_poll(file, shared, true)
    }),
    (TOKIO, |file, shared| {
        by_tokio(file, shared, Interest::READABLE)
    }),
    ("tokio, errors too", |file, shared| {
        by_tokio(file, shared, Interest::READABLE | Interest::ERROR)
    }),
];

/// Starts a thread of each kind that reads a file, which is open on return. Opening it must not wait.
pub(crate) fn start_threads(path: &Path) -> Vec<(&'static str, Shared)> {
    KINDS.iter().map(|kind| start(open(path), *kind)).collect()
}

/// Starts a thread that reads a file by io_uring's read, which is no poller.
///
/// Returns its progress, and a descriptor that keeps the file open after its end: a stream without a reader takes no
/// more lines.
pub(crate) fn start_uring_read(path: &Path) -> (Shared, OwnedFd) {
    let file = open(path);
    let kept = file.try_clone().expect("a descriptor");
    (start(file, ("io_uring, read", by_uring_read)).1, kept)
}

fn open(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .unwrap_or_else(|errno| panic!("{} does not open: {errno}", path.display()))
}

fn start(file: OwnedFd, (name, read): (&'static str, Kind)) -> (&'static str, Shared) {
    let shared = Shared::default();
    let progress = shared.clone();
    thread::spawn(move || {
        if let Err(error) = read(&file, &shared) {
            shared.end(match error.raw_os_error() {
                Some(errno) => End::Failed(Errno::from_raw_os_error(errno)),
                None if error.kind() == io::ErrorKind::TimedOut => End::Asleep,
                None => End::Other(error.to_string()),
            });
        }
    });
    (name, progress)
}

//! The router alone: nothing is mounted. Effects of the core are kept instead of being sent to a kernel, and
//! the flusher gives the answers that a test sets. The processes are real ones, children of the tests, since
//! the router asks the system about them.

mod captures;
mod event_loop;
mod inspector;
mod local;
mod running;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::event_loop::{NEVER, nanoseconds};
use super::process::ExitWatch;
use super::*;
use crate::core::effects::{Answer, Forget, Unique};
use crate::core::generation::{Ending, Writer};
use crate::core::namespace::ROOT;
use crate::core::request::{Bytes, Opener, Wanted, at};
use crate::core::rules::{Deliver, Linger};
use crate::core::tests::{FIRST_INO, OWNER, settings};
use crate::core::{CaptureId, unseen_writer};
use crate::testing::until;

/// An id that no thread has.
const NO_PROCESS: i32 = i32::MAX;

/// Longer than any test lasts.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The side towards the kernel: keeps effects, in order.
#[derive(Default)]
struct Outbox {
    done: Mutex<Vec<Done>>,
    settled: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Done {
    Answered(Unique, Answer),
    Flush(u64, bool),
    Forgot(u64),
    /// A name, and whether it was a thread that may wait for the kernel.
    ForgotName(std::ffi::OsString, bool),
}

impl Outbox {
    fn keep(&self, effect: Effect, patiently: bool) {
        let done = match effect {
            Effect::Reply { unique, reply } => Done::Answered(unique, reply.into()),
            Effect::Forget(Forget::Name { name, .. }) => Done::ForgotName(name, patiently),
            Effect::ForgetAttributes { ino, .. } | Effect::Forget(Forget::Pages { ino, .. }) => {
                Done::Forgot(ino)
            }
            other => panic!("not of these tests: {other:?}"),
        };
        lock(&self.done).push(done);
    }

    fn done(&self) -> Vec<Done> {
        lock(&self.done).clone()
    }

    fn answer(&self, unique: Unique) -> Option<Answer> {
        let answers = self.done().into_iter().filter_map(|done| match done {
            Done::Answered(of, answer) if of == unique => Some(answer),
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert!(answers.len() <= 1, "answered twice: {answers:?}");
        answers.into_iter().next()
    }
}

impl Outlet for Outbox {
    fn apply(&self, effect: Effect) {
        self.keep(effect, false);
    }
    fn apply_patiently(&self, effect: Effect) {
        self.keep(effect, true);
    }
    fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }
}

/// A flusher that gives the answers that a test sets.
struct Flusher {
    socket: UnixStream,
    other_end: UnixStream,
    says: Mutex<VecDeque<Result<Refused, Gone>>>,
    /// Queued messages, and where they are noted once sent.
    queue: Mutex<VecDeque<Flush>>,
    outbox: Arc<Outbox>,
    /// How often it was asked.
    asked: AtomicU64,
}

impl Flusher {
    fn new(outbox: &Arc<Outbox>) -> Arc<Flusher> {
        let (socket, other_end) = UnixStream::pair().unwrap();
        Arc::new(Flusher {
            socket,
            other_end,
            says: Mutex::default(),
            queue: Mutex::default(),
            outbox: Arc::clone(outbox),
            asked: AtomicU64::new(0),
        })
    }

    fn say(&self, what: Result<Refused, Gone>) {
        lock(&self.says).push_back(what);
        (&self.other_end).write_all(b"!").unwrap();
    }
}

impl Flushes for Flusher {
    fn queue(&self, flushes: &[Flush]) {
        lock(&self.queue).extend(flushes);
    }
    fn tell(&self) {
        let told = lock(&self.queue).drain(..).collect::<Vec<_>>().into_iter();
        lock(&self.outbox.done).extend(told.map(|flush| Done::Flush(flush.ino, flush.on)));
    }
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
    fn next(&self) -> Result<Option<Refused>, Gone> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        lock(&self.says).pop_front().transpose()
    }
}

/// A router and its surroundings.
struct Bench {
    router: Arc<Router>,
    outbox: Arc<Outbox>,
    flusher: Arc<Flusher>,
    event_loop: Option<JoinHandle<()>>,
    last_unique: AtomicU64,
}

impl Bench {
    /// A bench whose event loop does not run.
    fn at_rest(deliver: Deliver, change: impl FnOnce(&mut Settings)) -> Bench {
        Bench::numbering_from(FIRST_INO, deliver, change)
    }

    /// The same, with its first file's number.
    fn numbering_from(
        first_ino: u64,
        deliver: Deliver,
        change: impl FnOnce(&mut Settings),
    ) -> Bench {
        let mut settings = Settings {
            patience: FOR_EVER,
            ..settings(deliver)
        };
        change(&mut settings);
        let pool = Pool::for_tests(1 << 20, Some(1 << 20));
        let outbox = Arc::<Outbox>::default();
        let outlet: Arc<dyn Outlet> = outbox.clone();
        let flusher = Flusher::new(&outbox);
        let flushes: Arc<dyn Flushes> = flusher.clone();
        Bench {
            router: Router::new(settings, pool, first_ino, outlet, flushes).unwrap(),
            outbox,
            flusher,
            event_loop: None,
            last_unique: AtomicU64::new(0),
        }
    }

    fn new(deliver: Deliver) -> Bench {
        Bench::with(deliver, |_| {})
    }

    fn with(deliver: Deliver, change: impl FnOnce(&mut Settings)) -> Bench {
        let mut bench = Bench::at_rest(deliver, change);
        bench.start();
        bench
    }

    fn start(&mut self) {
        self.event_loop = Some(self.router.start_event_loop().unwrap());
    }

    /// Waits until the event loop sleeps with nothing to come.
    fn until_it_sleeps(&self) {
        until("the event loop to sleep", || {
            self.router.event_loop.sleeps_until() > 0
        });
        // It publishes this just before it sleeps.
        std::thread::sleep(Duration::from_millis(20));
    }

    /// Ends it as a mount does.
    fn stop(&mut self) {
        self.router.stop();
        if let Some(event_loop) = self.event_loop.take() {
            event_loop.join().unwrap();
        }
        if let Some(inspector) = self.router.take_inspector() {
            inspector.join().unwrap();
        }
    }

    fn caller(&self, thread: i32) -> Caller {
        let unique = self.last_unique.fetch_add(1, Ordering::AcqRel) + 1;
        Caller {
            unique: Unique(unique),
            thread,
            internal: false,
            user: None,
            incarnation: None,
        }
    }

    /// A new file and a handle of it, opened by a process that cannot be seen.
    fn create(&self, name: &str) -> (u64, u64) {
        self.create_by(name, unseen_writer())
    }

    /// The same by this process, for which a reader that cannot be seen waits.
    fn create_by_own(&self, name: &str) -> (u64, u64) {
        let own = std::process::id().cast_signed();
        self.create_by(name, self.router.writer(own).unwrap())
    }

    fn create_by(&self, name: &str, writer: Writer) -> (u64, u64) {
        self.create_at(ROOT, name, writer)
    }

    fn create_at(&self, parent: u64, name: &str, writer: Writer) -> (u64, u64) {
        let create = Request::Create {
            at: at(parent, OsStr::new(name)),
            creator: OWNER,
            flags: libc::O_WRONLY,
            writer,
        };
        match self.router.ask(self.caller(NO_PROCESS), create) {
            Ok(Reply::Created { found, handle, .. }) => (found.attributes.ino, handle),
            other => panic!("not created: {other:?}"),
        }
    }

    /// Has a thread open a file for reading, whatever its relations are.
    fn open(&self, ino: u64, thread: i32) -> Unique {
        let caller = self.caller(thread);
        let open = Request::Open {
            ino,
            flags: libc::O_RDONLY,
            writer: None,
            opener: Opener::default(),
            kills_set_id: false,
        };
        self.router.handle(caller, open);
        caller.unique
    }

    fn read(&self, handle: u64, offset: u64, thread: i32) -> Unique {
        let caller = self.caller(thread);
        let wanted = Wanted {
            offset,
            length: 100,
            nonblocking: false,
        };
        let read = Request::Read {
            ino: 0,
            handle,
            wanted,
            fills_pages: false,
        };
        self.router.handle(caller, read);
        caller.unique
    }

    fn write(&self, ino: u64, offset: u64, data: &[u8]) -> Unique {
        let caller = self.caller(NO_PROCESS);
        let bytes = Bytes {
            offset,
            from_cache: false,
            kills_set_id: false,
        };
        self.router
            .handle(caller, Request::Write { ino, bytes }.with(data.into()));
        caller.unique
    }

    fn release(&self, handle: u64) {
        self.router.tell(Request::Release { handle });
    }

    fn carry_out(&self, effects: Effects) {
        self.flusher.queue(&effects.flushes);
        let apply = |effect| self.router.apply(effect);
        self.router.carry_out(effects, apply);
    }

    fn answer(&self, unique: Unique) -> Option<Answer> {
        self.outbox.answer(unique)
    }

    /// Waits for the answer.
    fn answered(&self, unique: Unique) -> Answer {
        let mut answer = None;
        until("an answer", || {
            answer = self.answer(unique);
            answer.is_some()
        });
        answer.unwrap()
    }

    fn handle(&self, unique: Unique) -> u64 {
        match self.answered(unique) {
            Answer::Handle(handle, _) => handle,
            other => panic!("not opened: {other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop();
    }
}

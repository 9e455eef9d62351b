//! A test world for the core: without a kernel or a clock, and with fake processes.

mod answers;
mod control;
mod doors;
mod empty;
mod every_request;
mod following;
mod freezing;
mod incarnations;
mod left;
mod never_stale;
mod observing;
mod once_wrong;
mod oracle;
mod polling;
mod positions;
mod renaming;
mod requests;
mod resizing;
mod room;
mod specification;
mod steps;
mod streams;
mod unseen;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::clock::{Moment, Timestamp};
use super::effects::{Effect, Effects, Flush, Transport};
use super::generation::{Ending, Left, Processes, Writer};
use super::ids::Unique;
use super::namespace::{Creator, ROOT};
use super::request::{Bytes, Caller, Loaded, Opener, Request, Wanted};
use super::rules::{Deliver, FailOn, Linger, Rules};
use super::spool::Pool;
use super::{Changes, Core, Env, Settings};
use oracle::{Before, Oracle};
pub(crate) use requests::Answer;

pub(crate) const OWNER: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o644,
};
const WRITER: i32 = 100;
const READER: i32 = 200;
/// Far from the inode numbers of other file systems.
pub(crate) const FIRST_INO: u64 = 1 << 40;
/// A time after which a closed file is done: the linger of the tests, and the grace for a writer that may be
/// dying, as writers never exit here.
const LINGER: Duration = Duration::from_millis(70);

/// Processes, as a test defines them.
#[derive(Default)]
struct FakeProcesses {
    endings: RefCell<HashMap<i32, Ending>>,
    /// The parent of each process.
    parents: HashMap<i32, i32>,
    groups: HashMap<i32, i32>,
    /// The questions whether only waiting readers are left.
    left: RefCell<Vec<Left>>,
}

impl Processes for FakeProcesses {
    fn ending(&self, pid: i32) -> Ending {
        let endings = self.endings.borrow();
        endings.get(&pid).copied().unwrap_or(Ending::Running)
    }
    fn group_is_empty(&self, _group: i32) -> bool {
        false
    }
    fn descends_from(&self, pid: i32, ancestor: i32) -> bool {
        pid == ancestor || self.parents.get(&pid) == Some(&ancestor)
    }
    fn is_below_group(&self, pid: i32, group: i32) -> bool {
        let of = |pid: &i32| self.groups.get(pid) == Some(&group);
        of(&pid) || self.parents.get(&pid).is_some_and(of)
    }
    fn look_for_others(&self, left: Left) {
        self.left.borrow_mut().push(left);
    }
}

struct World {
    core: Core,
    processes: FakeProcesses,
    now: Duration,
    unique: u64,
    answers: HashMap<Unique, Answer>,
    /// The requests that were answered, in order.
    answered: Vec<Unique>,
    /// Notifications of pollers that no test has looked at yet, by the kernel's number of the open file.
    notified: Vec<u64>,
    /// The effects of the last request that are neither replies nor notifications.
    other_effects: Vec<Effect>,
    /// The orders to the flusher by the last request.
    flushes: Vec<Flush>,
    /// What must hold after every operation.
    oracle: Oracle,
}

/// The settings of a small mount, whose closed files are done at once, and whose writers wait for ever.
pub(crate) fn settings(deliver: Deliver) -> Settings {
    let mut rules = Rules::new();
    rules.push(None, deliver).unwrap();
    Settings {
        rules,
        linger: Linger::After(Duration::ZERO),
        fail_on: FailOn::Signal,
        window_bytes: 16,
        patience: Duration::MAX,
        unseen_bytes: 0,
        readers_wait: true,
        consume: false,
        require_visible: false,
        fifos: Rules::new(),
        splice_ends_at_size: true,
        records: false,
        owner: OWNER,
        place: None,
    }
}

impl World {
    fn new(deliver: Deliver, change: impl FnOnce(&mut Settings)) -> World {
        World::with_room(1 << 20, deliver, change)
    }

    /// A world whose files may take so many bytes in all.
    fn with_room(max_size: u64, deliver: Deliver, change: impl FnOnce(&mut Settings)) -> World {
        World::with_pool(Pool::for_tests(1 << 20, Some(max_size)), deliver, change)
    }

    fn with_pool(pool: Pool, deliver: Deliver, change: impl FnOnce(&mut Settings)) -> World {
        let mut settings = Settings {
            linger: Linger::After(Duration::from_millis(50)),
            patience: Duration::from_millis(300),
            ..settings(deliver)
        };
        change(&mut settings);
        let now = Duration::from_secs(1);
        World {
            core: Core::new(settings, pool, FIRST_INO, moment(now)),
            processes: FakeProcesses::default(),
            now,
            unique: 0,
            answers: HashMap::new(),
            answered: Vec::new(),
            notified: Vec::new(),
            other_effects: Vec::new(),
            flushes: Vec::new(),
            oracle: Oracle::default(),
        }
    }

    /// Makes a request, and keeps its answers and effects.
    fn handle_request<'a>(&mut self, caller: Caller, loaded: impl Into<Loaded<'a>>) {
        let loaded = loaded.into();
        let env = Env {
            now: moment(self.now),
            processes: &self.processes,
        };
        // The kernel knows of names that it has asked to remove.
        let removes = matches!(
            loaded.request,
            Request::Unlink { .. } | Request::RemoveDirectory { .. } | Request::Rename { .. }
        );
        let before = Before::look(&self.core);
        let mut effects = self.core.handle(env, caller, loaded);
        self.flushes = std::mem::take(&mut effects.flushes);
        let mut other_effects = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { unique, .. } if unique == Caller::SELF.unique => {}
                Effect::Reply { unique, reply } => self.answer_with(unique, reply.into()),
                Effect::PollAgain { kernel_handle } => self.notified.push(kernel_handle),
                effect => other_effects.push(effect),
            }
        }
        self.check(&before, &other_effects, removes);
        self.other_effects = other_effects;
    }

    /// Makes a request without an answer.
    fn tell(&mut self, request: Request) {
        self.handle_request(Caller::SELF, request);
    }

    fn answer_with(&mut self, unique: Unique, answer: Answer) {
        self.answered.push(unique);
        let before = self.answers.insert(unique, answer);
        assert!(before.is_none(), "a request was answered twice");
        self.note_answer(unique);
    }

    fn caller(&mut self, thread: i32) -> Caller {
        self.unique += 1;
        let unique = Unique(self.unique);
        self.note_request(unique);
        Caller {
            unique,
            thread,
            internal: false,
            user: None,
            incarnation: None,
        }
    }

    fn open(&mut self, ino: u64) -> Unique {
        self.open_as(ino, &Opener::default())
    }

    /// Opens a file as a later step of the writer's script.
    fn open_as_step(&mut self, ino: u64) -> Unique {
        let opener = Opener {
            group: Some(WRITER),
            ..Opener::default()
        };
        self.open_as(ino, &opener)
    }

    fn open_as(&mut self, ino: u64, opener: &Opener) -> Unique {
        self.open_with(ino, 0, opener)
    }

    fn open_with(&mut self, ino: u64, flags: i32, opener: &Opener) -> Unique {
        let caller = self.caller(READER);
        self.open_for(caller, (ino, libc::O_RDONLY | flags), None, opener)
    }

    fn reopen_for_writing(&mut self, ino: u64, flags: i32) -> u64 {
        let reopened = self.try_to_reopen(ino, flags);
        self.handle(reopened)
    }

    fn try_to_reopen(&mut self, ino: u64, flags: i32) -> Unique {
        let caller = self.caller(WRITER);
        let writer = Some(writer(WRITER));
        self.open_for(caller, (ino, flags), writer, &Opener::default())
    }

    fn handle(&self, unique: Unique) -> u64 {
        match self.answers.get(&unique) {
            Some(Answer::Handle(handle, _)) => *handle,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn read(&mut self, handle: u64, offset: u64, length: u32) -> Unique {
        self.read_with(handle, offset, length, false)
    }

    /// The answer to a nonblocking read.
    fn read_now(&mut self, handle: u64, offset: u64, length: u32) -> Answer {
        let unique = self.read_with(handle, offset, length, true);
        self.answers[&unique].clone()
    }

    fn read_with(&mut self, handle: u64, offset: u64, length: u32, nonblocking: bool) -> Unique {
        let caller = self.caller(READER);
        let wanted = Wanted {
            offset,
            length,
            nonblocking,
        };
        let read = Request::Read {
            ino: 0,
            handle,
            wanted,
            fills_pages: false,
        };
        self.handle_request(caller, read);
        caller.unique
    }

    /// A READ by which the kernel fills pages of its cache, for a mapping.
    fn fill_pages(&mut self, ino: u64, handle: u64, length: u32) -> Answer {
        let caller = self.caller(READER);
        let wanted = Wanted {
            offset: 0,
            length,
            nonblocking: false,
        };
        let read = Request::Read {
            ino,
            handle,
            wanted,
            fills_pages: true,
        };
        self.handle_request(caller, read);
        self.answers[&caller.unique].clone()
    }

    /// Whether a POLL finds a handle readable. With a number of the kernel a poller waits on the open file.
    fn poll(&mut self, handle: u64, kernel_handle: Option<u64>) -> bool {
        let caller = self.caller(READER);
        let poll = Request::Poll {
            handle,
            kernel_handle,
        };
        self.handle_request(caller, poll);
        match self.answers[&caller.unique] {
            Answer::Polled(events) => events & libc::POLLIN as u32 != 0,
            ref other => panic!("a POLL was answered {other:?}"),
        }
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Unique {
        self.write_by(ino, offset, data, false)
    }

    fn write_back(&mut self, ino: u64, offset: u64, data: &[u8]) -> Unique {
        self.write_by(ino, offset, data, true)
    }

    fn write_by(&mut self, ino: u64, offset: u64, data: &[u8], from_cache: bool) -> Unique {
        let caller = self.caller(WRITER);
        let bytes = Bytes {
            offset,
            from_cache,
            kills_set_id: false,
        };
        self.handle_request(caller, Request::Write { ino, bytes }.with(data.into()));
        caller.unique
    }

    fn release(&mut self, handle: u64) {
        self.tell(Request::Release { handle });
    }

    fn end(&mut self, pid: i32, ending: Ending) {
        self.processes.endings.borrow_mut().insert(pid, ending);
        self.tell(Request::ProcessEnded { pid, ending });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.tell(Request::Tick);
    }

    fn answer(&self, unique: Unique) -> Option<&Answer> {
        self.answers.get(&unique)
    }

    fn error(&self, unique: Unique) -> Option<Errno> {
        match self.answer(unique) {
            Some(Answer::Error(errno)) => Some(*errno),
            _ => None,
        }
    }
}

fn bytes(bytes: impl AsRef<[u8]>) -> Answer {
    Answer::Bytes(bytes.as_ref().to_vec())
}

fn moment(now: Duration) -> Moment {
    Moment {
        monotonic: now,
        wall: Timestamp {
            seconds: now.as_secs().cast_signed(),
            nanoseconds: now.subsec_nanos(),
        },
    }
}

fn writer(pid: i32) -> Writer {
    Writer {
        pid,
        name: "writer".into(),
        group: Some(pid),
        ending: Ending::Running,
        let_go: false,
        died_writing: false,
        has_closed: false,
    }
}

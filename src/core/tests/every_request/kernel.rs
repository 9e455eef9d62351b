//! A fake kernel that makes requests for processes of one thread each. It uses only inodes that it knows from
//! answers, makes no second request for a thread that waits, and looks a path up once more after `ESTALE`.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};

use rustix::io::Errno;

use crate::core::attributes::Found;
use crate::core::doors::Target;
use crate::core::effects::Unique;
use crate::core::generation::{Ending, Writer, unseen_writer};
use crate::core::namespace::ROOT;
use crate::core::request::{Caller, Loaded, Opener, Request, Wanted, at};
use crate::core::rules::Deliver;
use crate::core::tests::{Answer, OWNER, World};
use crate::core::{CONTROL_NAME, CaptureId, Settings};

/// The names in a directory: of formats that follow and that settle, and one for a FIFO.
pub(super) const NAMES: [&str; 4] = ["f.log", "g", "h.zip", "p"];

/// Places for these names: the root, a directory, doors, and a link.
pub(super) const PLACES: [&[&str]; 10] = [
    &[],
    &[],
    &[],
    &["d"],
    &["l"],
    &[CONTROL_NAME, "wait"],
    &[CONTROL_NAME, "pipe"],
    &[CONTROL_NAME, "next", "pipe"],
    &[CONTROL_NAME, "next", "wait"],
    &[CONTROL_NAME, "pid", "100", "pipe"],
];

/// A descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) handle: u64,
    pub(super) ino: u64,
    pub(super) pid: i32,
    pub(super) writes: bool,
}

/// A request that is not answered yet, or whose answer was not looked at.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) unique: Unique,
    thread: i32,
    then: Then,
}

#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// read(2).
    Read(u64),
    /// open(2) or stat(2) of a path; the kernel looks it up once more after `ESTALE`.
    Path {
        path: Vec<&'static str>,
        flags: Option<i32>,
        ino: u64,
        again: bool,
    },
}

impl Call {
    /// Whether it is about this inode.
    pub(super) fn is_about(&self, of: u64) -> bool {
        matches!(self.then, Then::Path { ino, .. } if ino == of)
    }
}

/// The kernel and all processes.
pub(super) struct Kernel {
    pub(super) world: World,
    /// The kernel's lookup count of each inode.
    pub(super) known: BTreeMap<u64, u64>,
    pub(super) open: Vec<Open>,
    pub(super) calls: Vec<Call>,
    pub(super) captures: Vec<CaptureId>,
    /// Processes of one thread each; 0 stands for all that cannot be seen.
    pub(super) threads: [i32; 5],
    next_pid: i32,
    /// The kinds of requests that were made, by their numbers in [`number`].
    pub(super) made: HashSet<usize>,
    /// The captured paths that are held, once for each holder.
    pub(super) holds: Vec<CaptureId>,
    /// The position of each descriptor.
    positions: BTreeMap<u64, u64>,
}

pub(super) fn pick<T: Copy>(among: &[T], number: usize) -> Option<T> {
    among.get(number.checked_rem(among.len())?).copied()
}

pub(super) fn process(pid: i32) -> Writer {
    match pid {
        0 => unseen_writer(),
        pid => crate::core::tests::writer(pid),
    }
}

fn opener(pid: i32) -> Opener {
    Opener {
        pid,
        name: "opener".into(),
        lineage: vec![pid],
        holds: false,
        group: Some(pid),
    }
}

impl Kernel {
    pub(super) fn new(deliver: Deliver, change: impl FnOnce(&mut Settings)) -> Kernel {
        let world = World::new(deliver, |settings| {
            settings.fifos.push(Some("**"), Deliver::Auto).unwrap();
            change(settings);
        });
        Kernel {
            world,
            known: BTreeMap::new(),
            open: Vec::new(),
            calls: Vec::new(),
            captures: Vec::new(),
            threads: [100, 101, 200, 201, 0],
            next_pid: 300,
            made: HashSet::new(),
            holds: Vec::new(),
            positions: BTreeMap::new(),
        }
    }

    /// A thread that can make a request now. (Any number of threads cannot be seen.)
    pub(super) fn free_thread(&self, number: usize) -> Option<i32> {
        let thread = pick(&self.threads, number)?;
        let waits = thread != 0 && self.calls.iter().any(|call| call.thread == thread);
        (!waits).then_some(thread)
    }

    pub(super) fn call<'a>(&mut self, thread: i32, loaded: impl Into<Loaded<'a>>) -> Unique {
        let caller = Caller {
            user: Some(0),
            ..self.world.caller(thread)
        };
        self.tell_as(caller, loaded);
        caller.unique
    }

    fn tell_as<'a>(&mut self, caller: Caller, loaded: impl Into<Loaded<'a>>) {
        let loaded = loaded.into();
        self.made.insert(number(&loaded.request));
        self.world.handle_request(caller, loaded);
    }

    pub(super) fn tell(&mut self, request: Request) {
        self.tell_as(Caller::SELF, request);
    }

    /// Makes a request whose answer the kernel does not use.
    pub(super) fn ask<'a>(&mut self, thread: i32, loaded: impl Into<Loaded<'a>>) {
        let unique = self.call(thread, loaded);
        let then = Then::Nothing;
        self.calls.push(Call {
            unique,
            thread,
            then,
        });
    }

    /// Makes a READ.
    pub(super) fn read(&mut self, thread: i32, open: Open, wanted: Wanted, fills_pages: bool) {
        let Open { ino, handle, .. } = open;
        let read = Request::Read {
            ino,
            handle,
            wanted,
            fills_pages,
        };
        let unique = self.call(thread, read);
        let then = Then::Read(handle);
        self.calls.push(Call {
            unique,
            thread,
            then,
        });
    }

    pub(super) fn position(&self, handle: u64) -> u64 {
        self.positions.get(&handle).copied().unwrap_or_default()
    }

    /// Opens something for this process itself.
    pub(super) fn open_own(&mut self, request: Request) {
        let unique = self.call(0, request);
        match self.answer(unique) {
            Some(Answer::Handle(handle, _)) => self.opened(-1, 0, handle, false),
            Some(Answer::Error(_)) => {}
            other => panic!("opened by ourselves: {other:?}"),
        }
    }

    pub(super) fn answer(&self, unique: Unique) -> Option<Answer> {
        self.world.answer(unique).cloned()
    }

    fn learn(&mut self, found: Found) -> u64 {
        let ino = found.attributes.ino;
        *self.known.entry(ino).or_default() += 1;
        ino
    }

    /// Makes a request that makes an inode, which the kernel knows from then on.
    pub(super) fn make(&mut self, thread: i32, request: Request) {
        let unique = self.call(thread, request);
        match self.answer(unique) {
            Some(Answer::Found(found)) => drop(self.learn(found)),
            Some(Answer::Error(_)) => {}
            other => panic!("not made: {other:?}"),
        }
    }

    pub(super) fn look_up(&mut self, thread: i32, parent: u64, name: &str) -> Result<Found, Errno> {
        let at = at(parent, OsStr::new(name));
        let unique = self.call(thread, Request::Lookup { at });
        match self.answer(unique) {
            Some(Answer::Found(found)) => {
                self.learn(found);
                Ok(found)
            }
            Some(Answer::Error(errno)) => Err(errno),
            other => panic!("a LOOKUP was answered {other:?}"),
        }
    }

    /// Looks up the directory above a name.
    pub(super) fn parent(&mut self, thread: i32, place: &[&str]) -> Option<u64> {
        place.iter().try_fold(ROOT, |parent, name| {
            let found = self.look_up(thread, parent, name).ok()?;
            let kind = found.attributes.mode & libc::S_IFMT;
            (kind == libc::S_IFDIR).then_some(found.attributes.ino)
        })
    }

    /// A directory and a name in it, which may exist or not.
    pub(super) fn name(&mut self, thread: i32, number: usize) -> Option<(u64, OsString)> {
        let place = pick(&PLACES, number / NAMES.len())?;
        let parent = self.parent(thread, place)?;
        Some((parent, NAMES[number % NAMES.len()].into()))
    }

    /// open(2), or stat(2) without flags.
    pub(super) fn use_path(
        &mut self,
        thread: i32,
        path: Vec<&'static str>,
        flags: Option<i32>,
        again: bool,
    ) {
        let Some((name, above)) = path.split_last() else {
            return;
        };
        let Some(parent) = self.parent(thread, above) else {
            return;
        };
        let found = self.look_up(thread, parent, name);
        let ino = match (found, flags) {
            (Err(Errno::NOENT), Some(flags)) if flags & libc::O_CREAT != 0 => {
                return self.create(thread, (parent, name), flags);
            }
            (Err(_), _) => return,
            (Ok(_), Some(flags)) if flags & libc::O_EXCL != 0 => return,
            (Ok(found), _) => {
                let kind = found.attributes.mode & libc::S_IFMT;
                if flags.is_some() && kind != libc::S_IFREG {
                    return;
                }
                found.attributes.ino
            }
        };
        self.know_process(ino);
        let request = match flags {
            None => Request::Attributes {
                ino,
                by_handle: false,
                opener: opener(thread),
            },
            Some(flags) => {
                let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
                Request::Open {
                    ino,
                    flags,
                    writer: writes.then(|| process(thread)),
                    opener: opener(thread),
                    kills_set_id: writes && thread == 0,
                }
            }
        };
        let unique = self.call(thread, request);
        let then = Then::Path {
            path,
            flags,
            ino,
            again,
        };
        self.calls.push(Call {
            unique,
            thread,
            then,
        });
    }

    /// Before a place below `pid` is opened, the core is told which process the number means.
    fn know_process(&mut self, ino: u64) {
        let Some(pid) = self.world.core.control.unknown_process(ino) else {
            return;
        };
        let target = match pid % 3 {
            0 => Err(Errno::SRCH),
            _ => Ok(Target {
                pid: Some(pid),
                began: (pid % 2 == 0).then(|| crate::core::tests::moment(self.world.now).monotonic),
            }),
        };
        self.tell(Request::KnowProcess { ino, target });
    }

    fn create(&mut self, thread: i32, (parent, name): (u64, &str), flags: i32) {
        let create = Request::Create {
            at: at(parent, OsStr::new(name)),
            creator: OWNER,
            flags,
            writer: process(thread),
        };
        let unique = self.call(thread, create);
        match self.answer(unique) {
            Some(Answer::Created(ino, handle)) => {
                *self.known.entry(ino).or_default() += 1;
                self.opened(thread, ino, handle, true);
            }
            Some(Answer::Error(_)) => {}
            other => panic!("not created: {other:?}"),
        }
    }

    fn opened(&mut self, pid: i32, ino: u64, handle: u64, writes: bool) {
        self.open.push(Open {
            handle,
            ino,
            pid,
            writes,
        });
    }

    /// Lets the threads whose requests were answered go on.
    pub(super) fn go_on(&mut self) {
        while let Some(at) = self
            .calls
            .iter()
            .position(|call| self.world.answer(call.unique).is_some())
        {
            let Call {
                unique,
                thread,
                then,
            } = self.calls.swap_remove(at);
            let (path, flags, ino, again) = match then {
                Then::Nothing => continue,
                Then::Read(handle) => {
                    if let Some(Answer::Bytes(bytes)) = self.answer(unique) {
                        *self.positions.entry(handle).or_default() += bytes.len() as u64;
                    }
                    continue;
                }
                Then::Path {
                    path,
                    flags,
                    ino,
                    again,
                } => (path, flags, ino, again),
            };
            match self.answer(unique) {
                Some(Answer::Handle(handle, _)) => {
                    let writes = flags.is_some_and(|f| f & libc::O_ACCMODE != libc::O_RDONLY);
                    self.opened(thread, ino, handle, writes);
                }
                Some(Answer::Error(Errno::STALE)) if !again => {
                    self.use_path(thread, path, flags, true);
                }
                Some(Answer::Error(_) | Answer::Attributes(_)) => {}
                other => panic!("{path:?} was answered {other:?}"),
            }
        }
    }

    pub(super) fn close(&mut self, at: usize) {
        let open = self.open.swap_remove(at);
        let Open {
            ino, handle, pid, ..
        } = open;
        if open.writes {
            self.tell(Request::Closes { ino, pid });
        }
        self.tell(Request::Release { handle });
    }

    /// A process ends, and another one begins in its place.
    pub(super) fn exit(&mut self, number: usize, ending: Ending) {
        let at = number % self.threads.len();
        let pid = self.threads[at];
        if pid == 0 {
            return;
        }
        self.go_on();
        while let Some(at) = self.calls.iter().position(|call| call.thread == pid) {
            let unique = self.calls.swap_remove(at).unique;
            self.tell(Request::Cancel { unique });
            self.go_on();
        }
        while let Some(at) = self.open.iter().position(|open| open.pid == pid) {
            let Open {
                ino,
                handle,
                writes,
                ..
            } = self.open.swap_remove(at);
            if writes {
                self.tell(Request::DiesWriting { ino, pid, ending });
            }
            self.tell(Request::Release { handle });
        }
        self.world
            .processes
            .endings
            .borrow_mut()
            .insert(pid, ending);
        self.tell(Request::ProcessEnded { pid, ending });
        self.threads[at] = self.next_pid;
        self.next_pid += 1;
    }
}

/// Each request's number, from 0. (A new one goes before the last.)
pub(super) fn number(request: &Request) -> usize {
    match request {
        Request::Lookup { .. } => 0,
        Request::Forget { .. } => 1,
        Request::Create { .. } => 2,
        Request::MakeNode { .. } => 3,
        Request::MakeDirectory { .. } => 4,
        Request::MakeSymlink { .. } => 5,
        Request::Link { .. } => 6,
        Request::Unlink { .. } => 7,
        Request::RemoveDirectory { .. } => 8,
        Request::Rename { .. } => 9,
        Request::OpenDirectory { .. } => 10,
        Request::List { .. } => 11,
        Request::CloseDirectory { .. } => 12,
        Request::Attributes { .. } => 13,
        Request::Change { .. } => 14,
        Request::SetXattr { .. } => 15,
        Request::RemoveXattr { .. } => 16,
        Request::Open { .. } => 17,
        Request::Read { .. } => 18,
        Request::Write { .. } => 19,
        Request::Release { .. } => 20,
        Request::Poll { .. } => 21,
        Request::Seek { .. } => 22,
        Request::Allocate { .. } => 23,
        Request::Copy { .. } => 24,
        Request::Cancel { .. } => 25,
        Request::AlsoWrites { .. } => 26,
        Request::CannotBeWatched { .. } => 27,
        Request::Closes { .. } => 28,
        Request::DiesWriting { .. } => 29,
        Request::ProcessEnded { .. } => 30,
        Request::GroupEnded { .. } => 31,
        Request::KnowProcess { .. } => 32,
        Request::Tick => 33,
        Request::ReleaseBytes { .. } => 34,
        Request::NotFlushed { .. } => 35,
        Request::ShutDown => 36,
        Request::Capture { .. } => 37,
        Request::OpenCaptured { .. } => 38,
        Request::Hold { .. } => 39,
        Request::LetGo { .. } => 40,
        Request::KeepAtMost { .. } => 41,
        Request::HangUp { .. } => 42,
        Request::EndCapture { .. } => 43,
        Request::MakeOwnDirectory { .. } => 44,
        Request::RemoveTree { .. } => 45,
        Request::OpenEvents { .. } => 46,
        Request::NobodyElseLeft { .. } => 47,
        Request::Abandon { .. } => 48,
        Request::Freeze => 49,
    }
}

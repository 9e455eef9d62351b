//! The core as the specification reads: no kernel, no clock, no processes but
//! those that the tests make up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;

use super::clock::{Moment, Timestamp};
use super::effects::{Bytes, Caller, Effect, Effects, Kin, Opening, Transport, Unique};
use super::generation::{Ending, Processes, Writer};
use super::namespace::{Creator, ROOT, Rename};
use super::rules::{Deliver, FailOn, Linger, Rules};
use super::spool::{Limits, Pool};
use super::{Core, Env, Settings};

const OWNER: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o644,
};
const WRITER: i32 = 100;
const READER: i32 = 200;
const FIRST_INO: u64 = 1 << 40;
/// What the tests let pass: the writers there never exit, so that they get the
/// grace of the dying too.
const LINGER: Duration = Duration::from_millis(70);

/// Processes as a test says they are.
#[derive(Default)]
struct People {
    endings: RefCell<HashMap<i32, Ending>>,
}

impl Processes for People {
    fn ending(&self, pid: i32) -> Ending {
        let endings = self.endings.borrow();
        endings.get(&pid).copied().unwrap_or(Ending::Running)
    }
    fn group_is_empty(&self, _group: i32) -> bool {
        false
    }
    fn process_of(&self, thread: i32) -> i32 {
        thread
    }
    fn name(&self, pid: i32) -> String {
        format!("process-{pid}")
    }
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Handle(u64, Transport),
    Bytes(Vec<u8>),
    Written(u32),
    Error(Errno),
}

struct World {
    core: Core,
    people: People,
    now: Duration,
    unique: u64,
    answers: HashMap<Unique, Answer>,
}

impl World {
    fn new(deliver: Deliver, change: impl FnOnce(&mut Settings)) -> World {
        let mut rules = Rules::new();
        rules.push(None, deliver).unwrap();
        let mut settings = Settings {
            rules,
            linger: Linger::After(Duration::from_millis(50)),
            fail_on: FailOn::Signal,
            window_bytes: 16,
            patience: Duration::from_millis(300),
            consume: false,
            owner: OWNER,
        };
        change(&mut settings);
        let pool = Pool::new(Limits {
            memory: 1 << 20,
            max_size: Some(1 << 20),
            spill_directory: std::env::temp_dir(),
        });
        let now = Duration::from_secs(1);
        World {
            core: Core::new(settings, pool, FIRST_INO, moment(now)),
            people: People::default(),
            now,
            unique: 0,
            answers: HashMap::new(),
        }
    }

    fn run<R>(&mut self, act: impl FnOnce(&mut Core, Env<'_>, &mut Effects) -> R) -> R {
        let mut effects = Effects::default();
        let env = Env {
            now: moment(self.now),
            processes: &self.people,
        };
        let result = act(&mut self.core, env, &mut effects);
        for effect in effects.0 {
            let (unique, answer) = match effect {
                Effect::Opened {
                    unique,
                    handle,
                    transport,
                } => (unique, Answer::Handle(handle, transport)),
                Effect::Data { unique, bytes } => {
                    let mut copy = Vec::new();
                    bytes.copy_to(&mut copy).unwrap();
                    (unique, Answer::Bytes(copy))
                }
                Effect::Text { unique, bytes } => (unique, Answer::Bytes(bytes)),
                Effect::Written { unique, length } => (unique, Answer::Written(length)),
                Effect::Refused { unique, errno } => (unique, Answer::Error(errno)),
                _ => continue,
            };
            let before = self.answers.insert(unique, answer);
            assert!(before.is_none(), "a request was answered twice");
        }
        result
    }

    fn caller(&mut self, thread: i32) -> Caller {
        self.unique += 1;
        Caller {
            unique: Unique(self.unique),
            thread,
            internal: false,
        }
    }

    fn create(&mut self, name: &str, flags: i32) -> (u64, u64) {
        let (attributes, handle, _) = self
            .run(|core, env, effects| {
                let at = (ROOT, OsStr::new(name));
                core.create(env, at, OWNER, flags, writer(WRITER), effects)
            })
            .unwrap();
        (attributes.ino, handle)
    }

    fn open(&mut self, ino: u64) -> Unique {
        let caller = self.caller(READER);
        self.run(|core, env, effects| {
            let opening = Opening {
                flags: libc::O_RDONLY,
                writer: None,
                kin: &Kin::default(),
            };
            core.open(env, caller, ino, opening, effects);
        });
        caller.unique
    }

    fn reopen_for_writing(&mut self, ino: u64, flags: i32) -> u64 {
        let caller = self.caller(WRITER);
        self.run(|core, env, effects| {
            let opening = Opening {
                flags,
                writer: Some(writer(WRITER)),
                kin: &Kin::default(),
            };
            core.open(env, caller, ino, opening, effects);
        });
        self.handle(caller.unique)
    }

    fn handle(&self, unique: Unique) -> u64 {
        match self.answers.get(&unique) {
            Some(Answer::Handle(handle, _)) => *handle,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn read(&mut self, handle: u64, offset: u64, length: u32) -> Unique {
        let caller = self.caller(READER);
        self.run(|core, env, effects| core.read(env, caller, handle, offset, length, effects));
        caller.unique
    }

    fn write(&mut self, ino: u64, offset: u64, data: &[u8]) -> Unique {
        let caller = self.caller(WRITER);
        self.run(|core, env, effects| {
            let bytes = Bytes {
                offset,
                data,
                from_cache: false,
            };
            core.write(env, caller, ino, bytes, effects);
        });
        caller.unique
    }

    fn release(&mut self, handle: u64) {
        self.run(|core, env, effects| core.release(env, handle, effects));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.run(|core, env, effects| core.tick(env, effects));
    }

    fn answer(&self, unique: Unique) -> Option<&Answer> {
        self.answers.get(&unique)
    }
}

fn moment(now: Duration) -> Moment {
    Moment {
        monotonic: now,
        wall: Timestamp::default(),
    }
}

fn writer(pid: i32) -> Writer {
    Writer {
        pid,
        name: "writer".into(),
        group: Some(pid),
        ending: Ending::Running,
    }
}

fn bytes(text: &str) -> Answer {
    Answer::Bytes(text.as_bytes().to_vec())
}

#[test]
fn a_reader_that_follows_gets_bytes_as_they_come_and_then_the_end() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let first = world.read(reader, 0, 3);
    assert_eq!(world.answer(first), None);
    world.write(ino, 0, b"one");
    assert_eq!(world.answer(first), Some(&bytes("one")));
    let end = world.read(reader, 3, 3);
    world.release(handle);
    assert_eq!(world.answer(end), None, "it may be opened again");
    world.pass(LINGER);
    assert_eq!(world.answer(end), Some(&bytes("")));
}

#[test]
fn a_read_that_can_be_answered_in_part_waits_a_little_for_the_rest() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 100);
    world.write(ino, 0, b"a");
    assert_eq!(world.answer(read), None);
    world.write(ino, 1, b"b");
    world.pass(Duration::from_millis(3));
    assert_eq!(world.answer(read), Some(&bytes("ab")));
}

#[test]
fn a_settled_reader_is_opened_when_the_file_is_done() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    world.write(ino, 0, b"one");
    world.release(handle);
    assert_eq!(world.answer(open), None);
    world.pass(LINGER);
    let opened = world.answer(open);
    assert!(matches!(opened, Some(Answer::Handle(_, Transport::Cached))));
}

#[test]
fn auto_holds_the_first_bytes_back_for_a_tenth_of_a_second() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, _) = world.create("f.log", libc::O_WRONLY);
    world.write(ino, 0, b"draft");
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 5);
    world.pass(Duration::from_millis(60));
    assert_eq!(world.answer(read), None);
    world.write(ino, 0, b"final");
    world.pass(Duration::from_millis(40));
    assert_eq!(world.answer(read), Some(&bytes("final")));
}

#[test]
fn auto_settles_what_is_opened_for_reading_and_writing() {
    let mut world = World::new(Deliver::Auto, |_| {});
    let (ino, _) = world.create("f.log", libc::O_RDWR);
    world.write(ino, 0, b"text\n");
    let open = world.open(ino);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.answer(open), None);
}

#[test]
fn the_end_of_a_killed_writer_is_an_error_and_not_an_end() {
    for deliver in [Deliver::Follow, Deliver::Settled, Deliver::Stream] {
        let mut world = World::new(deliver, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        let open = world.open(ino);
        world.write(ino, 0, b"half");
        world.release(handle);
        let killed = (WRITER, Ending::Signal(9));
        world.people.endings.borrow_mut().extend([killed]);
        world.pass(LINGER);
        let reader = world.handle(open);
        let read = world.read(reader, 0, 4);
        assert_eq!(world.answer(read), Some(&bytes("half")));
        let end = world.read(reader, 4, 4);
        assert_eq!(world.answer(end), Some(&Answer::Error(Errno::IO)));
    }
}

#[test]
fn a_stream_writer_waits_for_the_slowest_reader_but_not_for_ever() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let opens = [world.open(ino), world.open(ino)];
    let readers = opens.map(|open| world.handle(open));
    let within = world.write(ino, 0, &[1; 16]);
    assert_eq!(world.answer(within), Some(&Answer::Written(16)));
    let beyond = world.write(ino, 16, &[2; 8]);
    world.read(readers[0], 0, 24);
    assert_eq!(world.answer(beyond), None, "the other reader has nothing");
    world.read(readers[1], 0, 8);
    assert_eq!(world.answer(beyond), Some(&Answer::Written(8)));
    let again = world.write(ino, 24, &[3; 8]);
    assert_eq!(world.answer(again), None);
    world.pass(Duration::from_millis(300));
    assert_eq!(world.answer(again), Some(&Answer::Written(8)));
}

#[test]
fn a_stream_is_a_pipe_for_those_who_come_late_go_early_or_look_back() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    world.write(ino, 0, b"0123");
    world.read(reader, 0, 4);
    let back = world.write(ino, 0, b"x");
    assert_eq!(world.answer(back), Some(&Answer::Error(Errno::SPIPE)));
    let late = world.open(ino);
    assert_eq!(world.answer(late), Some(&Answer::Error(Errno::STALE)));
    world.release(reader);
    let broken = world.write(ino, 4, b"x");
    assert_eq!(world.answer(broken), Some(&Answer::Error(Errno::PIPE)));
}

#[test]
fn an_interrupted_read_is_gone_and_an_interrupted_write_has_happened() {
    let mut world = World::new(Deliver::Stream, |_| {});
    let (ino, _) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 1);
    world.run(|core, env, effects| core.cancel(env, read, effects));
    assert_eq!(world.answer(read), Some(&Answer::Error(Errno::INTR)));
    let write = world.write(ino, 0, &[0; 20]);
    assert_eq!(world.answer(write), None);
    world.run(|core, env, effects| core.cancel(env, write, effects));
    assert_eq!(world.answer(write), Some(&Answer::Written(20)));
}

#[test]
fn a_reader_follows_its_path_to_what_is_renamed_there() {
    for (content, expected) in [
        ("first, second", bytes("second")),
        ("other, second", Answer::Error(Errno::STALE)),
        ("first", Answer::Error(Errno::STALE)),
    ] {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        world.write(ino, 0, b"first, ");
        let open = world.open(ino);
        let reader = world.handle(open);
        world.read(reader, 0, 7);
        let rest = world.read(reader, 7, 6);
        let (other, other_handle) = world.create("temporary", libc::O_WRONLY);
        world.write(other, 0, content.as_bytes());
        let from = (ROOT, OsStr::new("temporary"));
        let to = (ROOT, OsStr::new("f"));
        world
            .run(|core, env, effects| core.rename(env, from, to, Rename::Replace, effects))
            .unwrap();
        world.release(other_handle);
        world.release(handle);
        world.pass(LINGER);
        assert_eq!(world.answer(rest), Some(&expected), "{content}");
    }
}

#[test]
fn a_reader_of_a_removed_file_is_told_when_everybody_is_gone() {
    let mut world = World::new(Deliver::Settled, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let at = (ROOT, OsStr::new("f"));
    world
        .run(|core, env, effects| core.unlink(env, at, effects))
        .unwrap();
    assert_eq!(world.answer(open), None);
    world.release(handle);
    world.pass(LINGER);
    assert_eq!(world.answer(open), Some(&Answer::Error(Errno::NOENT)));
}

#[test]
fn nothing_is_left_when_everything_is_closed_and_forgotten() {
    let mut world = World::new(Deliver::Follow, |_| {});
    let (ino, handle) = world.create("f", libc::O_WRONLY);
    let open = world.open(ino);
    let reader = world.handle(open);
    let read = world.read(reader, 0, 10);
    world.write(ino, 0, b"x");
    world.release(reader);
    assert_eq!(world.answer(read), Some(&Answer::Error(Errno::INTR)));
    world.release(handle);
    let at = (ROOT, OsStr::new("f"));
    world
        .run(|core, env, effects| core.unlink(env, at, effects))
        .unwrap();
    world.core.forget(ino, 1);
    world.pass(Duration::from_secs(60));
    let core = &world.core;
    assert!(core.readers.is_empty() && core.handles.is_empty() && core.files.is_empty());
    assert!(core.waiting.is_empty() && core.alarms.is_empty() && core.followers.is_empty());
    assert_eq!(core.names.count(), 1);
    assert_eq!(core.pool.memory_used(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    Truncate(u64),
    Reopen { empties: bool },
    Read { reader: usize, length: u32 },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Few values and short data, so that the same bytes are often rewritten.
    let data = prop::collection::vec(0..2_u8, 1..6);
    prop_oneof![
        4 => (0..12_u64, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        1 => (0..12_u64).prop_map(Step::Truncate),
        1 => any::<bool>().prop_map(|empties| Step::Reopen { empties }),
        4 => (0..3_usize, 1..8_u32).prop_map(|(reader, length)| Step::Read { reader, length }),
        1 => (0..120_u64).prop_map(Step::Pass),
    ]
}

/// A reader that reads on from where it is, one request at a time.
#[derive(Default)]
struct Following {
    open: Option<Unique>,
    handle: Option<u64>,
    pending: Option<Unique>,
    got: Vec<u8>,
    end: Option<Result<(), Errno>>,
}

impl Following {
    fn look(&mut self, world: &World) {
        if let Some(open) = self.open
            && let Some(answer) = world.answer(open)
        {
            self.open = None;
            match answer {
                Answer::Handle(handle, _) => self.handle = Some(*handle),
                Answer::Error(errno) => self.end = Some(Err(*errno)),
                other => panic!("an open was answered {other:?}"),
            }
        }
        if let Some(pending) = self.pending
            && let Some(answer) = world.answer(pending)
        {
            self.pending = None;
            match answer {
                Answer::Bytes(bytes) if bytes.is_empty() => self.end = Some(Ok(())),
                Answer::Bytes(bytes) => self.got.extend(bytes),
                Answer::Error(errno) => self.end = Some(Err(*errno)),
                other => panic!("a read was answered {other:?}"),
            }
        }
    }

    fn advance(&mut self, world: &mut World, ino: u64, length: u32) {
        self.look(world);
        if self.end.is_none() && self.open.is_none() && self.handle.is_none() {
            self.open = Some(world.open(ino));
            self.look(world);
        }
        if let (Some(handle), None, None) = (self.handle, self.pending, &self.end) {
            self.pending = Some(world.read(handle, self.got.len() as u64, length));
            self.look(world);
        }
    }
}

fn never_stale(deliver: Deliver, steps: Vec<Step>) {
    let mut world = World::new(deliver, |_| {});
    let (ino, mut handle) = world.create("f.log", libc::O_WRONLY);
    let mut model: Vec<u8> = Vec::new();
    let mut readers: [Following; 3] = Default::default();
    for step in steps {
        match step {
            Step::Write { offset, data } => {
                world.write(ino, offset, &data);
                let end = offset as usize + data.len();
                model.resize(model.len().max(end), 0);
                model[offset as usize..end].copy_from_slice(&data);
            }
            Step::Truncate(length) => {
                let changes = super::Changes {
                    size: Some(length),
                    ..Default::default()
                };
                world
                    .run(|core, env, effects| core.change(env, ino, changes, effects))
                    .unwrap();
                model.resize(length as usize, 0);
            }
            Step::Reopen { empties } => {
                let flags = libc::O_WRONLY | if empties { libc::O_TRUNC } else { 0 };
                let again = world.reopen_for_writing(ino, flags);
                world.release(handle);
                handle = again;
                if empties {
                    model.clear();
                }
            }
            Step::Read { reader, length } => readers[reader].advance(&mut world, ino, length),
            Step::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
        }
    }
    world.release(handle);
    world.pass(Duration::from_secs(2));
    for reader in &mut readers {
        for _ in 0..100 {
            reader.advance(&mut world, ino, 7);
            world.pass(Duration::from_millis(5));
        }
        match reader.end {
            Some(Ok(())) => assert_eq!(reader.got, model),
            Some(Err(errno)) => {
                assert_eq!(errno, Errno::STALE);
                assert_ne!(deliver, Deliver::Settled, "what is settled is never stale");
            }
            None => panic!("a reader of a file that is done still waits"),
        }
    }
}

proptest! {
    #[test]
    fn what_a_reader_gets_is_what_the_file_holds_or_an_error(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        for deliver in [Deliver::Follow, Deliver::Auto, Deliver::Settled] {
            never_stale(deliver, steps.clone());
        }
    }

    #[test]
    fn bytes_in_any_order_are_delivered_in_order(
        order in Just((0..20_u64).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut world = World::new(Deliver::Follow, |_| {});
        let (ino, handle) = world.create("f", libc::O_WRONLY);
        let open = world.open(ino);
        let mut reader = Following { handle: Some(world.handle(open)), ..Default::default() };
        for block in order {
            world.write(ino, block * 3, &[block as u8; 3]);
            reader.advance(&mut world, ino, 2);
            world.pass(Duration::from_millis(4));
        }
        world.release(handle);
        world.pass(LINGER);
        while reader.end.is_none() {
            reader.advance(&mut world, ino, 7);
        }
        let expected: Vec<u8> = (0..20).flat_map(|block| [block; 3]).collect();
        prop_assert_eq!(reader.got, expected);
    }
}

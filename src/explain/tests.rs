//! Recordings made by hand, and the verdicts on them.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use proptest::prelude::*;

use super::facts::Worker;
use super::outcome::Digest;
use super::*;
use crate::core::clock::{Moment, Timestamp};
use crate::core::effects::{Effect, Reply};
use crate::core::generation::{Ending, NO_KNOWN_KIND, Processes, Way, Writer};
use crate::core::namespace::{Creator, ROOT};
use crate::core::request::{Bytes, Caller, Loaded, Request, at};
use crate::core::rules::{FailOn, Linger, Rules};
use crate::core::{Changes, Core, Env, Settings};

const OWNER: Creator = Creator {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

/// A process table in which the program runs until the end of the recording.
struct Running;

impl Processes for Running {
    fn ending(&self, _: i32) -> Ending {
        Ending::Running
    }
    fn group_is_empty(&self, _: i32) -> bool {
        false
    }
}

/// A recorded program.
struct Program {
    core: Core,
    now: Duration,
    path: PathBuf,
    open: Option<(u64, u64)>,
}

impl Program {
    /// A program that has made a file.
    fn making(name: &str) -> Self {
        let settings = Settings {
            rules: Rules::new(),
            linger: Linger::Auto,
            fail_on: FailOn::Never,
            window_bytes: 0,
            patience: Duration::ZERO,
            unseen_bytes: 0,
            readers_wait: false,
            consume: false,
            require_visible: false,
            fifos: Rules::new(),
            splice_ends_at_size: false,
            records: true,
            owner: OWNER,
            place: None,
        };
        let pool = Pool::for_tests(16 << 20, Some(16 << 20));
        let start = Moment {
            monotonic: Duration::ZERO,
            wall: Timestamp::default(),
        };
        let mut program = Program {
            core: Core::new(settings, pool, ROOT + 1, start),
            now: Duration::ZERO,
            path: name.into(),
            open: None,
        };
        let path = program.path.clone();
        let writer = Writer {
            pid: 7,
            name: "program".into(),
            group: Some(7),
            ending: Ending::Running,
            let_go: false,
            died_writing: false,
            has_closed: false,
        };
        let create = Request::Create {
            at: at(ROOT, path.as_os_str()),
            creator: OWNER,
            flags: libc::O_WRONLY | libc::O_CREAT,
            writer,
        };
        match program.ask(create) {
            Some(Reply::Created { found, handle, .. }) => {
                program.open = Some((found.attributes.ino, handle))
            }
            other => panic!("no file: {other:?}"),
        }
        program
    }

    fn ask<'a>(&mut self, request: impl Into<Loaded<'a>>) -> Option<Reply> {
        let env = Env {
            now: Moment {
                monotonic: self.now,
                wall: Timestamp::default(),
            },
            processes: &Running,
        };
        let effects = self.core.handle(env, Caller::SELF, request);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Reply { reply, .. } => Some(reply),
            _ => None,
        })
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let (ino, _) = self.open.expect("an open file");
        let bytes = Bytes {
            offset,
            from_cache: false,
            kills_set_id: false,
        };
        self.ask(Request::Write { ino, bytes }.with(data.into()));
    }

    fn truncate(&mut self, length: u64) {
        let (ino, _) = self.open.expect("an open file");
        let changes = Changes {
            size: Some(length),
            ..Changes::default()
        };
        let reply = self.ask(Request::Change { ino, changes });
        assert!(matches!(reply, Some(Reply::Attributes(_))), "{reply:?}");
    }

    fn end(mut self) -> Findings {
        let (_, handle) = self.open.expect("an open file");
        self.ask(Request::Release { handle });
        Findings {
            recording: self.core.take_recording().expect("a recording"),
            pool: self.core.pool().clone(),
            files: vec![self.path],
            child: None,
            directory: "/".into(),
        }
    }

    /// The chances of auto, settled, follow and stream.
    fn chances(self) -> [Chance; 4] {
        let path = self.path.clone();
        let explanation = self.end().explain(&[path]).expect("room").remove(0);
        let verdicts = explanation.verdicts;
        [
            verdicts.auto,
            verdicts.settled,
            verdicts.follow,
            verdicts.stream,
        ]
        .map(|verdict| verdict.chance)
    }
}

use Chance::{Captured, Depends, Fails, Rewritten};

#[test]
fn a_file_written_in_order_is_captured_in_every_way() {
    let mut program = Program::making("x.txt");
    for number in 0..10 {
        program.write(number * 3, b"abc");
        program.pass(50);
    }
    assert_eq!(program.chances(), [Captured; 4]);
}

#[test]
fn bytes_that_a_reader_surely_has_are_reported_and_those_that_it_may_have_depend() {
    for (milliseconds, auto, follow) in [
        (5, Captured, Depends),
        (90, Depends, Rewritten),
        (500, Rewritten, Rewritten),
    ] {
        let mut program = Program::making("x.txt");
        program.write(0, b"count: 0\n");
        program.pass(milliseconds);
        program.write(7, b"9");
        assert_eq!(program.chances(), [auto, Captured, follow, Fails]);
    }
}

#[test]
fn a_program_that_insists_on_a_new_file_does_not_go_through_a_virtual_fifo_unless_it_is_known_to() {
    use super::verdict::of_virtual_fifo;
    let facts = |exclusive, looked_first, worker: &str| {
        let workers = vec![Worker {
            pid: 7,
            name: worker.into(),
            signal: None,
        }];
        Facts {
            exclusive,
            looked_first,
            workers,
            ..Facts::default()
        }
    };
    let stream = Verdict::new(Chance::Rewritten, "bytes are rewritten");
    let chance = |facts: &Facts, auto: Option<(Way, String)>| {
        let path = Path::new("x.7z");
        of_virtual_fifo(path, facts, true, auto.as_ref(), &stream).chance
    };
    let patched = || Some((Way::Settled, "named x.7z: 7z gets patched".to_owned()));
    let unknown = || Some((Way::Settled, NO_KNOWN_KIND.to_owned()));
    for (facts, auto, expected) in [
        (facts(false, false, "a"), patched(), Chance::Captured),
        (facts(false, false, "a"), unknown(), Chance::Rewritten),
        (facts(false, false, "a"), None, Chance::Rewritten),
        (facts(true, false, "a"), patched(), Chance::Fails),
        (facts(true, true, "a"), patched(), Chance::Depends),
        (facts(true, true, "7z"), patched(), Chance::Captured),
    ] {
        assert_eq!(chance(&facts, auto), expected, "{facts:?}");
    }
}

#[test]
fn the_same_bytes_again_do_no_harm_but_to_a_stream() {
    let mut program = Program::making("x.txt");
    program.write(0, b"abc");
    program.pass(500);
    program.write(1, b"b");
    program.write(3, b"def");
    assert_eq!(program.chances(), [Captured, Captured, Captured, Fails]);
}

/// The kernel writes back whole pages, so a gap within one page looks like zeros.
#[test]
fn a_small_gap_that_is_closed_late_is_reported_where_pages_are_written_back() {
    let mut program = Program::making("x.txt");
    program.write(0, b"head");
    program.write(8, b"tail");
    program.pass(500);
    program.write(4, b"body");
    assert_eq!(
        program.chances(),
        [Rewritten, Captured, Rewritten, Captured]
    );
}

#[test]
fn a_file_that_is_cut_below_what_was_read_is_reported() {
    let mut program = Program::making("x.txt");
    program.write(0, b"0123456789");
    program.pass(500);
    program.truncate(5);
    assert_eq!(program.chances(), [Rewritten, Captured, Rewritten, Fails]);
}

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    Truncate(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let data = prop::collection::vec(0..2_u8, 1..6);
    prop_oneof![
        4 => (0..9000_u64, data.clone()).prop_map(|(offset, data)| Step::Write { offset, data }),
        4 => (0..12_u64, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        1 => (0..12_u64).prop_map(Step::Truncate),
        2 => (0..300_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn a_file_reported_as_captured_is_the_one_that_was_left(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut program = Program::making("x.txt");
        let mut left: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Write { offset, data } => {
                    program.write(offset, &data);
                    let end = offset as usize + data.len();
                    left.resize(left.len().max(end), 0);
                    left[offset as usize..end].copy_from_slice(&data);
                }
                Step::Truncate(length) => {
                    program.truncate(length);
                    left.resize(length as usize, 0);
                }
                Step::Pass(milliseconds) => program.pass(milliseconds),
            }
        }
        let mut hash = DefaultHasher::new();
        hash.write(&left);
        let digest = Digest { bytes: left.len() as u64, hash: hash.finish() };
        let found = program.end();
        let paths = [PathBuf::from("x.txt")];
        for deliver in [Deliver::Settled, Deliver::Stream, Deliver::Follow, Deliver::Auto] {
            for pace in [Pace::Slow, Pace::Fast] {
                let outcome = found.play(&paths, deliver, pace, None).expect("room").remove(0);
                match outcome.end {
                    End::Whole => prop_assert_eq!(outcome.digest, digest),
                    _ => prop_assert_ne!(deliver, Deliver::Settled),
                }
            }
        }
    }
}

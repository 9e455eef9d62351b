//! Requests of every kind, in any order in which a kernel may make them: the invariants hold after each
//! operation ([`super::oracle`]), and nothing is left once all processes have ended.
//!
//! The bytes that readers get are not checked here, but by [`super::never_stale`].

mod descriptors;
mod kernel;
mod names;

use std::collections::HashSet;
use std::ffi::OsString;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::io::Errno;

use crate::core::generation::Ending;
use crate::core::namespace::{DOTS, ROOT};
use crate::core::request::Request;
use crate::core::rules::{Deliver, Linger};
use kernel::{Kernel, NAMES, PLACES, number, pick};

/// How files are opened.
const FLAGS: [i32; 10] = [
    libc::O_RDONLY,
    libc::O_RDONLY,
    libc::O_RDONLY | libc::O_NONBLOCK,
    libc::O_WRONLY | libc::O_CREAT,
    libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC,
    libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND,
    libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL,
    libc::O_RDWR,
    libc::O_RDWR | libc::O_CREAT,
    libc::O_WRONLY,
];

/// A step; each number chooses among the objects that exist then.
#[derive(Clone, Debug)]
struct Step {
    what: What,
    numbers: [usize; 4],
}

/// The kinds of steps, and a list of all.
macro_rules! what {
    ($($what:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum What {
            $($what,)*
        }

        const ALL: &[What] = &[$(What::$what,)*];
    };
}

what! {
    Pass Open Stat Write Read FillPages Close Poll Seek Allocate Copy Change SetXattr RemoveXattr
    MakeNode MakeDirectory MakeSymlink Link Unlink RemoveDirectory Rename List Forget Cancel
    AlsoWrites CannotBeWatched Closes ReleaseBytes Exit GroupEnded NobodyElseLeft
    NotFlushed Capture OpenCaptured Hold LetGo KeepAtMost HangUp EndCapture MakeOwnDirectory
    RemoveTree OpenEvents Freeze
}

fn step() -> impl Strategy<Value = Step> {
    use What::*;
    let often = [
        Pass, Open, Open, Open, Open, Write, Write, Write, Read, Read, Read, Close, Close, Poll,
        Unlink, Rename, Exit, Cancel,
    ];
    let all = ALL.iter().copied().filter(|what| *what != Freeze);
    let what = prop_oneof![
        200 => prop::sample::select(often.to_vec()),
        200 => prop::sample::select(all.collect::<Vec<What>>()),
        1 => Just(Freeze),
    ];
    (what, prop::array::uniform4(0..1000_usize)).prop_map(|(what, numbers)| Step { what, numbers })
}

/// Times to pass, in milliseconds: shorter and longer than those of the core.
const TIMES: [u64; 8] = [0, 1, 3, 10, 50, 100, 1000, 6000];

impl Kernel {
    fn step(&mut self, step: &Step) {
        let [first, second, third, fourth] = step.numbers;
        if let What::Pass = step.what {
            let milliseconds = pick(&TIMES, first).unwrap_or_default();
            self.world.now += Duration::from_millis(milliseconds);
            return self.tell(Request::Tick);
        }
        let Some(thread) = self.free_thread(first) else {
            // The thread waits, so only a signal can come.
            let call = first.checked_rem(self.calls.len());
            if let Some(unique) = call.map(|at| self.calls[at].unique) {
                self.tell(Request::Cancel { unique });
            }
            return;
        };
        match step.what {
            What::Write
            | What::Read
            | What::FillPages
            | What::Close
            | What::Poll
            | What::Seek
            | What::Allocate
            | What::Copy
            | What::AlsoWrites
            | What::Closes
            | What::ReleaseBytes => self.use_descriptor(thread, step),
            What::Capture
            | What::OpenCaptured
            | What::Hold
            | What::LetGo
            | What::KeepAtMost
            | What::HangUp
            | What::EndCapture
            | What::MakeOwnDirectory
            | What::RemoveTree
            | What::OpenEvents
            | What::Freeze => self.capture(step),
            What::Pass => unreachable!("handled above"),
            What::Open | What::Stat => {
                let mut path = pick(&PLACES, second).unwrap_or_default().to_vec();
                path.extend(pick(&NAMES, third));
                let flags = matches!(step.what, What::Open).then(|| FLAGS[fourth % FLAGS.len()]);
                self.use_path(thread, path, flags, false);
            }
            What::List => self.list(thread, second),
            What::Forget => {
                let known: Vec<(u64, u64)> = self.known.iter().map(|(i, n)| (*i, *n)).collect();
                if let Some((ino, lookups)) = pick(&known, second)
                    && !self.open.iter().any(|open| open.ino == ino)
                    && !self.calls.iter().any(|call| call.is_about(ino))
                {
                    self.known.remove(&ino);
                    self.tell(Request::Forget { ino, lookups });
                }
            }
            What::Cancel => {
                let unique = second.checked_rem(self.calls.len());
                if let Some(unique) = unique.map(|at| self.calls[at].unique) {
                    self.tell(Request::Cancel { unique });
                }
            }
            What::Exit => {
                let endings = [
                    Ending::Status(0),
                    Ending::Status(1),
                    Ending::Signal(libc::SIGKILL),
                    Ending::Signal(libc::SIGTERM),
                    Ending::Unknown,
                ];
                self.exit(second, endings[third % endings.len()]);
            }
            What::GroupEnded => self.tell(Request::GroupEnded {
                group: 100 + second as i32 % 210,
            }),
            What::NobodyElseLeft => {
                // The answer may be late, and about an earlier moment.
                let asked = self.world.processes.left.borrow().clone();
                if let Some(left) = second.checked_rem(asked.len()).map(|at| asked[at].clone()) {
                    self.tell(Request::NobodyElseLeft { left });
                }
            }
            What::NotFlushed => {
                // The flusher's answer may be late.
                let files: Vec<u64> = self.open.iter().map(|open| open.ino).collect();
                if let Some(ino) = pick(&files, second) {
                    self.tell(Request::NotFlushed { ino });
                }
            }
            What::CannotBeWatched => {
                let written: Vec<u64> = self.open.iter().map(|open| open.ino).collect();
                if let Some(ino) = pick(&written, second) {
                    let errno = Errno::MFILE;
                    self.tell(Request::CannotBeWatched { ino, errno });
                }
            }
            _ => self.change_names(thread, step),
        }
    }

    /// Ends all processes and captures, and checks that nothing is left.
    fn finish(mut self, shuts_down: bool) {
        if shuts_down {
            self.tell(Request::ShutDown);
            self.go_on();
            assert_eq!(self.world.core.waiting_count(), 0, "a request still waits");
        }
        for number in 0..self.threads.len() {
            self.exit(number, Ending::Status(0));
        }
        for id in std::mem::take(&mut self.holds) {
            let left_others = false;
            self.tell(Request::LetGo { id, left_others });
        }
        for id in std::mem::take(&mut self.captures) {
            let directory = None;
            self.tell(Request::EndCapture { id, directory });
        }
        self.go_on();
        while let Some(call) = self.calls.pop() {
            let unique = call.unique;
            self.tell(Request::Cancel { unique });
            assert!(self.answer(unique).is_some(), "not given up: {call:?}");
            self.go_on();
        }
        while let Some(at) = self.open.len().checked_sub(1) {
            self.close(at);
        }
        let core = &self.world.core;
        let names = core.names.list(ROOT, DOTS, u64::MAX).unwrap();
        let names: Vec<OsString> = names.map(|(_, _, name)| name.to_owned()).collect();
        let is_frozen = core.is_frozen;
        for name in names {
            self.tell(Request::RemoveTree { name });
        }
        for (ino, lookups) in std::mem::take(&mut self.known) {
            self.tell(Request::Forget { ino, lookups });
        }
        for _ in 0..4 {
            self.world.now += Duration::from_secs(60);
            self.tell(Request::Tick);
        }
        // It holds the bytes that were written.
        drop(self.world.core.take_recording());
        let core = &self.world.core;
        assert!(core.handles.is_empty(), "{:?}", core.handles);
        assert_eq!((core.readers.len(), core.waiting_count()), (0, 0));
        if is_frozen {
            return;
        }
        assert!(core.files.is_empty(), "{:?}", core.files);
        assert!(core.alarms.is_empty(), "{:?}", core.alarms);
        assert_eq!(core.names.count(), 1, "the root alone");
        assert_eq!(core.pool.memory_used(), 0);
    }
}

fn run(deliver: Deliver, numbers: usize, steps: &[Step]) -> Kernel {
    let mut kernel = Kernel::new(deliver, |settings| {
        let lingers = [settings.linger, Linger::Auto, Linger::Exit];
        settings.linger = lingers[numbers % lingers.len()];
        settings.consume = numbers.is_multiple_of(5);
        settings.readers_wait = !numbers.is_multiple_of(11);
        settings.records = numbers.is_multiple_of(13);
        settings.require_visible = numbers.is_multiple_of(17);
    });
    for step in steps {
        kernel.step(step);
        kernel.go_on();
    }
    kernel
}

proptest! {
    #[test]
    fn every_caller_is_answered_and_nothing_is_left_whatever_is_requested(
        steps in prop::collection::vec(step(), 1..80),
        numbers in 0..1000_usize,
    ) {
        for deliver in [Deliver::Auto, Deliver::Follow, Deliver::Settled, Deliver::Stream] {
            run(deliver, numbers, &steps).finish(numbers.is_multiple_of(2));
        }
    }
}

/// The test above would say nothing of a request that it never makes.
#[test]
fn every_kind_of_request_is_drawn() {
    let mut runner = TestRunner::deterministic();
    // `finish` makes this one.
    let mut made = HashSet::from([number(&Request::ShutDown)]);
    for _ in 0..60 {
        let steps = prop::collection::vec(step(), 80);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        made.extend(&run(Deliver::Auto, 1, &steps).made);
    }
    let missing: Vec<usize> = (0..=number(&Request::Freeze))
        .filter(|number| !made.contains(number))
        .collect();
    assert_eq!(missing, [0; 0], "numbers of requests that are never made");
}

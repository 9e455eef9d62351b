//! Memory that the processes of a program and their judge share: whose turn it is, and when each step began and ended,
//! with its result.
//!
//! A file that all of them map. Invariant: a step's entry is written by the process that does it, and only in its
//! turn.

use std::fs::{self, File};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

use crate::program::{PROCESSES, STEPS};

/// The outcome of a step that no process did.
pub(crate) const NOT_DONE: i64 = i64::MIN;

/// The turn after the last one.
const OVER: u32 = u32::MAX;

#[repr(C)]
pub(crate) struct Entry {
    /// Nanoseconds of the monotonic clock; 0 if it did not begin.
    begin: AtomicU64,
    end: AtomicU64,
    outcome: AtomicI64,
}

#[repr(C)]
pub(crate) struct Shared {
    turn: AtomicU32,
    /// Their ids while they have steps to do; else 0.
    processes: [AtomicI32; PROCESSES],
    killed: AtomicU64,
    entries: [Entry; STEPS],
}

/// The mapping. It lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct Ledger(&'static Shared);

/// Nanoseconds of a clock that is the same in all processes.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Ledger {
    /// Makes the file.
    pub(crate) fn create(path: &Path) {
        let file = File::create(path).expect("a ledger");
        file.set_len(size_of::<Shared>() as u64).expect("its size");
    }

    pub(crate) fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path);
        let file = file.expect("the ledger");
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<Shared>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert!(start != libc::MAP_FAILED, "the ledger cannot be mapped");
        // SAFETY: that many bytes are mapped there, aligned to a page, and never unmapped; all of them are atomics,
        // for which every value is valid, and all processes use them as such.
        Self(unsafe { &*start.cast::<Shared>() })
    }

    /// The step to be done now; none after the last one.
    pub(crate) fn turn(self) -> Option<usize> {
        match self.0.turn.load(Ordering::Acquire) {
            OVER => None,
            turn => Some(turn as usize),
        }
    }

    /// Waits until it is another step's turn, at most for so many milliseconds.
    pub(crate) fn wait(self, turn: usize, milliseconds: u32) {
        let timeout = futex::Timespec {
            tv_sec: i64::from(milliseconds / 1000),
            tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
        };
        let flags = futex::Flags::empty();
        // Whatever ends the wait: callers check again.
        let _ = futex::wait(&self.0.turn, flags, turn as u32, Some(&timeout));
    }

    /// Ends a step: it is the next one's turn.
    pub(crate) fn pass(self, turn: usize, steps: usize) {
        let next = if turn + 1 >= steps {
            OVER
        } else {
            turn as u32 + 1
        };
        // Not if everything is over.
        let _ =
            self.0
                .turn
                .compare_exchange(turn as u32, next, Ordering::AcqRel, Ordering::Acquire);
        let _ = futex::wake(&self.0.turn, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Ends all turns.
    pub(crate) fn stop(self, killed_at: u64) {
        self.0.killed.store(killed_at, Ordering::Release);
        self.0.turn.store(OVER, Ordering::Release);
        let _ = futex::wake(&self.0.turn, futex::Flags::empty(), i32::MAX as u32);
    }

    pub(crate) fn begin(self, turn: usize) {
        let entry = &self.0.entries[turn];
        entry.outcome.store(NOT_DONE, Ordering::Release);
        entry.begin.store(now(), Ordering::Release);
    }

    pub(crate) fn end(self, turn: usize, outcome: i64) {
        let entry = &self.0.entries[turn];
        entry.outcome.store(outcome, Ordering::Release);
        entry.end.store(now(), Ordering::Release);
    }

    pub(crate) fn has_ended(self, turn: usize) -> bool {
        self.0.entries[turn].end.load(Ordering::Acquire) > 0
    }

    /// Whether a step failed; only for steps that give a length, as digests may be negative.
    pub(crate) fn was_refused(self, turn: usize) -> bool {
        let outcome = self.0.entries[turn].outcome.load(Ordering::Acquire);
        outcome < 0 && outcome != NOT_DONE
    }

    pub(crate) fn set_process(self, number: u8, pid: i32) {
        self.0.processes[usize::from(number)].store(pid, Ordering::Release);
    }

    pub(crate) fn process(self, number: u8) -> i32 {
        self.0.processes[usize::from(number)].load(Ordering::Acquire)
    }
}

/// The record of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) begin: u64,
    /// When it ended, and its result; none if it never ended.
    pub(crate) end: Option<(u64, i64)>,
}

/// The contents of a ledger at the end.
pub(crate) struct Record {
    /// Each step that began.
    pub(crate) steps: Vec<Option<Done>>,
    /// When all processes were killed, if they were.
    pub(crate) killed: Option<u64>,
}

impl Record {
    pub(crate) fn read(path: &Path) -> Self {
        let file = fs::read(path).expect("the ledger");
        let word = |at: usize| {
            let bytes = file[at..at + 8].try_into().expect("eight bytes");
            u64::from_ne_bytes(bytes)
        };
        let step = |number| {
            let at = offset_of!(Shared, entries) + number * size_of::<Entry>();
            let begin = word(at + offset_of!(Entry, begin));
            let end = word(at + offset_of!(Entry, end));
            let outcome = word(at + offset_of!(Entry, outcome)) as i64;
            (begin > 0).then_some(Done {
                begin,
                end: (end > 0).then_some((end, outcome)),
            })
        };
        Self {
            steps: (0..STEPS).map(step).collect(),
            killed: Some(word(offset_of!(Shared, killed))).filter(|at| *at > 0),
        }
    }
}

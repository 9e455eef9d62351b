//! CPU affinity of the front loop: while one thread writes past the cache continuously, the loop runs on that
//! thread's processor.
//!
//! Such a thread sleeps until its write is answered, and the loop has nothing to do until the next write. On
//! two processors each of them stops meanwhile and must be woken, which takes 66 µs there and back on a
//! virtual machine; on one they take turns, in 8 µs (`perf bench sched pipe`). The kernel would put each on
//! an idle processor.
//!
//! Invariant: the loop's affinity is changed only while one thread writes continuously and no other request
//! comes. So at most one request of another thread waits for that processor, and for a moment only: the loop
//! does not join a thread that it cannot preempt. A change of the loop's affinity from outside while it is
//! tied is undone.

use std::time::Duration;

use crate::fuse::timers::WRITES_AGAIN;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The thread's processor is read after this many of its writes that the loop had to wait for. A write on the
/// loop's own processor is there when the loop runs again.
const LOOK_EVERY: u32 = 6;

/// The affinity of the calling thread.
#[derive(Default)]
pub(super) struct CpuAffinity {
    /// The thread that wrote last.
    writer: i32,
    /// Its writes in a row that the loop waited for.
    waits: u32,
    /// The processors allowed before it was tied to one.
    untied: Option<CpuSet>,
}

impl CpuAffinity {
    /// A thread waits for the answer to a write; `waited` says whether the loop had to wait for it,
    /// `processor` where a thread ran last.
    pub(super) fn wrote(
        &mut self,
        writer: i32,
        waited: bool,
        processor: impl FnOnce(i32) -> Option<usize>,
    ) {
        if writer != self.writer {
            self.leave();
            self.writer = writer;
        }
        self.waits = self.waits.wrapping_add(u32::from(waited));
        if waited
            && self.waits.is_multiple_of(LOOK_EVERY)
            && let Some(processor) = processor(writer)
        {
            self.tie_to(processor);
        }
    }

    /// How long the calling thread may sleep at most before it calls [`slept`](Self::slept).
    pub(super) fn longest_sleep(&self) -> Option<Duration> {
        self.untied.is_some().then_some(WRITES_AGAIN)
    }

    /// No request came for this time.
    pub(super) fn slept(&mut self, time: Duration) {
        if time >= WRITES_AGAIN {
            self.leave();
        }
    }

    /// Another request came.
    pub(super) fn leave(&mut self) {
        self.waits = 0;
        if let Some(untied) = self.untied.take() {
            // It fails if the machine has none of them any more, and then is not needed.
            let _ = sched_setaffinity(None, &untied);
        }
    }

    fn tie_to(&mut self, processor: usize) {
        let Some(untied) = self.untied.or_else(|| sched_getaffinity(None).ok()) else {
            return;
        };
        if processor >= CpuSet::MAX_CPU || !untied.is_set(processor) {
            return;
        }
        let mut only = CpuSet::new();
        only.set(processor);
        if sched_setaffinity(None, &only).is_ok() {
            self.untied = Some(untied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processors() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU).filter(|n| set.is_set(*n)).collect()
    }

    /// So many writes without a pause; returns how many of them read the processor.
    fn write(affinity: &mut CpuAffinity, writes: u32, processor: Option<usize>) -> u32 {
        let mut looks = 0;
        for _ in 0..writes {
            affinity.wrote(1, true, |_| {
                looks += 1;
                processor
            });
        }
        looks
    }

    /// On a machine with one processor it cannot be seen to be tied.
    #[test]
    fn it_runs_where_one_writes_again_and_again_and_only_as_long() {
        let before = processors();
        let ends: [fn(&mut CpuAffinity); 3] = [
            |affinity| affinity.leave(),
            |affinity| affinity.slept(WRITES_AGAIN),
            |affinity| affinity.wrote(2, true, |_| panic!("it is too early to look")),
        ];
        for end in ends {
            for processor in &before {
                let mut affinity = CpuAffinity::default();
                assert_eq!(write(&mut affinity, LOOK_EVERY - 1, None), 0);
                assert_eq!(processors(), before);
                assert_eq!(write(&mut affinity, 1, Some(*processor)), 1);
                affinity.slept(WRITES_AGAIN / 2);
                assert_eq!(processors(), [*processor]);
                assert_eq!(affinity.longest_sleep(), Some(WRITES_AGAIN));
                end(&mut affinity);
                assert_eq!(processors(), before);
                assert_eq!(affinity.longest_sleep(), None);
            }
        }
    }

    #[test]
    fn it_goes_after_a_writer_that_moves_but_not_where_it_may_not_run() {
        let before = processors();
        let mut affinity = CpuAffinity::default();
        let forbidden = (0..CpuSet::MAX_CPU).find(|n| !before.contains(n));
        let (first, last) = (before[0], before[before.len() - 1]);
        for (processor, expected) in [
            (Some(first), first),
            (Some(last), last),
            (forbidden, last),
            (Some(CpuSet::MAX_CPU), last),
            (None, last),
        ] {
            assert_eq!(write(&mut affinity, LOOK_EVERY, processor), 1);
            assert_eq!(processors(), [expected]);
        }
        affinity.leave();
        assert_eq!(processors(), before);
    }

    #[test]
    fn the_processor_of_writes_that_need_no_wait_is_not_read() {
        let mut affinity = CpuAffinity::default();
        for _ in 0..3 * LOOK_EVERY {
            affinity.wrote(1, false, |_| panic!("it is on this processor"));
        }
    }

    #[test]
    fn the_processor_of_a_thread_that_writes_now_and_then_is_not_read() {
        let mut affinity = CpuAffinity::default();
        for _ in 0..3 * LOOK_EVERY {
            assert_eq!(write(&mut affinity, 1, None), 0);
            affinity.slept(WRITES_AGAIN);
        }
    }
}

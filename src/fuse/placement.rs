//! On which processor the front loop runs: while one thread writes past the cache again and again, on the
//! thread's own.
//!
//! Such a thread sleeps until its write is answered, and the loop until there is one: they never have
//! anything to do at the same time. On two processors each stops meanwhile and must be woken, which takes
//! 66 µs there and back on a virtual machine; on one they take turns, in 8 (`perf bench sched pipe`). The
//! kernel would put each on a processor that is idle.
//!
//! Invariant: the loop may run wherever it might before, but for as long as one thread writes again and
//! again, and nobody asks for anything else. So no other request waits for that processor.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// After so many writes of one thread it is looked where it runs,
const FIRST_LOOK: u32 = 16;

/// and then after each so many: by the time they take, looking (some 15 µs) costs next to nothing.
const LOOK_EVERY: u32 = 64;

/// Who has not written again by now does not write again and again. Longer than a write takes if the
/// loop must be woken for it.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// Where the calling thread runs.
#[derive(Default)]
pub(super) struct Placement {
    /// Who wrote last.
    writer: i32,
    /// How many times in a row.
    writes: u32,
    /// The processors that it might run on before it was tied to one.
    untied: Option<CpuSet>,
}

impl Placement {
    /// A thread waits for the answer to a write; `processor` says where a thread ran last.
    pub(super) fn wrote(&mut self, writer: i32, processor: impl FnOnce(i32) -> Option<usize>) {
        if writer != self.writer {
            self.leave();
            self.writer = writer;
        }
        self.writes += 1;
        if self.writes % LOOK_EVERY == FIRST_LOOK
            && let Some(processor) = processor(writer)
        {
            self.tie_to(processor);
        }
    }

    /// Whether it is tied to a processor.
    pub(super) fn is_tied(&self) -> bool {
        self.untied.is_some()
    }

    /// Somebody asks for something else, or nobody for anything, for so long as [`SOON`] if it is tied.
    pub(super) fn leave(&mut self) {
        self.writes = 0;
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

    /// So many writes, as fast as they must come; says how many of them looked.
    fn write(placement: &mut Placement, writes: u32, processor: Option<usize>) -> u32 {
        let mut looks = 0;
        for _ in 0..writes {
            placement.wrote(1, |_| {
                looks += 1;
                processor
            });
        }
        looks
    }

    #[test]
    fn it_runs_where_one_writes_again_and_again_and_only_as_long() {
        let before = processors();
        let mut placement = Placement::default();
        let nobody_looks = |_| -> Option<usize> { panic!("these are too few") };
        let ends: [&dyn Fn(&mut Placement); 2] = [&|placement| placement.leave(), &|placement| {
            placement.wrote(2, nobody_looks)
        }];
        for end in ends {
            for processor in &before {
                placement.leave();
                assert_eq!(write(&mut placement, FIRST_LOOK - 1, None), 0);
                assert_eq!(processors(), before);
                assert_eq!(write(&mut placement, 1, Some(*processor)), 1);
                assert_eq!(processors(), [*processor]);
                assert!(placement.is_tied());
                end(&mut placement);
                assert_eq!(processors(), before);
                assert!(!placement.is_tied());
            }
        }
    }

    #[test]
    fn it_goes_after_a_writer_that_moves_but_not_where_it_may_not_run() {
        let before = processors();
        let mut placement = Placement::default();
        let forbidden = (0..CpuSet::MAX_CPU).find(|n| !before.contains(n));
        let (first, last) = (before[0], before[before.len() - 1]);
        for (processor, expected) in [
            (Some(first), first),
            (Some(last), last),
            (forbidden, last),
            (Some(CpuSet::MAX_CPU), last),
            (None, last),
        ] {
            assert_eq!(write(&mut placement, LOOK_EVERY, processor), 1);
            assert_eq!(processors(), [expected]);
        }
        placement.leave();
        assert_eq!(processors(), before);
    }
}

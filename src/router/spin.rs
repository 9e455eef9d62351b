//! Polling for an event before sleeping, as long as that pays.
//!
//! Waking a thread takes some microseconds, and on a virtual machine, whose processor has stopped meanwhile,
//! some dozens: as much as a small request takes in all. For an event that comes soon polling is cheaper.
//! Invariant: after a few failures a thread does not poll, until an event came so soon that polling would
//! have found it; so rare events (the lines of a log) cost next to nothing.
//!
//! The thread yields between two looks, so that it keeps no other thread from the processor.

use std::time::{Duration, Instant};

use super::timers::WAKING;

/// After so many failures in a row the thread sleeps at once.
const MISSES: u32 = 4;

/// What to do next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Look, after having looked for this long in vain.
    Look(Duration),
    /// Sleep until there is an event, and look.
    Sleep,
}

/// The limits, and how often polling failed.
#[derive(Debug)]
pub(crate) struct Spin {
    longest: Duration,
    /// Failures in a row.
    misses: u32,
}

impl Spin {
    /// Polls for `longest` at most.
    pub(crate) fn new(longest: Duration) -> Spin {
        Spin {
            longest,
            misses: MISSES,
        }
    }

    /// Has `act` look until it finds something, or sleep until there is something.
    pub(crate) fn wait<T>(&mut self, mut act: impl FnMut(Step) -> Option<T>) -> T {
        if let Some(found) = act(Step::Look(Duration::ZERO)) {
            return found;
        }
        let start = Instant::now();
        let looks = self.misses < MISSES;
        if looks {
            while start.elapsed() < self.longest {
                rustix::thread::sched_yield();
                let waited = start.elapsed();
                if let Some(found) = act(Step::Look(waited)) {
                    // Other threads may have had the processor for longer than `longest`.
                    self.note(waited < self.longest);
                    return found;
                }
            }
        }
        loop {
            let Some(found) = act(Step::Sleep) else {
                continue;
            };
            // An event that polling missed would have needed longer polling.
            self.note(!looks && start.elapsed() < self.longest + WAKING);
            return found;
        }
    }

    /// Notes whether polling paid, or would have.
    fn note(&mut self, pays: bool) {
        self.misses = if pays { 0 } else { MISSES.min(self.misses + 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of looks if the event comes this long after the thread fell asleep.
    fn looks(spin: &mut Spin, sleeps: Duration) -> u32 {
        let mut looks = 0;
        spin.wait(|step| match step {
            Step::Look(_) => {
                looks += 1;
                None
            }
            Step::Sleep => {
                std::thread::sleep(sleeps);
                Some(())
            }
        });
        looks
    }

    #[test]
    fn an_event_that_never_comes_soon_is_not_polled_for() {
        let mut spin = Spin::new(Duration::from_millis(2));
        let long = Duration::from_millis(6);
        assert_eq!(looks(&mut spin, long), 1, "nothing is known yet");
        spin.misses = 0;
        for _ in 0..MISSES {
            assert!(looks(&mut spin, long) > 1);
        }
        assert_eq!(looks(&mut spin, long), 1);
    }

    #[test]
    fn an_event_that_came_soon_is_polled_for() {
        // Long enough for a machine that is busy.
        let mut spin = Spin::new(Duration::from_secs(5));
        assert_eq!(looks(&mut spin, Duration::ZERO), 1);
        let mut before = 3;
        let slept = spin.wait(|step| {
            before -= 1;
            (before == 0).then_some(matches!(step, Step::Sleep))
        });
        assert!(!slept, "it was found before");
    }
}

//! Looking for something again and again before sleeping, as long as that pays.
//!
//! To be woken costs a thread some microseconds, and on a virtual machine, whose processor has
//! stopped meanwhile, some dozens: as much as a small request takes in all. What comes soon is
//! cheaper looked for. Invariant: after a few times in vain nobody looks, until something came so soon
//! that looking would have found it; so what comes now and then (the lines of a log) costs next to
//! nothing.
//!
//! Between two looks others may run, so that nobody is kept from the processor by one who looks.

use std::time::{Duration, Instant};

use super::timers::WAKING;

/// After so many times in a row in vain it is slept for at once.
const MISSES: u32 = 4;

/// What is to be done next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Look, as was done for so long in vain.
    Look(Duration),
    /// Sleep, and look when woken.
    Sleep,
}

/// How it went until now.
#[derive(Debug)]
pub(crate) struct Spin {
    longest: Duration,
    /// How many times in a row it was in vain.
    misses: u32,
}

impl Spin {
    /// Looks for so long at most.
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
                    // Others may have had the processor for longer than it was to be looked for.
                    self.note(waited < self.longest);
                    return found;
                }
            }
        }
        loop {
            let Some(found) = act(Step::Sleep) else {
                continue;
            };
            // What was looked for in vain would have to be looked for longer.
            self.note(!looks && start.elapsed() < self.longest + WAKING);
            return found;
        }
    }

    /// Takes note of whether looking paid, or would have.
    fn note(&mut self, pays: bool) {
        self.misses = if pays { 0 } else { MISSES.min(self.misses + 1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often is looked if nothing comes until so long after it was slept for.
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
    fn what_never_comes_soon_is_not_looked_for() {
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
    fn what_came_soon_is_looked_for() {
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

//! When a closed generation is done.

use std::time::Duration;

use super::super::super::rules::Linger;
use super::super::super::timers::DYING;
use super::*;

struct World {
    ending: Ending,
    group_empty: bool,
}

impl Processes for World {
    fn ending(&self, _pid: i32) -> Ending {
        self.ending
    }
    fn group_is_empty(&self, _group: i32) -> bool {
        self.group_empty
    }
    fn is_own(&self, pid: i32) -> bool {
        pid == OWN
    }
}

/// The daemon's own process.
const OWN: i32 = 8;

fn closed_at(since: Monotonic) -> Generation {
    let mut generation = Generation::default().next();
    generation.opened(Monotonic::ZERO);
    generation.add_writer(Writer {
        pid: 7,
        name: "w".into(),
        group: Some(7),
        ending: Ending::Running,
        let_go: false,
        died_writing: false,
        has_closed: false,
    });
    generation.closed(since);
    generation
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn with_a_fixed_linger_only_other_processes_that_still_run_may_be_dying() {
    let world = World {
        ending: Ending::Running,
        group_empty: false,
    };
    let linger = Linger::After(Duration::ZERO);
    let mut generation = closed_at(SECOND);
    let again = generation.settle(linger, FailOn::Signal, SECOND, &world, 0, false);
    assert_eq!(again, Some(SECOND + DYING));
    let mut generation = closed_at(SECOND);
    generation.writers[0].pid = OWN;
    generation.settle(linger, FailOn::Signal, SECOND, &world, 0, false);
    assert_eq!(generation.phase, Phase::Done);
}

#[test]
fn it_is_done_at_once_when_no_process_is_left_that_could_reopen_it() {
    let world = World {
        ending: Ending::Status(0),
        group_empty: true,
    };
    let mut generation = closed_at(SECOND);
    generation.settle(Linger::Auto, FailOn::Signal, SECOND, &world, 0, false);
    assert_eq!(generation.phase, Phase::Done);
}

#[test]
fn a_writer_that_still_runs_has_a_second_to_reopen_it() {
    let world = World {
        ending: Ending::Running,
        group_empty: false,
    };
    let mut generation = closed_at(SECOND);
    let again = generation.settle(Linger::Auto, FailOn::Signal, SECOND, &world, 0, false);
    assert_eq!(again, Some(2 * SECOND));
    assert!(generation.is_active());
    generation.settle(Linger::Auto, FailOn::Signal, 2 * SECOND, &world, 0, false);
    assert_eq!(generation.phase, Phase::Done);
}

#[test]
fn a_writer_that_has_exited_leaves_the_others_of_its_group_a_second_for_the_next_step() {
    let world = World {
        ending: Ending::Status(0),
        group_empty: false,
    };
    let mut generation = closed_at(SECOND);
    for (after, rests, is_active) in [(0, false, true), (200, true, true), (1000, true, false)] {
        let now = SECOND + Duration::from_millis(after);
        generation.settle(Linger::Auto, FailOn::Signal, now, &world, 0, false);
        assert_eq!(
            (generation.steps.are_admitted(), generation.is_active()),
            (rests, is_active)
        );
    }
}

#[test]
fn a_killed_writer_fails_it_unless_told_otherwise() {
    let world = World {
        ending: Ending::Signal(9),
        group_empty: true,
    };
    for (fail_on, phase) in [
        (FailOn::Signal, Phase::Failed),
        (FailOn::Never, Phase::Done),
    ] {
        let mut generation = closed_at(SECOND);
        generation.settle(Linger::Auto, fail_on, SECOND, &world, 0, false);
        assert_eq!(generation.phase, phase);
    }
}

#[test]
fn what_counts_as_a_failure_depends_on_when_and_how_a_writer_died() {
    use FailOn::{Crash, Never, Signal, Status};
    let (term, segv) = (Ending::Signal(libc::SIGTERM), Ending::Signal(libc::SIGSEGV));
    for (ending, died_writing, failing) in [
        (term, true, &[Crash, Signal, Status][..]),
        (term, false, &[Signal, Status]),
        (segv, true, &[Crash, Signal, Status]),
        (segv, false, &[Crash, Signal, Status]),
        (Ending::Status(3), true, &[Status]),
        (Ending::Status(3), false, &[Status]),
        (Ending::Status(0), true, &[]),
    ] {
        // Seen when it closed the file, or reported after its exit; either suffices.
        for seen in [Ending::Unknown, ending] {
            let mut generation = closed_at(SECOND);
            if died_writing {
                generation.died_writing(7, seen);
            }
            generation.note_ending(7, ending);
            let fails = |fail_on: &FailOn| generation.has_failed(*fail_on);
            let found: Vec<FailOn> = [Crash, Signal, Status, Never]
                .into_iter()
                .filter(fails)
                .collect();
            assert_eq!(found, failing, "{ending:?} {died_writing}");
        }
    }
    // What was seen at the close stays if nothing is reported later.
    let mut generation = closed_at(SECOND);
    generation.died_writing(7, term);
    generation.note_ending(7, Ending::Unknown);
    assert!(generation.has_failed(Crash));
}

#[test]
fn linger_exit_waits_however_long() {
    let world = World {
        ending: Ending::Running,
        group_empty: false,
    };
    let mut generation = closed_at(SECOND);
    let later = Duration::from_secs(3600);
    assert_eq!(
        generation.settle(Linger::Exit, FailOn::Signal, later, &world, 0, false),
        None
    );
    assert!(generation.is_active());
}

#[test]
fn the_end_of_a_writer_that_let_go_does_not_matter_unless_it_had_the_file_again() {
    let killed = Ending::Signal(libc::SIGKILL);
    for (had_again, failed) in [(false, false), (true, true)] {
        let child = |let_go| Writer {
            pid: 9,
            name: "child".into(),
            group: Some(7),
            ending: Ending::Running,
            let_go,
            died_writing: false,
            has_closed: false,
        };
        let generation = || {
            let mut generation = Generation::default().next();
            generation.opened(Monotonic::ZERO);
            generation.add_writer(child(true));
            if had_again {
                generation.add_writer(child(false));
            }
            generation.closed(SECOND);
            generation
        };
        let mut told = generation();
        told.note_ending(9, killed);
        assert_eq!(told.has_failed(FailOn::Signal), failed);
        // Or found out.
        let mut asked = generation();
        let world = World {
            ending: killed,
            group_empty: true,
        };
        asked.settle(Linger::Auto, FailOn::Signal, SECOND, &world, 0, false);
        assert_eq!(asked.phase == Phase::Failed, failed);
    }
}

//! The same sequence of operations must do the same on a mount and on a directory of an ordinary filesystem.
//!
//! Knows when two runs agree; `operations` defines what is done, `world` how, and `outcome` what counts. This process
//! and its children alone run a sequence, on both sides in turn, so that no other process waits for it.
//!
//! `FIFOFS_DIFFERENTIAL_CASES` is the number of sequences, `FIFOFS_DIFFERENTIAL_SEED` the first one's seed. A sequence
//! that fails is shrunk and printed as Rust: it goes into `regressions.rs`.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;
mod generator;
mod operations;
mod outcome;
mod regressions;
mod shrink;
mod world;

use std::env;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;

use common::{Mount, Place, Process};
use generator::{Abilities, Random, sequence};
use operations::{Allocation, Operation};
use outcome::Outcome;
use rustix::fs::FallocateFlags;
use world::World;

/// Enough to find common faults within ten seconds.
const CASES: usize = 180;

/// How many sequences share a mount.
const CASES_PER_MOUNT: usize = 15;

/// The setup of a mount decides which code an operation reaches. `--deliver stream` is left out: by design it refuses
/// what an ordinary file allows.
#[derive(Clone, Copy, Debug)]
struct Setup {
    options: &'static [&'static str],
    /// Whether other processes read the files, again and again: the writer sees the same with or without them.
    readers: bool,
}

const fn alone(options: &'static [&'static str]) -> Setup {
    Setup {
        options,
        readers: false,
    }
}

const fn read(options: &'static [&'static str]) -> Setup {
    Setup {
        options,
        readers: true,
    }
}

const SETUPS: [Setup; 12] = [
    alone(&["--deliver", "auto", "--linger", "auto"]),
    read(&["--deliver", "follow", "--linger", "auto"]),
    alone(&["--deliver", "settled", "--linger", "auto"]),
    // Never done while this process lives.
    alone(&["--deliver", "auto", "--linger", "exit"]),
    alone(&["--deliver", "follow", "--linger", "exit"]),
    alone(&["--deliver", "settled", "--linger", "exit"]),
    // Done at once, and so a new generation with every open.
    read(&["--deliver", "auto", "--linger", "1ms"]),
    read(&["--deliver", "follow", "--linger", "1ms"]),
    read(&["--deliver", "settled", "--linger", "1ms"]),
    // Nearly everything goes to the disk, and space of removed files must be freed there.
    alone(&["--deliver", "auto", "--memory", "512K"]),
    read(&["--deliver", "follow", "--memory", "512K"]),
    alone(&["--deliver", "settled", "--memory", "512K"]),
];

/// The readers: `fifofs cat` waits for a path to appear, also if it is removed again.
const READERS: &str = r#"
for name in a b d/a e/a; do
    while :; do "$FIFOFS" cat "$D/run/$name" > /dev/null 2>&1; done &
done
wait
"#;

#[test]
fn a_random_sequence_does_the_same_in_a_mount_as_in_an_ordinary_directory() {
    let cases = number("FIFOFS_DIFFERENTIAL_CASES").unwrap_or(CASES as u64) as usize;
    let first = number("FIFOFS_DIFFERENTIAL_SEED")
        .unwrap_or_else(|| RandomState::new().hash_one(cases) >> 32);
    eprintln!("{cases} sequences, the first with FIFOFS_DIFFERENTIAL_SEED={first}");
    let seeds: Vec<u64> = (0..cases as u64).map(|n| first.wrapping_add(n)).collect();
    for (round, seeds) in seeds.chunks(CASES_PER_MOUNT).enumerate() {
        // A single seed to repeat is tried with every setup.
        let setups = if cases == 1 {
            &SETUPS[..]
        } else {
            &SETUPS[round % SETUPS.len()..][..1]
        };
        for setup in setups {
            let both = Both::new(*setup);
            for seed in seeds {
                let length = 5 + (Random::new(*seed).next() % 100) as usize;
                let sequence = sequence(*seed, length, both.abilities());
                if let Err(disagreement) = both.run(&sequence) {
                    both.explain(*seed, sequence, &disagreement);
                }
            }
            both.end();
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")),
    )
}

/// For `regressions`: the sequence must agree with every setup.
#[track_caller]
fn agrees(sequence: &[Operation]) {
    for setup in SETUPS {
        let both = Both::new(setup);
        if sequence.iter().all(|operation| both.can(operation))
            && let Err(disagreement) = both.run(sequence)
        {
            panic!("with {setup:?}:\n{disagreement}");
        }
        both.end();
    }
}

/// A mount and an ordinary directory beside it.
struct Both {
    setup: Setup,
    place: Arc<Place>,
    mount: Mount,
    readers: Option<Process>,
}

/// The first thing in which the two differ.
struct Disagreement {
    /// The operation, or the survey after all of them.
    at: String,
    ordinary: String,
    mount: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            ordinary,
            mount,
        } = self;
        write!(
            formatter,
            "{at}\n  ordinary: {ordinary}\n  mount:    {mount}"
        )
    }
}

impl Both {
    fn new(setup: Setup) -> Self {
        let place = Place::new();
        let mount = Mount::start_in(&place, setup.options);
        Self {
            setup,
            readers: setup.readers.then(|| place.shell(READERS)),
            mount,
            place,
        }
    }

    fn end(self) {
        drop(self.readers);
        self.mount.unmount();
    }

    fn abilities(&self) -> Abilities {
        let path = self.place.at("abilities");
        let file = std::fs::File::create(&path).expect("a file");
        let zeroed = rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, 0, 1);
        let flags = rustix::fs::XattrFlags::empty();
        let set = rustix::fs::fsetxattr(&file, "user.one", b"value", flags);
        Abilities {
            zero_range: zeroed.is_ok(),
            user_attributes: set.is_ok(),
        }
    }

    /// Whether the ordinary filesystem can do this, too.
    fn can(&self, operation: &Operation) -> bool {
        let abilities = self.abilities();
        match operation {
            Operation::Allocate {
                how: Allocation::ZeroRange | Allocation::ZeroRangeKeepSize,
                ..
            } => abilities.zero_range,
            Operation::SetAttribute { .. }
            | Operation::GetAttribute { .. }
            | Operation::ListAttributes { .. }
            | Operation::RemoveAttribute { .. } => abilities.user_attributes,
            Operation::Fork { does } => self.can(&does.0),
            _ => true,
        }
    }

    /// Runs a sequence in a new directory of each, and compares after each operation and at the end.
    fn run(&self, sequence: &[Operation]) -> Result<(), Disagreement> {
        let mut ordinary = World::new(self.place.at("plain/run"));
        let mut mount = World::new(self.mount.file("run"));
        let result = in_step(&mut ordinary, &mut mount, sequence);
        ordinary.remove().expect("the ordinary directory removed");
        let removed = mount.remove().map_err(|error| Disagreement {
            at: "removing everything".into(),
            ordinary: "done".into(),
            mount: error.to_string(),
        });
        result.and(removed)
    }

    /// Fails with the shortest sequence found that fails in the same place.
    fn explain(&self, seed: u64, sequence: Vec<Operation>, first: &Disagreement) -> ! {
        let shortest = shrink::shrink(sequence, |candidate| self.run(candidate).is_err());
        let now = match self.run(&shortest) {
            Err(disagreement) => disagreement.to_string(),
            Ok(()) => "agrees now: a matter of time, or of what was there before".into(),
        };
        let mut source = String::new();
        for operation in &shortest {
            source += &format!("        {operation:?},\n");
        }
        panic!(
            "with {:?} and FIFOFS_DIFFERENTIAL_CASES=1 FIFOFS_DIFFERENTIAL_SEED={seed}:\n{first}\n\
             Shrunk: {now}\n    agrees(&[\n{source}    ]);",
            self.setup
        );
    }
}

fn in_step(
    ordinary: &mut World,
    mount: &mut World,
    sequence: &[Operation],
) -> Result<(), Disagreement> {
    for (index, operation) in sequence.iter().enumerate() {
        let at = || format!("operation {index}, {operation:?}");
        compare(at, &ordinary.apply(operation), &mount.apply(operation))?;
    }
    for when in ["before the files are closed", "after the files were closed"] {
        let (expected, got) = (ordinary.survey(), mount.survey());
        let paths: Vec<&PathBuf> = expected.keys().chain(got.keys()).collect();
        for path in paths {
            let at = || format!("{}, {when}", path.display());
            let missing: Outcome = Err(rustix::io::Errno::NOENT);
            compare(
                at,
                expected.get(path).unwrap_or(&missing),
                got.get(path).unwrap_or(&missing),
            )?;
        }
        ordinary.close_all();
        mount.close_all();
    }
    Ok(())
}

fn compare(
    at: impl Fn() -> String,
    ordinary: &Outcome,
    mount: &Outcome,
) -> Result<(), Disagreement> {
    if ordinary == mount && !matches!(mount, Ok(outcome::Value::Misfit { .. })) {
        return Ok(());
    }
    Err(Disagreement {
        at: at(),
        ordinary: format!("{ordinary:?}"),
        mount: format!("{mount:?}"),
    })
}

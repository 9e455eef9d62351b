//! Random sequences.
//!
//! Knows what is likely to matter: so few names that operations meet, sizes around pages, an open file in most
//! slots. Invariant: one seed makes one sequence.

use super::operations::*;

/// What both filesystems can do: other operations are not tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Abilities {
    pub(crate) zero_range: bool,
    pub(crate) user_attributes: bool,
}

/// A name that is listed more often is used more often.
const PATHS: [Path; 14] = [
    "a", "a", "a", "b", "b", "c", "d", "d/a", "d/a", "d/a", "d/b", "d/e", "e", "e/a",
];
/// Some differ only in how a path is walked.
const ODD_PATHS: [Path; 6] = ["a/", "d/", "d/.", "d/../a", "a/b", "missing/a"];
const DIRECTORIES: [Path; 4] = ["d", "d", "d/e", "e"];
/// No link leads out of the sequence's directory, however its directories are renamed.
const TARGETS: [&str; 6] = ["a", "b", "d", "d/a", "missing", "c"];
const ATTRIBUTES: [&str; 2] = ["user.one", "user.two"];

/// SplitMix64, by Sebastiano Vigna: small, and good enough for choosing.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// With a chance of one in `n`.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn slot(&mut self) -> Slot {
        self.below(SLOTS as u64) as Slot
    }

    fn path(&mut self) -> Path {
        if self.one_in(25) {
            self.of(&ODD_PATHS)
        } else {
            self.of(&PATHS)
        }
    }

    /// An offset or a size: mostly small, often at a page, sometimes beyond what one request carries.
    fn position(&mut self) -> u64 {
        let base = self.of(&[0, 0, 0, 0, 4096, 4096, 8192, 65_536, 131_072, 1 << 20]);
        match self.below(4) {
            0 => base,
            1 => base + self.below(20),
            2 => base + self.below(9_000),
            _ => base.saturating_sub(self.below(20)),
        }
    }

    fn length(&mut self) -> usize {
        match self.below(12) {
            0 => 0,
            1..=4 => self.below(20) as usize,
            5..=8 => self.below(9_000) as usize,
            9 => 4096,
            10 => 65_536,
            _ => self.below(200_000) as usize,
        }
    }

    fn signed(&mut self) -> i64 {
        match self.below(30) {
            0 => -1,
            1 => -(self.position() as i64),
            _ => self.position() as i64,
        }
    }

    fn fill(&mut self) -> u8 {
        self.next() as u8
    }

    fn mode(&mut self) -> u32 {
        self.of(&[0o644, 0o600, 0o755, 0o777, 0o4755, 0o2644, 0o1777, 0o444])
    }

    fn flags(&mut self) -> Flags {
        let mut flags = self.of(&[RDONLY, WRONLY, RDWR, RDWR, RDWR]);
        for (modifier, _) in MODIFIERS {
            let rarity = match modifier {
                CREAT => 2,
                TRUNC | APPEND => 5,
                DIRECTORY => 30,
                _ => 12,
            };
            if self.one_in(rarity) {
                flags = flags | modifier;
            }
        }
        flags
    }
}

/// A sequence of `length` operations; a few more if a child needs them.
pub(crate) fn sequence(seed: u64, length: usize, abilities: Abilities) -> Vec<Operation> {
    let mut random = Random::new(seed);
    // Without these most operations of a short sequence would fail with ENOENT.
    let mut operations = vec![
        MakeDirectory {
            path: "d",
            mode: 0o755,
        },
        Open {
            slot: 0,
            path: "a",
            flags: random.of(&[RDWR, RDWR, WRONLY]) | CREAT,
            mode: 0o644,
        },
        Open {
            slot: 1,
            path: random.of(&["a", "b", "d/a"]),
            flags: random.of(&[RDWR, RDWR, WRONLY, RDONLY]) | CREAT,
            mode: 0o644,
        },
        Write {
            slot: 0,
            length: random.length(),
            fill: random.fill(),
        },
    ];
    while operations.len() < length {
        let mut operation = operation(&mut random, abilities);
        if random.one_in(12) {
            operation = Fork {
                does: child(operation),
            };
        }
        operations.push(operation);
    }
    operations
}

fn operation(random: &mut Random, abilities: Abilities) -> Operation {
    // Most operations are on open files.
    match random.below(10) {
        0 | 1 => opening(random),
        2..=5 => content(random, abilities),
        6 | 7 => names(random),
        8 => looking(random),
        _ => attributes(random, abilities),
    }
}

fn opening(random: &mut Random) -> Operation {
    match random.below(10) {
        0 => Close {
            slot: random.slot(),
        },
        1 => Dup {
            from: random.slot(),
            to: random.slot(),
        },
        _ => Open {
            slot: random.slot(),
            path: random.path(),
            flags: random.flags(),
            mode: random.mode(),
        },
    }
}

fn content(random: &mut Random, abilities: Abilities) -> Operation {
    let slot = random.slot();
    match random.below(22) {
        0..=3 => Write {
            slot,
            length: random.length(),
            fill: random.fill(),
        },
        4..=6 => PositionedWrite {
            slot,
            offset: random.signed(),
            length: random.length(),
            fill: random.fill(),
        },
        7 | 8 => Read {
            slot,
            length: random.length(),
        },
        9 | 10 => PositionedRead {
            slot,
            offset: random.signed(),
            length: random.length(),
        },
        11 | 12 => MapWrite {
            slot,
            offset: random.position() as usize,
            length: random.length(),
            fill: random.fill(),
            synchronize: random.one_in(2),
        },
        13 => MapRead {
            slot,
            offset: random.position() as usize,
            length: random.length(),
        },
        14 | 15 => Seek {
            slot,
            whence: random.of(&[
                Whence::Start,
                Whence::Start,
                Whence::Current,
                Whence::End,
                Whence::Data,
                Whence::Hole,
            ]),
            offset: random.signed(),
        },
        16 => FileTruncate {
            slot,
            length: random.signed(),
        },
        17 => Truncate {
            path: random.path(),
            length: random.signed(),
        },
        18 | 19 => Allocate {
            slot,
            how: allocation(random, abilities),
            offset: random.position(),
            length: random.length() as u64,
        },
        20 => Synchronize {
            slot,
            data_only: random.one_in(2),
        },
        _ => CopyRange {
            from: slot,
            from_offset: random.one_in(2).then(|| random.position()),
            to: random.slot(),
            to_offset: random.one_in(2).then(|| random.position()),
            length: random.length(),
        },
    }
}

fn allocation(random: &mut Random, abilities: Abilities) -> Allocation {
    let how = random.of(&[
        Allocation::Extend,
        Allocation::KeepSize,
        Allocation::PunchHole,
        Allocation::PunchHole,
        Allocation::ZeroRange,
        Allocation::ZeroRangeKeepSize,
        Allocation::PunchHoleAlone,
    ]);
    match how {
        Allocation::ZeroRange | Allocation::ZeroRangeKeepSize if !abilities.zero_range => {
            Allocation::PunchHole
        }
        how => how,
    }
}

fn names(random: &mut Random) -> Operation {
    match random.below(16) {
        0..=3 => Rename {
            from: random.path(),
            to: random.path(),
            how: random.of(&[
                Renaming::Replace,
                Renaming::Replace,
                Renaming::NoReplace,
                Renaming::Exchange,
            ]),
        },
        4 | 5 => Link {
            from: random.path(),
            to: random.path(),
            follow: random.one_in(3),
        },
        6 => SymbolicLink {
            target: random.of(&TARGETS),
            path: random.path(),
        },
        7 | 8 => Unlink {
            path: random.path(),
        },
        9..=12 => MakeDirectory {
            path: if random.one_in(4) {
                random.path()
            } else {
                random.of(&DIRECTORIES)
            },
            mode: random.mode(),
        },
        13 | 14 => RemoveDirectory {
            path: if random.one_in(4) {
                random.path()
            } else {
                random.of(&DIRECTORIES)
            },
        },
        _ => MakeFile {
            path: random.path(),
            mode: random.mode(),
        },
    }
}

fn looking(random: &mut Random) -> Operation {
    match random.below(8) {
        0 | 1 => FileStat {
            slot: random.slot(),
        },
        2..=4 => Stat {
            path: random.path(),
            follow: random.one_in(2),
        },
        5 => ReadLink {
            path: random.path(),
        },
        _ => List {
            path: if random.one_in(2) { "." } else { random.path() },
        },
    }
}

fn attributes(random: &mut Random, abilities: Abilities) -> Operation {
    let path = random.path();
    let name = random.of(&ATTRIBUTES);
    match random.below(if abilities.user_attributes { 10 } else { 5 }) {
        0 => ChangeMode {
            path,
            mode: random.mode(),
        },
        1 => FileChangeMode {
            slot: random.slot(),
            mode: random.mode(),
        },
        2 | 3 => SetTimes {
            path,
            seconds: random.below(1_000_000_000) as i64,
            follow: random.one_in(2),
        },
        4 => FileSetTimes {
            slot: random.slot(),
            seconds: random.below(1_000_000_000) as i64,
        },
        5 | 6 => SetAttribute {
            path,
            name,
            length: random.below(30) as usize,
            how: random.of(&[Setting::Any, Setting::Create, Setting::Replace]),
        },
        7 => GetAttribute {
            path,
            name,
            room: random.of(&[0, 5, 30]),
        },
        8 => ListAttributes { path },
        _ => RemoveAttribute { path, name },
    }
}

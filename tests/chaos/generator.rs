//! Random programs, and their readers.
//!
//! Knows what is likely to matter: sizes and pauses at the thresholds of fifofs, one file that most steps use, and
//! operations that are possible at their point. Invariant: one seed and one number make one trial.

use crate::common::Dice;
use crate::model::World;
use crate::plan::{Destination, Kind, ReaderPlan, Setup, Trial};
use crate::program::{
    Access, MAPS, NAMES, Name, Op, PROCESSES, Program, SLOTS, STEPS, Step, WATCHED,
};

const EXTENSIONS: [(&str, bool); 12] = [
    (".txt", true),
    (".log", true),
    (".json", true),
    (".txt", false),
    (".bin", false),
    (".zip", false),
    (".gz", false),
    (".mp4", false),
    (".tar", false),
    (".ts", false),
    ("", true),
    ("", false),
];

/// Limits for the bytes that a program may write, and the time that it may sleep, so that a trial takes moments.
const BYTES: u64 = 12 << 20;
const MILLISECONDS: u32 = 2_600;

pub(crate) fn trial(seed: u64, number: u64, setup: Setup) -> Trial {
    let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number);
    // Neighbouring numbers must give unlike trials.
    dice.next();
    let in_mount = matches!(setup, Setup::Mount { .. });
    let program = program(&mut dice, in_mount);
    let readers = (0..1 + dice.below(4)).map(|_| reader(&mut dice)).collect();
    let destination = dice.pick(&[
        Destination::Pipe,
        Destination::Pipe,
        Destination::SlowPipe,
        Destination::Output,
        Destination::Output,
        Destination::Redirected,
        Destination::Appended,
    ]);
    Trial {
        program,
        readers,
        destination,
    }
}

fn reader(dice: &mut Dice) -> ReaderPlan {
    let slow = dice.one_in(5);
    let kind = dice.pick(&Kind::ALL);
    // A reader of the next writing gets nothing if it comes after the last one has begun.
    let is_early = dice.one_in(3) || (kind.is_next() && !dice.one_in(4));
    ReaderPlan {
        kind,
        delay: (!is_early).then(|| milliseconds(dice)),
        chunk: if slow {
            65_536
        } else {
            dice.pick(&[4096, 65_536, 65_536, 1 << 20])
        },
        pause: if slow { 1 + dice.below(10) as u32 } else { 0 },
    }
}

/// Mostly moments; sometimes near the times that fifofs waits: 100 ms, 200 ms, 1 s.
fn milliseconds(dice: &mut Dice) -> u32 {
    let near = |dice: &mut Dice, threshold: u32, spread: usize| {
        threshold - spread as u32 / 2 + dice.below(spread) as u32
    };
    match dice.below(20) {
        0..=9 => dice.below(25) as u32,
        10..=12 => 25 + dice.below(60) as u32,
        13..=15 => near(dice, 100, 30),
        16 | 17 => near(dice, 200, 40),
        18 => 250 + dice.below(500) as u32,
        _ => near(dice, 1_040, 120),
    }
}

fn size(dice: &mut Dice) -> u64 {
    let threshold = match dice.below(40) {
        0..=13 => return 1 + dice.below(200) as u64,
        14..=19 => return 1 + dice.below(9_000) as u64,
        20..=27 => 4096,
        28..=35 => 65_536,
        36..=38 => 1 << 20,
        _ => 4 << 20,
    };
    match dice.below(3) {
        0 => threshold,
        1 => threshold - 1 - dice.below(20) as u64,
        _ => threshold + 1 + dice.below(20) as u64,
    }
}

fn program(dice: &mut Dice, in_mount: bool) -> Program {
    let (extension, text) = dice.pick(&EXTENSIONS);
    let names: [String; NAMES] = [
        format!("f{extension}"),
        if dice.one_in(2) {
            format!("f{extension}.part")
        } else {
            format!("new{extension}")
        },
        "other.dat".to_owned(),
    ];
    let mut program = Program {
        names,
        text,
        initial: (in_mount && dice.one_in(6)).then(|| size(dice)),
        steps: Vec::new(),
        killed_after: dice.one_in(14).then(|| dice.below(600) as u32),
    };
    let mut draft = Draft {
        world: World::new(&program),
        mark: 0,
        bytes: BYTES,
        milliseconds: MILLISECONDS,
        // Half of the programs do nothing that a pipe does not allow.
        plain: dice.one_in(2),
        steps: Vec::new(),
    };
    let length = 3 + dice.below(STEPS - 14);
    if dice.one_in(3) {
        draft.deliver_and_change(dice);
    } else {
        draft.begin(dice);
    }
    while draft.steps.len() < length {
        if let Some(step) = draft.step(dice) {
            draft.push(step);
        }
    }
    // Many programs rename the whole file into place at the end.
    let (whole, watched) = (draft.world.exists(1), draft.world.exists(WATCHED));
    if whole && (!watched || !draft.plain) && !dice.one_in(3) {
        let process = draft.process(dice);
        let op = Op::Rename {
            from: 1,
            to: WATCHED,
        };
        draft.push(Step { process, op });
    }
    program.steps = draft.steps;
    program
}

/// An unfinished program.
struct Draft {
    world: World,
    mark: u8,
    bytes: u64,
    milliseconds: u32,
    plain: bool,
    steps: Vec<Step>,
}

impl Draft {
    fn push(&mut self, step: Step) {
        self.world.apply(step);
        self.steps.push(step);
    }

    /// Makes the output, or a file beside it, so that later steps have a file to use.
    fn begin(&mut self, dice: &mut Dice) {
        let name = if dice.one_in(4) { 1 } else { WATCHED };
        let access = self.access(dice);
        self.push(Step {
            process: 0,
            op: Op::Open {
                slot: 0,
                name,
                access,
                create: true,
                truncate: access != Access::Append && !dice.one_in(4),
                exclusive: !self.world.exists(name) && dice.one_in(5),
            },
        });
    }

    /// Writes, waits until readers may have got the bytes, and then does something that they ought to learn of.
    fn deliver_and_change(&mut self, dice: &mut Dice) {
        self.plain = false;
        self.begin(dice);
        for _ in 0..1 + dice.below(3) {
            if let Some(op) = self.write(dice, 0) {
                self.push(Step { process: 0, op });
            }
        }
        let milliseconds = 105 + dice.below(150) as u32;
        self.milliseconds -= milliseconds;
        let op = Op::Sleep { milliseconds };
        self.push(Step { process: 0, op });
        let which = dice.below(4);
        // What is possible depends on how it was opened.
        for _ in 0..30 {
            let change = match which {
                0 | 1 => self.change(dice, 0),
                2 => self.map(dice, 0),
                _ => self.rename(dice).or_else(|| self.open(dice)),
            };
            if let Some(op) = change {
                self.push(Step { process: 0, op });
                if !matches!(op, Op::Map { .. }) {
                    return;
                }
            }
        }
    }

    fn access(&self, dice: &mut Dice) -> Access {
        dice.pick(&[
            Access::Write,
            Access::Write,
            Access::Write,
            Access::ReadWrite,
            Access::Append,
        ])
    }

    /// A new mark: the same mark at the same place would be the same bytes, and change nothing.
    fn next_mark(&mut self, dice: &mut Dice) -> u8 {
        if dice.one_in(8) {
            return 1 + dice.below(3) as u8;
        }
        self.mark = self.mark % 200 + 1;
        self.mark + 8
    }

    fn spend(&mut self, length: u64) -> u64 {
        let length = length.min(self.bytes.max(1));
        self.bytes = self.bytes.saturating_sub(length);
        length
    }

    fn process(&self, dice: &mut Dice) -> u8 {
        loop {
            let process = dice.below(PROCESSES) as u8;
            if self.world.is_alive(process) {
                return process;
            }
        }
    }

    /// A step that is possible now, depending on the dice.
    fn step(&mut self, dice: &mut Dice) -> Option<Step> {
        let process = self.process(dice);
        let op = match dice.below(if self.plain { 62 } else { 100 }) {
            0..=19 => self.write(dice, process)?,
            20..=35 => self.sleep(dice)?,
            36..=44 => self.open(dice)?,
            45..=51 => self.close(dice, process)?,
            52..=54 => self.fork(dice)?,
            55 | 56 => self.leave(dice, process)?,
            57..=61 => self.look(dice, process)?,
            62..=79 => self.change(dice, process)?,
            80..=87 => self.map(dice, process)?,
            _ => self.rename(dice)?,
        };
        Some(Step { process, op })
    }

    fn open_slot(&self, dice: &mut Dice, process: u8) -> Option<(u8, u64, Access)> {
        let slot = dice.below(SLOTS) as u8;
        let (length, access) = self.world.opened(process, slot)?;
        Some((slot, length, access))
    }

    fn write(&mut self, dice: &mut Dice, process: u8) -> Option<Op> {
        let (slot, _, _) = self.open_slot(dice, process)?;
        if self.plain && !self.world.is_at_end(process, slot) {
            return None;
        }
        let mark = self.next_mark(dice);
        let length = self.spend(size(dice));
        Some(Op::Write { slot, length, mark })
    }

    fn sleep(&mut self, dice: &mut Dice) -> Option<Op> {
        let milliseconds = milliseconds(dice).min(self.milliseconds);
        self.milliseconds -= milliseconds;
        (milliseconds > 0).then_some(Op::Sleep { milliseconds })
    }

    fn open(&mut self, dice: &mut Dice) -> Option<Op> {
        let slot = dice.below(SLOTS) as u8;
        let name = self.name(dice);
        let exists = self.world.exists(name);
        let mut access = self.access(dice);
        if self.plain && exists {
            access = Access::Append;
        }
        Some(Op::Open {
            slot,
            name,
            access,
            create: !exists || dice.one_in(2),
            truncate: !self.plain && access != Access::Append && dice.one_in(2),
            exclusive: !exists && dice.one_in(4),
        })
    }

    fn name(&self, dice: &mut Dice) -> Name {
        dice.pick(&[WATCHED, WATCHED, WATCHED, 1, 1, 2])
    }

    fn close(&mut self, dice: &mut Dice, process: u8) -> Option<Op> {
        let (slot, _, _) = self.open_slot(dice, process)?;
        if dice.one_in(5) {
            let to = dice.below(SLOTS) as u8;
            return (to != slot).then_some(Op::Dup { from: slot, to });
        }
        Some(Op::Close { slot })
    }

    fn fork(&mut self, dice: &mut Dice) -> Option<Op> {
        let child = 1 + dice.below(PROCESSES - 1) as u8;
        // Each number is one process, once.
        let is_new = |step: &Step| !matches!(step.op, Op::Fork { child: known } if known == child);
        self.steps.iter().all(is_new).then_some(Op::Fork { child })
    }

    fn leave(&mut self, dice: &mut Dice, process: u8) -> Option<Op> {
        // One process must go on.
        let others = (0..PROCESSES as u8).filter(|other| *other != process);
        if !others.into_iter().any(|other| self.world.is_alive(other)) {
            return None;
        }
        if dice.one_in(2) {
            let signal = dice.pick(&[libc::SIGKILL, libc::SIGKILL, libc::SIGTERM, libc::SIGSEGV]);
            return Some(Op::Kill { signal });
        }
        Some(Op::Exit)
    }

    fn look(&mut self, dice: &mut Dice, process: u8) -> Option<Op> {
        let name = self.name(dice);
        match dice.below(6) {
            0 => {
                let (slot, length, access) = self.open_slot(dice, process)?;
                let offset = dice.below(length as usize + 1) as u64;
                (access == Access::ReadWrite).then(|| Op::ReadBack {
                    slot,
                    offset,
                    length: size(dice),
                })
            }
            1 => self
                .world
                .may_read(process, name)
                .then_some(Op::ReadName { name }),
            2 | 3 => {
                let (slot, _, _) = self.open_slot(dice, process)?;
                Some(Op::Sync { slot })
            }
            _ => self.world.exists(name).then_some(Op::Size { name }),
        }
    }

    /// An offset in a file of this length, or a little past its end.
    fn offset(&self, dice: &mut Dice, length: u64) -> u64 {
        match dice.below(5) {
            0 => 0,
            1 => length,
            2 => length + dice.below(5_000) as u64,
            3 => length.saturating_sub(1 + dice.below(20) as u64),
            _ => dice.below(length as usize + 1) as u64,
        }
    }

    fn change(&mut self, dice: &mut Dice, process: u8) -> Option<Op> {
        let name = self.name(dice);
        if dice.one_in(14) {
            let length = self.offset(dice, self.world.size(name)?);
            return Some(Op::TruncateName { name, length });
        }
        let (slot, length, access) = self.open_slot(dice, process)?;
        let offset = self.offset(dice, length);
        let mark = self.next_mark(dice);
        let amount = size(dice);
        Some(match dice.below(10) {
            // pwrite(2) to an appending descriptor appends.
            0..=3 if access != Access::Append => Op::Patch {
                slot,
                offset,
                length: self.spend(amount),
                mark,
            },
            4 | 5 => Op::Truncate {
                slot,
                length: offset,
            },
            6 => Op::Allocate {
                slot,
                offset,
                length: self.spend(amount),
                keep_size: dice.one_in(2),
            },
            7 | 8 => Op::Punch {
                slot,
                offset,
                length: amount,
            },
            _ => Op::Zero {
                slot,
                offset,
                length: self.spend(amount),
            },
        })
    }

    fn map(&mut self, dice: &mut Dice, process: u8) -> Option<Op> {
        let map = dice.below(MAPS) as u8;
        let Some(mapped) = self.world.mapped(process, map) else {
            let (slot, length, access) = self.open_slot(dice, process)?;
            return (access == Access::ReadWrite && length > 0).then_some(Op::Map { slot, map });
        };
        if mapped == 0 || dice.one_in(5) {
            return Some(Op::Unmap { map });
        }
        let offset = dice.below(mapped as usize) as u64;
        Some(Op::Store {
            map,
            offset,
            length: size(dice).min(mapped - offset),
            mark: self.next_mark(dice),
        })
    }

    fn rename(&mut self, dice: &mut Dice) -> Option<Op> {
        let (one, other) = (self.name(dice), self.name(dice));
        let (first, second) = (self.world.exists(one), self.world.exists(other));
        match dice.below(10) {
            0..=5 if one != other && first => Some(Op::Rename {
                from: one,
                to: other,
            }),
            6 if one != other && first && second => Some(Op::Exchange { one, other }),
            7 if first && !second => Some(Op::Link {
                from: one,
                to: other,
            }),
            8 | 9 if first => Some(Op::Unlink { name: one }),
            _ => None,
        }
    }
}

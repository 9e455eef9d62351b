//! Programs: lists of operations on a few files of one directory, each done by one of a few processes.
//!
//! Knows the operations and how they are printed. The steps of a program are done one after the other, also across its
//! processes, so that the files it leaves do not depend on the clock: only the time of each step does.

use std::fmt;

use crate::model::World;

/// The most open files of a process, and mappings.
pub(crate) const SLOTS: usize = 4;
pub(crate) const MAPS: usize = 2;

/// The most processes of a program.
pub(crate) const PROCESSES: usize = 4;

/// The most steps of a program.
pub(crate) const STEPS: usize = 40;

/// A file of the program's directory, by its index in [`Program::names`]. The first is the one that readers read.
pub(crate) type Name = u8;

pub(crate) const WATCHED: Name = 0;

pub(crate) const NAMES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    ReadWrite,
    Append,
}

/// `mark` and the offset in the file determine the bytes: the same mark at the same offset means the same bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Open {
        slot: u8,
        name: Name,
        access: Access,
        create: bool,
        truncate: bool,
        exclusive: bool,
    },
    Close {
        slot: u8,
    },
    Dup {
        from: u8,
        to: u8,
    },
    Write {
        slot: u8,
        length: u64,
        mark: u8,
    },
    Patch {
        slot: u8,
        offset: u64,
        length: u64,
        mark: u8,
    },
    Truncate {
        slot: u8,
        length: u64,
    },
    TruncateName {
        name: Name,
        length: u64,
    },
    Allocate {
        slot: u8,
        offset: u64,
        length: u64,
        keep_size: bool,
    },
    Punch {
        slot: u8,
        offset: u64,
        length: u64,
    },
    Zero {
        slot: u8,
        offset: u64,
        length: u64,
    },
    /// Maps the whole file, shared and writable. The mapping stays when the slot is closed.
    Map {
        slot: u8,
        map: u8,
    },
    Store {
        map: u8,
        offset: u64,
        length: u64,
        mark: u8,
    },
    Unmap {
        map: u8,
    },
    Sync {
        slot: u8,
    },
    /// Reads back through a descriptor that is open for reading and writing.
    ReadBack {
        slot: u8,
        offset: u64,
        length: u64,
    },
    /// Opens it for reading only, reads everything and closes it.
    ReadName {
        name: Name,
    },
    Size {
        name: Name,
    },
    Rename {
        from: Name,
        to: Name,
    },
    Exchange {
        one: Name,
        other: Name,
    },
    Link {
        from: Name,
        to: Name,
    },
    Unlink {
        name: Name,
    },
    Sleep {
        milliseconds: u32,
    },
    /// Forks: process `child` continues with a copy of this one's state.
    Fork {
        child: u8,
    },
    Exit,
    /// The process is killed by this signal.
    Kill {
        signal: i32,
    },
}

impl Op {
    /// Whether it changes files, their names or their open descriptors.
    pub(crate) fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::Sync { .. }
                | Self::ReadBack { .. }
                | Self::ReadName { .. }
                | Self::Size { .. }
                | Self::Sleep { .. }
        )
    }

    /// Whether it has no effect if it fails. close(2) has one: the descriptor is closed all the same.
    pub(crate) fn may_be_refused(&self) -> bool {
        !matches!(
            self,
            Self::Close { .. } | Self::Unmap { .. } | Self::Exit | Self::Kill { .. }
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) process: u8,
    pub(crate) op: Op,
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) names: [String; NAMES],
    /// Whether its bytes are text.
    pub(crate) text: bool,
    /// The length of the watched file before the program starts, if there is one.
    pub(crate) initial: Option<u64>,
    pub(crate) steps: Vec<Step>,
    /// When all processes are killed, at whatever step.
    pub(crate) killed_after: Option<u32>,
}

impl Program {
    pub(crate) fn watched(&self) -> &str {
        &self.names[usize::from(WATCHED)]
    }

    /// Whether readers may have to get an error because their bytes are not valid any more: the program does more than
    /// making files and writing at their ends.
    pub(crate) fn rewrites(&self) -> bool {
        let mut world = World::new(self);
        self.steps.iter().any(|step| {
            let rewrites = match step.op {
                Op::Open { name, truncate, .. } => truncate && world.size(name).is_some(),
                Op::Rename { .. }
                | Op::Exchange { .. }
                | Op::Unlink { .. }
                | Op::Patch { .. }
                | Op::Truncate { .. }
                | Op::TruncateName { .. }
                | Op::Allocate { .. }
                | Op::Punch { .. }
                | Op::Zero { .. }
                | Op::Store { .. } => true,
                // Not at the end of the file any more.
                Op::Write { slot, .. } => !world.is_at_end(step.process, slot),
                _ => false,
            };
            world.apply(*step);
            rewrites
        })
    }

    /// Whether a process of it is killed.
    pub(crate) fn kills(&self) -> bool {
        let kills = |step: &Step| matches!(step.op, Op::Kill { .. });
        self.killed_after.is_some() || self.steps.iter().any(kills)
    }
}

/// `length` bytes from `offset` on: each word of 16 bytes contains the mark and its offset.
pub(crate) fn bytes(text: bool, mark: u8, offset: u64, length: u64) -> Vec<u8> {
    let end = offset + length;
    let start = offset / 16 * 16;
    let mut bytes = Vec::with_capacity((end - start) as usize + 16);
    let mut word = *b"m00 000000000000";
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for at in (start..end).step_by(16) {
        if text {
            word[1] = HEX[usize::from(mark >> 4)];
            word[2] = HEX[usize::from(mark & 15)];
            let mut rest = at / 16;
            for digit in word[4..15].iter_mut().rev() {
                *digit = HEX[(rest & 15) as usize];
                rest >>= 4;
            }
            word[15] = b'\n';
        } else {
            word[..8].copy_from_slice(&at.to_le_bytes());
            word[7] = mark;
            word[8..].copy_from_slice(&(!at).to_le_bytes());
        }
        bytes.extend_from_slice(&word);
    }
    bytes.truncate((end - start) as usize);
    bytes.drain(..(offset - start) as usize);
    bytes
}

/// FNV-1a, folded to numbers that cannot be mistaken for errors.
pub(crate) fn digest(bytes: &[u8]) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        hash ^= u64::from_le_bytes(word.try_into().expect("eight bytes"));
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }
    for byte in words.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    ((hash ^ bytes.len() as u64) & (i64::MAX as u64)) as i64
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.text { "text" } else { "binary" };
        writeln!(f, "files {:?}, {kind}", self.names)?;
        if let Some(length) = self.initial {
            writeln!(f, "before it: {} holds {length} bytes", self.watched())?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{number:3}  process {}: {:?}", step.process, step.op)?;
        }
        if let Some(milliseconds) = self.killed_after {
            writeln!(f, "killed, all of it, after {milliseconds} ms")?;
        }
        Ok(())
    }
}

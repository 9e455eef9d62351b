//! Which processes have files open that they only inherited.
//!
//! Knows the steps of a program in their order, and the model before each.

use std::collections::{HashMap, HashSet};

use crate::model::World;
use crate::program::{Op, Step};

/// Processes that have files open which they only inherited.
#[derive(Default)]
pub(crate) struct Forks {
    parents: HashMap<u8, u8>,
    /// Which process did anything with which file itself.
    used: HashSet<(u8, usize)>,
}

impl Forks {
    pub(crate) fn note(&mut self, before: &World, step: Step) {
        let slot = match step.op {
            Op::Fork { child } => {
                self.parents.insert(child, step.process);
                return;
            }
            Op::Open { name, .. } => {
                // A file that is made is nobody's yet.
                if let Some(standing) = before.standing(name) {
                    self.used.insert((step.process, standing.inode));
                }
                return;
            }
            Op::Write { slot, .. }
            | Op::Patch { slot, .. }
            | Op::Truncate { slot, .. }
            | Op::Allocate { slot, .. }
            | Op::Punch { slot, .. }
            | Op::Zero { slot, .. }
            | Op::Map { slot, .. } => slot,
            _ => return,
        };
        if let Some(inode) = before.file_in(step.process, slot) {
            self.used.insert((step.process, inode));
        }
    }

    /// Whether a process is a mere fork of one that still has the file open, and did nothing with it itself.
    pub(crate) fn is_idle(&self, before: &World, process: u8, inode: usize) -> bool {
        let parent = self.parents.get(&process);
        !self.used.contains(&(process, inode))
            && parent.is_some_and(|parent| before.holds_for_writing(*parent, inode))
    }
}

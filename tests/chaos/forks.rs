//! Finds processes that have files open which they only inherited.
//!
//! Knows the steps of a program in their order, and the model before each.

use std::collections::{HashMap, HashSet};

use crate::model::World;
use crate::program::{Op, Step};

/// Processes that have files open which they only inherited.
#[derive(Default)]
pub(crate) struct Forks {
    parents: HashMap<u8, u8>,
    /// Which process opened which file itself.
    opened: HashSet<(u8, usize)>,
}

impl Forks {
    pub(crate) fn note(&mut self, before: &World, step: Step) {
        match step.op {
            Op::Fork { child } => {
                self.parents.insert(child, step.process);
            }
            Op::Open { name, .. } => {
                // No process has a new file open yet.
                if let Some(standing) = before.standing(name) {
                    self.opened.insert((step.process, standing.inode));
                }
            }
            _ => {}
        }
    }

    /// Whether a process is a mere fork of one that still has the file open, and did not open it itself.
    pub(crate) fn is_idle(&self, before: &World, process: u8, inode: usize) -> bool {
        let parent = self.parents.get(&process);
        !self.opened.contains(&(process, inode))
            && parent.is_some_and(|parent| before.holds_for_writing(*parent, inode))
    }
}

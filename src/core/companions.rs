//! Companions: readers in the process group of a writer, as are the later steps
//! of the script that one belongs to.
//!
//! Such a step may be about to make of the file what it is to be in the end
//! (`cp a f; sed -i … f`, `ar`, whoever takes a lock on it). So when the file has
//! been closed for as long as a reopening is waited for, companions get it as it
//! is, and for everybody else it is done only when they have had time to write it
//! anew: while they have it open and a second more, but no longer than five.

use super::generation::Visitor;
use super::ids::ReaderId;
use super::{Core, Env};

/// What an open file of a companion holds up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// The generation's number.
    generation: u64,
    /// The process that opened it.
    pid: i32,
}

impl Core {
    /// The generation of this file, as its number, that a member of this process
    /// group is a companion of.
    pub(super) fn accompanied(&self, ino: u64, group: Option<i32>) -> Option<u64> {
        let generation = self.generation(ino)?;
        let is_companion = generation.is_active() && group.is_some_and(|g| generation.has_group(g));
        is_companion.then_some(generation.number)
    }

    /// Whether a waiting reader is a companion of those who write this file. One
    /// whose path leads nowhere just now waits like everybody.
    pub(super) fn is_companion(&self, id: ReaderId, ino: u64) -> bool {
        let reader = self.readers.get(&id).filter(|reader| !reader.absent);
        let group = reader.and_then(|reader| reader.group);
        self.accompanied(ino, group).is_some()
    }

    /// How many companions wait for this file.
    pub(super) fn companions(&self, ino: u64) -> usize {
        let readers = self
            .files
            .get(&ino)
            .into_iter()
            .flat_map(|file| &file.readers);
        let is_companion = |id: &&ReaderId| self.is_companion(**id, ino);
        readers.filter(is_companion).count()
    }

    /// A companion has the file as it is.
    pub(super) fn begin_visit(
        &mut self,
        ino: u64,
        group: Option<i32>,
        visitor: Visitor,
    ) -> Option<Visit> {
        let generation = self.accompanied(ino, group)?;
        let pid = visitor.pid;
        self.generation_mut(ino)?.visitors.push(visitor);
        Some(Visit { generation, pid })
    }

    /// The companion has closed it.
    pub(super) fn end_visit(&mut self, env: Env<'_>, ino: u64, visit: Visit) {
        let generation = self.generation_mut(ino);
        if let Some(generation) = generation.filter(|g| g.number == visit.generation) {
            let visitors = &mut generation.visitors;
            if let Some(at) = visitors.iter().position(|v| v.pid == visit.pid) {
                visitors.swap_remove(at);
            }
            generation.visited = Some(env.now.monotonic);
            self.touched.generations.add(ino);
        }
    }
}

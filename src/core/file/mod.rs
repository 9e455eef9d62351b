//! A regular file beyond its inode: its bytes and its generation.
//!
//! Owns the state of one file; knows nothing of its names, and its readers by number only. The invariants are
//! kept here and in the files beside this one; no other code can change the fields:
//!
//! ```text
//! content     changes of bytes; a change of delivered bytes is noticed, and what a pipe could
//!             not do is refused
//! generation  one writing: its writers, its way of delivery, what readers got of it, whether it is done
//! steps       later steps of the script that writes it, which may get it before it is done
//! view        what there is for a reader
//! flow        how far writers may be ahead of readers, and the writes that wait
//! writeback   whether the flusher has the file in hand
//! format      what kind of file it is, as far as that matters
//! ```

mod content;
mod flow;
mod format;
mod format_table;
pub(crate) mod generation;
mod steps;
mod view;
mod writeback;
mod writer;

use std::collections::BTreeSet;

use super::clock::Monotonic;
use super::ids::{FifoId, ReaderId};
use super::spool::{Pool, Spool};
use flow::Flow;
use format::Format;
use generation::{Generation, Phase, Processes, Way, Writer};
use writeback::Writeback;

pub(super) use flow::Pace;
pub(super) use format::by_extension;
pub(super) use steps::{OpenStep, Step};
pub(super) use view::{View, Viewer};
#[cfg(test)]
pub(super) use writeback::Flushing;
pub(super) use writeback::Order;

/// What is known of a regular file beyond its inode.
#[derive(Debug)]
pub(super) struct File {
    spool: Spool,
    /// The present or the last one.
    generation: Generation,
    /// Readers that wait for this file, and those that have got all of it and have it open still.
    readers: BTreeSet<ReaderId>,
    flow: Flow,
    writeback: Writeback,
    format: Option<&'static Format>,
    /// For formats that end in zeros: one past the last byte that is not.
    zeros_from: u64,
    /// A warning for users, shown by `ls`.
    warning: Option<String>,
    /// Whether writes fail because its capture or its last reader has gone.
    hung_up: bool,
    /// The virtual FIFO that it is a message of.
    fifo: Option<FifoId>,
}

impl File {
    pub(super) fn new(pool: &Pool) -> Self {
        File {
            spool: Spool::new(pool),
            generation: Generation::default(),
            readers: BTreeSet::new(),
            flow: Flow::default(),
            writeback: Writeback::default(),
            format: None,
            zeros_from: 0,
            warning: None,
            hung_up: false,
            fifo: None,
        }
    }

    /// Its bytes, read-only.
    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Spills a piece of it, to free memory; false if there is nothing to spill.
    pub(super) fn spill_one(&mut self) -> Result<bool, rustix::io::Errno> {
        self.spool.spill_one()
    }

    /// The present or the last generation.
    pub(super) fn generation(&self) -> &Generation {
        &self.generation
    }

    /// The same, to note what its writers, its readers and the steps of its script do.
    pub(super) fn generation_mut(&mut self) -> &mut Generation {
        &mut self.generation
    }

    /// Whether a generation is under way.
    pub(super) fn is_active(&self) -> bool {
        self.generation.is_active()
    }

    /// The phase of the present or the last generation.
    pub(super) fn phase(&self) -> Phase {
        self.generation.phase()
    }

    /// How the present or the last generation is delivered, once chosen.
    pub(super) fn way(&self) -> Option<Way> {
        Some(self.generation.chosen()?.0)
    }

    /// Whether the present or the last generation is delivered like a pipe.
    pub(super) fn is_stream(&self) -> bool {
        self.way() == Some(Way::Stream)
    }

    /// Its readers.
    pub(super) fn readers(&self) -> &BTreeSet<ReaderId> {
        &self.readers
    }

    pub(super) fn add_reader(&mut self, id: ReaderId) {
        self.readers.insert(id);
        self.generation.note_reader();
    }

    pub(super) fn remove_reader(&mut self, id: ReaderId) {
        self.readers.remove(&id);
    }

    /// Begins a new generation after the last one. Returns whether readers were told that that was done.
    pub(super) fn begin_generation(&mut self) -> bool {
        // Gaps that an earlier generation left are zeros for good.
        self.spool.fill_gaps();
        self.format = None;
        let was_told = self.generation.is_told_done();
        self.generation = self.generation.next();
        was_told
    }

    /// A reader of the generation before, which got bytes up to there, goes on with this one, or would if it
    /// had not left.
    pub(super) fn goes_on_with(&mut self, position: u64) {
        self.generation.note_reader();
        self.generation.note_delivered(position);
    }

    /// A handle that may write, through the kernel's cache or not, is closed. Says whether it was the last.
    pub(super) fn close_for_writing(&mut self, now: Monotonic, cached: bool) -> bool {
        if cached {
            self.writeback.closed();
        }
        self.generation.closed(now);
        !self.generation.is_open()
    }

    /// Its writers.
    pub(super) fn writers(&self) -> &[Writer] {
        self.generation.writers()
    }

    /// Whether it is empty, and a process other than these, which wait for it, may still write it.
    pub(super) fn awaits_content(&self, processes: &dyn Processes, readers: &[i32]) -> bool {
        self.is_active()
            && self.spool.len() == 0
            && self.generation.awaits_content(processes, readers)
    }

    /// The state of its write-back.
    pub(super) fn writeback(&self) -> &Writeback {
        &self.writeback
    }

    /// The same, to be changed.
    pub(super) fn writeback_mut(&mut self) -> &mut Writeback {
        &mut self.writeback
    }

    /// Whether programs read its format from the end, and auto chose its way of delivery.
    pub(super) fn is_read_from_end(&self) -> bool {
        self.generation.is_chosen_by_auto()
            && self.format.is_some_and(|format| format.read_from_end)
    }

    /// The warning for users.
    pub(super) fn warning(&self) -> Option<&String> {
        self.warning.as_ref()
    }

    pub(super) fn warn(&mut self, message: String) {
        self.warning = Some(message);
    }

    /// Its readers are gone: writes fail from now on. Returns whether this is new.
    pub(super) fn hang_up(&mut self) -> bool {
        !std::mem::replace(&mut self.hung_up, true)
    }

    /// Whether writes fail because its readers are gone.
    pub(super) fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    /// The virtual FIFO that it is a message of.
    pub(super) fn fifo(&self) -> Option<FifoId> {
        self.fifo
    }

    /// Whether it is the first message of a virtual FIFO, not written yet.
    pub(super) fn is_empty_fifo(&self) -> bool {
        self.fifo.is_some() && !self.generation.has_begun()
    }

    /// Makes it a message of this FIFO.
    pub(super) fn becomes_message(&mut self, of: FifoId) {
        self.fifo = Some(of);
    }
}

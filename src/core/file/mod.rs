//! A regular file beyond its inode: its bytes, and the writing of it.
//!
//! Owns what is known of one file; knows neither its names nor its readers, but by number. The invariants
//! are kept here and in the files beside this one, which nobody else can write to:
//!
//! ```text
//! content     bytes come and go; what readers were given and is changed is noticed, what a pipe could
//!             not do is refused
//! generation  one writing: who writes, how it is delivered, what readers had of it, whether it is done
//! steps       who else may have it meanwhile: the later steps of the script that writes it
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
    generation: Option<Generation>,
    /// Whoever waits for this file, and whoever was told all of it and has it
    /// open still.
    readers: BTreeSet<ReaderId>,
    flow: Flow,
    writeback: Writeback,
    format: Option<&'static Format>,
    /// For formats that end in zeros: one past the last byte that is not.
    zeros_from: u64,
    /// What users should know, shown by `ls`.
    warning: Option<String>,
    /// Whether writes fail because whoever captured it has gone away.
    hung_up: bool,
    /// The virtual FIFO of which it is a message.
    fifo: Option<FifoId>,
}

/// What an opening for writing was.
pub(super) struct Opening {
    /// Which writing of the file.
    pub(super) generation: u64,
    /// Whether the writer is a stranger to those who have it open.
    pub(super) by_stranger: bool,
}

impl File {
    pub(super) fn new(pool: &Pool) -> Self {
        File {
            spool: Spool::new(pool),
            generation: None,
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

    /// Its bytes, to look at.
    pub(super) fn spool(&self) -> &Spool {
        &self.spool
    }

    /// Gives memory back, if there is something to spill.
    pub(super) fn spill_one(&mut self) -> Result<bool, rustix::io::Errno> {
        self.spool.spill_one()
    }

    /// The present or the last generation.
    pub(super) fn generation(&self) -> Option<&Generation> {
        self.generation.as_ref()
    }

    /// The same, for what its writers and the steps of its script do.
    pub(super) fn generation_mut(&mut self) -> Option<&mut Generation> {
        self.generation.as_mut()
    }

    /// The present generation.
    pub(super) fn active(&self) -> Option<&Generation> {
        self.generation()
            .filter(|generation| generation.is_active())
    }

    /// Whether a generation is under way.
    pub(super) fn is_active(&self) -> bool {
        self.active().is_some()
    }

    /// Where the present or the last generation stands.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.generation().map(Generation::phase)
    }

    /// How the present or the last generation is delivered, once chosen.
    pub(super) fn way(&self) -> Option<Way> {
        Some(self.generation()?.chosen()?.0)
    }

    /// Whether the present or the last generation is delivered like a pipe.
    pub(super) fn is_stream(&self) -> bool {
        self.way() == Some(Way::Stream)
    }

    /// Whether bytes of it are lost.
    pub(super) fn is_lost(&self) -> bool {
        self.generation().is_some_and(Generation::is_lost)
    }

    /// Those who read it.
    pub(super) fn readers(&self) -> &BTreeSet<ReaderId> {
        &self.readers
    }

    /// One more reads it.
    pub(super) fn add_reader(&mut self, id: ReaderId) {
        self.readers.insert(id);
        if let Some(generation) = &mut self.generation {
            generation.note_reader();
        }
    }

    /// One reads it no more.
    pub(super) fn remove_reader(&mut self, id: ReaderId) {
        self.readers.remove(&id);
    }

    /// A reader was given bytes up to there, or what it was given of another file is the same.
    pub(super) fn note_delivered(&mut self, to: u64) {
        if let Some(generation) = &mut self.generation {
            generation.note_delivered(to);
        }
    }

    /// Makes a new generation, the last one being over. Says whether readers were told that it was.
    pub(super) fn begin_generation(&mut self) -> bool {
        // What an earlier generation left as gaps are zeros, for good.
        self.spool.fill_gaps();
        self.format = None;
        let last = self.generation.as_ref();
        let was_told = last.is_some_and(Generation::is_told_done);
        self.generation = Some(Generation::after(last));
        was_told
    }

    /// Chooses how the present generation is delivered, if nothing has.
    pub(super) fn choose(&mut self, way: Way, reason: String) {
        if let Some(generation) = &mut self.generation {
            generation.choose(way, reason, false);
        }
    }

    /// Somebody reads the present generation, or would if it were not gone, and has had bytes up to there
    /// of the one before.
    pub(super) fn goes_on_with(&mut self, position: u64) {
        if let Some(generation) = &mut self.generation {
            generation.note_reader();
            generation.note_delivered(position);
        }
    }

    /// It is opened for writing, in a generation that has begun.
    pub(super) fn open_for_writing(
        &mut self,
        now: Monotonic,
        flags: i32,
        writer: Writer,
    ) -> Option<Opening> {
        let length = self.spool.len();
        let generation = self.generation.as_mut()?;
        Some(Opening {
            by_stranger: generation.open(now, flags, writer, length),
            generation: generation.number(),
        })
    }

    /// A handle that may write, through the kernel's cache or not, is closed. Says whether it was the last.
    pub(super) fn close_for_writing(&mut self, now: Monotonic, cached: bool) -> bool {
        if cached {
            self.writeback.closed();
        }
        self.generation.as_mut().is_some_and(|generation| {
            generation.closed(now);
            !generation.is_open()
        })
    }

    /// Who wrote it.
    pub(super) fn writers(&self) -> &[Writer] {
        self.generation().map_or(&[], Generation::writers)
    }

    /// Whether it is empty and may get its content yet, for which these processes wait.
    pub(super) fn awaits_content(&self, processes: &dyn Processes, readers: &[i32]) -> bool {
        let generation = self.active().filter(|_| self.spool.len() == 0);
        generation.is_some_and(|generation| generation.awaits_content(processes, readers))
    }

    /// Whether a member of this process group is a step of the script that writes it.
    pub(super) fn is_step(&self, group: Option<i32>) -> bool {
        self.generation()
            .is_some_and(|generation| generation.is_step(group))
    }

    /// Whether the flusher has it in hand.
    pub(super) fn writeback(&self) -> &Writeback {
        &self.writeback
    }

    /// The same, to be changed.
    pub(super) fn writeback_mut(&mut self) -> &mut Writeback {
        &mut self.writeback
    }

    /// Whether it is of a format that programs read from its end, and delivered by what auto chose.
    pub(super) fn is_read_from_end(&self) -> bool {
        self.generation().is_some_and(Generation::is_chosen_by_auto)
            && self.format.is_some_and(|format| format.read_from_end)
    }

    /// What users should know.
    pub(super) fn warning(&self) -> Option<&String> {
        self.warning.as_ref()
    }

    pub(super) fn warn(&mut self, message: String) {
        self.warning = Some(message);
    }

    /// Nobody reads it any more: writes fail from now on. Says whether they did not before.
    pub(super) fn hang_up(&mut self) -> bool {
        !std::mem::replace(&mut self.hung_up, true)
    }

    /// Whether writes fail since nobody reads it any more.
    pub(super) fn has_hung_up(&self) -> bool {
        self.hung_up
    }

    /// The virtual FIFO of which it is a message.
    pub(super) fn fifo(&self) -> Option<FifoId> {
        self.fifo
    }

    /// Whether it is a virtual FIFO's to which nobody has written.
    pub(super) fn is_empty_fifo(&self) -> bool {
        self.fifo.is_some() && self.generation.is_none()
    }

    /// From now on it is a message of that.
    pub(super) fn becomes_message(&mut self, of: FifoId) {
        self.fifo = Some(of);
    }
}

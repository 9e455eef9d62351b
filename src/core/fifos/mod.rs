//! Virtual FIFOs: names that are a FIFO for their readers and a regular file for their writers.
//!
//! ```text
//!            open for writing           closed for good
//!   empty ─────────────────────► written ─────────────► unread
//!     ▲                             │ taken                │ taken
//!     └─────────────────────────────┴──────────────────────┘ by the first reader
//! ```
//!
//! Each writing, a *message*, has an inode of its own. The name leads to the present one. Once that is closed
//! and taken, the name is given to the next, whose writer may be waiting already; the old one stays, without
//! a name, for its readers. Readers open another inode, the *reading end*, one for all messages: the kernel
//! locks the inode of a write that waits, and a reader that waited for that lock could not even close.
//!
//! An OPEN gets there by ESTALE, upon which the kernel looks the name up again, once for each call: a reader
//! then finds the reading end, and a writer that must wait finds its own later message. So the kernel may not
//! cache names of FIFOs.
//!
//! Invariant: the present message is a file with this FIFO's number, and has the FIFO's names.

pub(in crate::core) mod programs;

pub(crate) use programs::makes_anew;

use std::collections::BTreeMap;

use super::clock::Monotonic;
use super::generation::Writer;
use super::ids::FifoId;
use super::request::Caller;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Fifos {
    pub(super) by_id: BTreeMap<FifoId, Fifo>,
}

impl Fifos {
    /// The inode of the present message, unless the FIFO is gone.
    pub(super) fn present(&self, id: FifoId) -> Option<u64> {
        Some(self.by_id.get(&id)?.current)
    }
}

#[derive(Debug)]
pub(super) struct Fifo {
    /// The inode of the present message.
    pub(super) current: u64,
    /// Whether readers have taken that, so that no later reader gets it.
    pub(super) taken: bool,
    /// Later messages, whose writers have come already.
    pub(super) queue: Vec<Queued>,
}

impl Fifo {
    /// Whether an OPEN waits to write the next message.
    pub(super) fn has_next_writer(&self) -> bool {
        self.queue.iter().any(|queued| queued.open.is_some())
    }
}

/// A message whose writer came before the present message was over.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) ino: u64,
    pub(super) thread: i32,
    /// Its OPEN, once that waits.
    pub(super) open: Option<HeldOpen>,
    /// When its writer looked it up.
    pub(super) found: Monotonic,
}

/// An OPEN for writing that waits.
#[derive(Debug)]
pub(super) struct HeldOpen {
    pub(super) caller: Caller,
    pub(super) flags: i32,
    pub(super) writer: Writer,
}

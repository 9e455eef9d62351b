//! A request under way: the state that it changes, its time, and its effects.
//!
//! Every handler is a method of [`Operation`]. Each part of the state is a type with private fields that keeps
//! its own invariants; an operation has access to all of them, like the guard of a lock, and to the effects so
//! far.
//!
//! ```text
//! handling: the one way in; settling: the examination of what a handler has marked
//! writing, resizing, rewriting, ending, backpressure, releasing: for writers
//! opening, looking_again, doors, following, reading, polling: for readers
//! capturing: for readers in this process
//! paths, metadata, control, fifos: names, and what stands at them
//! publishing, metrics: for users
//! ```

mod backpressure;
mod capturing;
mod control;
mod doors;
mod ending;
mod fifos;
mod following;
mod handling;
mod looking_again;
mod metadata;
mod metrics;
mod opening;
mod paths;
mod polling;
mod publishing;
mod reading;
mod releasing;
mod resizing;
mod rewriting;
mod settling;
mod writing;

use std::ops::{Deref, DerefMut};

use rustix::io::Errno;

use super::clock::{Monotonic, Timestamp};
use super::effects::{Effect, Effects, Reply};
use super::generation::Processes;
use super::ids::Unique;
use super::{Core, Env};

/// A request under way.
pub(super) struct Operation<'a> {
    pub(super) core: &'a mut Core,
    /// The time of the request, for deadlines.
    pub(super) now: Monotonic,
    /// The same, for file times.
    pub(super) wall: Timestamp,
    /// Facts about other processes.
    pub(super) processes: &'a dyn Processes,
    pub(super) effects: Effects,
}

impl<'a> Operation<'a> {
    pub(super) fn new(core: &'a mut Core, env: Env<'a>) -> Self {
        Operation {
            core,
            now: env.now.monotonic,
            wall: env.now.wall,
            processes: env.processes,
            effects: Effects::default(),
        }
    }

    /// Answers a request that has waited: it waits no longer.
    pub(super) fn reply(&mut self, unique: Unique, reply: Result<Reply, Errno>) {
        self.waiting.remove(&unique);
        let reply = reply.unwrap_or_else(Reply::Refused);
        self.effects.push(Effect::Reply { unique, reply });
    }
}

impl Deref for Operation<'_> {
    type Target = Core;

    fn deref(&self) -> &Core {
        self.core
    }
}

impl DerefMut for Operation<'_> {
    fn deref_mut(&mut self) -> &mut Core {
        self.core
    }
}

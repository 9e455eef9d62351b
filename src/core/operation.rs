//! A request under way: the state that it changes, when that happens, and what comes of it.
//!
//! Every handler is a method of [`Operation`]. What one part of the state alone must see to is that part's own
//! affair, a type with private fields; an operation has hold of all of them, as a lock's guard has, and of the
//! effects so far.

use std::ops::{Deref, DerefMut};

use rustix::io::Errno;

use super::clock::{Monotonic, Timestamp};
use super::effects::{Effect, Effects, Reply};
use super::generation::Processes;
use super::ids::Unique;
use super::{Core, Env};

/// What a handler works on.
pub(super) struct Operation<'a> {
    pub(super) core: &'a mut Core,
    /// When it happens, for waiting.
    pub(super) now: Monotonic,
    /// The same, for file times.
    pub(super) wall: Timestamp,
    /// What other processes are doing.
    pub(super) processes: &'a dyn Processes,
    /// What is to be done outside.
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

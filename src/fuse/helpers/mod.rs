//! The two helper processes of a mount.
//!
//! Knows how to fork them, how they are talked to and what they do; nothing of requests. The
//! invariant: a helper has neither descriptors nor memory of the daemon but what it needs, and ends
//! with it.

mod flusher;
mod lines;
mod memory;
mod message;
mod process;
mod watchdog;

pub(super) use flusher::Flusher;
pub(super) use message::pair as message_pair;
pub(super) use watchdog::{OwnUse, Watchdog};

//! The two helper processes of a mount.
//!
//! Knows how to fork them, their messages and their work; nothing of requests. The invariant: a helper keeps
//! only the descriptors and memory of the daemon that it needs, and ends with it.

mod flusher;
mod lines;
mod memory;
mod message;
mod process;
mod watchdog;

pub(super) use flusher::Flusher;
pub(super) use message::pair as message_pair;
pub(super) use watchdog::{OwnUse, Watchdog};

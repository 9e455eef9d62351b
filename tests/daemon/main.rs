//! The daemon: how it starts, what it refuses, its bounds, its output, access, and that nothing is left when it
//! ends, however it ends. The tests are in the modules, by subject.

#![cfg(feature = "cli")]

mod access;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod elsewhere;
mod ends;
mod mounting;
mod refusals;
mod shown;
mod siblings;
mod starts;
mod users;
mod watched;

/// Runs a command as a user that is not the owner.
const AS_NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

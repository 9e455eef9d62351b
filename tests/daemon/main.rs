//! The daemon: how it starts, what it refuses, what it bounds, what it shows, who may look, and that nothing is left
//! when it ends, however it ends. The tests are in the modules, by subject.

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

/// Whoever is not the owner.
const AS_NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

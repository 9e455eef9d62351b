//! What waiting readers get: bytes as they are written, every one of them, to the right end, and never stale
//! bytes that look whole. The tests are in the modules, by subject.

#![cfg(feature = "cli")]

mod arrival;
mod cat;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
mod doors;
mod failures;
mod fifos;
mod generations;
mod names;
mod replacement;
mod rewriting;
mod splicing;
mod waiting;

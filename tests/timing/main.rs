//! What depends on the clock: how soon bytes arrive, how soon who waits dies, how long others are held up, what an idle
//! mount costs. Nowhere else does a test fail because the machine is busy; so these run alone, one after the other,
//! after the others: `cargo test --test timing -- --test-threads=1`, as scripts/test does. A plain `cargo test` does
//! not start them.

#![cfg(feature = "cli")]

mod arrival;
mod bystanders;
#[path = "../common/mod.rs"]
mod common;
mod death;
mod ends;
mod idle;

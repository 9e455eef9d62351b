//! What depends on the clock: how soon bytes arrive, how soon waiting processes die, how long others are delayed, the
//! cost of an idle mount. No other test fails because the machine is busy; so these run alone, one at a time, after the
//! others: `cargo test --test timing -- --test-threads=1`, as scripts/test does. A plain `cargo test` does not run
//! them.

#![cfg(feature = "cli")]

mod arrival;
mod bystanders;
#[path = "../common/mod.rs"]
mod common;
mod death;
mod ends;
mod idle;

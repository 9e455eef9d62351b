//! The mount as an ordinary filesystem: trees there and back, git, and other operations of programs besides
//! writing. (`scripts/selfbuild` builds this project in it.) The tests are in the modules, by subject.

#![cfg(feature = "cli")]

mod attributes;
#[path = "../common/mod.rs"]
mod common;
mod contents;
mod names;
mod sharing;
mod trees;

use std::fs::File;
use std::time::Duration;

use common::Mount;

const LIMIT: Duration = Duration::from_secs(60);

/// A new file of the mount, open for reading and writing.
fn new_file(mount: &Mount, name: &str) -> File {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(mount.file(name))
        .expect("a new file")
}

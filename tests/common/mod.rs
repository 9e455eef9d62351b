//! The harness of the integration tests.
//!
//! It knows how to start the real `fifofs` on a real directory, how to run real programs beside it, and how to
//! end everything whatever happens. It knows nothing of the implementation.
//!
//! Invariant: **no test hangs and none leaves anything behind.** Every program is waited for with a deadline and
//! then killed with its process group; a mount that outlives its test, or its limit, is aborted through fusectl
//! and detached, which frees every process that is stuck in it. When a deadline passes, the panic contains the
//! state of the world: `fifofs ls`, the end of the daemon's log, and where the processes hang.
//!
//! The test process itself never opens a file of a mount for writing if readers are to wait for it: descendants
//! of a writer never wait, and every process that is started here is a descendant.

// Every test binary is a crate of its own and uses only a part of this.
#![allow(dead_code, unused_imports)]

mod dice;
mod mount;
mod old_kernel;
mod place;
mod procfs;
mod program;
mod script;
#[path = "../../src/testing.rs"]
mod testing;
pub(crate) mod waiting;

use std::env;
use std::path::PathBuf;

pub(crate) use dice::Dice;
pub(crate) use mount::{Mount, mount_command};
pub(crate) use old_kernel::without_pidfd_info;
pub(crate) use place::{MARKER, Place};
pub(crate) use procfs::{Proc, connection_of, memory_rss, parked_in_group, process, processes};
pub(crate) use program::{Chunk, Finished, Process, signal};
pub(crate) use script::python;
pub(crate) use testing::{SOON, until};

/// The command under test.
pub(crate) const FIFOFS: &str = env!("CARGO_BIN_EXE_fifofs");

/// Checks that both are the same bytes; otherwise prints where they differ.
#[track_caller]
pub(crate) fn assert_same(got: &[u8], expected: &[u8]) {
    if got == expected {
        return;
    }
    let at = got
        .iter()
        .zip(expected)
        .position(|(a, b)| a != b)
        .unwrap_or_else(|| got.len().min(expected.len()));
    let around = |bytes: &[u8]| {
        let start = at.saturating_sub(16).min(bytes.len());
        let end = (at + 48).min(bytes.len());
        String::from_utf8_lossy(&bytes[start..end]).into_owned()
    };
    panic!(
        "{} bytes instead of {}, the first difference at {at}: {:?} instead of {:?}",
        got.len(),
        expected.len(),
        around(got),
        around(expected)
    );
}

/// Fails with the package to install if a program is missing: `("unzip", "unzip")` is (program, Debian package).
#[track_caller]
pub(crate) fn needs(programs: &[(&str, &str)]) {
    let path = env::var_os("PATH").unwrap_or_default();
    for (program, package) in programs {
        let found = env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .any(|directory| directory.join(program).is_file());
        assert!(
            found,
            "this test runs {program}, which is missing: apt-get install {package} (scripts/test does)"
        );
    }
}

/// Fails without root: the test becomes another user.
#[track_caller]
pub(crate) fn needs_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test does what only root may do: run it as root"
    );
}

//! `fifofs run` with real programs: what arrives, when, with which status and message, and that nothing is left.
//!
//! Every script here runs in a directory of its own, with `run` for `fifofs run`; when it has ended there must be no
//! mount, no process and no temporary file of it. This file has the helpers that run and judge scripts; the tests
//! are in the modules, by subject.

#![cfg(feature = "cli")]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod destinations;
mod endings;
mod exec;
mod fifo;
mod patches;
mod places;
mod programs;
mod progress;
mod readers;
mod remote;
mod report;
mod several;
mod signals;
mod stream;
mod usage;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use common::{Finished, MARKER, Place, Process, SOON};

/// For whole programs on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Temporary files, including mount points, are where they can be found.
const PRELUDE: &str = r#"
export TMPDIR="$F/../tmp"; unset XDG_RUNTIME_DIR
mkdir -p "$TMPDIR"
run() { "$FIFOFS" run "$@"; }
"#;

/// The place in which programs are run.
struct Runs {
    place: Arc<Place>,
}

impl Runs {
    fn new() -> Self {
        Runs {
            place: Place::new(),
        }
    }

    /// Starts a script. All its processes are marked as belonging to this place.
    fn start(&self, script: &str) -> Process {
        let mount = self.place.mount_point();
        let mark = format!("export {MARKER}='{}'", mount.display());
        self.place.shell(&format!("{PRELUDE}\n{mark}\n{script}"))
    }

    /// Runs a script to its end.
    #[track_caller]
    fn run(&self, script: &str) -> Finished {
        self.start(script).finish(LIMIT)
    }

    /// The contents of a file that a script left in its directory.
    #[track_caller]
    fn read(&self, name: &str) -> Vec<u8> {
        let path = self.place.at("plain").join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn exists(&self, name: &str) -> bool {
        self.place.at("plain").join(name).exists()
    }

    fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        self.place.wait_for(what, SOON, condition);
    }

    /// Waits for a flag, and returns what the script wrote into it.
    fn flag(&self, name: &str) -> String {
        let path = self.place.at("flags").join(name);
        let mut content = String::new();
        self.wait_for(&format!("the flag {name}"), || {
            content = fs::read_to_string(&path).unwrap_or_default();
            content.ends_with('\n')
        });
        content.trim().to_owned()
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.place.assert_nothing_left();
        let left = || -> Vec<_> {
            let entries = fs::read_dir(self.place.at("tmp")).into_iter().flatten();
            entries.flatten().map(|entry| entry.path()).collect()
        };
        self.wait_for("the temporary files to be gone", || left().is_empty());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let root = self.place.at("tmp").display().to_string();
        assert!(!mounts.contains(&root), "still mounted:\n{mounts}");
    }
}

/// One script in a place of its own.
#[track_caller]
fn run(script: &str) -> Finished {
    Runs::new().run(script)
}

trait Ended {
    /// Checks its exit status.
    fn with_status(self, status: i32) -> Self;
    /// Checks that it printed this on standard error.
    fn saying(self, words: &str) -> Self;
}

impl Ended for Finished {
    #[track_caller]
    fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status.code(), Some(status), "it said {}", self.stderr);
        self
    }

    #[track_caller]
    fn saying(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no '{words}' in: {}",
            self.stderr
        );
        self
    }
}

/// Inputs of the programs.
const INPUTS: &str = r#"
set -e -o pipefail
mkdir -p src/deep
seq 1 20000 > src/numbers; echo hello > src/deep/hello; head -c 300000 /dev/zero > src/zeros
find src -exec touch -d 2020-02-02T02:02:02 {} +
seq 1 50000 | shuf --random-source=src/numbers > lines
printf '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' > hello.c
"#;

/// Writes for ever, without an error message when it cannot any more.
const YES: &str = r#"bash -c 'while echo line; do :; done > "$1" 2> /dev/null' sh {out}"#;

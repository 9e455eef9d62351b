//! Functions that all scripts of tests can use.
//!
//! Knows the two languages of scripts, and how scripts wait for each other: by flags, which are
//! files in the directory `$F`. Invariant: a prelude only defines names, so that everything a
//! script does is in its test.

use std::path::Path;

/// Before every shell script: `await NAME` waits for a flag, `raise NAME` raises one.
pub(super) const SHELL_PRELUDE: &str = r#"
await() { until [ -e "$F/$1" ]; do sleep 0.01; done; }
raise() { : > "$F/$1"; }
"#;

/// Before every Python script: common imports, and the same two functions.
pub(super) const PYTHON_PRELUDE: &str = r#"
import ctypes, errno, fcntl, mmap, os, random, select, signal, socket, stat, sys, threading, time
D, F = os.environ["D"], os.environ["F"]
def wait_flag(name):
    while not os.path.exists(F + "/" + name): time.sleep(0.01)
def raise_flag(name):
    open(F + "/" + name, "w").close()
def say(*words):
    print(*words, flush=True)
def write_all(fd, data):
    view = memoryview(data)
    while view: view = view[os.write(fd, view):]
"#;

/// The system's Python, which other users may run, too.
pub(crate) fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() {
        "/usr/bin/python3"
    } else {
        "python3"
    }
}

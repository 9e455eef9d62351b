//! Cleans up if the measurement is ended by a signal.
//!
//! Programs are in process groups of their own, which Ctrl-C does not reach, and may be waiting for the other end of a
//! FIFO; a mount would stay as long as its daemon. Invariant: code that starts or makes such a thing registers it here
//! first, and unregisters it when it is gone.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Outcome;

/// Guards the list of what exists now. No other lock is taken while it is held.
static THERE: Mutex<There> = Mutex::new(There {
    groups: Vec::new(),
    directories: Vec::new(),
});

struct There {
    groups: Vec<Pid>,
    directories: Vec<PathBuf>,
}

fn there() -> MutexGuard<'static, There> {
    THERE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add_group(group: Pid) {
    there().groups.push(group);
}

/// Call this before the group's id can be reused.
pub(crate) fn remove_group(group: Pid) {
    there().groups.retain(|other| *other != group);
}

pub(crate) fn add_directory(directory: &Path) {
    there().directories.push(directory.to_owned());
}

pub(crate) fn remove_directory(directory: &Path) {
    there().directories.retain(|other| other != directory);
}

/// From now on SIGINT, SIGTERM and SIGHUP clean up and end this process.
pub(crate) fn watch() -> Outcome<()> {
    let failed = |error| format!("cannot handle signals: {error}");
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let end = move || {
        if let Some(signal) = signals.forever().next() {
            clean_up();
            std::process::exit(128 + signal);
        }
    };
    thread::Builder::new()
        .name("fifofs-signals".into())
        .spawn(end)
        .map_err(failed)?;
    Ok(())
}

fn clean_up() {
    // Held to the end, so that nothing is added any more.
    let there = there();
    for group in &there.groups {
        let _ = kill_process_group(*group, Signal::KILL);
    }
    for directory in &there.directories {
        for mount in mounts_below(directory) {
            // Its daemon may have got the signal, too, and be faster.
            let _ = fifofs::unmount_if(&mount, fifofs::IfBusy::Detach);
        }
        if mounts_below(directory).is_empty() {
            let _ = std::fs::remove_dir_all(directory);
        } else {
            eprintln!(
                "fifofs: there is still a mount below {}",
                directory.display()
            );
        }
    }
}

pub(crate) fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mut mounts = fifofs::mounts().unwrap_or_default();
    mounts.retain(|mount| mount.starts_with(directory));
    mounts
}

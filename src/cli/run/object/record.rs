//! Records of uploads on this machine, in case fifofs is killed: a file for each, removed with the upload.
//!
//! Knows files; does not ask the store. Invariant: the upload of a record that no process has locked is
//! abandoned.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fifofs::{Error, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// An unfinished upload of this machine.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cli) struct Unfinished {
    /// The address as after `-o`.
    pub(in crate::cli) address: String,
    /// The store's id of it.
    pub(in crate::cli) id: String,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    pub(in crate::cli) begun: Option<SystemTime>,
}

/// The record of an upload in progress.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// Locked as long as this process lives.
    _file: File,
}

impl Record {
    /// Makes a record. Without one the upload goes on all the same.
    pub(super) fn keep(directory: &Path, address: String, id: String) -> Option<Self> {
        fs::create_dir_all(directory).ok()?;
        let named = tempfile::Builder::new()
            .prefix("upload-")
            .tempfile_in(directory);
        let (mut file, path) = named.ok()?.keep().ok()?;
        let record = Unfinished {
            address,
            id,
            path: path.clone(),
            begun: None,
        };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        let text = serde_json::to_string(&record).ok()?;
        file.write_all(text.as_bytes()).ok()?;
        Some(Record { path, _file: file })
    }

    /// Removes the record: the upload is over, and nothing of it is left.
    pub(super) fn forget(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// Below the directory of the XDG Base Directory Specification for state that is kept between runs.
pub(super) fn directory() -> Option<PathBuf> {
    let given = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")));
    Some(state?.join("fifofs/uploads"))
}

/// The abandoned uploads to addresses with this prefix.
pub(in crate::cli) fn unfinished(prefix: &str) -> Result<Vec<Unfinished>> {
    let Some(directory) = directory() else {
        return Ok(Vec::new());
    };
    let failed = |error| Error::io("read", &directory, error);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // A record that is just being written, or was removed meanwhile.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            continue;
        }
        let Ok(mut record) = serde_json::from_reader::<_, Unfinished>(&file) else {
            continue;
        };
        if record.address.starts_with(prefix) {
            record.begun = file
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok();
            record.path = path;
            found.push(record);
        }
    }
    found.sort_by_key(|one| one.begun);
    Ok(found)
}

impl Unfinished {
    /// Removes the record: the upload does not exist any more.
    pub(in crate::cli) fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

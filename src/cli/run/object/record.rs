//! What is remembered of uploads on this machine, for when fifofs is killed: a file for each, which goes with
//! it.
//!
//! Knows files; the store is not asked. The invariant: a record that no process has locked is of an
//! upload that nobody goes on with.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fifofs::{Error, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// An upload of this machine.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cli) struct Unfinished {
    /// As after `-o`.
    pub(in crate::cli) address: String,
    /// What the store calls it.
    pub(in crate::cli) id: String,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    pub(in crate::cli) begun: Option<SystemTime>,
}

/// The record of an upload that goes on.
#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    /// Locked as long as this process lives.
    _file: File,
}

impl Record {
    /// Where nothing can be remembered the upload goes on all the same.
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

    /// The upload is over, and nothing of it is left.
    pub(super) fn forget(self) {
        let _ = fs::remove_file(self.path);
    }
}

/// Below the directory that the XDG Base Directory Specification names for what is kept between runs.
pub(super) fn directory() -> Option<PathBuf> {
    let given = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = given("XDG_STATE_HOME").or_else(|| Some(given("HOME")?.join(".local/state")));
    Some(state?.join("fifofs/uploads"))
}

/// The uploads to addresses that begin so, which nobody goes on with.
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
        // One that is just being written, or went meanwhile, is none.
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
    /// It is gone.
    pub(in crate::cli) fn forget(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

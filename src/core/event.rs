//! What can happen to a file of a mount, for those who are told.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::generation::Way;
use crate::json;

/// One thing that happened to a file of a mount.
///
/// As JSON it is what `event` and the fields beside it are in a line of `.fifofs/events`.
///
/// ```
/// use fifofs::{Capture, Event};
///
/// let capture = Capture::new("out.txt")?;
/// let mut events = capture.events();
/// std::fs::write(capture.path(), "hello\n")?;
/// assert!(events.any(|event| matches!(event, Ok(Event::Done { bytes: 6, .. }))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A process opened it for writing.
    #[non_exhaustive]
    Opened {
        /// The process; 0 if it cannot be seen.
        pid: u32,
        /// Its name.
        name: String,
        /// Which writing of the file this is, counted from 1.
        generation: u64,
    },
    /// How it is delivered was decided.
    #[non_exhaustive]
    Chosen {
        /// Which way.
        way: Way,
        /// Why.
        reason: String,
    },
    /// Bytes arrived. Of small writes many arrive as one.
    #[non_exhaustive]
    Wrote {
        /// Where, from the beginning of the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// It was set to a length.
    #[non_exhaustive]
    Truncated {
        /// In bytes.
        length: u64,
    },
    /// It has another name.
    #[non_exhaustive]
    Renamed {
        /// What it was called before, relative to the mount.
        #[serde(with = "json::path")]
        from: PathBuf,
    },
    /// A name of it was removed.
    Removed,
    /// The last process that had it open for writing closed it.
    Closed,
    /// It is done and whole.
    #[non_exhaustive]
    Done {
        /// Its length in bytes.
        bytes: u64,
    },
    /// It is done, but a process that wrote it came to a bad end, or bytes were lost.
    #[non_exhaustive]
    Failed {
        /// The process; 0 if it cannot be seen.
        pid: u32,
        /// Its name.
        name: String,
        /// The signal that killed it.
        signal: Option<i32>,
        /// Or its exit status.
        status: Option<i32>,
    },
    /// Bytes that a reader had were written over with others.
    #[non_exhaustive]
    Rewritten {
        /// The reader's process; 0 if it cannot be seen.
        pid: u32,
        /// Its name.
        name: String,
        /// The first byte.
        from: u64,
        /// One past the last.
        to: u64,
    },
    /// Something users should know.
    #[non_exhaustive]
    Warning {
        /// What.
        message: String,
    },
    /// Events were lost, since they were not taken in time.
    #[non_exhaustive]
    Lagged {
        /// How many.
        lost: u64,
    },
}

/// An event, with the file that it is about and when it happened.
///
/// As JSON it is a line of `.fifofs/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileEvent {
    /// Since the mount was made; in JSON in seconds. Of lost events, that of the last.
    #[serde(with = "json::seconds", default)]
    pub time: Duration,
    /// The file, relative to the mount; its new name if it was renamed, empty if events of any file were lost.
    /// In JSON, what is no UTF-8 is replaced.
    #[serde(with = "json::path", default)]
    pub path: PathBuf,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

//! Events: what can happen to a file of a mount, as subscribers get it.

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
        /// The number of this generation (writing) of the file, counted from 1.
        generation: u64,
    },
    /// Its way of delivery was chosen.
    #[non_exhaustive]
    Chosen {
        /// The way.
        way: Way,
        /// The reason for it, in words.
        reason: String,
    },
    /// Bytes arrived. Many small writes may arrive as one.
    #[non_exhaustive]
    Wrote {
        /// The offset in the file.
        offset: u64,
        /// The number of bytes.
        bytes: u64,
    },
    /// Its length was set.
    #[non_exhaustive]
    Truncated {
        /// The new length in bytes.
        length: u64,
    },
    /// It was renamed.
    #[non_exhaustive]
    Renamed {
        /// Its path before, relative to the mount.
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
        /// Or the exit status that counts as a failure.
        status: Option<i32>,
    },
    /// Bytes that a reader had were overwritten with others.
    #[non_exhaustive]
    Rewritten {
        /// The reader's process; 0 if it cannot be seen.
        pid: u32,
        /// Its name.
        name: String,
        /// The offset of the first of them.
        from: u64,
        /// The offset past the last.
        to: u64,
    },
    /// A warning for users.
    #[non_exhaustive]
    Warning {
        /// Its text.
        message: String,
    },
    /// Events were lost, since the subscriber did not read them in time.
    #[non_exhaustive]
    Lagged {
        /// Their number.
        lost: u64,
    },
}

/// An event, the file that it is about, and when it happened.
///
/// As JSON it is a line of `.fifofs/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileEvent {
    /// Time since the mount was made; in JSON in seconds. For lost events, the time of the last one.
    #[serde(with = "json::seconds", default)]
    pub time: Duration,
    /// The file's path, relative to the mount; the new one if it was renamed, empty if events of any file were
    /// lost. In JSON, bytes that are not UTF-8 are replaced.
    #[serde(with = "json::path", default)]
    pub path: PathBuf,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

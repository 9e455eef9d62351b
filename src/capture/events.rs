//! What happens to a captured file, as values.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::shared::SharedMount;
use crate::error::{Error, Result};
use crate::router::{Failure, Given, LocalReader, Router};

/// Holds many events; longer lines than this are not made.
const READ_BYTES: u32 = 1 << 20;

/// One thing that happened to a file. The same as a line of `.fifofs/events`.
///
/// ```
/// use fifofs::{Capture, Event, Target};
///
/// let capture = Capture::new("out.txt")?;
/// let mut events = capture.events();
/// std::fs::write(capture.path(), "hello\n")?;
/// assert!(events.any(|event| matches!(event, Ok(Event::Done { bytes: 6 }))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// A process opened it for writing.
    Opened {
        /// The process.
        pid: i32,
        /// Its name.
        name: String,
        /// Which writing of the file this is, counted from 1.
        generation: u64,
    },
    /// How it is delivered was decided.
    Chosen {
        /// `stream`, `follow` or `settled`.
        way: String,
        /// Why.
        reason: String,
    },
    /// Bytes arrived. Of small writes many arrive as one.
    Wrote {
        /// Where, from the beginning of the file.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// It was set to a length.
    Truncated {
        /// In bytes.
        length: u64,
    },
    /// Something was renamed to it.
    Renamed {
        /// What it was called before, relative to the mount.
        from: String,
    },
    /// It was removed, or renamed to something else.
    Removed,
    /// The last process that had it open for writing closed it.
    Closed,
    /// It is done and whole.
    Done {
        /// Its length in bytes.
        bytes: u64,
    },
    /// It is done, but a process that wrote it came to a bad end.
    Failed {
        /// The process.
        pid: i32,
        /// Its name.
        name: String,
        /// The signal that killed it.
        signal: Option<i32>,
        /// Or its exit status.
        status: Option<i32>,
    },
    /// Bytes that a reader had were written over with others.
    Rewritten {
        /// The reader's process.
        pid: i32,
        /// Its name.
        name: String,
        /// The first byte.
        from: u64,
        /// One past the last.
        to: u64,
    },
    /// Something users should know.
    Warning {
        /// What.
        message: String,
    },
    /// Events were lost, since they were not taken in time.
    Lagged {
        /// How many.
        lost: u64,
    },
}

#[derive(Deserialize)]
struct Line {
    /// There is none where events of any file were lost.
    path: Option<String>,
    #[serde(flatten)]
    event: Event,
}

/// The events of one file, as an iterator that waits for the next. `Send`.
///
/// At most 4096 events are kept for it; after that the oldest are lost, and it
/// says so with [`Event::Lagged`]. Ends with the mount. An error is
/// [`Error::TimedOut`], after which it may be asked again, or [`Error::Io`] if an
/// event cannot be understood.
///
/// ```
/// use fifofs::{Capture, Event, Target};
///
/// let capture = Capture::new("out.txt")?;
/// let mut events = capture.events();
/// std::fs::write(capture.path(), "hello\n")?;
/// let first = events.next().expect("the mount is there")?;
/// assert!(matches!(first, Event::Opened { generation: 1, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CaptureEvents {
    local: LocalReader,
    /// As events name it.
    path: String,
    timeout: Option<Duration>,
    have: VecDeque<Event>,
    rest: Vec<u8>,
    _mount: Option<Arc<SharedMount>>,
}

impl CaptureEvents {
    pub(super) fn new(router: &Arc<Router>, path: &Path, mount: Option<Arc<SharedMount>>) -> Self {
        let path = path.to_string_lossy().into_owned();
        CaptureEvents {
            local: router.read_events(path.clone()),
            path,
            timeout: None,
            have: VecDeque::new(),
            rest: Vec::new(),
            _mount: mount,
        }
    }

    /// How long to wait for the next event before giving
    /// [`Error::TimedOut`]; for ever unless set.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fifofs::{Capture, Error};
    ///
    /// let capture = Capture::new("never-written")?;
    /// let mut events = capture.events();
    /// events.set_timeout(Some(Duration::from_millis(10)));
    /// assert!(matches!(events.next(), Some(Err(Error::TimedOut { .. }))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Takes in what was read: whole lines, and the beginning of one.
    fn take_in(&mut self, text: &[u8]) -> io::Result<()> {
        self.rest.extend_from_slice(text);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let rest = self.rest.split_off(end + 1);
        let lines = std::mem::replace(&mut self.rest, rest);
        for line in serde_json::Deserializer::from_slice(&lines).into_iter::<Line>() {
            let Line { path, event } = line?;
            self.have.push_back(match event {
                Event::Renamed { .. } if path.as_ref() != Some(&self.path) => Event::Removed,
                event => event,
            });
        }
        Ok(())
    }
}

impl Iterator for CaptureEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        let deadline = self.timeout.and_then(|t| Instant::now().checked_add(t));
        loop {
            if let Some(event) = self.have.pop_front() {
                return Some(Ok(event));
            }
            let path = PathBuf::from(&self.path);
            let taken = match self.local.read(0, READ_BYTES, deadline) {
                Ok(Given::Text(text)) => self.take_in(&text),
                // The mount is gone, and with it the file.
                Ok(Given::Bytes(_)) | Err(Failure::Cancelled | Failure::Errno(_)) => return None,
                Err(Failure::TimedOut) => return Some(Err(Error::TimedOut { path })),
            };
            if let Err(error) = taken {
                return Some(Err(Error::io("understand the events of", path, error)));
            }
        }
    }
}

impl std::fmt::Debug for CaptureEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureEvents")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

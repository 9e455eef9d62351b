//! What `fifofs cat` watches while it waits: whether its output still has a reader, how long it may
//! wait, and that a user at a terminal sees what it waits for.
//!
//! The copying thread is blocked in open(2) or read(2) meanwhile, so another thread does this, and
//! ends the process if it must. Invariant: the line on the terminal is cleared before bytes are
//! written, and nothing is written after the timeout was found to have passed.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fifofs::{Error, Result, Status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;

use crate::cli::text::OneLine;
use crate::cli::{Ended, conclude};

/// After how long a terminal shows what `cat` waits for.
const SHOW_AFTER: Duration = Duration::from_secs(1);

/// The length of a line that fits on any terminal, and can be cleared again.
const LINE_CHARACTERS: usize = 79;

/// The wait of the copying thread.
#[derive(Default)]
pub(super) struct Wait {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    path: PathBuf,
    /// When it began to wait, if it waits.
    since: Option<Instant>,
    /// Whether the terminal shows what it waits for.
    is_shown: bool,
}

/// What to watch while it waits.
#[derive(Clone, Copy)]
struct Watched {
    timeout: Option<Duration>,
    /// Standard output is a pipe or socket, whose reader may close it.
    output: bool,
    terminal: bool,
}

impl Wait {
    /// Starts watching waits.
    pub(super) fn watch(timeout: Option<Duration>) -> Result<Arc<Wait>> {
        let kind =
            rustix::fs::fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let watched = Watched {
            timeout,
            output: matches!(kind, Ok(FileType::Fifo | FileType::Socket)),
            terminal: io::stderr().is_terminal(),
        };
        let wait = Arc::<Wait>::default();
        if watched.timeout.is_some() || watched.output || watched.terminal {
            let watching = Arc::clone(&wait);
            std::thread::Builder::new()
                .name("fifofs-waiting".into())
                .spawn(move || watching.look(watched))
                .map_err(|error| Error::io("start a thread of", "fifofs cat", error))?;
        }
        Ok(wait)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an operation that may wait for this file.
    pub(super) fn during<T>(&self, path: &Path, act: impl FnOnce() -> T) -> T {
        {
            let mut state = self.lock();
            if state.path != path {
                path.clone_into(&mut state.path);
            }
            state.since = Some(Instant::now());
        }
        let done = act();
        let mut state = self.lock();
        state.since = None;
        if std::mem::take(&mut state.is_shown) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
        done
    }

    fn look(&self, watched: Watched) {
        loop {
            let now = Instant::now();
            let next = {
                let state = self.lock();
                let is_over = |limit: Duration| state.since.is_some_and(|at| now - at >= limit);
                if watched.timeout.is_some_and(is_over) {
                    end(Error::timed_out(&state.path));
                }
                // A wait that begins now must not be checked too late.
                let since = state.since.unwrap_or(now);
                let shows = watched.terminal && is_over(SHOW_AFTER) && !state.is_shown;
                let path = shows.then(|| state.path.clone());
                let show_at = watched.terminal.then_some(match state.is_shown {
                    true => now + SHOW_AFTER,
                    false => since + SHOW_AFTER,
                });
                drop(state);
                if let Some(path) = path {
                    self.show(&path);
                    continue;
                }
                let times_out = watched.timeout.and_then(|limit| since.checked_add(limit));
                [show_at, times_out].into_iter().flatten().min()
            };
            let left = next.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let output = io::stdout();
            let mut polled = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty())];
            let looked = if watched.output {
                &mut polled[..]
            } else {
                &mut []
            };
            let left_by_reader = match poll(looked, left.as_ref()) {
                Ok(0) | Err(_) => false,
                Ok(_) => polled[0]
                    .revents()
                    .intersects(PollFlags::ERR | PollFlags::HUP),
            };
            if left_by_reader {
                // The reader has read enough, as if a write had shown that.
                std::process::exit(0);
            }
        }
    }

    /// Shows what `cat` waits for on a line that is cleared when the wait ends.
    fn show(&self, path: &Path) {
        let reason = reason_for_wait(path).unwrap_or_else(|| "it to be written".to_owned());
        let path = path.to_string_lossy();
        let line = format!(
            "fifofs: {}: waiting for {}",
            OneLine(&path),
            OneLine(&reason)
        );
        let line: String = line.chars().take(LINE_CHARACTERS).collect();
        let mut state = self.lock();
        if state.since.is_some() {
            state.is_shown = io::stderr().write_all(line.as_bytes()).is_ok();
        }
    }
}

/// Ends the process with an error, even if its other thread is blocked.
fn end(error: Error) -> ! {
    std::process::exit(conclude(&Ended::from(error)).into())
}

/// The reason for the wait, in the words of `fifofs ls`.
fn reason_for_wait(path: &Path) -> Option<String> {
    let mount = fifofs::mount_of(path).ok()??;
    let text = std::fs::read_to_string(mount.join(".fifofs/status")).ok()?;
    let status: Status = serde_json::from_str(&text).ok()?;
    let own = std::process::id();
    let readers = status.files.into_iter().flat_map(|file| file.readers);
    let mut readers = readers.chain(status.waiting);
    readers.find(|reader| reader.pid == own)?.waits_for
}

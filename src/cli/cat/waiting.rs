//! What `fifofs cat` sees to while it waits: whether anybody still reads its output, for how long it
//! may wait, and that somebody at a terminal is told what it waits for.
//!
//! The thread that copies sits in open(2) or read(2) meanwhile, so another one does this, and ends
//! the process if it must. Invariant: what is told is gone from the terminal before bytes are
//! written, and nothing is written after the process was found to have waited too long.

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

/// After how long somebody at a terminal is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// So much of a line fits on any terminal, and can be cleared again.
const LINE_CHARACTERS: usize = 79;

/// The wait of the thread that copies.
#[derive(Default)]
pub(super) struct Wait {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    path: PathBuf,
    /// Since when it waits, if it does.
    since: Option<Instant>,
    /// Whether the terminal shows what it waits for.
    is_told: bool,
}

/// What is looked at while it waits.
#[derive(Clone, Copy)]
struct Concern {
    timeout: Option<Duration>,
    /// Standard output is a pipe or socket, which its reader may leave.
    output: bool,
    terminal: bool,
}

impl Wait {
    /// Begins to look after waits.
    pub(super) fn look_after(timeout: Option<Duration>) -> Result<Arc<Wait>> {
        let kind =
            rustix::fs::fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let concern = Concern {
            timeout,
            output: matches!(kind, Ok(FileType::Fifo | FileType::Socket)),
            terminal: io::stderr().is_terminal(),
        };
        let wait = Arc::<Wait>::default();
        if concern.timeout.is_some() || concern.output || concern.terminal {
            let looked_after = Arc::clone(&wait);
            std::thread::Builder::new()
                .name("fifofs-waiting".into())
                .spawn(move || looked_after.look(concern))
                .map_err(|error| Error::io("start a thread of", "fifofs cat", error))?;
        }
        Ok(wait)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what may wait for this file.
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
        if std::mem::take(&mut state.is_told) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
        done
    }

    fn look(&self, concern: Concern) {
        loop {
            let now = Instant::now();
            let next = {
                let state = self.lock();
                let is_over = |limit: Duration| state.since.is_some_and(|at| now - at >= limit);
                if concern.timeout.is_some_and(is_over) {
                    end(Error::timed_out(&state.path));
                }
                // A wait that begins now must not be looked at too late.
                let since = state.since.unwrap_or(now);
                let tells = concern.terminal && is_over(TELL_AFTER) && !state.is_told;
                let path = tells.then(|| state.path.clone());
                let tell_at = concern.terminal.then_some(match state.is_told {
                    true => now + TELL_AFTER,
                    false => since + TELL_AFTER,
                });
                drop(state);
                if let Some(path) = path {
                    self.tell(&path);
                    continue;
                }
                let times_out = concern.timeout.and_then(|limit| since.checked_add(limit));
                [tell_at, times_out].into_iter().flatten().min()
            };
            let left = next.map(|at| at.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let output = io::stdout();
            let mut polled = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty())];
            let looked = if concern.output {
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
                // Whoever read has read enough, as if that had shown in a write.
                std::process::exit(0);
            }
        }
    }

    /// Shows what is waited for on a line that is cleared when the wait ends.
    fn tell(&self, path: &Path) {
        let reason = what_is_waited_for(path).unwrap_or_else(|| "it to be written".to_owned());
        let path = path.to_string_lossy();
        let line = format!(
            "fifofs: {}: waiting for {}",
            OneLine(&path),
            OneLine(&reason)
        );
        let line: String = line.chars().take(LINE_CHARACTERS).collect();
        let mut state = self.lock();
        if state.since.is_some() {
            state.is_told = io::stderr().write_all(line.as_bytes()).is_ok();
        }
    }
}

/// Ends the process with an error, whatever its other thread waits for.
fn end(error: Error) -> ! {
    std::process::exit(conclude(&Ended::from(error)).into())
}

/// In the words of `fifofs ls`.
fn what_is_waited_for(path: &Path) -> Option<String> {
    let mount = fifofs::mount_of(path).ok()??;
    let text = std::fs::read_to_string(mount.join(".fifofs/status")).ok()?;
    let status: Status = serde_json::from_str(&text).ok()?;
    let own = std::process::id();
    let readers = status.files.into_iter().flat_map(|file| file.readers);
    let mut readers = readers.chain(status.waiting);
    readers.find(|reader| reader.pid == own)?.waits_for
}

//! Programs that tests run, and how they ended.
//!
//! Knows processes, their output and its times; knows a mount only as the thing to describe when one of them
//! hangs. Invariant: a program is waited for with a deadline, and is killed with its process group when it is
//! dropped.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::assert_same;
use super::place::Place;
use super::script::{PYTHON_PRELUDE, SHELL_PRELUDE};
use super::testing::{SOON, until_within};

/// The output of a program at one moment.
#[derive(Clone)]
pub(crate) struct Chunk {
    /// Time since the program was started.
    pub(crate) at: Duration,
    pub(crate) bytes: Vec<u8>,
}

/// One of the output streams of a program.
struct Output {
    chunks: Arc<Mutex<Vec<Chunk>>>,
    thread: JoinHandle<()>,
}

impl Output {
    fn of(mut pipe: impl Read + Send + 'static, started: Instant) -> Self {
        let chunks = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&chunks);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("not poisoned").push(Chunk {
                    at: started.elapsed(),
                    bytes: buffer[..length].to_vec(),
                });
            }
        });
        Self { chunks, thread }
    }

    fn bytes(&self) -> Vec<u8> {
        let chunks = self.chunks.lock().expect("not poisoned");
        chunks
            .iter()
            .flat_map(|chunk| chunk.bytes.iter().copied())
            .collect()
    }
}

/// A running program in a process group of its own; killed with its group when dropped.
pub(crate) struct Process {
    child: Child,
    pub(super) what: String,
    started: Instant,
    stdout: Output,
    stderr: Output,
    place: Option<Arc<Place>>,
}

/// How a program ended.
pub(crate) struct Finished {
    what: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// Time from its start to its end.
    pub(crate) took: Duration,
}

impl Process {
    pub(super) fn start(mut command: Command, place: Option<Arc<Place>>) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let what = command
            .get_args()
            .last()
            .map_or_else(String::new, |argument| {
                argument.to_string_lossy().into_owned()
            });
        let what = what
            .trim_start_matches(SHELL_PRELUDE)
            .trim_start_matches(PYTHON_PRELUDE);
        let what = format!("{program} … {}", what.trim());
        let started = Instant::now();
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let stdout = Output::of(child.stdout.take().expect("piped"), started);
        let stderr = Output::of(child.stderr.take().expect("piped"), started);
        Self {
            child,
            what,
            started,
            stdout,
            stderr,
            place,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Its output so far.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Its output so far, with times.
    pub(crate) fn chunks(&self) -> Vec<Chunk> {
        self.stdout.chunks.lock().expect("not poisoned").clone()
    }

    /// Waits until its whole output is exactly `expected`.
    #[track_caller]
    pub(crate) fn wait_output(&self, expected: &[u8]) {
        let condition = || self.output() == expected;
        let what = format!(
            "'{}' to print {:?}",
            self.what,
            String::from_utf8_lossy(expected)
        );
        let place = self.place.as_ref().expect("a program of a place");
        until_within(SOON, &what, condition, || {
            format!(
                "it printed {:?} and {:?}\n{}",
                String::from_utf8_lossy(&self.output()),
                String::from_utf8_lossy(&self.stderr.bytes()),
                place.state()
            )
        });
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    /// Waits for its end and for the end of its output; `None` if that takes longer.
    pub(crate) fn try_finish(mut self, within: Duration) -> Option<Finished> {
        let deadline = Instant::now() + within;
        self.end(deadline)
    }

    fn end(&mut self, deadline: Instant) -> Option<Finished> {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        };
        let took = self.started.elapsed();
        while !(self.stdout.thread.is_finished() && self.stderr.thread.is_finished()) {
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Some(Finished {
            what: self.what.clone(),
            status,
            stdout: self.stdout.bytes(),
            stderr: String::from_utf8_lossy(&self.stderr.bytes()).into_owned(),
            took,
        })
    }

    /// Waits for its end and for the end of its output; fails if that takes longer.
    pub(crate) fn finish(mut self, within: Duration) -> Finished {
        match self.end(Instant::now() + within) {
            Some(finished) => finished,
            None => panic!(
                "'{}' did not end within {within:?}; it printed {} bytes and {:?}\n{}",
                self.what,
                self.output().len(),
                String::from_utf8_lossy(&self.stderr.bytes()),
                self.place.as_ref().map_or(String::new(), Place::state)
            ),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.pid()) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        // A process that is stuck in a mount ends when the mount is aborted, after this.
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Finished {
    /// Its output, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(super) fn status_text(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("status {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => self.status.to_string(),
        }
    }

    fn everything(&self) -> String {
        let stdout = self.text();
        let start: String = stdout.chars().take(2_000).collect();
        format!(
            "'{}' ended with {} after {:?}\nstdout ({} bytes): {start}\nstderr: {}",
            self.what,
            self.status_text(),
            self.took,
            self.stdout.len(),
            self.stderr
        )
    }

    /// Checks that it exited with 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.status.success(), "{}", self.everything());
        self
    }

    /// Checks that it exited with another status than 0, not by a signal, and printed `words` on standard error.
    #[track_caller]
    pub(crate) fn failed_saying(self, words: &str) -> Self {
        assert!(
            self.status.code().is_some_and(|code| code != 0),
            "should have failed: {}",
            self.everything()
        );
        assert!(
            self.stderr.contains(words),
            "should have said '{words}': {}",
            self.everything()
        );
        self
    }

    /// Checks its whole output.
    #[track_caller]
    pub(crate) fn printed(self, expected: impl AsRef<[u8]>) -> Self {
        if self.stdout != expected.as_ref() {
            eprintln!("{}", self.everything());
        }
        assert_same(&self.stdout, expected.as_ref());
        self
    }
}

pub(crate) fn signal(pid: i32, which: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, which);
    }
}

/// Background programs of a shell ignore SIGINT and SIGQUIT, and so would all processes that they start.
pub(super) fn default_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for which in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGHUP] {
            // SAFETY: setting the default action installs no handler that could run.
            unsafe { libc::signal(which, libc::SIG_DFL) };
        }
    });
}

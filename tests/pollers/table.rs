//! All pollers on one file, in threads and in programs, and the states that they must reach.
//!
//! Invariant: no test hangs. Each state is waited for with a deadline, and when it passes, the state of each poller
//! is printed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::common::{Place, Process, needs, parked_in_group};
use crate::kinds::{End, Progress, Shared, start_threads};

/// For each state that all of them must reach.
const PATIENCE: Duration = Duration::from_secs(40);

enum Poller {
    Thread(Shared),
    Program(Process),
}

/// The pollers of one file, by name.
pub(crate) struct Pollers {
    place: Arc<Place>,
    all: Vec<(String, Poller)>,
}

impl Pollers {
    /// Starts all of them; on return each has the file open, or waits in open(2).
    pub(crate) fn start(place: &Arc<Place>, path: &Path) -> Self {
        let threads = start_threads(path).into_iter();
        let mut all: Vec<_> = threads
            .map(|(name, shared)| (name.to_owned(), Poller::Thread(shared)))
            .collect();
        // There may be other tables of the same place.
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let table = TABLES.fetch_add(1, Ordering::Relaxed);
        for how in ["level", "edge"] {
            let name = format!("asyncio-{how}-{table}");
            let program = place.python(&format!(
                "HOW, NAME, PATH = {how:?}, {name:?}, {path:?}\n{}",
                include_str!("pollcat.py")
            ));
            all.push((name, Poller::Program(program)));
        }
        for how in ["open", "nonblock"] {
            let name = format!("go-{how}-{table}");
            let mut command = Command::new(go_program());
            command.args([how, &name]).arg(path);
            all.push((name, Poller::Program(place.spawn(command))));
        }
        let pollers = Self {
            place: Arc::clone(place),
            all,
        };
        for (name, poller) in &pollers.all {
            if let Poller::Program(program) = poller {
                pollers.wait_opened(name, program);
            }
        }
        pollers
    }

    fn wait_opened(&self, name: &str, program: &Process) {
        let (opened, ended) = (self.flag("opened", name), self.flag("ended", name));
        let mut parked = 0;
        self.place
            .wait_for(&format!("{name} to open the file"), PATIENCE, || {
                parked = match parked_in_group(program.pid()) {
                    0 => 0,
                    _ => parked + 1,
                };
                parked >= 5 || opened.exists() || ended.exists()
            });
    }

    fn flag(&self, what: &str, name: &str) -> PathBuf {
        self.place.at("flags").join(format!("{what}-{name}"))
    }

    fn progress(&self, name: &str, poller: &Poller) -> Progress {
        match poller {
            Poller::Thread(shared) => shared.lock().clone(),
            Poller::Program(program) => {
                // In this order: everything printed before the end is there when the end is reported.
                let ended = fs::read_to_string(self.flag("ended", name)).ok();
                Progress {
                    end: ended.map(|text| end_from(&text)),
                    got: program.output(),
                }
            }
        }
    }

    /// All pollers but this one.
    pub(crate) fn without(mut self, name: &str) -> Self {
        let before = self.all.len();
        self.all.retain(|(other, _)| other != name);
        assert_eq!(self.all.len() + 1, before, "there is one {name}");
        self
    }

    /// Waits until `holds` is true of each; `what` describes the state.
    #[track_caller]
    pub(crate) fn all_come_to(&self, what: &str, holds: impl Fn(&Progress) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut late = String::new();
            for (name, poller) in &self.all {
                let progress = self.progress(name, poller);
                if !holds(&progress) {
                    let tail = &progress.got[progress.got.len().saturating_sub(100)..];
                    let _ = writeln!(
                        late,
                        "{name}: {} bytes, at last {:?}; ended: {:?}",
                        progress.got.len(),
                        String::from_utf8_lossy(tail),
                        progress.end
                    );
                }
            }
            if late.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "these did not come to {what}:\n{late}{}",
                self.place.state()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Each has exactly these bytes, and no end.
    #[track_caller]
    pub(crate) fn all_have(&self, expected: &str) {
        self.all_come_to(&format!("{expected:?} and no end"), |progress| {
            progress.got == expected.as_bytes() && progress.end.is_none()
        });
    }

    /// Each has exactly these bytes and the end of the file.
    #[track_caller]
    pub(crate) fn all_end_with(&self, expected: &str) {
        let shown = &expected[..expected.len().min(100)];
        self.all_come_to(&format!("{shown:?} and the end"), |progress| {
            progress.got == expected.as_bytes() && progress.end == Some(End::Clean)
        });
    }

    /// Each has exactly these bytes and then this error.
    #[track_caller]
    pub(crate) fn all_fail_with(&self, expected: &str, errno: Errno) {
        self.all_come_to(&format!("{expected:?} and {errno:?}"), |progress| {
            progress.got == expected.as_bytes() && progress.end == Some(End::Failed(errno))
        });
    }

    /// Each gets some error: the mount is gone.
    #[track_caller]
    pub(crate) fn all_fail(&self) {
        self.all_come_to("an error", |progress| {
            matches!(progress.end, Some(End::Failed(_) | End::Other(_)))
        });
    }
}

fn end_from(text: &str) -> End {
    let text = text.trim();
    let errno = text.strip_prefix("errno ").map(str::parse);
    match (text, errno) {
        ("end", _) => End::Clean,
        ("asleep", _) => End::Asleep,
        (_, Some(Ok(errno))) => End::Failed(Errno::from_raw_os_error(errno)),
        _ => End::Other(text.to_owned()),
    }
}

/// The poller written in Go, built once.
fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        needs(&[("go", "golang-go")]);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = directory.join("pollcat");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pollers/pollcat.go");
        let built = Command::new("go")
            .args(["build", "-o"])
            .args([&program, Path::new(source)])
            .env("GOCACHE", directory.join("go"))
            .env("GO111MODULE", "off")
            .output()
            .expect("go itself must start");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "go build: {said}");
        program
    })
}

//! Rounds in which one process is killed at a random moment, and nothing must be left afterwards.
//!
//! The programs and readers are those of the trials, and clean ends of readers are judged as there. After each
//! round there is no process, no mount, no directory and no spill file, and if the daemon lives, it has as many
//! descriptors as before.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fifofs::Capture;
use rustix::process::Signal;

use crate::common::{
    Dice, FIFOFS, MARKER, Mount, Place, Process, connection_of, processes, signal,
};
use crate::plan::Setup;

/// The victim of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// All processes of the program.
    Writer,
    Reader,
    Daemon,
    Watchdog,
    Flusher,
    /// A process that serves the mount by the library.
    Host,
    /// `fifofs run`, the program it runs, and its watchdog.
    Run,
    RunProgram,
    RunWatchdog,
}

impl Victim {
    pub(crate) const ALL: [Self; 9] = [
        Self::Writer,
        Self::Reader,
        Self::Daemon,
        Self::Watchdog,
        Self::Flusher,
        Self::Host,
        Self::Run,
        Self::RunProgram,
        Self::RunWatchdog,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let is_it = |victim: &Self| format!("{victim:?}").eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(is_it)
    }

    /// Whether this victim exists in a batch with this setup.
    pub(crate) fn fits(self, setup: Setup) -> bool {
        let is_run = matches!(self, Self::Run | Self::RunProgram | Self::RunWatchdog);
        is_run == matches!(setup, Setup::Run { .. })
    }

    /// Whether the mount ends with it.
    pub(crate) fn is_daemon(self) -> bool {
        matches!(self, Self::Daemon | Self::Host)
    }
}

/// The victim of a round, when it is killed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blow {
    pub(crate) victim: Victim,
    milliseconds: u32,
    signal: i32,
    /// The number of the reader.
    number: usize,
}

impl Blow {
    pub(crate) fn random(victim: Victim, seed: u64, number: u64) -> Self {
        let mut dice = Dice::new(seed ^ number.wrapping_mul(0x9e6c_63d0_876a_68ee));
        // Often during the start.
        let most = dice.pick(&[10, 40, 200, 700]);
        let helper = matches!(
            victim,
            Victim::Watchdog | Victim::Flusher | Victim::RunWatchdog
        );
        Self {
            victim,
            milliseconds: dice.below(most) as u32,
            signal: match helper {
                true => libc::SIGKILL,
                false => dice.pick(&[libc::SIGKILL, libc::SIGKILL, libc::SIGKILL, libc::SIGTERM]),
            },
            number: dice.below(64),
        }
    }

    fn signal(self) -> Signal {
        match self.signal {
            libc::SIGTERM => Signal::TERM,
            _ => Signal::KILL,
        }
    }

    /// Kills in a mount that the process `daemon` serves.
    pub(crate) fn strike(
        self,
        place: &Place,
        daemon: i32,
        program: &Process,
        readers: &[(usize, Process)],
    ) {
        thread::sleep(Duration::from_millis(self.milliseconds.into()));
        match self.victim {
            Victim::Writer => {
                // The director is not a writer itself: its children are.
                let children = processes();
                let is_child = |child: &&crate::common::Proc| child.ppid == program.pid();
                for child in children.iter().filter(is_child) {
                    signal(child.pid, self.signal());
                }
            }
            Victim::Reader => readers[self.number % readers.len()].1.signal(self.signal()),
            Victim::Daemon | Victim::Host => signal(daemon, self.signal()),
            Victim::Watchdog => self.strike_helper(place, "fifofs-watchdog"),
            Victim::Flusher => self.strike_helper(place, "fifofs-flusher"),
            Victim::Run | Victim::RunProgram | Victim::RunWatchdog => {
                unreachable!("not in a mount")
            }
        }
    }

    fn strike_helper(self, place: &Place, name: &str) {
        for helper in place.daemons().iter().filter(|helper| helper.comm == name) {
            signal(helper.pid, self.signal());
        }
    }

    /// Kills in `fifofs run`; `run` is that process.
    pub(crate) fn strike_run(self, place: &Place, run: &Process) {
        thread::sleep(Duration::from_millis(self.milliseconds.into()));
        match self.victim {
            Victim::Run => run.signal(self.signal()),
            Victim::RunWatchdog => self.strike_helper(place, "fifofs-watchdog"),
            _ => {
                let is_program = |process: &&crate::common::Proc| {
                    process.ppid == run.pid() && process.comm.starts_with("chaos")
                };
                for program in processes().iter().filter(is_program) {
                    signal(program.pid, self.signal());
                }
            }
        }
    }
}

/// Serves a mount by the library until it is killed, with a file of its own open, and a capture.
pub(crate) fn host(directory: &Path) {
    let mount = fifofs::Mount::builder().mount(directory).expect("a mount");
    let _file = fs::File::create(mount.path().join("own")).expect("a file of its own");
    let capture = Capture::new("own.log").expect("a capture");
    let _reader = capture.reader().expect("a reader");
    let _writer = fs::File::create(capture.path()).expect("its file");
    println!("ready");
    loop {
        thread::park();
    }
}

/// Waits until a mount and its daemon and helpers are gone, by themselves.
fn wait_over(place: &Arc<Place>) {
    place.wait_for("the mount and its processes to go", LEFT, || {
        connection_of(&place.mount_point()).is_none() && place.daemons().is_empty()
    });
}

/// The same, with all files that they had made.
fn wait_gone(place: &Arc<Place>) {
    wait_over(place);
    for name in ["spill", "tmp"] {
        let left: Vec<_> = fs::read_dir(place.at(name))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// A run that is killed before it has a watchdog leaves an empty directory, which the next run clears away.
fn clear_away(place: &Arc<Place>) {
    let mut command = Command::new(FIFOFS);
    command
        .args(["run", "--", "sh", "-c", r#"echo > "$1""#, "sh", "{out}"])
        .env("TMPDIR", place.at("tmp"))
        .env_remove("XDG_RUNTIME_DIR")
        .env(MARKER, place.mount_point());
    place.spawn(command).finish(LEFT).succeeded();
}

/// How long leftovers may take to go, on a busy machine.
const LEFT: Duration = Duration::from_secs(60);

/// The server of a round's mount.
pub(crate) enum Server {
    Daemon(Mount),
    Host(Process),
    /// Each run has its own.
    None,
}

impl Server {
    pub(crate) fn start(place: &Arc<Place>, setup: Setup, victim: Option<Victim>) -> Self {
        fs::create_dir_all(place.at("tmp")).expect("a directory");
        match (setup, victim) {
            (Setup::Run { .. }, _) => Self::None,
            (_, Some(Victim::Host)) => {
                let mut command = Command::new(env::current_exe().expect("this program"));
                command
                    .arg("host")
                    .arg(place.mount_point())
                    .env("TMPDIR", place.at("tmp"))
                    .env("XDG_RUNTIME_DIR", place.at("tmp"))
                    .env(MARKER, place.mount_point());
                let host = place.spawn(command);
                host.wait_output(b"ready\n");
                Self::Host(host)
            }
            _ => Self::Daemon(Mount::start_for(MOUNT_LIMIT, place, &setup.options())),
        }
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        match self {
            Self::Daemon(mount) => Some(mount.pid()),
            Self::Host(host) => Some(host.pid()),
            Self::None => None,
        }
    }

    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Self::Daemon(mount) => mount.descriptors(),
            _ => 0,
        }
    }

    /// Checks after a kill that nothing of the victim is left, and that the next round has a server.
    pub(crate) fn after(
        self,
        place: &Arc<Place>,
        setup: Setup,
        victim: Victim,
        descriptors: usize,
    ) -> Self {
        match self {
            Self::Daemon(mut mount) if victim == Victim::Daemon => {
                mount.wait_daemon(LEFT);
                wait_gone(place);
                drop(mount);
            }
            // It gets no other watchdog.
            Self::Daemon(mount) if victim == Victim::Watchdog => mount.unmount(),
            Self::Daemon(mount) => {
                // A spill file, a flusher's socket, its pidfd and inotify are opened once, when they are needed.
                let most = descriptors + 4;
                mount.wait_for("descriptors to be given back", || {
                    mount.descriptors() <= most
                });
                return Self::Daemon(mount);
            }
            Self::Host(host) => {
                host.finish(LEFT);
                wait_gone(place);
            }
            Self::None => {
                wait_over(place);
                if victim == Victim::Run {
                    clear_away(place);
                }
                wait_gone(place);
            }
        }
        Self::start(place, setup, Some(victim))
    }

    pub(crate) fn end(self, place: &Arc<Place>) {
        match self {
            Self::Daemon(mount) => mount.unmount(),
            Self::Host(host) => {
                host.signal(Signal::KILL);
                host.finish(LEFT);
            }
            Self::None => {}
        }
        wait_gone(place);
    }
}

/// Longer than a batch takes on a busy machine.
const MOUNT_LIMIT: Duration = Duration::from_secs(900);

//! Processes with a deadline, and their data in /proc.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use rustix::time::{ClockId, clock_gettime};

use crate::{Outcome, cleanup};

/// How long one program of a turn may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The size of a reader's reads, and of a large pipe: the most that any user may set by default (pipe(7),
/// pipe-max-size).
pub(crate) const MOST_BYTES: usize = 1 << 20;

/// The default size of a pipe or FIFO (pipe(7)).
pub(crate) const PLAIN_BYTES: usize = 64 << 10;

/// The monotonic clock, in nanoseconds, which all processes share.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// A process in a group of its own. Dropping it kills the group.
pub(crate) struct Running {
    child: Child,
    what: String,
    output: Option<ChildStdout>,
    /// Bytes of its standard output that were not asked for yet.
    said: Vec<u8>,
    deadline: Instant,
    ended: bool,
}

impl Running {
    /// Starts a program and discards its standard output.
    pub(crate) fn program(mut command: Command) -> Outcome<Running> {
        command.stdout(Stdio::null());
        Running::start(command)
    }

    /// Starts a program and reads its standard output, through a pipe of the largest size allowed.
    pub(crate) fn piped(mut command: Command) -> Outcome<Running> {
        command.stdout(Stdio::piped());
        let running = Running::start(command)?;
        if let Some(output) = &running.output {
            // If the size is refused, it is so for all sides.
            let _ = rustix::pipe::fcntl_setpipe_size(output, MOST_BYTES);
        }
        Ok(running)
    }

    /// Starts a hand.
    pub(crate) fn hand(arguments: &[&str]) -> Outcome<Running> {
        let mut command = hand(arguments)?;
        command.stdout(Stdio::piped());
        Running::start(command)
    }

    fn start(mut command: Command) -> Outcome<Running> {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start {what}: {error}"))?;
        let output = child.stdout.take();
        cleanup::add_group(Pid::from_child(&child));
        Ok(Running {
            child,
            what,
            output,
            said: Vec::new(),
            deadline: Instant::now() + DEADLINE,
            ended: false,
        })
    }

    /// Extends the deadline.
    pub(crate) fn within(mut self, time: Duration) -> Running {
        self.deadline = Instant::now() + time;
        self
    }

    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn late(&self, what: &str) -> String {
        let states = task_states(self.child.id()).unwrap_or_default();
        format!(
            "{} did not {what} within {DEADLINE:?}; its threads: {states}",
            self.what
        )
    }

    fn left(&self) -> Option<Timespec> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    /// The next line of its standard output; none at its end.
    fn line(&mut self) -> Outcome<Option<String>> {
        loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            let mut buffer = [0; 4096];
            match self.read_some(&mut buffer)? {
                0 => return Ok(None),
                length => self.said.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// Waits for some of its standard output; none at its end.
    fn read_some(&mut self, buffer: &mut [u8]) -> Outcome<usize> {
        let left = self.left();
        let Some(output) = &mut self.output else {
            return Ok(0);
        };
        loop {
            match poll(&mut [PollFd::new(output, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Err(self.late("say anything")),
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(format!("cannot poll: {errno}")),
            }
        }
        let length = output
            .read(buffer)
            .map_err(|error| format!("cannot read from {}: {error}", self.what))?;
        if length == 0 {
            self.output = None;
        }
        Ok(length)
    }

    /// Passes its standard output on until the end.
    pub(crate) fn read_output(
        &mut self,
        buffer: &mut [u8],
        mut pass_on: impl FnMut(&[u8]),
    ) -> Outcome<()> {
        loop {
            match self.read_some(buffer)? {
                0 => return Ok(()),
                length => pass_on(&buffer[..length]),
            }
        }
    }

    /// Waits until a hand is ready.
    pub(crate) fn ready(mut self) -> Outcome<Running> {
        match self.line()?.as_deref() {
            Some("ready") => Ok(self),
            said => Err(format!("{} said {said:?} when it began", self.what)),
        }
    }

    /// Waits until a hand is ready and all of its threads sleep.
    pub(crate) fn waiting(self) -> Outcome<Running> {
        let running = self.ready()?;
        let mut asleep = 0;
        while asleep < 3 {
            if Instant::now() > running.deadline {
                return Err(running.late("come to rest"));
            }
            let states = task_states(running.child.id())?;
            let rests = !states.is_empty() && states.chars().all(|state| "SD".contains(state));
            asleep = if rests { asleep + 1 } else { 0 };
            thread::sleep(Duration::from_millis(1));
        }
        Ok(running)
    }

    /// Waits for its end, which must be a success, and returns its last line.
    pub(crate) fn finish(mut self) -> Outcome<String> {
        let mut last = String::new();
        while let Some(line) = self.line()? {
            last = line;
        }
        self.wait_until_dead()?;
        cleanup::remove_group(self.id());
        let status = self
            .child
            .wait()
            .map_err(|error| format!("cannot wait for {}: {error}", self.what))?;
        if status.success() {
            Ok(last)
        } else {
            Err(format!("{} ended with {status}", self.what))
        }
    }

    /// How long it takes to die of SIGTERM.
    pub(crate) fn terminate(mut self) -> Outcome<Duration> {
        self.deadline = self.deadline.max(Instant::now() + DEADLINE);
        let start = Instant::now();
        kill_process(self.id(), Signal::TERM)
            .map_err(|errno| format!("cannot signal {}: {errno}", self.what))?;
        self.wait_until_dead()?;
        Ok(start.elapsed())
    }

    fn wait_until_dead(&mut self) -> Outcome<()> {
        let process = pidfd_open(self.id(), PidfdFlags::empty())
            .map_err(|errno| format!("cannot watch {}: {errno}", self.what))?;
        loop {
            let mut polled = [PollFd::new(&process, PollFlags::IN)];
            match poll(&mut polled, self.left().as_ref()) {
                Ok(0) => return Err(self.late("end")),
                Ok(_) => {
                    self.ended = true;
                    return Ok(());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(format!("cannot poll: {errno}")),
            }
        }
    }
}

/// This program, to be started as a hand.
pub(crate) fn hand(arguments: &[&str]) -> Outcome<Command> {
    let mut command = Command::new(crate::own_executable()?);
    command.arg("hand").args(arguments);
    Ok(command)
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill_process_group(self.id(), Signal::KILL);
            self.deadline = Instant::now() + Duration::from_secs(2);
            if self.wait_until_dead().is_err() {
                // It hangs in a mount, and ends with that.
                return;
            }
        }
        cleanup::remove_group(self.id());
        let _ = self.child.wait();
    }
}

/// Waits until a condition holds.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        if Instant::now() > deadline {
            return Err(format!("waited in vain for {what}"));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The states of all threads, one letter each.
fn task_states(pid: u32) -> Outcome<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .map_err(|error| format!("cannot look at process {pid}: {error}"))?;
    let state = |task: fs::DirEntry| status(&task.path(), "State:")?.chars().next();
    Ok(tasks.flatten().filter_map(state).collect())
}

/// A field of a `status` file of /proc. Unlike `stat`, reading it never waits for a process that is in execve(2),
/// which may be waiting for a mount.
fn status(directory: &Path, field: &str) -> Option<String> {
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

/// The resources that a daemon and its helpers use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) cpu: Duration,
}

/// The usage of a daemon and its helpers, which have its command line and another name.
pub(crate) fn usage(daemon: u32, mount: &Path) -> Outcome<Usage> {
    let mut usage = Usage::default();
    let processes = fs::read_dir("/proc").map_err(|error| format!("cannot read /proc: {error}"))?;
    for process in processes.flatten().map(|entry| entry.path()) {
        if !process.ends_with(daemon.to_string()) && !is_helper(&process, mount) {
            continue;
        }
        let resident = status(&process, "VmRSS:");
        let kib = resident.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        usage.resident_bytes += kib.unwrap_or(0) << 10;
        for task in fs::read_dir(process.join("task")).into_iter().flatten() {
            usage.threads += 1;
            usage.cpu += task
                .ok()
                .and_then(|task| cpu(&task.path()))
                .unwrap_or_default();
        }
    }
    Ok(usage)
}

fn is_helper(process: &Path, mount: &Path) -> bool {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    // The name first: reading another process's command line may block.
    name.starts_with("fifofs-") && {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let end = [mount.as_os_str().as_encoded_bytes(), b"\0"].concat();
        line.ends_with(&end)
    }
}

/// The processor time of one thread: finer than the ticks in `stat`.
fn cpu(task: &Path) -> Option<Duration> {
    let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
    let nanoseconds = schedstat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

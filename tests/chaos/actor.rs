//! The program itself: real processes that do its steps in a directory.
//!
//! The process that is started, the director, does no step: it forks the first process, passes the turn on if its owner
//! has gone, kills all processes when the time has come, and ends when all have ended. So it is never a writer.

use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::process;
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::ledger::{Ledger, NOT_DONE};
use crate::program::{Access, MAPS, Name, Op, PROCESSES, Program, SLOTS, Step};
use crate::program::{bytes, digest};

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In an ordinary directory, without pauses, and not killed from outside.
    Plain,
    /// In a mount, in a session of its own.
    Mount,
    /// As the program of `fifofs run`; it ends as its first process does.
    Run,
}

/// Makes the files that exist before the program.
pub(crate) fn prepare(program: &Program, directory: &Path) {
    if let Some(length) = program.initial {
        let content = bytes(program.text, 0, 0, length);
        std::fs::write(directory.join(program.watched()), content).expect("the initial content");
    }
}

/// Runs it to its end; the exit status is that of its first process, or 128 and its signal.
pub(crate) fn run(program: &Program, directory: &Path, ledger: Ledger, stage: Stage) -> i32 {
    // SAFETY: calls that set attributes of this process, which has one thread.
    unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
    }
    let started = Instant::now();
    let first = fork();
    if first == 0 {
        if stage != Stage::Run {
            let _ = rustix::process::setsid();
        }
        Process::new(program, directory, ledger, stage).play();
    }
    ledger.set_process(0, first);
    while let Some(turn) = ledger.turn() {
        let deadline = program.killed_after.filter(|_| stage != Stage::Plain);
        let left = deadline.map(|milliseconds| {
            let at = Duration::from_millis(milliseconds.into());
            at.saturating_sub(started.elapsed()).as_millis() as u32
        });
        if left == Some(0) {
            kill_all(ledger);
            break;
        }
        let owner = ledger.process(program.steps[turn].process);
        // Checked twice: the owner may have done this step and exited in between.
        if (owner == 0 || !exists(owner)) && ledger.turn() == Some(turn) {
            if !ledger.has_ended(turn) {
                ledger.begin(turn);
                ledger.end(turn, NOT_DONE);
            }
            ledger.pass(turn, program.steps.len());
            continue;
        }
        ledger.wait(turn, left.unwrap_or(500).min(500));
    }
    let mut status = 0;
    loop {
        let mut raw = 0;
        // SAFETY: waits for children of this process, and no other code does.
        let pid = unsafe { libc::wait(&mut raw) };
        if pid < 0 {
            return status;
        }
        if pid == first && libc::WIFSIGNALED(raw) {
            status = 128 + libc::WTERMSIG(raw);
        } else if pid == first {
            status = libc::WEXITSTATUS(raw);
        }
    }
}

fn kill_all(ledger: Ledger) {
    let at = crate::ledger::now();
    for number in 0..PROCESSES as u8 {
        let pid = ledger.process(number);
        if pid > 0 {
            // SAFETY: a signal to a process of this program, which only this process reaps.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    // A process that was just being forked finds that there are no turns any more.
    ledger.stop(at);
}

/// Whether a process exists and has not ended.
fn exists(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        let state = status
            .lines()
            .find_map(|line| line.strip_prefix("State:\t"));
        state.is_some_and(|state| !state.starts_with(['Z', 'X']))
    })
}

fn fork() -> i32 {
    // SAFETY: this process has one thread, so the child may do anything.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    pid
}

/// One process of the program, with its open files.
struct Process<'a> {
    number: u8,
    program: &'a Program,
    directory: &'a Path,
    ledger: Ledger,
    stage: Stage,
    /// The process that was started.
    director: i32,
    slots: [Option<RawFd>; SLOTS],
    maps: [Option<(*mut u8, usize)>; MAPS],
}

impl<'a> Process<'a> {
    fn new(program: &'a Program, directory: &'a Path, ledger: Ledger, stage: Stage) -> Self {
        Self {
            number: 0,
            program,
            directory,
            ledger,
            stage,
            director: std::os::unix::process::parent_id() as i32,
            slots: [None; SLOTS],
            maps: [None; MAPS],
        }
    }

    fn play(&mut self) -> ! {
        let steps = &self.program.steps;
        self.ledger.set_process(self.number, process::id() as i32);
        while let Some(turn) = self.ledger.turn() {
            let Step { process, op } = steps[turn];
            if process != self.number {
                self.ledger.wait(turn, 500);
                if !exists(self.director) {
                    // No director passes turns on any more.
                    self.leave(Op::Exit);
                }
                continue;
            }
            self.ledger.begin(turn);
            if let Op::Exit | Op::Kill { .. } = op {
                // Noted before it counts as gone: otherwise the director would note that it was not done.
                self.ledger.end(turn, 0);
                self.ledger.set_process(self.number, 0);
                self.ledger.pass(turn, steps.len());
                self.leave(op);
            }
            if let Op::Fork { child } = op {
                let pid = fork();
                if pid == 0 {
                    self.number = child;
                    self.ledger.set_process(child, process::id() as i32);
                    continue;
                }
                self.ledger.set_process(child, pid);
                self.ledger.end(turn, 0);
                self.ledger.pass(turn, steps.len());
                continue;
            }
            let outcome = match self.apply(op) {
                Ok(outcome) => outcome,
                Err(errno) => -i64::from(errno.raw_os_error()),
            };
            self.ledger.end(turn, outcome);
            self.ledger.pass(turn, steps.len());
        }
        self.leave(Op::Exit);
    }

    fn leave(&self, op: Op) -> ! {
        if let Op::Kill { signal } = op {
            // SAFETY: the default action of the signal, on this process alone.
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
                libc::kill(libc::getpid(), signal);
            }
            // A signal is delivered when a thread is about to return to its program.
            thread::sleep(Duration::from_secs(10));
        }
        // SAFETY: ends this process without running destructors of state shared with others.
        unsafe { libc::_exit(0) }
    }

    /// Whether a change was refused, as with stream. Then another file than in the plan may be at a name, for instance
    /// one that a waiting process writes, so that waiting for its end would be a deadlock.
    fn has_diverged(&self) -> bool {
        let steps = self.program.steps.iter().enumerate();
        let mut done = steps.take(self.ledger.turn().unwrap_or(0));
        done.any(|(turn, step)| step.op.is_change() && self.ledger.was_refused(turn))
    }

    fn path(&self, name: Name) -> PathBuf {
        self.directory.join(&self.program.names[usize::from(name)])
    }

    fn slot(&self, slot: u8) -> Result<BorrowedFd<'static>, Errno> {
        let descriptor = self.slots[usize::from(slot)].ok_or(Errno::BADF)?;
        // SAFETY: it stays open until the slot gets another descriptor, and no borrow lives that long.
        Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
    }

    fn put(&mut self, slot: u8, descriptor: Option<RawFd>) {
        if let Some(old) = std::mem::replace(&mut self.slots[usize::from(slot)], descriptor) {
            // SAFETY: no borrow of a slot's descriptor lives beyond a step.
            unsafe { libc::close(old) };
        }
    }

    fn apply(&mut self, op: Op) -> Result<i64, Errno> {
        let text = self.program.text;
        match op {
            Op::Open {
                slot,
                name,
                access,
                create,
                truncate,
                exclusive,
            } => {
                let mut flags = OFlags::CLOEXEC;
                flags |= match access {
                    Access::Write => OFlags::WRONLY,
                    Access::ReadWrite => OFlags::RDWR,
                    Access::Append => OFlags::WRONLY | OFlags::APPEND,
                };
                flags.set(OFlags::CREATE, create || exclusive);
                flags.set(OFlags::TRUNC, truncate);
                flags.set(OFlags::EXCL, exclusive);
                let file = rustix::fs::open(self.path(name), flags, Mode::from_raw_mode(0o644))?;
                self.put(slot, Some(file.into_raw_fd()));
            }
            Op::Close { slot } => self.put(slot, None),
            Op::Dup { from, to } => {
                let copy = rustix::io::fcntl_dupfd_cloexec(self.slot(from)?, 0)?;
                self.put(to, Some(copy.into_raw_fd()));
            }
            Op::Write { slot, length, mark } => {
                let file = self.slot(slot)?;
                let size = rustix::fs::fstat(file)?.st_size as u64;
                let flags = rustix::fs::fcntl_getfl(file)?;
                let offset = match flags.contains(OFlags::APPEND) {
                    true => size,
                    false => rustix::fs::tell(file)?,
                };
                return write_all(&bytes(text, mark, offset, length), |data, _| {
                    rustix::io::write(file, data)
                });
            }
            Op::Patch {
                slot,
                offset,
                length,
                mark,
            } => {
                let file = self.slot(slot)?;
                return write_all(&bytes(text, mark, offset, length), |data, done| {
                    rustix::io::pwrite(file, data, offset + done)
                });
            }
            Op::Truncate { slot, length } => rustix::fs::ftruncate(self.slot(slot)?, length)?,
            Op::TruncateName { name, length } => truncate(&self.path(name), length)?,
            Op::Allocate {
                slot,
                offset,
                length,
                keep_size,
            } => {
                let mut mode = FallocateFlags::empty();
                mode.set(FallocateFlags::KEEP_SIZE, keep_size);
                rustix::fs::fallocate(self.slot(slot)?, mode, offset, length)?;
            }
            Op::Punch {
                slot,
                offset,
                length,
            } => {
                let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(self.slot(slot)?, mode, offset, length)?;
            }
            Op::Zero {
                slot,
                offset,
                length,
            } => {
                let mode = FallocateFlags::ZERO_RANGE;
                rustix::fs::fallocate(self.slot(slot)?, mode, offset, length)?;
            }
            Op::Map { slot, map } => return self.map(slot, map),
            Op::Store {
                map,
                offset,
                length,
                mark,
            } => {
                let (start, mapped) = self.maps[usize::from(map)].ok_or(Errno::BADF)?;
                let data = bytes(text, mark, offset, length);
                if offset as usize + data.len() > mapped {
                    // The program would report that its write failed.
                    return Err(Errno::FAULT);
                }
                // SAFETY: within the mapping, to which there are no references; the program does not shorten its file
                // below what it stores, and if the file is shorter all the same, the signal is what is tested.
                unsafe {
                    let to = start.add(offset as usize);
                    ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
                }
            }
            Op::Unmap { map } => {
                if let Some((start, length)) = self.maps[usize::from(map)].take() {
                    // SAFETY: there are no references into it.
                    unsafe { libc::munmap(start.cast(), length) };
                }
            }
            Op::Sync { slot } => rustix::fs::fsync(self.slot(slot)?)?,
            Op::ReadBack {
                slot,
                offset,
                length,
            } => {
                let file = self.slot(slot)?;
                let mut data = vec![0; length as usize];
                let mut done = 0;
                while done < data.len() {
                    let at = offset + done as u64;
                    match rustix::io::pread(file, &mut data[done..], at)? {
                        0 => break,
                        more => done += more,
                    }
                }
                return Ok(digest(&data[..done]));
            }
            Op::ReadName { name } => {
                if self.has_diverged() {
                    return Err(Errno::CANCELED);
                }
                let data = std::fs::read(self.path(name)).map_err(|error| errno_of(&error))?;
                return Ok(digest(&data));
            }
            Op::Size { name } => {
                let status = rustix::fs::stat(self.path(name))?;
                return Ok(status.st_size);
            }
            Op::Rename { from, to } => rustix::fs::rename(self.path(from), self.path(to))?,
            Op::Exchange { one, other } => rustix::fs::renameat_with(
                CWD,
                self.path(one),
                CWD,
                self.path(other),
                RenameFlags::EXCHANGE,
            )?,
            Op::Link { from, to } => {
                let (from, to) = (self.path(from), self.path(to));
                rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            }
            Op::Unlink { name } => rustix::fs::unlink(self.path(name))?,
            Op::Sleep { milliseconds } => {
                if self.stage != Stage::Plain {
                    thread::sleep(Duration::from_millis(milliseconds.into()));
                }
            }
            Op::Fork { .. } | Op::Exit | Op::Kill { .. } => unreachable!("not done here"),
        }
        Ok(0)
    }

    fn map(&mut self, slot: u8, map: u8) -> Result<i64, Errno> {
        let file = self.slot(slot)?;
        let length = rustix::fs::fstat(file)?.st_size as usize;
        // SAFETY: a new mapping at an address that the kernel chooses. An empty one is refused.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(errno_of(&std::io::Error::last_os_error()));
        }
        self.maps[usize::from(map)] = Some((start.cast(), length));
        Ok(length as i64)
    }
}

pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Writes everything, in as many calls as it takes; `write` gets the number of bytes written before.
fn write_all(
    data: &[u8],
    write: impl Fn(&[u8], u64) -> Result<usize, Errno>,
) -> Result<i64, Errno> {
    let mut done = 0;
    while done < data.len() {
        done += write(&data[done..], done as u64)?;
    }
    Ok(done as i64)
}

fn truncate(path: &Path, length: u64) -> Result<(), Errno> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a string that ends with a NUL.
    match unsafe { libc::truncate(path.as_ptr(), length as libc::off_t) } {
        0 => Ok(()),
        _ => Err(errno_of(&std::io::Error::last_os_error())),
    }
}

/// Prints the names in the directory with their sizes and digests, one a line, and removes all of them.
pub(crate) fn survey(directory: &Path) {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let name = name.to_string_lossy();
        // A reader that came before its writer's death was known gets an error; one that comes then does not.
        let read = || std::fs::read(&path);
        match read().or_else(|_| read()) {
            Ok(content) => println!("{name} {} {}", content.len(), digest(&content)),
            Err(error) => println!("{name} error {}", errno_of(&error).raw_os_error()),
        }
        std::fs::remove_file(&path).expect("removed");
    }
    std::fs::remove_dir(directory).expect("the directory removed");
}

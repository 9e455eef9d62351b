//! Facts from `/proc` and pidfds about other processes: ids and names, open files, pending signals, how they
//! ended.
//!
//! Knows process and thread ids in this process's pid namespace; does not know files, generations or
//! requests. The processes may vanish at any time; results say so instead of failing, and are true of some
//! moment during the call.
//!
//! Invariant: nothing here can wait for the daemon's own mount. `/proc/PID/cmdline` and `environ` read the
//! process's pages, and `cwd`, `exe`, `root` and `fd/N` resolve paths; each may need an answer from the
//! calling thread. `comm`, `status`, `statm`, `wchan` and `children` are made from the kernel's own data, and
//! take no lock that a process may hold while it waits for the daemon. `stat` and `fdinfo` do: Linux 6.18
//! takes the lock of execve(2) for them, and a process in execve closes files, which on this mount waits for
//! the daemon's answer (seen: the whole mount, and every `ps` of the machine, stood still). So `stat` is read
//! only of zombies, of a dying thread, and of a thread that cannot be in execve as its write waits for an
//! answer; [`holds_open_for_writing`] and [`start_ticks`] are never called by a thread that answers the
//! kernel.

mod death;
mod exit;
mod group;
mod numbers;
mod orphans;
mod running;
mod signals;
mod standstill;

pub(crate) use death::{Death, death};
pub(crate) use exit::ExitWatch;
pub(crate) use group::{RunningMembers, group_is_empty};
pub(crate) use numbers::{known_as, start_ticks};
pub(crate) use orphans::has_left_others;
pub(crate) use signals::must_interrupt;

use std::fmt::Arguments;
use std::io::Write;
use std::iter;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags};
use rustix::process::Pid;

use crate::procfs::{field, number};

/// How far up [`ancestors`] goes. Deeper trees exist only by accident, and a
/// walk that races with reused ids must end.
const MAX_ANCESTORS: usize = 64;

/// Whether `tid` is a thread of process `pid`; false if this process may not send it signals. Costs a system
/// call; [`thread_group`] costs several.
pub(crate) fn is_thread_of(tid: i32, pid: i32) -> bool {
    if tid <= 0 || pid <= 0 {
        return false;
    }
    // SAFETY: takes no pointers, and signal 0 is not sent.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) == 0 }
}

/// Whether `tid` is a thread of this process.
pub(crate) fn is_own_thread(tid: i32) -> bool {
    is_thread_of(tid, own())
}

/// The process that thread `tid` belongs to.
pub(crate) fn thread_group(tid: i32) -> Option<i32> {
    let own = own();
    if let Some(likely) = [tid, own].into_iter().find(|pid| is_thread_of(tid, *pid)) {
        return Some(likely);
    }
    let mut buffer = [0; BUFFER_BYTES];
    let status = read(format_args!("/proc/{tid}/status"), &mut buffer)?;
    number(field(status, b"Tgid:")?)
}

/// The name of a process or thread, at most 15 bytes (`TASK_COMM_LEN`), for
/// messages; `?` if it is gone.
pub(crate) fn name(pid: i32) -> String {
    static OWN: OnceLock<String> = OnceLock::new();
    match pid == own() {
        true => OWN.get_or_init(|| name_now(pid)).clone(),
        false => name_now(pid),
    }
}

/// The id of this process.
fn own() -> i32 {
    std::process::id().cast_signed()
}

fn name_now(pid: i32) -> String {
    let mut buffer = [0; 64];
    match read(format_args!("/proc/{pid}/comm"), &mut buffer) {
        Some(comm) => String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(comm)).into(),
        None => "?".to_owned(),
    }
}

/// The parent of `pid`; 0 if that is outside of this pid namespace.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    // A pidfd tells it in a tenth of the time, since Linux 6.13.
    exit::parent(pid).or_else(|| listed_parent(pid))
}

fn listed_parent(pid: i32) -> Option<i32> {
    let mut buffer = [0; BUFFER_BYTES];
    let status = read(format_args!("/proc/{pid}/status"), &mut buffer)?;
    number(field(status, b"PPid:")?)
}

/// `pid`, its parent, and so on, to process 1, which may be the script that a container runs.
pub(crate) fn ancestors(pid: i32) -> impl Iterator<Item = i32> {
    let above = |pid: &i32| parent(*pid).filter(|parent| *parent > 0);
    iter::successors(Some(pid), above).take(MAX_ANCESTORS)
}

/// Whether a thread is exiting or has exited: it has no memory any more. The kernel releases that before it
/// closes the files (`do_exit` in `kernel/exit.c`).
pub(crate) fn is_exiting(tid: i32) -> bool {
    let mut buffer = [0; 128];
    // Half the cost of `status`. The first number is that of its pages.
    match read(format_args!("/proc/{tid}/statm"), &mut buffer) {
        Some(sizes) => sizes.starts_with(b"0 "),
        None => true,
    }
}

/// The process group of `pid`; `None` also if it is outside of this pid namespace.
pub(crate) fn process_group(pid: i32) -> Option<i32> {
    let pid = positive(pid)?.as_raw_nonzero().get();
    // Not by rustix, which promises that there is no group 0: that is what the kernel
    // calls a group that is outside.
    // SAFETY: takes no pointers.
    let group = unsafe { libc::getpgid(pid) };
    (group > 0).then_some(group)
}

/// All processes that can be seen.
pub(crate) fn all() -> impl Iterator<Item = i32> {
    let entries = open(format_args!("/proc"), OFlags::DIRECTORY)
        .and_then(|directory| Dir::read_from(&directory).ok());
    let entries = entries.into_iter().flatten().flatten();
    entries.filter_map(|entry| number(entry.file_name().to_bytes()))
}

/// Whether `pid` has a writable descriptor of inode number `inode`. The number is taken for unique, as mounts
/// use distant ranges.
///
/// Only for threads that may wait: see the module's documentation.
pub(crate) fn holds_open_for_writing(pid: i32, inode: u64) -> bool {
    has_descriptor(pid, |info| is_writable_descriptor(info, inode))
}

/// The same of several: those of `inodes` that it holds.
pub(crate) fn held_for_writing(pid: i32, inodes: &[u64]) -> Vec<u64> {
    let mut held = Vec::new();
    has_descriptor(pid, |info| {
        let of_this = |inode: &&u64| is_writable_descriptor(info, **inode);
        held.extend(inodes.iter().find(of_this));
        false
    });
    held
}

/// Whether `pid` has a descriptor for which `is_such` accepts the text of `/proc/PID/fdinfo/N`
/// (proc_pid_fdinfo(5)).
///
/// False also where we may not look: it takes the permission to trace `pid`. Only for threads that may wait:
/// see the module's documentation.
pub(crate) fn has_descriptor(pid: i32, mut is_such: impl FnMut(&[u8]) -> bool) -> bool {
    let Some(directory) = open(format_args!("/proc/{pid}/fdinfo"), OFlags::DIRECTORY) else {
        return false;
    };
    let Ok(entries) = Dir::read_from(&directory) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let mut buffer = [0; 1024];
        // `.` and `..` are opened too, and cannot be read.
        rustix::fs::openat(&directory, entry.file_name(), flags, Mode::empty())
            .ok()
            .and_then(|file| fill(&file, &mut buffer))
            .is_some_and(&mut is_such)
    })
}

/// Whether the text of `/proc/PID/fdinfo/N` is of a descriptor for `inode`
/// that can be written through.
fn is_writable_descriptor(info: &[u8], inode: u64) -> bool {
    let is = |key: &[u8], wanted: u64| field(info, key).and_then(number) == Some(wanted);
    let flags = field(info, b"flags:")
        .and_then(|octal| std::str::from_utf8(octal).ok())
        .and_then(|octal| u32::from_str_radix(octal, 8).ok());
    // `ino:` is there since Linux 5.14.
    is(b"ino:", inode)
        && flags.is_some_and(|flags| flags & OFlags::ACCMODE.bits() != OFlags::RDONLY.bits())
}

/// The processor on which a thread last ran; `None` if by its scheduling policy others cannot preempt it
/// there.
///
/// Only for the thread that answers a write, before it does, while the writing thread waits (as every writer
/// does, since `FUSE_ASYNC_DIO` is not negotiated): so the thread is in no execve(2), even if it is killed;
/// another thread of its process cannot complete one before it has ended; and its id is not reused. It also
/// keeps its memory, so the reference that `stat` takes is never the last.
pub(crate) fn processor(tid: i32) -> Option<usize> {
    if !proc_is_ours() {
        return None;
    }
    let mut buffer = [0; BUFFER_BYTES];
    // Not `/proc/TID/stat`, which adds up what all threads of the process did.
    let stat = read_stat(format_args!("/proc/{tid}/task/{tid}/stat"), &mut buffer)?;
    let policy: i32 = stat.number(41)?;
    (policy == libc::SCHED_OTHER).then(|| stat.number(39))?
}

/// Whether `/proc` is of this process's pid namespace: in that of another an id is another process's.
fn proc_is_ours() -> bool {
    static IS_OURS: OnceLock<bool> = OnceLock::new();
    let is_ours = || {
        std::fs::read_link("/proc/self").is_ok_and(|own_id| own_id == Path::new(&own().to_string()))
    };
    *IS_OURS.get_or_init(is_ours)
}

/// Holds a `stat`, and a `status` up to the signal masks unless the process
/// is in hundreds of groups.
const BUFFER_BYTES: usize = 2048;

/// The fields of a `/proc/PID/stat` behind the name.
struct Stat<'a>(&'a [u8]);

impl<'a> Stat<'a> {
    /// The name may contain blanks and parentheses; what follows its last one
    /// does not.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        Some(Stat(text.get(end + 2..)?))
    }

    /// Field `position` as proc(5) counts them, where the state is 3.
    fn field(&self, position: usize) -> Option<&'a [u8]> {
        let mut fields = self.0.split(|byte| byte.is_ascii_whitespace());
        fields.nth(position - 3)
    }

    fn number<T: std::str::FromStr>(&self, position: usize) -> Option<T> {
        number(self.field(position)?)
    }

    /// One letter: R, S, D, Z, T, t, X and others.
    fn state(&self) -> Option<u8> {
        self.field(3)?.first().copied()
    }
}

/// Reads a `stat`, of a process or one of its threads.
fn read_stat<'a>(path: Arguments<'_>, buffer: &'a mut [u8]) -> Option<Stat<'a>> {
    Stat::parse(read(path, buffer)?)
}

/// The beginning of a file under `/proc` that fits into `buffer`. `None` if the process is gone or access is
/// denied.
fn read<'a>(path: Arguments<'_>, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    fill(&open(path, OFlags::empty())?, buffer)
}

/// What `parse` finds in the whole `status` of a thread.
fn read_status<T>(tid: i32, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let mut buffer = [0; BUFFER_BYTES];
    let status = read(format_args!("/proc/{tid}/status"), &mut buffer)?;
    if status.len() < BUFFER_BYTES {
        return parse(status);
    }
    // The line `Groups:` stands before most, and a process may be in 65,536
    // groups (`NGROUPS_MAX`) of up to eleven bytes each.
    let mut buffer = vec![0; 1 << 20];
    parse(read(format_args!("/proc/{tid}/status"), &mut buffer)?)
}

fn fill<'a>(file: &OwnedFd, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // The kernel makes the whole text at the first read, so that it is of one
    // moment, and gives what fits.
    let length = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *buffer)).ok()?;
    Some(&buffer[..length])
}

/// Opens a path under `/proc`, named without an allocation: thousands of waiting threads are checked
/// repeatedly.
fn open(path: Arguments<'_>, flags: OFlags) -> Option<OwnedFd> {
    let mut name = [0; 64];
    let mut rest = &mut name[..];
    rest.write_fmt(path).ok()?;
    let unused = rest.len();
    let name = &name[..name.len() - unused];
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::fs::open(name, flags, Mode::empty())).ok()
}

/// An id that can be handed to the kernel: FUSE gives 0 for a caller in
/// another pid namespace.
fn positive(id: i32) -> Option<Pid> {
    // `from_raw` panics at negative numbers.
    if id > 0 { Pid::from_raw(id) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Guard, until};
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// An id that no process has: ids end at 2^22 (`PID_MAX_LIMIT`).
    pub(super) const NO_PROCESS: i32 = i32::MAX;

    /// The id of a thread that waits, and what ends it.
    pub(super) fn idle_thread() -> (i32, std::sync::mpsc::Sender<()>) {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            send.send(rustix::thread::gettid().as_raw_nonzero().get())
                .unwrap();
            let _ = stopped.recv();
        });
        (receive.recv().unwrap(), stop)
    }

    #[test]
    fn a_thread_belongs_to_its_process() {
        let (thread, _stop) = idle_thread();
        assert_ne!(thread, own());
        assert_eq!(thread_group(thread), Some(own()));
        assert_eq!(thread_group(own()), Some(own()));
        assert!(is_thread_of(thread, own()) && is_thread_of(own(), own()));
        assert!(!is_thread_of(own(), thread) && !is_thread_of(thread, thread));
    }

    #[test]
    fn a_thread_runs_on_the_processor_that_it_is_tied_to() {
        use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
        let allowed = sched_getaffinity(None).unwrap();
        for number in (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)) {
            let mut only = CpuSet::new();
            only.set(number);
            let thread = std::thread::spawn(move || {
                sched_setaffinity(None, &only).unwrap();
                processor(gettid().as_raw_nonzero().get())
            });
            assert_eq!(thread.join().unwrap(), Some(number));
        }
        assert_eq!(processor(NO_PROCESS), None);
    }

    #[test]
    fn a_process_without_memory_is_exiting() {
        let mut child = Guard::of(Command::new("sleep").arg("60").process_group(0));
        assert!(!is_exiting(own()) && !is_exiting(child.pid()));
        child.0.kill().unwrap();
        until("it has exited", || is_exiting(child.pid()));
        assert!(is_exiting(NO_PROCESS));
    }

    #[test]
    fn all_of_the_status_of_a_process_in_many_groups_is_read() {
        let is_root = rustix::process::geteuid().is_root();
        assert!(is_root, "only root may be in any group: run this as root");
        // Of some of them a number stands where the buffer ends.
        for count in 340..400 {
            let groups: Vec<String> = (1000..1000 + count)
                .map(|group| group.to_string())
                .collect();
            let mut command = Command::new("setpriv");
            command.args(["--groups", &groups.join(","), "sleep", "60"]);
            let child = Guard::of(command.process_group(0));
            until("it runs sleep", || name(child.pid()) == "sleep");
            assert!(!is_exiting(child.pid()) && !must_interrupt(child.pid()));
            let ids = |status: &[u8]| {
                let id = |key: &[u8]| number(field(status, key)?);
                Some([id(b"NStgid:")?, id(b"NSpid:")?, id(b"NSpgid:")?])
            };
            assert_eq!(
                read_status(child.pid(), ids),
                Some([child.pid(); 3]),
                "{count} groups"
            );
        }
    }

    #[test]
    fn a_child_has_a_name_a_parent_and_a_group() {
        let child = Guard::of(Command::new("sleep").arg("60").process_group(0));
        until("the child runs sleep", || name(child.pid()) == "sleep");
        assert_eq!(parent(child.pid()), Some(own()));
        assert_eq!(listed_parent(child.pid()), Some(own()));
        assert_eq!(process_group(child.pid()), Some(child.pid()));
        let line: Vec<_> = ancestors(child.pid()).collect();
        assert_eq!(line[..2], [child.pid(), own()]);
        assert!(!line.contains(&0) && line.ends_with(&[1]), "{line:?}");
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_confuse() {
        let stat = Stat::parse(b"7 (a) R 1 (b) S 42 43 44\n").unwrap();
        assert_eq!(stat.state(), Some(b'S'));
        assert_eq!(stat.number::<i32>(4), Some(42));
        assert_eq!(stat.field(9), None);
    }

    #[test]
    fn nothing_is_known_of_a_process_that_is_gone() {
        for gone in [NO_PROCESS, 0, -1, i32::MIN] {
            assert_eq!(thread_group(gone), None);
            assert!(!is_thread_of(gone, own()) && !is_thread_of(gone, gone));
            assert_eq!(name(gone), "?");
            assert_eq!(parent(gone), None);
            assert_eq!(process_group(gone), None);
            assert!(!holds_open_for_writing(gone, 1));
            assert_eq!(ancestors(gone).collect::<Vec<_>>(), [gone]);
        }
    }

    #[test]
    fn a_descriptor_counts_if_it_can_be_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let written = File::create(&path).unwrap();
        let inode = written.metadata().unwrap().ino();
        let child = Guard::of(Command::new("sleep").arg("60").stderr(written));
        assert!(holds_open_for_writing(child.pid(), inode));
        // Not its neighbour: that may be what the tests print to.
        assert!(!holds_open_for_writing(child.pid(), u64::MAX));
        let read = File::open(&path).unwrap();
        let reader = Guard::of(Command::new("sleep").arg("60").stdin(read));
        assert!(!holds_open_for_writing(reader.pid(), inode));
    }

    #[test]
    fn the_flags_of_a_descriptor_are_octal_and_its_mount_counts() {
        let info = b"pos:\t0\nflags:\t0100001\nmnt_id:\t29\nino:\t1234\n";
        assert!(is_writable_descriptor(info, 1234));
        assert!(!is_writable_descriptor(info, 123));
        let path_only = b"pos:\t0\nflags:\t012000000\nmnt_id:\t29\nino:\t1234\n";
        assert!(!is_writable_descriptor(path_only, 1234));
    }
}

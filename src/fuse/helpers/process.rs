//! Forks a helper process that a multi-threaded program can afford to have.
//!
//! Knows how to fork cleanly; knows nothing of mounts, pipes or what the helper does. The invariant: when
//! [`Helper::ready`] returns, the helper shares no descriptor with the caller but those it was told to keep
//! (and, for a moment, the pipe that told so), is in a session of its own, and is a child that only [`reap`]
//! waits for.
//!
//! # Why the child may run at all
//!
//! After a fork of a process with several threads only the forking thread
//! exists in the child, and any lock that another thread held (the allocator's,
//! that of standard error, the dynamic linker's) stays locked for ever. Hence
//! the child may only do what POSIX calls async-signal-safe. Here that means:
//! system calls (through rustix, which on Linux makes them itself, or through
//! thin libc wrappers that POSIX lists as safe), arithmetic, and memory that was
//! allocated before the fork. No allocation, no formatting, no panic, no lock,
//! no thread-local destructor; it leaves by `_exit`. A panic that happened all
//! the same must not unwind into the caller's frames, of which the child has a
//! copy: [`ExitOnUnwind`] ends the process there.
//!
//! # Why not fork(2)
//!
//! A bare clone(2) with exit signal 0 makes a child that sends no SIGCHLD and that `waitpid(-1)` of the
//! caller's other threads does not see; only our `__WALL` does. It also skips the pthread_atfork handlers,
//! which are not async-signal-safe. The caller reaps it, rather than leave it to init: in many containers
//! process 1 reaps no children, and dead helpers would add up.
//!
//! # What it costs
//!
//! A fork copies the caller's page tables: some 30 ms for each GiB of heap in small pages, a tenth of that or less in huge ones.
//! Of its memory the helper keeps but what it uses (`memory`).
//!
//! # Why it is not executed
//!
//! A program that is executed costs the same whatever the caller's heap, but execve(2) gives a process the exit signal
//! SIGCHLD (`de_thread` in the kernel's `fs/exec.c`): the caller's `wait()` would see it, and hang for as long as the mount is there.

use std::convert::Infallible;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, setsid, waitpid};

use super::memory::{Needed, release};
use crate::fuse::timers::HELPER_ENDS;

/// The first descriptor that is not standard input, output or error.
const FIRST_FREE_FD: RawFd = 3;

/// Signals that a terminal, a service manager or a broken pipe sends to a whole
/// session or group; the helper goes when its caller goes, not before.
const IGNORED_SIGNALS: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGPIPE,
];

/// Moves a descriptor out of the way of 0, 1 and 2, which the helper replaces
/// by `/dev/null` (a caller started without them gets them from the next open).
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_FREE_FD {
        return Ok(fd);
    }
    Ok(fcntl_dupfd_cloexec(&fd, FIRST_FREE_FD)?)
}

/// A process that was forked. Dropping it changes nothing.
#[derive(Debug)]
pub(crate) struct Helper {
    pid: i32,
    report: OwnedFd,
}

impl Helper {
    /// Its process id, as seen from the caller's pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until it is detached from its caller.
    ///
    /// # Errors
    ///
    /// If it was killed before.
    pub(crate) fn ready(&self) -> io::Result<()> {
        match retry_on_intr(|| rustix::io::read(&self.report, &mut [0]))? {
            1 => Ok(()),
            _ => Err(io::Error::other(
                "the helper process was killed at its start",
            )),
        }
    }
}

/// Runs `body` in a new process called `name` (at most 15 bytes).
///
/// Only the descriptors in `keep` stay open in it; 0, 1 and 2 are `/dev/null`,
/// the working directory is `/`, the signals a terminal or service manager
/// sends are ignored and all others have their default action. All of that is
/// so when [`Helper::ready`] returns, so that the caller can do something else
/// meanwhile.
///
/// # Errors
///
/// Whatever clone(2), pipe(2) or opening `/dev/null` gives; `InvalidInput` for
/// a kept descriptor below 3 (see [`above_stdio`]).
///
/// # Safety
///
/// `body` must do only async-signal-safe work (see the module's
/// documentation): in particular it must not allocate, lock, or panic; and of the heap it may use only
/// what is `needed`.
pub(crate) unsafe fn fork_helper(
    name: &CStr,
    keep: &[BorrowedFd<'_>],
    needed: Needed,
    body: impl FnOnce() -> Infallible,
) -> io::Result<Helper> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let null = above_stdio(null)?;
    let (report_in, report_out) = pipe_with(PipeFlags::CLOEXEC)?;
    let report_out = above_stdio(report_out)?;

    let mut open: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    if open.iter().any(|fd| *fd < FIRST_FREE_FD) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    open.extend([null.as_raw_fd(), report_out.as_raw_fd()]);
    open.sort_unstable();
    // rustix looks up the vDSO at its first use; let that be here.
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);

    // A handler of the caller's that ran in the child would write to the
    // caller's self-pipe, so no signal may arrive before handlers are reset.
    let mask = set_signal_mask(libc::sigfillset);
    // SAFETY: the child branch below diverges and does only async-signal-safe
    // work, `body` by this function's own contract.
    let child = unsafe { raw_fork(0) };
    if child == Ok(None) {
        let _guard = ExitOnUnwind;
        let _ = setsid();
        clean_up(name, &open, null.as_fd());
        // By number, as no drop is on the way of what never returns.
        // SAFETY: both are open, and nothing uses them after this.
        unsafe { rustix::io::close(null.as_raw_fd()) };
        let _ = retry_on_intr(|| rustix::io::write(&report_out, &[1]));
        // SAFETY: as above.
        unsafe { rustix::io::close(report_out.as_raw_fd()) };
        // SAFETY: `body`, which alone is used from here on, is on the stack.
        unsafe { release(needed) };
        // Never returns; did it, the guard would end the process.
        let _ = Some(body).map(|body| body());
    }
    // SAFETY: the pointer is to a mask that pthread_sigmask filled in.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &mask, ptr::null_mut()) };
    drop(report_out);
    let child = child?.expect("the child's branch does not come here");
    Ok(Helper {
        pid: child.as_raw_nonzero().get(),
        report: report_in,
    })
}

/// Takes note of a helper's end, which is about to come; for a moment, as it may
/// have been stopped.
pub(crate) fn reap(pid: i32) {
    let Some(helper) = Pid::from_raw(pid) else {
        return;
    };
    if let Ok(pidfd) = pidfd_open(helper, PidfdFlags::empty()) {
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        let _ = retry_on_intr(|| poll(&mut ended, Some(&HELPER_ENDS)));
    }
    // Another thread's wait with __WALL may have taken it.
    let wall = WaitOptions::from_bits_retain(libc::__WALL as u32);
    let _ = retry_on_intr(|| waitpid(Some(helper), wall | WaitOptions::NOHANG));
}

/// clone(2) as fork, with exit signal 0, or with `CLONE_PARENT` that of the caller:
/// then the child is a child of the caller's parent. `None` in the child.
///
/// # Safety
///
/// The child may do only async-signal-safe work.
pub(crate) unsafe fn raw_fork(flags: libc::c_int) -> Result<Option<Pid>, Errno> {
    let flags = flags as usize;
    // The order of the first two differs between architectures.
    let [first, second] = match cfg!(target_arch = "s390x") {
        true => [0, flags],
        false => [flags, 0],
    };
    // SAFETY: without CLONE_VM the child has its own copy of memory and stack.
    let result = unsafe { libc::syscall(libc::SYS_clone, first, second, 0usize, 0usize, 0usize) };
    if result < 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(Pid::from_raw(result as i32))
}

/// `_exit`: no destructors, no flushing of the caller's buffers.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit is async-signal-safe and does not return.
    unsafe { libc::_exit(status) }
}

/// Keeps a panicking child from running on as a second copy of the caller.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit(101)
    }
}

/// Detaches the forked process from its caller. Async-signal-safe.
fn clean_up(name: &CStr, open: &[RawFd], null: BorrowedFd<'_>) {
    for stdio in 0..FIRST_FREE_FD {
        // SAFETY: nothing in this process owns its standard descriptors.
        unsafe { libc::dup2(null.as_raw_fd(), stdio) };
    }
    let mut first = FIRST_FREE_FD;
    for &fd in open {
        close_between(first, fd - 1);
        first = fd + 1;
    }
    close_between(first, RawFd::MAX);

    for signal in 1..=64 {
        // SAFETY: signal(2) is async-signal-safe; SIG_DFL is no handler. The
        // numbers that cannot be set give an error, which is fine.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    for signal in IGNORED_SIGNALS {
        // SAFETY: as above.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Whatever the caller's thread had blocked.
    set_signal_mask(libc::sigemptyset);
    let _ = rustix::process::chdir(c"/");
    let _ = rustix::thread::set_name(name);
}

/// Closes the descriptors `first..=last`.
fn close_between(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the descriptors closed are copies that nothing in this process
    // uses: its only code is the helper's body, which owns those kept.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if closed == 0 {
        return;
    }
    // Before Linux 5.9, or refused by a container's seccomp filter.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = limit.current.unwrap_or(65536).min(65536) as RawFd;
    for fd in first..=last.min(limit) {
        // SAFETY: as above; a number that is not open is an error we ignore.
        unsafe { libc::close(fd) };
    }
}

/// Has the calling thread block what `fill` puts into a set; gives what it blocked before.
fn set_signal_mask(
    fill: unsafe extern "C" fn(*mut libc::sigset_t) -> libc::c_int,
) -> libc::sigset_t {
    // SAFETY: a sigset_t is plain bits, for which zero is valid; all pointers are to live local variables.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        fill(&mut mask);
        libc::pthread_sigmask(libc::SIG_SETMASK, &mask, &mut before);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::until;
    use std::fs;

    fn wait_until_open(pid: i32, expected: &[i32]) {
        until("the helper to close what it does not keep", || {
            let mut fds: Vec<i32> = fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .map(|name| name.to_str().unwrap().parse().unwrap())
                .collect();
            fds.sort_unstable();
            fds == expected
        });
    }

    #[test]
    fn a_helper_keeps_only_its_descriptors_and_leaves_at_end_of_file() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let read = above_stdio(read).unwrap();
        let kept = read.as_raw_fd();
        // SAFETY: a read and an exit.
        let helper = unsafe {
            fork_helper(
                c"fifofs-test",
                &[read.as_fd()],
                Needed::default(),
                move || {
                    let mut byte = [0];
                    let read = BorrowedFd::borrow_raw(kept);
                    let _ = retry_on_intr(|| rustix::io::read(read, &mut byte));
                    exit(0)
                },
            )
        }
        .unwrap();
        helper.ready().unwrap();
        let pid = helper.pid();
        drop(helper);

        wait_until_open(pid, &[0, 1, 2, kept]);
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        assert_eq!(comm, "fifofs-test\n");
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert_eq!(cwd, std::path::Path::new("/"));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // Its own session. Not asked of rustix: the caller's may be outside of the pid
        // namespace, and a session 0 is more than rustix bears.
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let session = |status: &str| {
            let (_, rest) = status.split_once("NSsid:\t").unwrap();
            rest.lines().next().unwrap().to_owned()
        };
        assert_ne!(session(&status), session(&own));
        assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
        // 32 and 33 are glibc's own and not to be set.
        let signals = |name: &str| {
            let (_, rest) = status.split_once(name).unwrap();
            u64::from_str_radix(rest.lines().next().unwrap(), 16).unwrap() & 0x7fff_ffff
        };
        // HUP, INT, QUIT, PIPE, TERM: 1, 2, 3, 13, 15.
        assert_eq!(signals("SigIgn:\t"), 0x5007, "{status}");
        assert_eq!(signals("SigCgt:\t"), 0, "{status}");
        // Waiting for any child, as shells and test harnesses do, does not take it.
        assert_eq!(
            waitpid(None, WaitOptions::NOHANG)
                .unwrap_or_default()
                .map(|(pid, _)| pid),
            None
        );

        drop(write);
        reap(pid);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_descriptor_in_the_place_of_standard_input_is_refused() {
        let stdin = std::io::stdin();
        let needed = Needed::default();
        // SAFETY: never forks.
        let refused = unsafe { fork_helper(c"fifofs-test", &[stdin.as_fd()], needed, || exit(0)) };
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

//! Runs a process as on kernels before Linux 6.9, 6.13 and 6.15.
//!
//! Knows which system calls are newer and how they fail if they are missing; seccomp(2) makes them fail so.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// `_IOWR(0xFF, 11, struct pidfd_info)`, Linux 6.13.
const PIDFD_GET_INFO: u32 = 0xC040_FF0B;
/// Offsets in `struct seccomp_data`: the number of the call, and the lower half of its second argument.
const CALL: u32 = 0;
const SECOND_ARGUMENT: u32 = 24;

/// Hides `PIDFD_GET_INFO` and `PIDFD_THREAD` from a program and its descendants. For root.
pub(crate) fn without_pidfd_info(command: &mut Command) -> &mut Command {
    let install = || {
        let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
        let fail = |errno: i32| {
            let value = libc::SECCOMP_RET_ERRNO | errno as u32;
            statement(libc::BPF_RET | libc::BPF_K, value)
        };
        let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
        let mut filter = [
            load(CALL),
            jump(libc::BPF_JEQ, libc::SYS_ioctl as u32, 0, 3),
            load(SECOND_ARGUMENT),
            jump(libc::BPF_JEQ, PIDFD_GET_INFO, 0, 5),
            fail(libc::ENOTTY),
            jump(libc::BPF_JEQ, libc::SYS_pidfd_open as u32, 0, 3),
            load(SECOND_ARGUMENT),
            jump(libc::BPF_JSET, libc::PIDFD_THREAD, 0, 1),
            fail(libc::EINVAL),
            allow,
        ];
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the program is valid while the kernel copies it.
        match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: it makes one system call, and does not allocate.
    unsafe { command.pre_exec(install) }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    let (jt, jf, code) = (0, 0, code as u16);
    libc::sock_filter { code, jt, jf, k }
}

/// Skips `jt` statements if the condition holds, `jf` if not.
fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | condition | libc::BPF_K) as u16;
    libc::sock_filter { code, jt, jf, k }
}

//! A private mount namespace: its mounts are visible to this process and its descendants only, and are gone
//! with them.
//!
//! Knows namespaces, not fifofs mounts. The invariant: nothing that is mounted
//! in it gets out, while what the rest of the system mounts later still comes
//! in (mount_namespaces(7): a recursive slave).

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{geteuid, getgid, getuid};
use rustix::thread::UnshareFlags;

use super::means::{fusermount, may_mount};
use super::removal;
use crate::error::{Error, Result};

/// Has a directory for each thread of this process.
const THREADS: &str = "/proc/self/task";

/// What [`enter_private_namespace`] did.
///
/// ```no_run
/// // In a process of one thread.
/// match fifofs::enter_private_namespace()? {
///     fifofs::Privacy::Private => println!("nobody else sees what is mounted"),
///     _ => println!("others see that something is mounted"),
/// }
/// # Ok::<(), fifofs::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Privacy {
    /// What is mounted from now on is seen by this process and those it starts
    /// alone.
    Private,
    /// Others may see what is mounted: `fusermount3`, by which this user mounts,
    /// works only where everybody does; and in a chroot(2) whose root is no mount
    /// point, the kernel cannot be told to keep mounts in. The mount's directory
    /// is still closed to others.
    Shared,
}

/// Moves this process into a mount namespace of its own, where it may: root can,
/// and so can a user without `fusermount3`, in a user namespace. Mounts that it
/// makes from then on are invisible to others and gone with the last process
/// that it started, even if it is killed.
///
/// In a user namespace files of other users seem to be `nobody`'s, and programs
/// cannot change their user.
///
/// # Errors
///
/// [`Error::Usage`] if this process has more than one thread, as namespaces are
/// the threads' own; [`Error::Io`] if the system forbids it, or `/proc` is not
/// there to tell.
///
/// ```no_run
/// use fifofs::Mount;
///
/// fifofs::enter_private_namespace()?;
/// let mount = Mount::builder().mount_temporary()?;
/// # Ok::<(), fifofs::Error>(())
/// ```
pub fn enter_private_namespace() -> Result<Privacy> {
    let threads = fs::read_dir(THREADS).map_err(|error| {
        Error::io("count the threads in", THREADS, error).with_remedy("mount proc on /proc")
    })?;
    if threads.count() != 1 {
        return Err(Error::usage(
            "a private mount namespace can be entered only while there is one thread; \
             do it first of all",
        ));
    }
    if may_mount() {
        removal::remember_namespace();
        unshare(UnshareFlags::NEWNS, "start it with --cap-add SYS_ADMIN")?;
    } else if !geteuid().is_root() && fusermount().is_ok() {
        return Ok(Privacy::Shared);
    } else {
        enter_user_namespace()?;
    }
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    match mount_change("/", flags) {
        Ok(()) => Ok(Privacy::Private),
        // The root is none of a mount, but of a chroot.
        Err(Errno::INVAL) => Ok(Privacy::Shared),
        Err(errno) => Err(Error::io(
            "make private the mounts below",
            "/",
            errno.into(),
        )),
    }
}

fn enter_user_namespace() -> Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let remedy = "install fusermount3 (`apt install fuse3`), allow user namespaces, or run as root";
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS, remedy)?;
    // Before the groups can be mapped, setgroups(2) must be given up.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{uid} {uid} 1")),
        ("/proc/self/gid_map", format!("{gid} {gid} 1")),
    ] {
        fs::write(file, text)
            .map_err(|error| Error::io("write", file, error).with_remedy(remedy))?;
    }
    Ok(())
}

fn unshare(flags: UnshareFlags, remedy: &str) -> Result<()> {
    removal::unshare(flags).map_err(|errno| {
        let reason = match errno {
            Errno::PERM | Errno::NOSPC | Errno::USERS => io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the system forbids namespaces",
            ),
            errno => errno.into(),
        };
        Error::io("make a private mount namespace for", "/", reason).with_remedy(remedy)
    })
}

//! Removes a directory together with the mount on it, in one step.
//!
//! Knows directories and namespaces, not fifofs mounts. The invariant: the directory never exists without the
//! mount. Between an unmount and rmdir(2) it would, and a program that opens its output late would make a
//! real file in it, which is never read or removed. The directory's mode keeps other users' programs out;
//! root needs this.
//!
//! A mount point can be removed from another mount namespace, where nothing is mounted on it; the kernel then
//! detaches the mount (`detach_mounts` in `fs/namespace.c`, since Linux 3.18).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::means::may_mount;

/// The mount namespace that this process was in before it entered one of its own.
static OUTER: OnceLock<OwnedFd> = OnceLock::new();

/// Keeps the mount namespace that this process is about to leave.
pub(super) fn remember_namespace() {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    if let Ok(namespace) = rustix::fs::open("/proc/self/ns/mnt", flags, Mode::empty()) {
        let _ = OUTER.set(namespace);
    }
}

/// Removes `directory`, absolute and canonical, with the mount on it. If it returns false nothing has
/// changed.
pub(crate) fn remove_with_mount(directory: &Path) -> bool {
    if !may_mount() {
        return false;
    }
    let directory = directory.to_owned();
    // A thread, which ends in the namespace that it went to.
    let thread = std::thread::Builder::new().name("fifofs-remove".into());
    let thread = thread.spawn(move || remove_from_elsewhere(&directory));
    thread.is_ok_and(|thread| matches!(thread.join(), Ok(Ok(()))))
}

fn remove_from_elsewhere(directory: &PathBuf) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(Errno::INVAL);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Its path may lead elsewhere there.
    let parent = rustix::fs::open(parent, flags, Mode::empty())?;
    match OUTER.get() {
        Some(outer) => {
            unshare(UnshareFlags::FS)?;
            move_into_link_name_space(outer.as_fd(), Some(LinkNameSpaceType::Mount))?;
        }
        None => {
            unshare(UnshareFlags::NEWNS)?;
            // The copy is unmounted for this thread alone.
            mount_change(
                "/",
                MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
            )?;
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            rustix::mount::unmount(directory, flags)?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Has the calling thread stop sharing attributes with others, except memory and descriptors.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: neither the file descriptor table nor the address space is unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fuse::mounting::testing::Cleanup;

    #[test]
    fn a_directory_goes_with_the_mount_on_it_unless_it_has_entries() {
        let base = Cleanup::new();
        let directory = base.join("").canonicalize().unwrap().join("x");
        let mount = || {
            let options = c"size=4k";
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("none", &directory, "tmpfs", flags, options).unwrap();
        };
        fs::create_dir(&directory).unwrap();
        mount();
        assert!(remove_with_mount(&directory));
        assert!(!directory.exists());
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}");

        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("below"), "").unwrap();
        mount();
        assert!(!remove_with_mount(&directory));
        assert!(
            !directory.join("below").exists(),
            "it is not mounted any more"
        );
        rustix::mount::unmount(&directory, UnmountFlags::empty()).unwrap();
        assert!(directory.join("below").exists());
    }
}

//! What the tests of this side share: places to mount in, and other users.
//!
//! Knows how to leave nothing behind; knows nothing of what is tested. The
//! invariant: whatever a test did, the mounts below its [`Cleanup`] end with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode};
use rustix::mount::{MountFlags, UnmountFlags};

use super::attach::{FUSE_DEVICE, MountOptions, detach};
use super::mountinfo::all_mounts;
use super::mountpoint::{MountPoint, Mounted};
use crate::error::Result;

/// Makes `directory` if it is missing and mounts on it.
pub(crate) fn mount(directory: &Path, options: &MountOptions) -> Result<Mounted> {
    MountPoint::prepare(directory)?.mount(options)
}

/// A temporary directory that leaves no mount, even if a test fails: its removal would hang in a mount that
/// is not served.
pub(crate) struct Cleanup(tempfile::TempDir);

impl Cleanup {
    pub(crate) fn new() -> Cleanup {
        Cleanup(tempfile::tempdir().unwrap())
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let below = self.join("");
        let mounts = all_mounts().unwrap();
        for mount in mounts.iter().filter(|mount| mount.starts_with(&below)) {
            let _ = detach(mount, UnmountFlags::DETACH | UnmountFlags::FORCE);
        }
    }
}

/// Runs `action` in a thread that is the user nobody, in a directory of
/// nobody's and a mount namespace with a `/dev/fuse` for all, which is how
/// distributions have it but not how every container has it.
///
/// As root only, as are all tests that mount.
pub(crate) fn as_nobody(action: impl FnOnce(&Path) + Send + 'static) {
    use rustix::fs::{FileType, Gid, Uid, makedev};
    use rustix::mount::{MountPropagationFlags, mount, mount_bind, mount_change};
    use rustix::thread::UnshareFlags;

    let base = Cleanup::new();
    let directory = base.join("");
    let user = move || {
        // SAFETY: concerns file systems only, no descriptors.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.expect("run as root");
        let private = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        let devices = directory.join("devices");
        fs::create_dir(&devices).unwrap();
        mount("none", &devices, "tmpfs", MountFlags::empty(), None).unwrap();
        let device = devices.join("fuse");
        let mode = Mode::RUSR | Mode::WUSR;
        let number = makedev(10, 229); // misc, FUSE_MINOR (linux/miscdevice.h)
        rustix::fs::mknodat(CWD, &device, FileType::CharacterDevice, mode, number).unwrap();
        fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).unwrap();
        mount_bind(&device, FUSE_DEVICE).unwrap();

        let work = directory.join("work");
        fs::create_dir(&work).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).unwrap();
        let (gid, uid) = (Gid::from_raw(65534), Uid::from_raw(65534));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        action(&work);
    };
    if let Err(panic) = std::thread::spawn(user).join() {
        std::panic::resume_unwind(panic);
    }
}

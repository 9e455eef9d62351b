//! Mounting and unmounting, and what `/proc/thread-self/mountinfo` says about it.
//!
//! Knows mount(2), `fusermount3` and mountinfo; knows nothing of sessions or of
//! what a mount serves. Two invariants:
//!
//! * Whatever fails leaves nothing behind: no mount, and no directory that was
//!   made for it ([`MountPoint`] removes it again when dropped unmounted).
//! * A mount is never touched (stat, open, readdir) unless it is known to be
//!   dead or foreign: until its daemon has answered the kernel's INIT, and
//!   whenever that daemon hangs, such a call blocks. Only [`is_dead`] looks, in
//!   a thread with a deadline. Making a path canonical is safe: it reads links,
//!   which the kernel answers for a mount's root without asking the daemon.

use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::error::{Error, Result};

/// The type under which the kernel lists our mounts.
const FILE_SYSTEM_TYPE: &str = "fuse.fifofs";
const FUSE_DEVICE: &str = "/dev/fuse";
const NO_DEVICE_REMEDY: &str = "load the driver with `modprobe fuse`, or in a container start it \
    with --device /dev/fuse --cap-add SYS_ADMIN";
/// How long a daemon may take to answer whether it lives. A live one answers in
/// well under a millisecond.
const LIVENESS_DEADLINE: Duration = Duration::from_secs(2);
/// How many dead mounts, one over another, are cleared before giving up.
const DEAD_LAYERS: usize = 16;

/// How a mount differs from the default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MountOptions {
    /// Other users than the one who mounts may use it, as modes allow.
    pub(crate) allow_other: bool,
}

/// A mount that nobody serves yet.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// The connection to the kernel, close-on-exec. When its last copy is
    /// closed, the mount is dead, but still there.
    pub(crate) device: OwnedFd,
    /// Where, absolute and canonical.
    pub(crate) directory: PathBuf,
    /// The directory did not exist before, and is to be removed afterwards.
    pub(crate) made_directory: bool,
    /// The connection's number below `/sys/fs/fuse/connections`, which is the
    /// minor device number of the mount.
    pub(crate) device_number: u64,
}

/// A fifofs mount found in mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundMount {
    /// Where it is mounted.
    pub(crate) directory: PathBuf,
    /// As in [`Mounted`].
    pub(crate) device_number: u64,
}

/// A directory that is fit to be mounted on. Dropped without
/// [`MountPoint::mount`], it removes the directory if it made it.
#[derive(Debug)]
pub(crate) struct MountPoint {
    directory: PathBuf,
    made_directory: bool,
    mounted: bool,
}

/// Makes `directory` if it is missing and mounts on it.
///
/// # Errors
///
/// Those of [`MountPoint::prepare`] and [`MountPoint::mount`].
pub(crate) fn mount(directory: &Path, options: &MountOptions) -> Result<Mounted> {
    MountPoint::prepare(directory)?.mount(options)
}

impl MountPoint {
    /// Makes `directory` (mode 0700) if it is missing, clears dead fifofs mounts
    /// on it, and checks that it can be mounted on.
    ///
    /// Separate from [`MountPoint::mount`] because the watchdog must know the
    /// directory before there is a device that it could inherit.
    ///
    /// # Errors
    ///
    /// If it is not an empty directory, not ours to write, or holds a live
    /// fifofs mount; each with its remedy.
    pub(crate) fn prepare(directory: &Path) -> Result<MountPoint> {
        let directory = without_trailing_slash(directory);
        let fail = |source: io::Error| Error::io("mount on", &directory, source);
        let made_directory = match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => {
                let remedy = match error.kind() {
                    io::ErrorKind::NotFound => "give a directory whose parent exists",
                    io::ErrorKind::PermissionDenied => {
                        "give a directory that exists, or one below a directory you may write"
                    }
                    _ if error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()) => {
                        "it is inside a dead mount: `fifofs unmount` that one first"
                    }
                    _ => "give another directory",
                };
                let error = Error::io("make the directory", &directory, error);
                return Err(error.with_remedy(remedy));
            }
        };
        let mut point = MountPoint {
            made_directory,
            mounted: false,
            directory: directory.clone(),
        };
        point.directory = fs::canonicalize(&directory).map_err(|error| {
            fail(error).with_remedy("it may be a symbolic link to nowhere; give a directory")
        })?;
        clear_dead_mounts(&point.directory)?;
        check_directory(&point.directory)?;
        Ok(point)
    }

    /// Where it is, absolute and canonical.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the directory was made and is to be removed afterwards.
    pub(crate) fn made_directory(&self) -> bool {
        self.made_directory
    }

    /// Mounts, nosuid and nodev, with modes checked by the kernel.
    ///
    /// # Errors
    ///
    /// If there is no usable FUSE device, or the kernel or `fusermount3`
    /// refuses.
    pub(crate) fn mount(mut self, options: &MountOptions) -> Result<Mounted> {
        let device = if rustix::process::geteuid().is_root() {
            mount_directly(&self.directory, options)?
        } else {
            mount_by_fusermount(&self.directory, options)?
        };
        let Some(found) = mount_at(&self.directory)? else {
            let _ = detach(&self.directory, UnmountFlags::DETACH);
            let source =
                io::Error::other("mounted, but /proc/thread-self/mountinfo does not show it");
            let error = Error::io("mount on", &self.directory, source);
            return Err(error.with_remedy("see that /proc is mounted, and try again"));
        };
        self.mounted = true;
        Ok(Mounted {
            device,
            directory: self.directory.clone(),
            made_directory: self.made_directory,
            device_number: found.device_number,
        })
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if self.made_directory && !self.mounted {
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// Unmounts the fifofs mount at `directory`, dead or alive; if it is in use it
/// goes from sight at once and ends with its last user.
///
/// Call it from a process that does not serve the mount, or from a thread that
/// the session does not need: the kernel may have dirty pages written first.
///
/// # Errors
///
/// If there is no fifofs mount at `directory`, or it is somebody else's.
pub(crate) fn unmount(directory: &Path) -> Result<()> {
    let directory = without_trailing_slash(directory);
    let directory = fs::canonicalize(&directory).unwrap_or(directory);
    let fail = |source: io::Error| Error::io("unmount", &directory, source);
    if mount_at(&directory)?.is_none() {
        let mut mounts: Vec<String> = all_mounts()?
            .iter()
            .map(|mount| mount.display().to_string())
            .collect();
        mounts.dedup();
        let remedy = match mounts.is_empty() {
            true => "there is none on this machine that you can see".to_owned(),
            false => format!("those there are: {}", mounts.join(", ")),
        };
        return Err(fail(io::Error::other("no fifofs mount is there")).with_remedy(remedy));
    }
    match detach(&directory, UnmountFlags::empty()) {
        Ok(()) => Ok(()),
        // Only "busy" is known to be cured by detaching, but fusermount3 tells
        // its reasons in words, so it is tried whatever they were.
        Err(_) => detach(&directory, UnmountFlags::DETACH)
            .map_err(|error| fail(error).with_remedy("do it as the user who mounted, or as root")),
    }
}

/// The fifofs mount that holds `path` (absolute and canonical), if one does.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(crate) fn find_mount(path: &Path) -> Result<Option<FoundMount>> {
    Ok(holder_of(path, &read_mountinfo()?))
}

/// Where fifofs is mounted, in the order of mounting.
///
/// # Errors
///
/// If mountinfo cannot be read.
pub(crate) fn all_mounts() -> Result<Vec<PathBuf>> {
    let mountinfo = read_mountinfo()?;
    let ours = mount_lines(&mountinfo).filter(|line| line.is_fifofs());
    Ok(ours.map(|line| line.directory()).collect())
}

/// Whether the mount at `directory` has lost its daemon: it is still there, and
/// every use of it fails. A daemon that does not answer within two seconds
/// hangs, which is not dead: it may come back.
///
/// Root cannot tell of another user's mount without `allow_other`, which the
/// kernel answers by itself; that counts as alive.
pub(crate) fn is_dead(directory: &Path) -> bool {
    let (answer, answered) = mpsc::sync_channel(1);
    let path = directory.to_owned();
    let probe = move || {
        // statfs, not stat: attributes are cached for an hour, dead or not.
        let _ = answer.send(rustix::fs::statfs(&path).map(drop));
    };
    // In a thread, which may stay behind, for a daemon that hangs.
    let thread = std::thread::Builder::new().name("fifofs-probe".to_owned());
    if thread.spawn(probe).is_err() {
        return false;
    }
    matches!(
        answered.recv_timeout(LIVENESS_DEADLINE),
        Ok(Err(error)) if means_dead(error)
    )
}

/// Whether `error` from a FUSE mount says that its daemon is gone: never
/// connected again, aborted, refused at INIT, or the root inode gone bad.
pub(crate) fn means_dead(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOTCONN | Errno::CONNABORTED | Errno::CONNREFUSED | Errno::IO
    )
}

/// One line of mountinfo, still escaped. Parsing allocates nothing, so that the
/// watchdog can use it after its fork. See proc_pid_mountinfo(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountLine<'a> {
    /// `major:minor`; for FUSE the minor is the connection's number.
    pub(crate) device: &'a [u8],
    /// The mount point, octal escapes in it.
    pub(crate) escaped_point: &'a [u8],
    /// The type, with its subtype.
    pub(crate) file_system: &'a [u8],
}

impl<'a> MountLine<'a> {
    /// The parts of `line` (without its newline), if it is a line of mountinfo.
    pub(crate) fn parse(line: &'a [u8]) -> Option<MountLine<'a>> {
        let mut fields = line.split(|byte| *byte == b' ');
        let device = fields.nth(2)?;
        let escaped_point = fields.nth(1)?;
        // Options, then any number of optional fields, then a lone hyphen.
        fields.find(|field| *field == b"-")?;
        Some(MountLine {
            device,
            escaped_point,
            file_system: fields.next()?,
        })
    }

    pub(crate) fn is_fifofs(&self) -> bool {
        self.file_system == FILE_SYSTEM_TYPE.as_bytes()
    }

    pub(crate) fn device_number(&self) -> Option<u64> {
        let minor = self.device.rsplit(|byte| *byte == b':').next()?;
        str::from_utf8(minor).ok()?.parse().ok()
    }

    fn directory(&self) -> PathBuf {
        unescape(self.escaped_point)
    }
}

/// A mount point as mountinfo writes it: space, tab, newline and backslash in
/// octal (`seq_path_root` in the kernel's `fs/proc_namespace.c`).
pub(crate) fn escape(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                escaped.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            _ => escaped.push(byte),
        }
    }
    escaped
}

fn unescape(escaped: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if byte == b'\\' => {
                path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => path.push(byte),
        }
    }
    PathBuf::from(OsString::from_vec(path))
}

fn read_mountinfo() -> Result<Vec<u8>> {
    // Of the thread: it may have a mount namespace of its own.
    let path = "/proc/thread-self/mountinfo";
    fs::read(path)
        .map_err(|error| Error::io("read", path, error).with_remedy("see that /proc is mounted"))
}

fn mount_lines(mountinfo: &[u8]) -> impl Iterator<Item = MountLine<'_>> {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(MountLine::parse)
}

/// The topmost mount that holds `path`, of any type; then, whether it is ours.
/// (A later mount on the same directory hides the earlier ones.)
fn holder_of(path: &Path, mountinfo: &[u8]) -> Option<FoundMount> {
    mount_lines(mountinfo)
        .filter(|line| path.starts_with(line.directory()))
        .max_by_key(|line| line.directory().as_os_str().len())
        .filter(MountLine::is_fifofs)
        .and_then(|line| {
            Some(FoundMount {
                directory: line.directory(),
                device_number: line.device_number()?,
            })
        })
}

/// The fifofs mount exactly at `directory`.
fn mount_at(directory: &Path) -> Result<Option<FoundMount>> {
    Ok(find_mount(directory)?.filter(|mount| mount.directory == directory))
}

fn without_trailing_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

fn clear_dead_mounts(directory: &Path) -> Result<()> {
    let fail = |source| Error::io("mount on", directory, source);
    let remedy = format!("`fifofs unmount {}` first", directory.display());
    for _ in 0..DEAD_LAYERS {
        if mount_at(directory)?.is_none() {
            return Ok(());
        }
        if !is_dead(directory) {
            let source = io::Error::other("fifofs is mounted there already");
            return Err(fail(source).with_remedy(format!("use that one, or {remedy}")));
        }
        detach(directory, UnmountFlags::DETACH).map_err(|error| {
            let source = io::Error::new(error.kind(), format!("a dead mount is there: {error}"));
            fail(source).with_remedy(format!("as its owner or root, {remedy}"))
        })?;
    }
    let source = io::Error::other("dead fifofs mounts are there, many over one another");
    Err(fail(source).with_remedy(remedy))
}

fn check_directory(directory: &Path) -> Result<()> {
    let fail = |source: io::Error| Error::io("mount on", directory, source);
    let metadata = fs::metadata(directory)
        .map_err(|error| fail(error).with_remedy("give a directory you may use"))?;
    if !metadata.is_dir() {
        let source = Errno::NOTDIR.into();
        return Err(fail(source).with_remedy("give an empty directory, or a name that is free"));
    }
    // fusermount3 asks for the same, but says less. Root needs none of it.
    let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if !rustix::process::geteuid().is_root()
        && let Err(error) = rustix::fs::accessat(CWD, directory, needed, AtFlags::EACCESS)
    {
        let remedy = "give a directory that you may read, write and search";
        return Err(fail(error.into()).with_remedy(remedy));
    }
    let mut entries = fs::read_dir(directory).map_err(fail)?;
    if let Some(entry) = entries.next() {
        let name = entry.map_err(fail)?.file_name();
        let source = io::Error::new(
            io::ErrorKind::DirectoryNotEmpty,
            format!("the directory is not empty: it holds {name:?}"),
        );
        return Err(fail(source).with_remedy("give an empty directory, or a name that is free"));
    }
    Ok(())
}

/// mount(2), as root.
fn mount_directly(directory: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let device = rustix::fs::open(FUSE_DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| {
            let remedy = match error {
                Errno::NOENT | Errno::NXIO | Errno::NODEV => NO_DEVICE_REMEDY,
                _ => "in a container, start it with --device /dev/fuse --cap-add SYS_ADMIN",
            };
            Error::io("open", FUSE_DEVICE, error.into()).with_remedy(remedy)
        })?;
    let data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions{}",
        std::os::fd::AsRawFd::as_raw_fd(&device),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        if options.allow_other {
            ",allow_other"
        } else {
            ""
        },
    );
    let data = CString::new(data).expect("digits and words hold no NUL");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount(
        "fifofs",
        directory,
        FILE_SYSTEM_TYPE,
        flags,
        data.as_c_str(),
    )
    .map_err(|error| {
        let remedy = match error {
            Errno::NODEV => NO_DEVICE_REMEDY,
            Errno::PERM | Errno::ACCESS => "in a container, start it with --cap-add SYS_ADMIN",
            _ => "`fifofs doctor` says what this machine allows",
        };
        Error::io("mount on", directory, error.into()).with_remedy(remedy)
    })?;
    Ok(device)
}

/// The set-user-id helper of libfuse, which mounts for those who may not, and
/// sends the device over a socket.
fn mount_by_fusermount(directory: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let fail = |source: io::Error| Error::io("mount on", directory, source);
    if let Err(error) = fs::metadata(FUSE_DEVICE) {
        return Err(Error::io("open", FUSE_DEVICE, error).with_remedy(NO_DEVICE_REMEDY));
    }
    let program = fusermount().map_err(|error| {
        fail(error).with_remedy("install it (`apt install fuse3`), or run as root")
    })?;
    let mut words = "nosuid,nodev,default_permissions,fsname=fifofs,subtype=fifofs".to_owned();
    if options.allow_other {
        words.push_str(",allow_other");
    }
    let (ours, theirs) = UnixStream::pair().map_err(fail)?;
    // As its standard input the socket needs no unsafe dance with close-on-exec.
    let output = Command::new(program)
        .args(["-o", &words, "--"])
        .arg(directory)
        .env("_FUSE_COMMFD", "0")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .output()
        .map_err(fail)?;
    match receive_descriptor(&ours) {
        Some(device) if output.status.success() => Ok(device),
        _ => Err(fusermount_refused("mount on", directory, &output)),
    }
}

fn fusermount_refused(operation: &str, directory: &Path, output: &Output) -> Error {
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.trim().replace('\n', "; ");
    let remedy = if words.contains("user_allow_other") {
        "leave out --allow-other, or have root add the line user_allow_other to /etc/fuse.conf"
    } else if words.contains("modprobe") {
        NO_DEVICE_REMEDY
    } else if words.contains("/dev/fuse") {
        "ask for read and write permission on /dev/fuse, or run as root"
    } else {
        "`fifofs doctor` says what this machine allows"
    };
    let source = match words.is_empty() {
        true => io::Error::other(format!("fusermount3 failed with {}", output.status)),
        false => io::Error::other(words),
    };
    Error::io(operation, directory, source).with_remedy(remedy)
}

/// The descriptor that was sent, if it was, close-on-exec. The sender has
/// ended, so what it sent is there.
fn receive_descriptor(socket: &UnixStream) -> Option<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(socket, &mut buffers, &mut ancillary, flags).ok()?;
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

/// umount2(2), or `fusermount3` for those who may not.
fn detach(directory: &Path, flags: UnmountFlags) -> io::Result<()> {
    match rustix::mount::unmount(directory, flags | UnmountFlags::NOFOLLOW) {
        Err(Errno::PERM) => {}
        done => return Ok(done?),
    }
    let how = match flags.contains(UnmountFlags::DETACH) {
        true => "-uz",
        false => "-u",
    };
    let output = Command::new(fusermount()?)
        .args([how, "--"])
        .arg(directory)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(words.trim().replace('\n', "; ")))
}

/// Where `fusermount3` is: on the path, or where distributions put it.
///
/// # Errors
///
/// `NotFound`.
pub(crate) fn fusermount() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("fusermount3"))
        .find(|program| rustix::fs::access(program, Access::EXEC_OK).is_ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no fusermount3"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    /// A temporary directory that leaves no mount, also when a test fails: its
    /// removal would hang in one that nobody serves.
    pub(in crate::fuse) struct Cleanup(tempfile::TempDir);

    impl Cleanup {
        pub(in crate::fuse) fn new() -> Cleanup {
            Cleanup(tempfile::tempdir().unwrap())
        }

        pub(in crate::fuse) fn join(&self, name: &str) -> PathBuf {
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

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        result.unwrap_err().to_string()
    }

    /// Runs `action` in a thread that is the user nobody, in a directory of
    /// nobody's and a mount namespace with a `/dev/fuse` for all, which is how
    /// distributions have it but not how every container has it.
    ///
    /// As root only, as are all tests that mount.
    pub(in crate::fuse) fn as_nobody(action: impl FnOnce(&Path) + Send + 'static) {
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

    #[test]
    fn a_missing_directory_is_made_mounted_and_unmounted() {
        let base = Cleanup::new();
        let directory = base.join("new");
        let mounted = mount(&directory.join(""), &MountOptions { allow_other: true }).unwrap();
        assert_eq!(mounted.directory, directory);
        assert!(mounted.made_directory);
        let flags = rustix::io::fcntl_getfd(mounted.device.as_fd()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let found = find_mount(&directory.join("below/it")).unwrap().unwrap();
        assert_eq!(found.directory, directory);
        assert_eq!(found.device_number, mounted.device_number);
        let mountinfo = read_mountinfo().unwrap();
        let mountinfo = String::from_utf8_lossy(&mountinfo);
        let line = mountinfo
            .lines()
            .find(|line| line.contains(directory.to_str().unwrap()));
        for option in ["nosuid", "nodev", "default_permissions", "allow_other"] {
            assert!(line.unwrap().contains(option), "{line:?}");
        }

        unmount(&directory).unwrap();
        assert_eq!(find_mount(&directory).unwrap(), None);
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }

    #[test]
    fn an_existing_directory_reached_by_a_link_is_mounted_on_in_its_own_name() {
        let base = Cleanup::new();
        fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        let mounted = mount(&base.join("link"), &MountOptions::default()).unwrap();
        assert_eq!(mounted.directory, base.join("real"));
        assert!(!mounted.made_directory);
        unmount(&base.join("link")).unwrap();
    }

    #[test]
    fn names_that_mountinfo_escapes_are_found() {
        let base = Cleanup::new();
        for name in [
            "a b", "a\\b", "a\\040b", "a\nb", "a\tb", "a#b", "äöü", " - ",
        ] {
            let mounted = mount(&base.join(name), &MountOptions::default()).unwrap();
            assert!(all_mounts().unwrap().contains(&base.join(name)), "{name:?}");
            let mountinfo = read_mountinfo().unwrap();
            let escaped = escape(&mounted.directory);
            assert!(mount_lines(&mountinfo).any(|line| line.escaped_point == escaped));
            unmount(&base.join(name)).unwrap();
        }
    }

    #[test]
    fn a_dead_mount_is_cleared_and_mounted_over() {
        let base = Cleanup::new();
        let directory = base.join("dead");
        let first = mount(&directory, &MountOptions::default()).unwrap();
        drop(first.device);
        assert!(is_dead(&directory));
        let second = mount(&directory, &MountOptions::default()).unwrap();
        assert!(!second.made_directory);
        assert_ne!(first.device_number, 0);
        let mounts = all_mounts().unwrap();
        assert_eq!(
            mounts.iter().filter(|mount| **mount == directory).count(),
            1
        );
        drop(second.device);
        let inside = message(mount(&directory.join("x"), &MountOptions::default()));
        assert!(inside.ends_with("it is inside a dead mount: `fifofs unmount` that one first"));
        unmount(&directory).unwrap();
        assert!(message(unmount(&directory)).contains("no fifofs mount is there; "));
    }

    #[test]
    fn a_mount_with_a_daemon_is_refused_even_while_that_does_not_answer() {
        let base = Cleanup::new();
        let directory = base.join("live");
        let _mounted = mount(&directory, &MountOptions::default()).unwrap();
        let shown = directory.display();
        assert_eq!(
            message(mount(&directory, &MountOptions::default())),
            format!(
                "cannot mount on {shown}: fifofs is mounted there already; \
                 use that one, or `fifofs unmount {shown}` first"
            ),
        );
        unmount(&directory).unwrap();
    }

    #[test]
    fn bad_directories_are_refused_each_with_its_remedy() {
        let base = Cleanup::new();
        fs::create_dir(base.join("full")).unwrap();
        fs::write(base.join("full/old.txt"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", base.join("dangling")).unwrap();
        let free = "give an empty directory, or a name that is free";
        for (name, why) in [
            (
                "full/old.txt",
                format!("Not a directory (os error 20); {free}"),
            ),
            (
                "full",
                format!("the directory is not empty: it holds \"old.txt\"; {free}"),
            ),
            (
                "no/such",
                "No such file or directory (os error 2); give a directory whose parent exists"
                    .to_owned(),
            ),
            (
                "dangling",
                "No such file or directory (os error 2); \
                 it may be a symbolic link to nowhere; give a directory"
                    .to_owned(),
            ),
        ] {
            let path = base.join(name);
            let verb = if name == "no/such" {
                "make the directory"
            } else {
                "mount on"
            };
            assert_eq!(
                message(mount(&path, &MountOptions::default())),
                format!("cannot {verb} {}: {why}", path.display()),
            );
        }
    }

    #[test]
    fn a_directory_made_for_nothing_is_removed() {
        let base = Cleanup::new();
        let point = MountPoint::prepare(&base.join("made")).unwrap();
        assert!(point.made_directory() && point.directory().is_dir());
        drop(point);
        assert!(!base.join("made").exists());
    }

    #[test]
    fn without_root_the_helper_mounts_and_unmounts() {
        as_nobody(|base| {
            let directory = base.join("user");
            let roots = Path::new("/dev");
            assert_eq!(
                message(mount(roots, &MountOptions::default())),
                "cannot mount on /dev: Permission denied (os error 13); \
                 give a directory that you may read, write and search",
            );
            let shared = message(mount(&directory, &MountOptions { allow_other: true }));
            assert!(
                shared.contains("user_allow_other to /etc/fuse.conf"),
                "{shared}"
            );
            assert!(!directory.exists(), "made, and not removed when refused");

            let mounted = mount(&directory, &MountOptions::default()).unwrap();
            let flags = rustix::io::fcntl_getfd(mounted.device.as_fd()).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            drop(mounted.device);
            assert!(is_dead(&directory));
            drop(mount(&directory, &MountOptions::default()).unwrap());
            unmount(&directory).unwrap();
            assert_eq!(find_mount(&directory).unwrap(), None);
        });
    }

    #[test]
    fn the_longest_prefix_holds_a_path_and_later_lines_hide_earlier_ones() {
        let mountinfo = b"\
            22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            40 22 0:50 / /a rw,nosuid shared:3 master:1 - fuse.fifofs fifofs rw,user_id=0\n\
            41 40 0:51 / /a/b\\040c rw - fuse.fifofs fifofs rw\n\
            42 22 0:52 / /t rw - fuse.fifofs fifofs rw\n\
            43 42 0:53 / /t rw - tmpfs tmpfs rw\n\
            broken line\n";
        let number = |path: &str| holder_of(Path::new(path), mountinfo).map(|m| m.device_number);
        assert_eq!(number("/a"), Some(50));
        assert_eq!(number("/a/b/x"), Some(50));
        assert_eq!(number("/a/b c/x"), Some(51));
        assert_eq!(number("/ab"), None);
        assert_eq!(number("/t/x"), None);
        assert_eq!(number("/"), None);
    }

    #[test]
    fn escapes_are_undone_and_stray_backslashes_kept() {
        assert_eq!(unescape(br"/a\040b\134c\012"), Path::new("/a b\\c\n"));
        assert_eq!(unescape(br"/a\4\\"), Path::new(r"/a\4\\"));
        assert_eq!(escape(Path::new("/a b\\\n\t")), br"/a\040b\134\012\011");
    }
}

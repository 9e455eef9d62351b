//! Asks the kernel for a mount, and to take one away: by mount(2) and
//! umount2(2) where that is allowed, else by `fusermount3`.
//!
//! Knows the FUSE device and the set-user-id helper of libfuse; does not know
//! whether a directory is fit to be mounted on, nor whose mount it takes away.
//! The invariant: a device that is given out is close-on-exec, so that no
//! program that is started here can keep a mount alive.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::means::{fusermount, may_mount};
use super::mountinfo::FILE_SYSTEM_TYPE;
use crate::error::{Error, Result};

pub(crate) const FUSE_DEVICE: &str = "/dev/fuse";
const NO_DEVICE_REMEDY: &str = "load the driver with `modprobe fuse`, or in a container start it \
    with --device /dev/fuse --cap-add SYS_ADMIN";

/// What the kernel does by itself, as mount(8) and fusermount3 call it.
const KERNEL_OPTIONS: [(&str, MountFlags); 3] = [
    ("ro", MountFlags::RDONLY),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
];

/// The source of a mount, unless its options name another.
const SOURCE: &str = "fifofs";

/// How a mount differs from the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct MountOptions {
    /// What the system calls it, `fifofs` unless set.
    pub(crate) source: Option<String>,
    /// Of [`KERNEL_OPTIONS`].
    pub(crate) kernel_options: Vec<&'static str>,
    /// Users other than the one that mounts may use it, as modes allow.
    pub(crate) allow_other: bool,
    /// The directory is removed with the mount, though it was there before.
    pub(crate) remove_directory: bool,
}

impl MountOptions {
    /// Adds one of [`KERNEL_OPTIONS`].
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it is none.
    pub(crate) fn kernel_option(&mut self, option: &str) -> Result<()> {
        let names = KERNEL_OPTIONS.map(|(name, _)| name);
        match names.iter().find(|name| **name == option) {
            Some(name) => self.kernel_options.push(name),
            None => {
                return Err(Error::usage(format!(
                    "invalid mount option '{option}' (expected one of {})",
                    names.join(", ")
                )));
            }
        }
        Ok(())
    }

    fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(SOURCE)
    }

    fn flags(&self) -> MountFlags {
        let chosen = KERNEL_OPTIONS
            .iter()
            .filter(|(name, _)| self.kernel_options.contains(name));
        chosen.fold(MountFlags::NOSUID | MountFlags::NODEV, |all, (_, flag)| {
            all | *flag
        })
    }
}

/// Mounts on `directory`, nosuid and nodev, with modes checked by the kernel.
///
/// # Errors
///
/// If there is no usable FUSE device, or the kernel or `fusermount3` refuses.
pub(super) fn attach(directory: &Path, options: &MountOptions) -> Result<OwnedFd> {
    if rustix::process::geteuid().is_root() || may_mount() {
        mount_directly(directory, options)
    } else {
        mount_by_fusermount(directory, options)
    }
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
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        if options.allow_other {
            ",allow_other"
        } else {
            ""
        },
    );
    let data = CString::new(data).expect("digits and words hold no NUL");
    rustix::mount::mount(
        options.source(),
        directory,
        FILE_SYSTEM_TYPE,
        options.flags(),
        data.as_c_str(),
    )
    .map_err(|error| {
        let remedy = match error {
            Errno::NODEV => NO_DEVICE_REMEDY,
            Errno::PERM | Errno::ACCESS => "in a container, start it with --cap-add SYS_ADMIN",
            // The kernel's word for a descriptor that is no FUSE device.
            Errno::INVAL => "see that /dev/fuse is the FUSE device (character device 10, 229)",
            _ => "give another directory, on an ordinary file system",
        };
        Error::io("mount on", directory, error.into()).with_remedy(remedy)
    })?;
    Ok(device)
}

/// The set-user-id helper of libfuse, which mounts for unprivileged processes, and sends the device over a
/// socket.
fn mount_by_fusermount(directory: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let fail = |source: io::Error| Error::io("mount on", directory, source);
    if let Err(error) = fs::metadata(FUSE_DEVICE) {
        return Err(Error::io("open", FUSE_DEVICE, error).with_remedy(NO_DEVICE_REMEDY));
    }
    let program = fusermount().map_err(|error| {
        fail(error).with_remedy("install it (`apt install fuse3`), or run as root")
    })?;
    let mut words = "nosuid,nodev,default_permissions,subtype=fifofs".to_owned();
    // It takes a comma for the end, unless there is a backslash before it.
    let source = options.source().replace('\\', r"\\").replace(',', r"\,");
    words.push_str(&format!(",fsname={source}"));
    for option in &options.kernel_options {
        words.push(',');
        words.push_str(option);
    }
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
    let words = words_of(output);
    let remedy = if words.contains("user_allow_other") {
        "leave out --allow-other, or have root add the line user_allow_other to /etc/fuse.conf"
    } else if words.contains("modprobe") {
        NO_DEVICE_REMEDY
    } else if words.contains("/dev/fuse") {
        "ask for read and write permission on /dev/fuse, or run as root"
    } else {
        "run it as root, or use a FIFO instead (`fifofs run --backend fifo`)"
    };
    let source = match words.is_empty() {
        true => io::Error::other(format!("fusermount3 failed with {}", output.status)),
        false => io::Error::other(words),
    };
    Error::io(operation, directory, source).with_remedy(remedy)
}

/// What a program said of an error, in one line.
fn words_of(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    words.trim().replace('\n', "; ")
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

/// umount2(2), or `fusermount3` for unprivileged processes.
pub(super) fn detach(directory: &Path, flags: UnmountFlags) -> io::Result<()> {
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
    let words = words_of(&output);
    // In the words of strerror(3) in the C locale, which it does not leave.
    let kind = match words.contains("resource busy") {
        true => io::ErrorKind::ResourceBusy,
        false => io::ErrorKind::Other,
    };
    Err(io::Error::new(kind, words))
}

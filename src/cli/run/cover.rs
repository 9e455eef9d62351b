//! Directories that are covered for a command, and for no other process: `--over` of `fifofs exec`.
//!
//! Knows mount namespaces. The command enters one between fork and exec, so that this process, which
//! serves the mount, still sees its own files. Invariant: these mounts end with the last process of
//! the command, and no mount of other processes changes.

use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fifofs::{Error, Result};

/// A directory of the mount that covers another for a command.
#[derive(Debug)]
pub(super) struct Cover {
    /// The directory in the mount.
    source: PathBuf,
    directory: PathBuf,
    /// Whether it lies in another covered directory, and needs no mount of its own.
    is_inside: bool,
}

/// Checks a directory to be covered.
///
/// # Errors
///
/// If it is no directory, or must not be covered.
pub(super) fn checked(directory: &Path) -> Result<PathBuf> {
    let refuse = |error: io::Error| Error::io("cover", directory, error);
    let found = fs::canonicalize(directory).map_err(|error| {
        refuse(error).with_remedy("make it before, or give the one that the command uses")
    })?;
    if !found.is_dir() {
        return Err(refuse(io::ErrorKind::NotADirectory.into())
            .with_remedy("give the directory that it is in"));
    }
    if found == Path::new("/") {
        return Err(Error::usage(
            "cannot cover /: the command itself would be gone; give the directory in which it makes its FIFOs",
        ));
    }
    if let Some(mount) = fifofs::mount_of(&found)? {
        return Err(Error::usage(format!(
            "cannot cover {}: it is in a mount of fifofs, {}, already; if that was made with --fifos virtual, \
             the command needs no more",
            directory.display(),
            mount.display(),
        )));
    }
    Ok(found)
}

impl Cover {
    /// Makes directories in the mount with the modes and owners of those that they will cover.
    ///
    /// # Errors
    ///
    /// If one cannot be made.
    pub(super) fn make_all(mount: &Path, mut directories: Vec<PathBuf>) -> Result<Vec<Cover>> {
        // The working directory must exist in the cover, too: otherwise the command would work in the
        // hidden one.
        if let Ok(here) = std::env::current_dir()
            && directories
                .iter()
                .any(|directory| here.starts_with(directory))
        {
            directories.push(here);
        }
        // Outer ones first: they hide what is in them.
        directories.sort();
        directories.dedup();
        let mut covers: Vec<Cover> = Vec::new();
        for directory in directories {
            let outer = covers
                .iter()
                .find(|outer| directory.starts_with(&outer.directory));
            let (source, is_inside) = match outer {
                Some(outer) => (outer.make_inside(&directory)?, true),
                None => (mount.join(format!(".over-{}", covers.len() + 1)), false),
            };
            if !is_inside {
                make_like(&directory, &source)?;
            }
            covers.push(Cover {
                source,
                directory,
                is_inside,
            });
        }
        Ok(covers)
    }

    /// Makes a directory in this cover, with its parents. Returns its path in the mount.
    fn make_inside(&self, directory: &Path) -> Result<PathBuf> {
        let inside = |directory: &Path| {
            let below = directory.strip_prefix(&self.directory);
            self.source.join(below.unwrap_or(Path::new("")))
        };
        let covered = directory
            .ancestors()
            .take_while(|above| *above != self.directory);
        let covered: Vec<&Path> = covered.filter(|above| !inside(above).exists()).collect();
        for above in covered.into_iter().rev() {
            make_like(above, &inside(above))?;
        }
        Ok(inside(directory))
    }

    /// The covered directory that hides this path of the mount from the command, if one does.
    pub(super) fn hides(&self, path: &Path) -> Option<&Path> {
        path.starts_with(&self.directory)
            .then_some(&*self.directory)
    }
}

/// Makes a directory with another's mode and owner.
fn make_like(directory: &Path, source: &Path) -> Result<()> {
    let fail = |error| Error::io("make what is to cover", directory, error);
    let like = fs::metadata(directory).map_err(fail)?;
    DirBuilder::new().mode(0o700).create(source).map_err(fail)?;
    // Only root may give it away; other users keep it.
    let _ = std::os::unix::fs::chown(source, Some(like.uid()), Some(like.gid()));
    let mode = Permissions::from_mode(like.mode() & 0o7777);
    fs::set_permissions(source, mode).map_err(fail)
}

/// Reports a failure between fork and exec, where only one step's number can be passed on.
pub(super) struct Outcome {
    failed: PipeReader,
    /// This process's copy of the write end; closed by `why_not`.
    ours: PipeWriter,
}

impl Outcome {
    /// Why a command was not started, if its namespace was the reason.
    pub(super) fn why_not(mut self) -> Option<&'static str> {
        drop(self.ours);
        let mut step = [0];
        self.failed.read_exact(&mut step).ok()?;
        STEPS.get(usize::from(step[0])).copied()
    }
}

const STEPS: [&str; 3] = [
    "--over needs a mount namespace, which the system forbids: allow user namespaces, run it as root, or start \
     the container with --cap-add SYS_ADMIN",
    "--over cannot keep its mounts from others: / is no mount point (in a chroot, bind it to itself before)",
    "--over cannot mount over the directory",
];

/// Makes a command see these covers.
///
/// # Errors
///
/// If there is no pipe, or a path has a NUL.
pub(super) fn apply(covers: &[Cover], command: &mut Command) -> io::Result<Outcome> {
    let (failed, ours) = io::pipe()?;
    let mut theirs = ours.try_clone()?;
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes());
    let pairs = covers
        .iter()
        .filter(|cover| !cover.is_inside)
        .map(|cover| Ok((name(&cover.source)?, name(&cover.directory)?)));
    let pairs = pairs.collect::<io::Result<Vec<_>>>()?;
    // It would otherwise work in the covered directory.
    let here = std::env::current_dir();
    let is_covered = |here: &PathBuf| covers.iter().any(|cover| cover.directory == *here);
    let here = here
        .ok()
        .filter(is_covered)
        .map(|here| name(&here))
        .transpose()?;
    let is_root = rustix::process::geteuid().is_root();
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let maps = [
        // setgroups(2) must be denied before groups can be mapped.
        (c"/proc/self/setgroups", "deny".to_owned()),
        (c"/proc/self/uid_map", format!("{uid} {uid} 1")),
        (c"/proc/self/gid_map", format!("{gid} {gid} 1")),
    ];
    let enter = move || {
        let mut check = |step: u8, result: io::Result<()>| {
            result.inspect_err(|_| {
                let _ = theirs.write(&[step]);
            })
        };
        check(0, enter_namespace(is_root, &maps))?;
        check(1, mount(c"", c"/", libc::MS_SLAVE | libc::MS_REC))?;
        for (source, directory) in &pairs {
            check(2, mount(source, directory, libc::MS_BIND))?;
        }
        if let Some(here) = &here {
            check(2, work_in(here))?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec `enter` makes system calls only; it allocates nothing and takes
    // no lock.
    unsafe { command.pre_exec(enter) };
    Ok(Outcome { failed, ours })
}

/// Enters a mount namespace of its own; for users other than root, with a user namespace.
fn enter_namespace(is_root: bool, maps: &[(&CStr, String)]) -> io::Result<()> {
    // SAFETY: takes no pointers; this process has one thread, between fork and exec.
    let unshare = |flags| match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // Root may lack the capability, as in a container.
    if is_root && unshare(libc::CLONE_NEWNS).is_ok() {
        return Ok(());
    }
    unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    for (file, text) in maps {
        // SAFETY: the path ends in a NUL.
        let opened = unsafe { libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
        // SAFETY: the pointer is valid for this length; a bad descriptor is an error.
        let written = unsafe { libc::write(opened, text.as_ptr().cast(), text.len()) };
        let error = io::Error::last_os_error();
        // SAFETY: the descriptor is this function's own.
        unsafe { libc::close(opened) };
        if written < 0 {
            return Err(error);
        }
    }
    Ok(())
}

fn work_in(directory: &CStr) -> io::Result<()> {
    // SAFETY: the path ends in a NUL.
    match unsafe { libc::chdir(directory.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn mount(source: &CStr, target: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: both paths end in a NUL; without a file system type there are no data.
    match unsafe { libc::mount(source.as_ptr(), target.as_ptr(), none, flags, none.cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

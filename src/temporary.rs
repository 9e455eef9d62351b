//! Makes temporary directories for mount points and FIFOs, and clears those of killed processes.
//!
//! A directory is removed by the process that made it; if that was killed together with its helpers, the next
//! process that makes a directory in the same place clears it away. Invariant: nothing that is in use is
//! cleared away. A directory in use is locked by its maker (flock(2)): the kernel unlocks it however the
//! maker ends, and every pid and mount namespace sees the lock. A visible mount is dead if the kernel says
//! so.

use std::env;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::fuse::mounting;

/// How the name of a directory begins, before the process id of its maker.
const PREFIX: &str = "fifofs-";

/// How often another process may clear a new directory away between making and locking it.
const TAKEN_AT_MOST: u32 = 10;

/// How many files are always checked for leftovers, and for how long if there are more.
const LOOKED_AT: usize = 256;
const PATIENCE: Duration = Duration::from_millis(2);

/// Filesystems in which every process that sees the directory sees its lock: not those of a network, where
/// another machine may not know of it (linux/magic.h).
const LOCAL: [u32; 7] = [
    0xef53,      // ext2 to ext4
    0x5846_5342, // XFS
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x794c_7630, // overlayfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
];

/// A directory of mode 0700 that is removed with the value, with its contents.
#[derive(Debug)]
pub(crate) struct Directory {
    directory: TempDir,
    lock: Lock,
}

/// Marks a directory as in use. None if the directory cannot be locked.
#[derive(Debug)]
pub(crate) struct Lock(Option<OwnedFd>);

impl Lock {
    /// From now on only root can make files in the directory, even while something is mounted on it: such
    /// files would stay behind after the unmount.
    pub(crate) fn make_read_only(&self) {
        if let Some(directory) = &self.0 {
            let _ = rustix::fs::fchmod(directory, Mode::RUSR | Mode::XUSR);
        }
    }
}

impl Directory {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Does not remove the directory; it is in use for as long as the lock is held.
    pub(crate) fn keep(self) -> Lock {
        let _ = self.directory.keep();
        self.lock
    }
}

/// A fresh directory of mode 0700 below `$XDG_RUNTIME_DIR`, if that is absolute
/// and can be used, else below `$TMPDIR` or `/tmp`. Removed with the value.
pub(crate) fn directory() -> Result<Directory> {
    make_directory(&usual_bases())
}

/// Clears away leftovers of killed processes in the usual places.
pub(crate) fn clear_left() {
    for base in usual_bases() {
        clear_left_in(&base);
    }
}

fn usual_bases() -> Vec<PathBuf> {
    bases(env::var_os("XDG_RUNTIME_DIR"), env::temp_dir())
}

/// The directories in which to make one, best first.
fn bases(runtime_directory: Option<OsString>, temporary_directory: PathBuf) -> Vec<PathBuf> {
    // The XDG Base Directory Specification: "must be absolute", else ignored.
    let runtime_directory = runtime_directory.map(PathBuf::from);
    let runtime_directory = runtime_directory.filter(|path| path.is_absolute());
    let usual = runtime_directory.into_iter().chain([temporary_directory]);
    let mut bases: Vec<PathBuf> = usual.filter(|path| is_one_word(path)).collect();
    if bases.is_empty() {
        bases.push(PathBuf::from("/tmp"));
    }
    bases
}

/// Whether shells take the unquoted path as one word, as `{out}` in a script may be unquoted.
fn is_one_word(path: &Path) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=:,./@%".contains(byte);
    let path = path.as_os_str().as_bytes();
    // To a shell, bytes that are not ASCII are letters.
    path.iter().all(|byte| is_plain(byte) || !byte.is_ascii())
}

/// Makes a directory below the first of `bases` that allows it.
fn make_directory(bases: &[PathBuf]) -> Result<Directory> {
    let mut result = Err(Error::usage("no temporary directory is known"));
    for base in bases {
        clear_left_in(base);
        result = make_locked(base).map_err(|error| {
            Error::io("make a temporary directory in", base, without_path(error))
                .with_remedy("set TMPDIR to a directory you may write")
        });
        if result.is_ok() {
            break;
        }
    }
    result
}

/// The error without the path that `tempfile` adds: a directory that was never made needs no name.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((why, _)) => io::Error::new(error.kind(), why),
        None => error,
    }
}

fn make_locked(base: &Path) -> std::io::Result<Directory> {
    let prefix = format!("{PREFIX}{}-", std::process::id());
    for _ in 0..TAKEN_AT_MOST {
        let directory = tempfile::Builder::new()
            .prefix(&prefix)
            // The default mode depends on the umask.
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(base)?;
        let locked = match lock(directory.path()) {
            // The process that has locked it is about to remove it.
            Err(Errno::WOULDBLOCK) => continue,
            locked => locked,
        };
        // Another process may have cleared it away before it was locked.
        if directory.path().symlink_metadata().is_ok() {
            let lock = Lock(locked.ok());
            return Ok(Directory { directory, lock });
        }
    }
    Err(std::io::Error::other("others remove it at once"))
}

/// Locks a directory that no process has locked.
fn lock(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    rustix::fs::flock(&descriptor, FlockOperation::NonBlockingLockExclusive)?;
    Ok(descriptor)
}

/// Clears away dead mounts, and directories whose makers are dead, below `base`.
fn clear_left_in(base: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let Ok(base) = base.canonicalize() else {
        return;
    };
    let is_local = |found: rustix::fs::StatFs| LOCAL.contains(&(found.f_type as u32));
    if !rustix::fs::statfs(&base).is_ok_and(is_local) {
        return;
    }
    let mut mounts = None;
    let entries = fs::read_dir(&base).into_iter().flatten().flatten();
    let entries = entries.enumerate();
    for (_, entry) in entries.take_while(|(n, _)| *n < LOOKED_AT || Instant::now() < deadline) {
        let Some(maker) = maker_of(entry.file_name().as_bytes()) else {
            continue;
        };
        let path = entry.path();
        // A mount is looked up only if no process here is its daemon: it could hang.
        let all_mounts = || mounting::all_mounts().unwrap_or_default();
        let is_mounted = mounts.get_or_insert_with(all_mounts).contains(&path);
        if is_mounted && (is_running(maker) || !mounting::clear_if_dead(&path)) {
            continue;
        }
        clear_directory(&path);
    }
}

/// The process that made a directory of this name.
fn maker_of(name: &[u8]) -> Option<i32> {
    let rest = str::from_utf8(name).ok()?.strip_prefix(PREFIX)?;
    rest.split_once('-')?.0.parse().ok()
}

fn is_running(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Removes a directory of this user that no process holds, unless it contains anything but FIFOs.
fn clear_directory(path: &Path) {
    let us = rustix::process::geteuid().as_raw();
    let is_ours = |stat: &rustix::fs::Stat| {
        stat.st_uid == us && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
    };
    // Checked before it is opened: another user's directory is left alone.
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    if !stat.is_ok_and(|stat| is_ours(&stat)) {
        return;
    }
    let Ok(locked) = lock(path) else {
        return;
    };
    let names = rustix::fs::Dir::read_from(&locked).into_iter().flatten();
    for entry in names.flatten() {
        if entry.file_type() == FileType::Fifo {
            let _ = rustix::fs::unlinkat(&locked, entry.file_name(), AtFlags::empty());
        }
    }
    // Fails if anything else is in it.
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn directories_made_by_many_threads_at_once_stay() {
        let base = tempfile::tempdir().unwrap();
        let bases = [base.path().to_owned()];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let made = make_directory(&bases).unwrap();
                        std::thread::yield_now();
                        assert!(made.path().exists(), "{}", made.path().display());
                    }
                });
            }
        });
    }

    #[test]
    fn only_what_no_process_holds_is_cleared_away() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let held = make_locked(base.path()).unwrap();
        let fifo = make_locked(base.path()).unwrap();
        let dead = make_locked(base.path()).unwrap().keep();
        for name in ["fifofs-1-file", "fifofs-1-empty", "fifofs-x-a", "other"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("fifofs-1-file/x"), "").unwrap();
        fs::create_dir(at("victim")).unwrap();
        std::os::unix::fs::symlink("victim", at("fifofs-1-link")).unwrap();
        let path = fifo.path().join("out");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        drop((fifo.keep(), dead));
        // If there are many, one pass may not be enough.
        let names = || {
            clear_left_in(base.path());
            let entries = fs::read_dir(base.path()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        };
        let held_name = held.path().file_name().unwrap().to_str().unwrap();
        let mut expected = [
            "fifofs-1-file",
            "fifofs-1-link",
            "fifofs-x-a",
            "other",
            "victim",
        ]
        .map(str::to_owned)
        .to_vec();
        expected.push(held_name.to_owned());
        expected.sort();
        let start = Instant::now();
        while names() != expected {
            assert!(start.elapsed() < Duration::from_secs(30), "{:?}", names());
        }
    }

    #[test]
    fn the_runtime_directory_is_used_if_it_is_absolute_and_usable() {
        let [runtime, temporary] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let made_in = |runtime: Option<&OsStr>| {
            let bases = bases(runtime.map(OsStr::to_owned), temporary.path().to_owned());
            let made = make_directory(&bases).unwrap();
            made.path().parent().unwrap().to_owned()
        };
        assert_eq!(made_in(Some(runtime.path().as_os_str())), runtime.path());
        let missing = runtime.path().join("missing");
        for unusable in [None, Some(""), Some("relative"), missing.to_str()] {
            assert_eq!(made_in(unusable.map(OsStr::new)), temporary.path());
        }
        let error = make_directory(&bases(None, missing)).unwrap_err();
        assert!(error.to_string().contains("; set TMPDIR to "), "{error}");
    }
}

//! Follows symbolic links at the end of a path that a user named, except links that another user
//! may have put there to redirect the write.
//!
//! The rule is the kernel's (`fs.protected_symlinks` in proc_sys_fs(5)), applied where the kernel
//! is not configured to do so, and to links that fifofs follows itself: in a sticky directory that
//! every user may write, such as `/tmp`, a link is followed if this user owns it, or if its owner
//! also owns the directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// How many symbolic links are followed, as many as by the kernel.
pub(crate) const AT_MOST: u32 = 40;

/// The path without symbolic links at its end. Their target need not exist.
///
/// # Errors
///
/// `PermissionDenied` for a link that may be a trap; `ELOOP`.
pub(crate) fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..AT_MOST {
        // With a trailing slash the system would follow the link.
        let link: PathBuf = path.components().collect();
        match fs::read_link(&link) {
            Ok(target) => {
                check(&link)?;
                path = directory_of(&link).join(target);
            }
            Err(_) => return Ok(path),
        }
    }
    Err(Errno::LOOP.into())
}

fn check(link: &Path) -> io::Result<()> {
    let directory = fs::metadata(directory_of(link))?;
    let owner = fs::symlink_metadata(link)?.uid();
    let everybodys = libc::S_ISVTX | libc::S_IWOTH;
    let is_everybodys = directory.mode() & everybodys == everybodys;
    let us = rustix::process::geteuid().as_raw();
    if is_everybodys && owner != us && owner != directory.uid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is a symbolic link of another user (uid {owner}) in a directory where everybody \
                 may make files, and is not followed",
                link.display()
            ),
        ));
    }
    Ok(())
}

/// The parent directory of a path.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;

    #[test]
    fn links_are_followed_to_what_need_not_exist() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        symlink("second", at("first")).expect("a link");
        symlink("deep/x", at("second")).expect("a link");
        symlink("round", at("round")).expect("a link");
        assert_eq!(followed(&at("first")).expect("followed"), at("deep/x"));
        assert_eq!(followed(&at("first/")).expect("followed"), at("deep/x"));
        assert_eq!(followed(&at("none")).expect("followed"), at("none"));
        assert_eq!(followed(Path::new("none")).expect("one"), Path::new("none"));
        let error = followed(&at("round")).expect_err("an error");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn in_a_sticky_directory_links_of_others_are_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let link = place.path().join("link");
        symlink("victim", &link).expect("a link");
        let is_followed = |link_of, directory_of, mode| {
            // Only root may give files away; other users own all of them here, and follow all
            // links.
            lchown(&link, Some(link_of), None).expect("chown");
            lchown(place.path(), Some(directory_of), None).expect("chown");
            fs::set_permissions(place.path(), Permissions::from_mode(mode)).expect("chmod");
            followed(&link)
        };
        let us = rustix::process::geteuid();
        let other = match us.is_root() {
            true => 65_534,
            false => us.as_raw(),
        };
        let us = us.as_raw();
        for (link_of, directory_of, mode) in [
            (us, us, 0o1777),
            (us, other, 0o1777),
            (other, other, 0o1777),
            (other, us, 0o777),
            (other, us, 0o1755),
        ] {
            let target = is_followed(link_of, directory_of, mode);
            assert_eq!(target.expect("followed"), place.path().join("victim"));
        }
        if other != us {
            let error = is_followed(other, us, 0o1777).expect_err("an error");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("another user"), "{error}");
        }
    }
}

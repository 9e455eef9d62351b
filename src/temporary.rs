//! Where mount points and FIFOs are made that nobody named.

use std::env;
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::error::{Error, Result};

/// What begins the name of the directory.
const PREFIX: &str = "fifofs-";

/// A fresh directory of mode 0700 below `$XDG_RUNTIME_DIR`, if that is absolute
/// and can be used, else below `$TMPDIR` or `/tmp`. Removed with the value.
pub(crate) fn directory() -> Result<TempDir> {
    let runtime_directory = env::var_os("XDG_RUNTIME_DIR");
    make_directory(&bases(runtime_directory, env::temp_dir()))
}

/// Where the directory may be made, best first.
fn bases(runtime_directory: Option<OsString>, temporary_directory: PathBuf) -> Vec<PathBuf> {
    // The XDG Base Directory Specification: "must be absolute", else ignored.
    let runtime_directory = runtime_directory.map(PathBuf::from);
    let runtime_directory = runtime_directory.filter(|path| path.is_absolute());
    runtime_directory
        .into_iter()
        .chain([temporary_directory])
        .collect()
}

/// Makes a directory of our own below the first of `bases` that takes one.
fn make_directory(bases: &[PathBuf]) -> Result<TempDir> {
    let mut result = Err(Error::usage("no temporary directory is known"));
    for base in bases {
        result = tempfile::Builder::new()
            .prefix(PREFIX)
            // Unless told, it makes directories as the umask allows.
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(base)
            .map_err(|error| {
                Error::io("make a temporary directory in", base, error)
                    .with_remedy("set TMPDIR to a directory you may write")
            });
        if result.is_ok() {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

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

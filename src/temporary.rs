//! Where mount points and FIFOs are made that nobody named.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{Access, access};
use tempfile::TempDir;

use crate::error::{Error, Result};

/// A fresh directory of mode 0700 below `$XDG_RUNTIME_DIR`, if that is a
/// directory to make one in, else `$TMPDIR` or `/tmp`. Removed with the value.
pub(crate) fn directory() -> Result<TempDir> {
    let base = env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|base| base.is_absolute() && fs::metadata(base).is_ok_and(|m| m.is_dir()))
        .filter(|base| access(base, Access::WRITE_OK | Access::EXEC_OK).is_ok())
        .unwrap_or_else(env::temp_dir);
    tempfile::Builder::new()
        .prefix("fifofs-")
        // Unless told, it makes directories as the umask allows.
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(&base)
        .map_err(|error| {
            Error::io("make a directory in", &base, error)
                .with_remedy("set TMPDIR to a directory that you may write")
        })
}

//! Converts between paths and the components that the core uses.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The components of a path.
pub(super) fn components(path: &Path) -> Vec<OsString> {
    path.iter().map(OsString::from).collect()
}

/// The path with these components.
pub(super) fn joined(components: &[OsString]) -> PathBuf {
    components.iter().collect()
}

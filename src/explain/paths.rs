//! Paths as the core has them, by component, and as they are written.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The components of a path.
pub(super) fn components(path: &Path) -> Vec<OsString> {
    path.iter().map(OsString::from).collect()
}

/// The path of components.
pub(super) fn joined(components: &[OsString]) -> PathBuf {
    components.iter().collect()
}

//! Why a file is not whole, from the status of its mount.

use std::fs;
use std::path::{Path, PathBuf};

use fifofs::{Status, WriterStatus};

const CONTROL_NAME: &str = ".fifofs";

/// What happened to a failed file, in words that follow "it is not whole: "; the path is relative to
/// the mount.
pub(crate) fn reason(status: &Status, path: &Path) -> Option<String> {
    let file = status.files.iter().find(|file| file.path == path)?;
    lost(status, path).or_else(|| file.writers.iter().find_map(end_of))
}

/// The reason if bytes were lost, or a stream was changed; without its writer's end.
pub(crate) fn lost(status: &Status, path: &Path) -> Option<String> {
    let file = status.files.iter().find(|file| file.path == path)?;
    let warning = file.warning.clone();
    warning.filter(|warning| warning.starts_with("bytes from "))
}

/// The end of a writer that crashed or failed.
fn end_of(writer: &WriterStatus) -> Option<String> {
    let how = writer.failure.as_ref()?;
    let verb = if how.starts_with("killed") {
        "was "
    } else {
        ""
    };
    let (name, pid) = (&writer.name, writer.pid);
    Some(format!("{name} ({pid}), which wrote it, {verb}{how}"))
}

/// The same for a file of another process's mount, from the path below `.fifofs` that is read.
pub(crate) fn at_door(door: &Path) -> Option<String> {
    let is_control = |path: &&Path| path.file_name().is_some_and(|name| name == CONTROL_NAME);
    let control = door.ancestors().filter(is_control).last()?;
    let text = fs::read_to_string(control.join("status")).ok()?;
    let status: Status = serde_json::from_str(&text).ok()?;
    // There the whole path is one name.
    let name = door.file_name()?.to_string_lossy();
    let path = PathBuf::from(name.replace("%2F", "/").replace("%25", "%"));
    if path.starts_with(CONTROL_NAME) {
        return at_door(&control.parent()?.join(path));
    }
    reason(&status, &path)
}

//! What a reader of a capture waits for, and the errors that its waits end with.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::process;
use crate::core::Core;
use crate::core::spool::Cursor;
use crate::error::Error;
use crate::router::{Failure, Given, LocalReader};

/// The most bytes of one request of the kernel, and so about what comes at once.
pub(super) const READ_BYTES: u32 = 1 << 20;

/// How long to wait for a process to open the path before checking whether any process is left that
/// could. Two such waits are long enough for a process whose parent has started it and exited.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// As [`wait_for_bytes`], as long as a process may come that writes some.
pub(super) fn wait_for_a_writer(
    local: &mut LocalReader,
    path: &Path,
    position: u64,
    _: Option<Instant>,
) -> io::Result<Cursor> {
    let mut was_alone = false;
    while local.look(Core::has_neither_file_nor_holder) {
        let soon = Instant::now() + LOOK_INTERVAL;
        match wait_for_bytes(local, path, position, Some(soon)) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            given => return given,
        }
        let is_alone =
            local.look(Core::has_neither_file_nor_holder) && !process::has_living_child()?;
        if was_alone && is_alone {
            let path = path.to_owned();
            return Err(Error::Missing { path }.into());
        }
        was_alone = is_alone;
    }
    wait_for_bytes(local, path, position, None)
}

pub(super) fn wait_for_bytes(
    local: &mut LocalReader,
    path: &Path,
    position: u64,
    deadline: Option<Instant>,
) -> io::Result<Cursor> {
    let given = local.read(position, READ_BYTES, deadline);
    bytes_of(given, local, path)
}

/// The result of a read, as a reader of bytes reports it.
pub(super) fn bytes_of(
    given: std::result::Result<Given, Failure>,
    local: &LocalReader,
    path: &Path,
) -> io::Result<Cursor> {
    let path = path.to_owned();
    let error = match given {
        Ok(Given::Bytes(bytes)) => return Ok(Cursor::new(bytes)),
        Ok(Given::End) => return Ok(Cursor::default()),
        // Readers of events only.
        Ok(Given::Events(_)) => return Ok(Cursor::default()),
        Err(Failure::TimedOut) => Error::TimedOut { path },
        Err(Failure::Cancelled) => Error::Cancelled { path },
        Err(Failure::Errno(Errno::STALE)) => match local.look(Core::rewritten_range) {
            None => dropped_bytes(&path),
            range => Error::Rewritten { path, range },
        },
        Err(Failure::Errno(Errno::IO)) => {
            let writer = local.look(Core::failed_writer);
            Error::Failed { path, writer }
        }
        Err(Failure::Errno(Errno::NOENT)) => Error::Missing { path },
        Err(Failure::Errno(errno)) => Error::io("read", &path, errno.into()),
    };
    Err(error.into())
}

fn dropped_bytes(path: &Path) -> Error {
    let reason = io::Error::other("it is a stream whose first bytes were dropped");
    Error::io("read", path, reason)
        .with_remedy("open the reader before the program writes, or deliver it by follow")
}

//! Goes through a file line by line. Async-signal-safe, for helpers: it takes no memory but what it is lent.

use std::ffi::CStr;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

/// Has `look` see each line of the file at `path`, but for those that the buffer does not hold.
///
/// # Errors
///
/// Of opening and reading it.
pub(super) fn each_line(
    path: &CStr,
    buffer: &mut [u8],
    mut look: impl FnMut(&[u8]),
) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    let (mut filled, mut in_long_line) = (0, false);
    loop {
        let free = buffer.get_mut(filled..).ok_or(Errno::INVAL)?;
        let read = retry_on_intr(|| rustix::io::read(&file, &mut *free))?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut start = 0;
        while let Some(rest) = buffer.get(start..filled)
            && let Some(length) = rest.iter().position(|byte| *byte == b'\n')
        {
            if let (false, Some(line)) = (in_long_line, rest.get(..length)) {
                look(line);
            }
            in_long_line = false;
            start += length + 1;
        }
        if start == 0 && filled == buffer.len() {
            in_long_line = true;
            start = filled;
        }
        buffer.copy_within(start..filled, 0);
        filled -= start;
    }
}

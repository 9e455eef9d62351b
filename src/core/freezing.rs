//! A tree that nobody changes any more.
//!
//! Knows who could change it: whoever has a file open for writing, and whoever would open one or
//! change a name. The invariant: once it is frozen, what any file holds stays as it is.

use std::ffi::OsStr;

use rustix::io::Errno;

use super::{Core, Handle};

impl Core {
    /// From now on no file is opened for writing, made, renamed, removed or truncated, which is
    /// `EROFS` instead; unless a file is open for writing now. Says whether it is so.
    pub(super) fn freeze(&mut self) -> bool {
        let writes = |handle: &Handle| matches!(handle, Handle::Writer { .. });
        self.is_frozen = self.is_frozen || !self.handles.values().any(writes);
        self.is_frozen
    }

    /// That a file may be changed.
    pub(super) fn refuse_frozen(&self) -> Result<(), Errno> {
        match self.is_frozen {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }

    /// That a name may be made, changed or removed.
    pub(super) fn may_change(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.refuse_control(parent, name)?;
        self.refuse_frozen()
    }
}

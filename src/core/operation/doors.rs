//! Requests that wait at a door. What stat(2) shows behind `wait` is the finished file, so it waits like an
//! open.
//!
//! The wait ends with ESTALE, upon which the kernel looks the name up again and finds the file itself. For a
//! place that is open already (fstat(2)) the answer comes at once.

use std::ffi::OsString;

use rustix::io::Errno;

use super::Operation;
use crate::core::doors::{Door, Which};
use crate::core::effects::{Outcome, Reply};
use crate::core::readers::reader::{Awaits, Reader};
use crate::core::request::{Caller, Opener};
use crate::core::sent_back::Why;

impl Operation<'_> {
    /// A GETATTR; `by_handle` if it is of an open file. It waits behind `wait` only.
    pub(super) fn get_attributes(
        &mut self,
        caller: Caller,
        (ino, by_handle): (u64, bool),
        opener: &Opener,
    ) -> Outcome {
        if let Some((door, path)) = self.control.waits_for(ino) {
            let at = (ino, door, path);
            return self.wait_at_door(caller, at, (None, opener));
        }
        // The kernel sends this GETATTR before each write to its page cache.
        if by_handle && self.has_hung_up(ino) {
            return Err(Errno::PIPE);
        }
        // The kernel may ask in an open(2), and looks a path up again only once: that of a FIFO it has to later.
        if self.fifo_of(ino).is_none()
            && self.names.is_outdated(ino, caller.incarnation)
            && !self.is_open_in_kernel(ino, |of| of == caller.incarnation)
            && !self.sent_back.is_back_for(self.now, caller.thread, ino)
        {
            return Err(self.send_back(caller.thread, ino, Why::OldAttributes));
        }
        Ok(Some(Reply::Attributes(self.attributes(ino)?)))
    }

    /// Adds a reader that waits at a door until its OPEN with these flags, or else its GETATTR, can be answered.
    pub(super) fn wait_at_door(
        &mut self,
        caller: Caller,
        (ino, door, path): (u64, Door, Vec<OsString>),
        (flags, opener): (Option<i32>, &Opener),
    ) -> Outcome {
        let standing = self.names.resolve(&path);
        self.sent_back.waits_at_door(caller.thread, standing);
        // Checked here only: with no memory left the status files can still be opened.
        self.check_room_to_open(caller.user)?;
        let target = self.control.target(ino).transpose()?;
        if target.is_none() && matches!(door.which, Which::Of(_)) {
            return Err(Errno::STALE);
        }
        // A thread that was sent back has waited: if another generation began meanwhile, it must not wait for
        // the one after that.
        let has_waited = self
            .sent_back
            .has_waited_for(self.now, caller.thread)
            .is_some();
        let awaits = match target {
            Some(target) => Awaits::Since(target),
            None if door.which == Which::Next && !has_waited => Awaits::NextAfter(self.seen(&path)),
            None => Awaits::Path,
        };
        let mut origin = self.origin(caller, (flags.unwrap_or(0), opener), Some(&path));
        origin.door = Some((door.gives, ino));
        origin.asks_attributes = flags.is_none();
        let has_ended = target.is_some_and(|target| !target.is_running(self.processes));
        let source = self.awaited(awaits, &path);
        let reader = Reader::new(origin, awaits, Some(path), Some(caller.unique)).over(has_ended);
        let _ = self.attach_reader(reader, source);
        Ok(None)
    }
}

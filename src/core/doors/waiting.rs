//! Who waits at a door. What stat(2) shows behind `wait` is the finished file, so it waits like an open.
//!
//! The wait ends with ESTALE, upon which the kernel looks the name up again and finds the file
//! itself. Not answered so is who has it open already (fstat(2)).

use std::ffi::OsString;

use rustix::io::Errno;

use super::super::effects::{Effects, Reply};
use super::super::readers::reader::{Awaits, Reader};
use super::super::request::{Caller, Opener};
use super::super::{Core, Env};
use super::{Asked, AwaitedProcess, Door, Which};

impl Core {
    /// A GETATTR; `by_handle` if it is of an open file. Answered at once but behind `wait`.
    pub(in crate::core) fn get_attributes(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        (ino, by_handle): (u64, bool),
        opener: &Opener,
        effects: &mut Effects,
    ) {
        if let Some((door, path)) = self.control.waits_for(ino) {
            let at = (ino, door, path);
            let asked = (0, Asked::Attributes, opener);
            return self.wait_at_door(env, caller, at, asked, effects);
        }
        let unique = caller.unique;
        // The kernel asks so before each write to its page cache.
        if by_handle && self.has_hung_up(ino) {
            return effects.refuse(unique, Errno::PIPE);
        }
        match self.attributes(ino) {
            Ok(attributes) => effects.reply(unique, Reply::Attributes(attributes)),
            Err(errno) => effects.refuse(unique, errno),
        }
    }

    /// Whether a GETATTR of this may wait.
    pub(crate) fn waits_for_attributes(&self, ino: u64) -> bool {
        self.control.waits_for(ino).is_some()
    }

    /// Somebody waits at a door, until it can be opened or its attributes can be told.
    pub(in crate::core) fn wait_at_door(
        &mut self,
        env: Env<'_>,
        caller: Caller,
        (ino, door, path): (u64, Door, Vec<OsString>),
        (flags, asked, opener): (i32, Asked, &Opener),
        effects: &mut Effects,
    ) {
        // Only here: with no memory left the state can still be looked at.
        if let Err(errno) = self.check_room_to_open(caller.user) {
            return effects.refuse(caller.unique, errno);
        }
        let target = self.control.target(ino);
        let target = match target.transpose() {
            Ok(target) => target,
            Err(errno) => return effects.refuse(caller.unique, errno),
        };
        if target.is_none() && matches!(door.which, Which::Of(_)) {
            return effects.refuse(caller.unique, Errno::STALE);
        }
        // Whoever was sent back has waited: another writing that began
        // meanwhile must not have it wait for the one after that.
        let has_waited = self.sent_back.has_waited_for(env, caller.thread).is_some();
        let mut awaits = Awaits::Path;
        if door.which == Which::Next && !has_waited {
            awaits = Awaits::NextAfter(self.seen(&path));
        }
        let mut origin = self.origin(env, caller, (flags, opener), Some(&path));
        origin.door = Some((door.gives, ino));
        origin.asked = asked;
        let open = Some(caller.unique);
        let reader = match target {
            None => Reader::new(origin, awaits, Some(path.clone()), open),
            Some(target) => {
                awaits = Awaits::Since(target);
                Reader::new(origin, awaits, Some(path.clone()), open)
                    .while_lives(AwaitedProcess::of(target, env))
            }
        };
        let source = self.awaited(awaits, &path);
        let _ = self.attach_reader(reader, source);
    }
}

//! Who waits at a door. What stat(2) shows behind `wait` is the finished file, so it waits like an open.
//!
//! The wait ends with ESTALE, upon which the kernel looks the name up again and finds the file
//! itself. Not answered so is who has it open already (fstat(2)).

use std::ffi::OsString;

use rustix::io::Errno;

use super::super::effects::{Effects, Reply};
use super::super::reader::{Awaits, Reader};
use super::super::request::{Caller, Opener};
use super::super::{Core, Env};
use super::{Asked, Door, Gives, Which};

impl Reader {
    /// Whether it waits for the finished file, and gets nothing before.
    pub(in crate::core) fn waits_for_whole(&self) -> bool {
        self.open.is_some() && self.door.is_some_and(|(gives, _)| gives == Gives::File)
    }
}

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
        let has_waited = self.has_waited_for(env, caller.thread).is_some();
        let awaits = if door.which == Which::Next && !has_waited {
            Awaits::NextAfter(self.seen(&path))
        } else {
            Awaits::Path
        };
        let mut reader = self.new_reader(env, caller, (flags, opener), awaits, Some(path.clone()));
        reader.door = Some((door.gives, ino));
        reader.asked = asked;
        if let Some(target) = target {
            reader.wait_for(target, env);
        }
        let source = self.awaited(reader.awaits, &path);
        let _ = self.attach_reader(reader, source);
    }
}

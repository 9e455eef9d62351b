//! Programs that make the file behind a virtual FIFO: what they find there, and which of their requests make one message
//! ([`crate::core::fifos::programs`]).

use std::ffi::OsStr;

use crate::core::File;
use crate::core::fifos::programs::{finds_nothing, makes_one_message};
use crate::core::generation::{Ending, Writer};
use crate::core::operation::Operation;
use crate::core::request::At;

impl Operation<'_> {
    /// Whether such a program wrote a message and has not ended.
    pub(in crate::core::operation) fn is_being_made(&self, ino: u64) -> bool {
        let file = self.files.get(&ino).filter(|file| file.fifo().is_some());
        let works = |w: &Writer| {
            let is_running = || self.processes.ending(w.pid) == Ending::Running;
            w.pid != 0 && makes_one_message(&w.name) && is_running()
        };
        file.is_some_and(|file| file.writers().iter().any(works))
    }

    /// Handles an unlink of an empty message by the program that made it and will create it again: for its
    /// readers the FIFO stays in place. False if this is no such unlink.
    pub(in crate::core::operation) fn is_made_again(&mut self, thread: i32, at: &At) -> bool {
        let Ok(ino) = self.names.find(at.0, &at.1) else {
            return false;
        };
        let file = self.files.get(&ino).filter(|file| file.spool().len() == 0);
        let Some(id) = file.and_then(File::fifo) else {
            return false;
        };
        let program = self.processes.name_of(thread);
        let is_its = program.is_some_and(|program| makes_one_message(&program));
        is_its && self.is_being_made(ino) && self.replace_message(id)
    }

    /// Whether a LOOKUP of a FIFO by this thread finds nothing, so that its program creates the file.
    pub(in crate::core::operation) fn is_to_make(
        &self,
        thread: i32,
        name: &OsStr,
        ino: u64,
    ) -> bool {
        let Some((file, fifo)) = self.message(ino) else {
            return false;
        };
        if file.generation().has_begun() || fifo.current != ino || !fifo.queue.is_empty() {
            return false;
        }
        let program = self.processes.name_of(thread);
        let is_awaited = !file.readers().is_empty();
        program.is_some_and(|program| finds_nothing(&program, name, is_awaited))
    }
}

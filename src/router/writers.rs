//! Processes that write through an inherited descriptor, or die with one open.
//!
//! Facts about them are read before the core is locked.

use super::process::{self, Death};
use super::{Router, process_of};
use crate::core::generation::{Ending, Writer, is_crash};
use crate::core::request::Request;

impl Router {
    /// A process has written to a file that it may not have opened itself: a descriptor can be
    /// inherited.
    pub(crate) fn seen_writing(&self, handle: u64, thread: i32) {
        if let Some((ino, false)) = self.written_through(handle, thread) {
            self.note_writer(ino, thread, false);
        }
    }

    /// A process closes such a file, and waits for the answer. It may have written through the page cache
    /// unseen. A process that goes on has let go of the file: so a shell's child closes inherited descriptors
    /// before it runs a program whose output goes elsewhere. A process that dies had it open until then, and
    /// how it dies can be seen now on any kernel.
    pub(crate) fn seen_closing(&self, handle: u64, thread: i32) {
        let Some((ino, is_known)) = self.written_through(handle, thread) else {
            return;
        };
        let death = process::death(thread);
        if !is_known {
            let lets_go = match &death {
                Some(death) => self.is_dismissed(ino, thread, death),
                None => true,
            };
            self.note_writer(ino, thread, lets_go);
        }
        let pid = process_of(thread);
        self.tell(match death {
            Some(Death { ending, .. }) => Request::DiesWriting { ino, pid, ending },
            None => Request::Closes { ino, pid },
        });
    }

    /// Whether a process that dies with an inherited file open, and was not seen to write, is a worker that
    /// its parent does not need any more, where the parent has the file open and never closed it: so Python's
    /// `multiprocessing.Pool` ends its workers. (Writers through the kernel's cache cannot be seen.)
    fn is_dismissed(&self, ino: u64, thread: i32, death: &Death) -> bool {
        let Ending::Signal(signal) = death.ending else {
            return false;
        };
        if !death.is_mere_fork || is_crash(signal) {
            return false;
        }
        let parent = process::parent(process_of(thread));
        parent.is_some_and(|parent| self.look(|core| core.keeps_open(ino, parent)))
    }

    /// The file of a handle that may write, and whether this thread's process is known as its writer.
    fn written_through(&self, handle: u64, thread: i32) -> Option<(u64, bool)> {
        if thread == 0 {
            return None;
        }
        let (ino, is_known) = self.look(|core| core.knows_writer(handle, thread))?;
        let knows = |pid| {
            let looked = self.look(|core| core.knows_writer(handle, pid));
            looked.is_some_and(|(_, is_known)| is_known)
        };
        Some((
            ino,
            is_known || self.processes.running_process(thread).is_some_and(knows),
        ))
    }

    fn note_writer(&self, ino: u64, thread: i32, let_go: bool) {
        match self.writer(thread) {
            Ok(writer) if writer.pid != 0 => {
                let writer = Writer { let_go, ..writer };
                self.tell(Request::AlsoWrites { ino, writer });
            }
            Ok(_) => {}
            Err(errno) => self.tell(Request::CannotBeWatched { ino, errno }),
        }
    }
}

//! Notices: what a user should know about a mount as a whole. Each is logged once, and stays in the mount's
//! status.
//!
//! Most of them are about what the daemon cannot see from where it runs.

use std::collections::BTreeSet;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Notice {
    /// A waiting reader cannot be seen.
    UnseenReader,
    /// A writer cannot be seen.
    UnseenWriter,
    /// A writer that cannot be seen was refused (`--require-visible`).
    RefusedWriter,
    /// The kernel did not say how a writer ended after it had closed its file.
    UnknownEnd,
    /// A virtual FIFO seems to be used as a semaphore.
    Semaphore,
    /// Several processes wait for one message of a virtual FIFO.
    SharedMessage,
    /// A process opened a pipe and closed it without reading it.
    NeverRead,
}

impl Notice {
    fn text(self) -> &'static str {
        match self {
            Notice::UnseenReader => {
                "a reader waits in a pid namespace that this daemon cannot see: such processes are shown as number 0, \
                 and any signal that they do not ignore ends their waits"
            }
            Notice::UnseenWriter => {
                "a writer is in a pid namespace that this daemon cannot see: if it is killed, its readers get a clean \
                 end. Share the namespace (Kubernetes: shareProcessNamespace or hostPID; \
                 docker and podman: --pid=host or --pid=container:NAME), or refuse such writers by --require-visible"
            }
            Notice::RefusedWriter => {
                "a writer was refused, as it is in a pid namespace that this daemon cannot see \
                 (--require-visible). Share the namespace (Kubernetes: shareProcessNamespace or hostPID; docker and \
                 podman: --pid=host or --pid=container:NAME)"
            }
            Notice::Semaphore => {
                "a shell opened a virtual FIFO for reading and writing, as one does that uses it as a semaphore: what it \
                 reads there does not wait. Make those FIFOs of the kernel: --fifos kernel, or a GLOB of the virtual ones"
            }
            Notice::SharedMessage => {
                "several processes read one message of a virtual FIFO: each gets all of it, where each would get a part of \
                 what goes through a FIFO of the kernel. If they are to share it, make that FIFO one of the kernel: --fifos \
                 kernel, or a GLOB of the virtual ones"
            }
            Notice::NeverRead => {
                "a program opened a pipe, in .fifofs/pipe or a virtual FIFO, and closed it without reading it. If it asks for the \
                 size first, or moves bytes by splice(2), it takes what has no size for empty: give it the path in \
                 .fifofs/wait, or the output of `fifofs cat`"
            }
            Notice::UnknownEnd => {
                "this kernel does not tell how a process ended that had closed its file: if it crashed then, its \
                 readers got a clean end. Linux 6.15 and newer tell; with the file open every crash is seen"
            }
        }
    }
}

/// The notices that were logged.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeSet<Notice>);

impl Notices {
    /// Logs a notice if it was not logged yet.
    pub(super) fn say(&mut self, notice: Notice) {
        if !self.0.insert(notice) {
            return;
        }
        // The user can do nothing about an old kernel.
        let level = match notice {
            Notice::UnknownEnd => log::Level::Info,
            _ => log::Level::Warn,
        };
        log::log!(level, "{} (said once)", notice.text());
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|notice| notice.text().to_owned())
            .collect()
    }
}

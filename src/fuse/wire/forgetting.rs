//! Notifications by which the kernel forgets names and pages, and the thread that sends them: it may have to
//! wait for a lock of a request that waits for the daemon. It is started with the first notification of a
//! thread that must not wait.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::Sender;
use zerocopy::IntoBytes;

use super::abi::{self, NotifyInvalEntryOut, NotifyInvalInodeOut, OutHeader};
use super::numbers::Numbers;
use crate::core::effects::Forget;
use crate::fuse::timers::FORGETTING;

/// The queue to the thread, which ends with this.
pub(crate) struct Forgetter {
    device: Arc<OwnedFd>,
    numbers: Numbers,
    thread: OnceLock<Sender<Task>>,
}

/// What the thread does, one after the other.
enum Task {
    Tell(Forget),
    /// Drops this, which a caller waits for.
    Drop(Sender<()>),
}

impl Forgetter {
    pub(crate) fn new(device: Arc<OwnedFd>, numbers: Numbers) -> Self {
        Forgetter {
            device,
            numbers,
            thread: OnceLock::new(),
        }
    }

    /// Has the thread tell the kernel, soon.
    pub(crate) fn tell(&self, forget: Forget) {
        let thread = self.thread.get_or_init(|| self.start());
        // It fails if there is no thread.
        let _ = thread.send(Task::Tell(forget));
    }

    /// Tells the kernel here and now. Not for a thread that must not wait.
    pub(crate) fn tell_now(&self, forget: Forget) {
        tell(&self.device, self.numbers, forget);
    }

    /// Waits until the kernel has got all notifications so far, but not for long.
    pub(crate) fn settle(&self) {
        if let Some(thread) = self.thread.get() {
            let (waited_for, told) = crossbeam_channel::bounded(0);
            let _ = thread.send(Task::Drop(waited_for));
            // The thread is delayed only while requests hold locks of the kernel.
            let _ = told.recv_timeout(FORGETTING);
        }
    }

    fn start(&self) -> Sender<Task> {
        let (sender, tasks) = crossbeam_channel::unbounded();
        let (device, numbers) = (Arc::clone(&self.device), self.numbers);
        let work = move || {
            for task in tasks {
                match task {
                    Task::Tell(forget) => tell(&device, numbers, forget),
                    Task::Drop(waited_for) => drop(waited_for),
                }
            }
        };
        let thread = std::thread::Builder::new().name("fifofs-forget".into());
        if let Err(error) = thread.spawn(work) {
            log::error!("cannot tell the kernel which names are gone, without a thread: {error}");
        }
        sender
    }
}

/// Tells the kernel what to forget.
fn tell(device: &OwnedFd, numbers: Numbers, forget: Forget) {
    let (code, body) = match forget {
        Forget::Name { parent, name } => {
            let name = name.as_encoded_bytes();
            let (namelen, flags) = (name.len() as u32, 0);
            let out = NotifyInvalEntryOut {
                parent: numbers.node(parent, 0),
                namelen,
                flags,
            };
            let body = [out.as_bytes(), name, &[0]].concat();
            (abi::NOTIFY_INVAL_ENTRY, body)
        }
        Forget::Pages { ino, incarnation } => {
            let (ino, off, len) = (numbers.node(ino, incarnation), 0, 0);
            let out = NotifyInvalInodeOut { ino, off, len };
            (abi::NOTIFY_INVAL_INODE, out.as_bytes().to_vec())
        }
    };
    let header = OutHeader::new(0, code, body.len());
    // It fails if the kernel does not know the name or inode, which then need not be forgotten.
    let _ = rustix::io::writev(
        device,
        &[IoSlice::new(header.as_bytes()), IoSlice::new(&body)],
    );
}

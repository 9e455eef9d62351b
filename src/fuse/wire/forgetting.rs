//! What the kernel is to forget, and the thread that tells it: it may have to wait
//! for something that is locked by a request that waits for us. It is started when
//! there is something to tell by a thread that must not wait.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use crossbeam_channel::Sender;
use zerocopy::IntoBytes;

use crate::sync::lock;

use super::abi::{self, NotifyInvalEntryOut, NotifyInvalInodeOut, OutHeader};
use crate::core::effects::Forget;
use crate::fuse::timers::FORGETTING;

/// The way to the thread, which ends with this.
pub(crate) struct Forgetter {
    device: Arc<OwnedFd>,
    thread: OnceLock<Sender<Forget>>,
    progress: Arc<Progress>,
}

/// How far the thread has come.
#[derive(Default)]
struct Progress {
    counts: Mutex<Counts>,
    /// Notified when it has told one more.
    told: Condvar,
}

#[derive(Default)]
struct Counts {
    asked: u64,
    told: u64,
}

impl Forgetter {
    pub(crate) fn new(device: Arc<OwnedFd>) -> Self {
        Forgetter {
            device,
            thread: OnceLock::new(),
            progress: Arc::default(),
        }
    }

    /// Has the kernel told, soon.
    pub(crate) fn tell(&self, forget: Forget) {
        lock(&self.progress.counts).asked += 1;
        let thread = self.thread.get_or_init(|| self.start());
        if thread.send(forget).is_err() {
            // There is no thread.
            self.progress.one_more();
        }
    }

    /// Tells the kernel here and now. Not for a thread that must not wait.
    pub(crate) fn tell_now(&self, forget: Forget) {
        tell(&self.device, forget);
    }

    /// Waits until the kernel has been told all that it was to be until now, but not
    /// for long.
    pub(crate) fn settle(&self) {
        // The thread waits for others only while they wait for locks of the kernel.
        let counts = lock(&self.progress.counts);
        let asked = counts.asked;
        let told = &self.progress.told;
        let _ = told.wait_timeout_while(counts, FORGETTING, |counts| counts.told < asked);
    }

    fn start(&self) -> Sender<Forget> {
        let (sender, forgets) = crossbeam_channel::unbounded();
        let (device, progress) = (Arc::clone(&self.device), Arc::clone(&self.progress));
        let started = std::thread::Builder::new()
            .name("fifofs-forget".into())
            .spawn(move || {
                for forget in forgets {
                    tell(&device, forget);
                    progress.one_more();
                }
            });
        if let Err(error) = started {
            log::error!("cannot tell the kernel which names are gone, without a thread: {error}");
        }
        sender
    }
}

impl Progress {
    fn one_more(&self) {
        lock(&self.counts).told += 1;
        self.told.notify_all();
    }
}

/// Tells the kernel what to forget.
fn tell(device: &OwnedFd, forget: Forget) {
    let (code, body) = match forget {
        Forget::Name { parent, name } => {
            let name = name.as_encoded_bytes();
            let (namelen, flags) = (name.len() as u32, 0);
            let out = NotifyInvalEntryOut {
                parent,
                namelen,
                flags,
            };
            let body = [out.as_bytes(), name, &[0]].concat();
            (abi::NOTIFY_INVAL_ENTRY, body)
        }
        Forget::Pages { ino } => {
            let (off, len) = (0, 0);
            let out = NotifyInvalInodeOut { ino, off, len };
            (abi::NOTIFY_INVAL_INODE, out.as_bytes().to_vec())
        }
    };
    let header = OutHeader::new(0, code, body.len());
    // What the kernel does not know it need not forget.
    let _ = rustix::io::writev(
        device,
        &[IoSlice::new(header.as_bytes()), IoSlice::new(&body)],
    );
}

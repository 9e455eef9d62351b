//! What the kernel is to forget, and the thread that tells it: it may have to wait
//! for something that is locked by a request that waits for us. It is started when
//! there is something to tell.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::abi;

/// Something that is gone without the kernel's doing, or more than it knows.
pub(crate) enum Forget {
    /// A name that was removed behind its back.
    Name {
        parent: u64,
        name: std::ffi::OsString,
    },
    /// Nothing, but somebody waits until all before it was told.
    Nothing { told: Sender<()> },
    /// The pages of a file that was removed. The kernel keeps them as long as it
    /// remembers any name that led to the file, as one in `wait/`.
    Pages { ino: u64 },
}

/// How long the kernel's forgetting is waited for.
const SETTLE: Duration = Duration::from_secs(1);

/// The way to the thread, which ends with this.
pub(crate) struct Forgetter {
    device: Arc<OwnedFd>,
    thread: OnceLock<Sender<Forget>>,
}

impl Forgetter {
    pub(crate) fn new(device: Arc<OwnedFd>) -> Self {
        Forgetter {
            device,
            thread: OnceLock::new(),
        }
    }

    /// Has the kernel told, soon.
    pub(crate) fn tell(&self, forget: Forget) {
        // The thread ends with the mount, and with it the need.
        let _ = self.thread.get_or_init(|| self.start()).send(forget);
    }

    /// Waits until the kernel has been told all, but not for long.
    pub(crate) fn settle(&self) {
        let Some(thread) = self.thread.get() else {
            return;
        };
        let (told, all_told) = crossbeam_channel::bounded(1);
        if thread.send(Forget::Nothing { told }).is_ok() {
            // It waits for others only while they wait for locks of the kernel.
            let _ = all_told.recv_timeout(SETTLE);
        }
    }

    fn start(&self) -> Sender<Forget> {
        let (sender, forgets) = crossbeam_channel::unbounded();
        let device = Arc::clone(&self.device);
        let started = std::thread::Builder::new()
            .name("fifofs-forget".into())
            .spawn(move || tell_to_forget(&device, &forgets));
        if let Err(error) = started {
            log::error!("cannot tell the kernel which names are gone, without a thread: {error}");
        }
        sender
    }
}

/// Tells the kernel, one by one, what to forget.
fn tell_to_forget(device: &OwnedFd, forgets: &crossbeam_channel::Receiver<Forget>) {
    for forget in forgets {
        let mut body = Vec::new();
        let code = match forget {
            Forget::Name { parent, name } => {
                let name = name.as_encoded_bytes();
                body.extend_from_slice(&parent.to_ne_bytes());
                body.extend_from_slice(&(name.len() as u32).to_ne_bytes());
                body.extend_from_slice(&0_u32.to_ne_bytes());
                body.extend_from_slice(name);
                body.push(0);
                abi::NOTIFY_INVAL_ENTRY
            }
            Forget::Nothing { told } => {
                // Whoever waited too long is gone.
                let _ = told.try_send(());
                continue;
            }
            Forget::Pages { ino } => {
                // From offset 0, and of length 0: all.
                body.extend_from_slice(&ino.to_ne_bytes());
                body.extend_from_slice(&[0; 16]);
                abi::NOTIFY_INVAL_INODE
            }
        };
        let header = abi::reply_header(0, code, body.len());
        // What the kernel does not know it need not forget.
        let _ = rustix::io::writev(device, &[IoSlice::new(&header), IoSlice::new(&body)]);
    }
}

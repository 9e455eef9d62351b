//! What the kernel is to forget, and the thread that tells it: it may have to wait
//! for something that is locked by a request that waits for us. It is started when
//! there is something to tell by a thread that must not wait.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
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
    untold: Arc<Untold>,
}

/// How much the thread has yet to tell.
#[derive(Default)]
struct Untold {
    count: Mutex<usize>,
    /// Notified when it is none.
    none: Condvar,
}

impl Forgetter {
    pub(crate) fn new(device: Arc<OwnedFd>) -> Self {
        Forgetter {
            device,
            thread: OnceLock::new(),
            untold: Arc::default(),
        }
    }

    /// Has the kernel told, soon.
    pub(crate) fn tell(&self, forget: Forget) {
        *self.untold.lock() += 1;
        let thread = self.thread.get_or_init(|| self.start());
        if thread.send(forget).is_err() {
            // There is no thread.
            self.untold.one_less();
        }
    }

    /// Tells the kernel here and now. Not for a thread that must not wait.
    pub(crate) fn tell_now(&self, forget: Forget) {
        tell(&self.device, forget);
    }

    /// Waits until the kernel has been told all, but not for long.
    pub(crate) fn settle(&self) {
        // The thread waits for others only while they wait for locks of the kernel.
        let untold = self.untold.lock();
        let _ = self
            .untold
            .none
            .wait_timeout_while(untold, SETTLE, |count| *count > 0);
    }

    fn start(&self) -> Sender<Forget> {
        let (sender, forgets) = crossbeam_channel::unbounded();
        let (device, untold) = (Arc::clone(&self.device), Arc::clone(&self.untold));
        let started = std::thread::Builder::new()
            .name("fifofs-forget".into())
            .spawn(move || {
                for forget in forgets {
                    tell(&device, forget);
                    untold.one_less();
                }
            });
        if let Err(error) = started {
            log::error!("cannot tell the kernel which names are gone, without a thread: {error}");
        }
        sender
    }
}

impl Untold {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_less(&self) {
        let mut count = self.lock();
        *count -= 1;
        if *count == 0 {
            self.none.notify_all();
        }
    }
}

/// Tells the kernel what to forget.
fn tell(device: &OwnedFd, forget: Forget) {
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

//! The side towards the kernel: answers and notifications.
//!
//! Knows the device and what effects mean there; decides nothing.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::abi::{self, NotifyInvalInodeOut, OutHeader};
use super::forgetting::Forgetter;
use super::numbers::Numbers;
use super::replies;
use crate::core::effects::{Effect, Reply, Unique};
use crate::core::spool::Segments;
use crate::fuse::helpers::Flusher;
use crate::router::Outlet;

/// Answers and notifications.
pub(crate) struct Kernel {
    device: Arc<OwnedFd>,
    flusher: Arc<Flusher>,
    forgetter: Forgetter,
    pub(super) numbers: Numbers,
}

impl Kernel {
    pub(crate) fn new(device: Arc<OwnedFd>, flusher: Arc<Flusher>, numbers: Numbers) -> Self {
        Kernel {
            forgetter: Forgetter::new(Arc::clone(&device), numbers),
            device,
            flusher,
            numbers,
        }
    }

    pub(super) fn device(&self) -> &Arc<OwnedFd> {
        &self.device
    }

    pub(super) fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    /// Answers a request.
    pub(super) fn reply(&self, unique: Unique, body: &[u8]) {
        self.send_whole(OutHeader::new(unique.0, 0, body.len()), body);
    }

    /// Answers a request by an error.
    pub(super) fn refuse(&self, unique: Unique, errno: Errno) {
        self.send_whole(OutHeader::new(unique.0, -errno.raw_os_error(), 0), &[]);
    }

    /// Gives the kernel a complete answer, header included.
    pub(super) fn pass_on(&self, answer: &[u8]) {
        // Cheaper than writev(2).
        sent(rustix::io::write(&self.device, answer));
    }

    fn notify(&self, code: i32, body: &[u8]) {
        self.send_whole(OutHeader::new(0, code, body.len()), body);
    }

    fn send_whole(&self, header: OutHeader, body: &[u8]) {
        self.pass_on(&[header.as_bytes(), body].concat());
    }

    fn answer(&self, unique: Unique, reply: &Reply) {
        match reply {
            Reply::Bytes(bytes) => self.data(unique, bytes),
            Reply::Refused(errno) => self.refuse(unique, *errno),
            reply => self.reply(unique, &replies::body(reply, self.numbers)),
        }
    }

    fn data(&self, unique: Unique, bytes: &Segments) {
        let loaded = match bytes.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                log::error!("cannot read spilled bytes back: {error}");
                return self.refuse(unique, Errno::IO);
            }
        };
        let header = OutHeader::new(unique.0, 0, bytes.len());
        let mut parts = vec![IoSlice::new(header.as_bytes())];
        // Some fifty at most, since a READ is of 1 MiB at most; writev(2) takes 1024.
        parts.extend(loaded.iter().map(|part| IoSlice::new(part)));
        sent(rustix::io::writev(&self.device, &parts));
    }
}

/// Logs that a message could not be sent.
fn sent(result: Result<usize, Errno>) {
    match result {
        // ENOENT: the request is gone, or the kernel does not know what a
        // notification is about. ENODEV: the mount is.
        Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {}
        Err(errno) => log::error!("cannot answer the kernel: {errno}"),
    }
}

impl Outlet for Kernel {
    fn apply(&self, effect: Effect) {
        match effect {
            Effect::Reply { unique, reply } => self.answer(unique, &reply),
            Effect::PollAgain { kernel_handle } => {
                self.notify(abi::NOTIFY_POLL, &kernel_handle.to_ne_bytes());
            }
            Effect::ForgetAttributes { ino, incarnation } => {
                // No pages, so nothing to wait for.
                let (ino, off, len) = (self.numbers.node(ino, incarnation), -1, 0);
                let out = NotifyInvalInodeOut { ino, off, len };
                self.notify(abi::NOTIFY_INVAL_INODE, out.as_bytes());
            }
            Effect::Forget(forget) => self.forgetter.tell(forget),
        }
    }

    fn apply_patiently(&self, effect: Effect) {
        match effect {
            Effect::Forget(forget) => self.forgetter.tell_now(forget),
            effect => self.apply(effect),
        }
    }

    fn settle(&self) {
        self.forgetter.settle();
    }
}

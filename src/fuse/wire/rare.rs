//! The seam to fuser, all of it: fuser answers the requests that [`super::dispatch`] leaves. It is started
//! when the first of them comes, so that a mount that lives for milliseconds does without.
//!
//! fuser reads requests from a socket on which, as on the device, one read is one
//! request. The invariant: it has answered each before the next is sent.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use fuser::{Errno, Filesystem, INodeNo, ReplyData, ReplyStatfs, ReplyXattr, Request};
use zerocopy::IntoBytes;

use super::abi::{HEADER_BYTES, Header};
use super::numbers::Numbers;
use super::opcode;
use crate::core::namespace::{INODE_BYTES, NAME_MAX, name_bytes};
use crate::fuse::helpers::message_pair;
use crate::router::Router;

/// Size of the socket to fuser: it holds any request or reply whole.
const SOCKET_BYTES: usize = 4 << 20;

/// Room for the largest reply of fuser: an attribute.
const REPLY_BYTES: usize = (1 << 20) + 4096;

/// The unit in which `statfs` counts.
const STATFS_BLOCK_BYTES: u32 = 4096;

/// fuser, or the data needed to start it.
pub(super) struct Rare {
    router: Arc<Router>,
    numbers: Numbers,
    /// The handshake of the kernel, which fuser wants to see first.
    init: Vec<u8>,
    running: Option<Running>,
}

struct Running {
    /// This side of fuser's socket for requests and replies.
    socket: OwnedFd,
    reply: Vec<u8>,
    thread: JoinHandle<()>,
}

impl Rare {
    pub(super) fn new(router: Arc<Router>, numbers: Numbers, init: Vec<u8>) -> Self {
        Rare {
            router,
            numbers,
            init,
            running: None,
        }
    }

    /// Has fuser handle a request; returns its reply, as the kernel wants it.
    pub(super) fn answer(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        let running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        self.running.insert(running).exchange(request)
    }

    fn start(&self) -> io::Result<Running> {
        let (socket, theirs) = sockets()?;
        let adapter = Adapter {
            router: Arc::clone(&self.router),
            numbers: self.numbers,
        };
        let thread = std::thread::Builder::new()
            .name("fifofs-fuser".into())
            .spawn(|| serve(adapter, theirs))?;
        let mut running = Running {
            socket,
            reply: vec![0; REPLY_BYTES],
            thread,
        };
        // Its reply to the handshake is discarded: the kernel has its answer.
        running.exchange(&self.init)?;
        Ok(running)
    }
}

impl Drop for Rare {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        // Without it the end of the socket looks to fuser like a broken request.
        let destroy = Header {
            len: HEADER_BYTES as u32,
            opcode: opcode::DESTROY,
            ..Header::default()
        };
        let _ = running.exchange(destroy.as_bytes());
        drop(running.socket);
        // A thread that panicked has said so.
        let _ = running.thread.join();
    }
}

impl Running {
    fn exchange(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        rustix::io::write(&self.socket, request)?;
        let read = || rustix::io::read(&self.socket, &mut self.reply[..]);
        let length = rustix::io::retry_on_intr(read)?;
        if length == 0 {
            return Err(io::Error::other("the request handler ended"));
        }
        Ok(&self.reply[..length])
    }
}

/// A socket on which one read is one message, like the device.
fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let sockets = message_pair()?;
    for socket in [&sockets.0, &sockets.1] {
        // More than the limit of the system only if it may; the default is
        // enough for all but the largest attributes.
        let forced = rustix::net::sockopt::set_socket_send_buffer_size_force(socket, SOCKET_BYTES);
        if forced.is_err() {
            rustix::net::sockopt::set_socket_send_buffer_size(socket, SOCKET_BYTES)?;
        }
    }
    Ok(sockets)
}

/// Serves fuser's callbacks until its socket is closed.
fn serve(adapter: Adapter, socket: OwnedFd) {
    let mut config = fuser::Config::default();
    // The kernel decides which users have access.
    config.acl = fuser::SessionACL::All;
    let served =
        fuser::Session::from_fd(adapter, socket, config.acl, config).and_then(fuser::Session::run);
    if let Err(error) = served {
        // The end of the socket looks to fuser like a broken request.
        log::debug!("request handler: {error}");
    }
}

/// fuser's view of a mount: rare requests that are answered at once without the core. It refuses the rest as
/// not implemented.
struct Adapter {
    router: Arc<Router>,
    numbers: Numbers,
}

impl Filesystem for Adapter {
    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let (ino, _) = self.numbers.inode(ino.0);
        match self.router.look(|core| core.read_link(ino)) {
            Ok(target) => reply.data(target.as_os_str().as_encoded_bytes()),
            Err(errno) => reply.error(Errno::from_i32(errno.raw_os_error())),
        }
    }

    fn statfs(&self, request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // The disk is asked once the core is free again.
        let (pool, files) = self
            .router
            .look(|core| (core.pool().clone(), core.names().count()));
        let (size, free) = (pool.max_size(), pool.available());
        // The part of it that this user may have.
        let mine = pool.of(request.uid());
        let available = mine.available();
        let free_files = mine.room() / (INODE_BYTES + name_bytes(OsStr::new("a-common-name")));
        let blocks = |bytes: u64| bytes / u64::from(STATFS_BLOCK_BYTES);
        reply.statfs(
            blocks(size),
            blocks(free),
            blocks(available),
            files as u64 + free_files,
            free_files,
            STATFS_BLOCK_BYTES,
            NAME_MAX as u32,
            STATFS_BLOCK_BYTES,
        );
    }

    fn listxattr(&self, _request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (ino, _) = self.numbers.inode(ino.0);
        let names = self.router.look(|core| core.xattr_names(ino));
        match size as usize {
            0 => reply.size(names.len() as u32),
            room if names.len() > room => reply.error(Errno::ERANGE),
            _ => reply.data(&names),
        }
    }
}

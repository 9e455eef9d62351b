//! The way to fuser, which answers the rarer requests: it is started when the
//! first of them comes, so that a mount that lives for milliseconds does without.
//!
//! fuser reads requests from a socket on which, as on the device, one read is one
//! request. The invariant: it has answered each before the next is sent.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::abi;
use super::adapter::Adapter;
use crate::router::Router;

/// How much the socket to fuser holds: any request or reply whole.
const SOCKET_BYTES: usize = 4 << 20;

/// Room for the largest reply of fuser: an attribute.
const REPLY_BYTES: usize = (1 << 20) + 4096;

/// fuser, or what is needed to start it.
pub(super) struct Rare {
    router: Arc<Router>,
    /// The handshake of the kernel, which fuser wants to see first.
    init: Vec<u8>,
    running: Option<Running>,
}

struct Running {
    /// Where fuser reads requests and writes replies, from our side.
    socket: OwnedFd,
    reply: Vec<u8>,
    thread: JoinHandle<()>,
}

impl Rare {
    pub(super) fn new(router: Arc<Router>, init: Vec<u8>) -> Self {
        Rare {
            router,
            init,
            running: None,
        }
    }

    /// Has fuser handle a request; gives its reply, as the kernel wants it.
    pub(super) fn answer(&mut self, request: &[u8]) -> io::Result<&[u8]> {
        let running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        self.running.insert(running).exchange(request)
    }

    fn start(&self) -> io::Result<Running> {
        let (socket, theirs) = sockets()?;
        let router = Arc::clone(&self.router);
        let thread = std::thread::Builder::new()
            .name("fifofs-fuser".into())
            .spawn(|| serve(Adapter { router }, theirs))?;
        let mut running = Running {
            socket,
            reply: vec![0; REPLY_BYTES],
            thread,
        };
        // What it makes of the handshake is for nobody: the kernel has its answer.
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
        let _ = running.exchange(&abi::destroy_request());
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
    let sockets = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
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
    // Who may come is the kernel's to decide.
    config.acl = fuser::SessionACL::All;
    let served =
        fuser::Session::from_fd(adapter, socket, config.acl, config).and_then(fuser::Session::run);
    if let Err(error) = served {
        // The end of the socket looks to fuser like a broken request.
        log::debug!("request handler: {error}");
    }
}

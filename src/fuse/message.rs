//! What the daemon and its helpers tell each other: a kind, and a number.
//!
//! Knows sockets on which one message is one datagram, so that none comes torn or is sent in part;
//! does not know what the kinds mean. [`send`] and [`receive`] are async-signal-safe, for helpers.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The kind, and the number, little-endian.
const MESSAGE_BYTES: usize = 9;

/// Two ends of a socket, on which one read is one message.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Sends a message; waits for room unless `flags` say otherwise.
///
/// # Errors
///
/// `PIPE` or `CONNRESET` if the other end is closed, `AGAIN` if there is no room.
pub(super) fn send(
    socket: impl AsFd,
    kind: u8,
    number: u64,
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut message = [kind; MESSAGE_BYTES];
    message[1..].copy_from_slice(&number.to_le_bytes());
    retry_on_intr(|| rustix::net::send(&socket, &message, flags | SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The next message, if there is one: it waits for nothing.
///
/// # Errors
///
/// `AGAIN` if there is none, `CONNRESET` if the other end is closed.
pub(super) fn receive(socket: impl AsFd) -> Result<(u8, u64), Errno> {
    let mut message = [0; MESSAGE_BYTES];
    match retry_on_intr(|| rustix::net::recv(&socket, &mut message, RecvFlags::DONTWAIT))? {
        (MESSAGE_BYTES, _) => {
            let [kind, number @ ..] = message;
            Ok((kind, u64::from_le_bytes(number)))
        }
        _ => Err(Errno::CONNRESET),
    }
}

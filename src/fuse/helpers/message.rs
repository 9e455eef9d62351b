//! What the daemon and its helpers tell each other: a kind, and a number.
//!
//! Knows sockets on which one message is one datagram, so that none comes torn or is sent in part;
//! does not know what the kinds mean. All but [`pair`] is async-signal-safe, for helpers.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg,
};

/// The kind, and the number, little-endian.
const MESSAGE_BYTES: usize = 9;

/// Two ends of a socket, on which one read is one message.
pub(in crate::fuse) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
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

/// Sends a message of this kind with a file, if there is one; waits for room.
///
/// # Errors
///
/// As [`send`].
pub(super) fn send_file(
    socket: impl AsFd,
    kind: u8,
    file: Option<&impl AsFd>,
) -> Result<(), Errno> {
    let files = file.map(AsFd::as_fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(files.as_slice()));
    let mut message = [0; MESSAGE_BYTES];
    message[0] = kind;
    let message = [IoSlice::new(&message)];
    retry_on_intr(|| sendmsg(&socket, &message, &mut ancillary, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The next message, if there is one, and the file that came with it. It waits for nothing.
///
/// # Errors
///
/// `AGAIN` if there is none, `CONNRESET` if the other end is closed.
pub(super) fn receive(socket: impl AsFd) -> Result<(u8, u64, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut message = [0; MESSAGE_BYTES];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| {
        let mut buffers = [IoSliceMut::new(&mut message)];
        recvmsg(&socket, &mut buffers, &mut ancillary, flags)
    });
    // A message is whole, or the end of the socket.
    if received?.bytes != MESSAGE_BYTES {
        return Err(Errno::CONNRESET);
    }
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    let [kind, number @ ..] = message;
    Ok((kind, u64::from_le_bytes(number), file))
}

//! Requests, as they are read from the device.
//!
//! Knows where their bytes are put; does not know what they mean.
//!
//! The data of a WRITE is read into memory of whole chunks. If it continues the last WRITE, as expected, that
//! memory is aligned to the file's chunks, and its bytes become the file's without another copy; otherwise
//! they are copied once. Small data, which would be copied anyway, is read into one piece of memory, as many
//! pieces cost half a microsecond.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::abi::{self, Body, HEADER_BYTES, Header, MAX_WRITE_BYTES, WRITE_BYTES, WriteIn};
use super::opcode;
use crate::core::spool::{CHUNK_BYTES, Load, Memory};

/// A WRITE without its bytes, which is more than most other requests are.
const HEAD_BYTES: usize = HEADER_BYTES + WRITE_BYTES;

/// Enough for the largest request's data, wherever in the first chunk it begins.
const CHUNKS: usize = MAX_WRITE_BYTES as usize / CHUNK_BYTES + 1;

/// If a WRITE is expected to carry less than this, its bytes are copied to their chunks.
const LITTLE_BYTES: usize = CHUNK_BYTES / 4;

/// The memory that requests are read into.
pub(super) struct Intake {
    device: Arc<OwnedFd>,
    head: [u8; HEAD_BYTES],
    chunks: [Memory; CHUNKS],
    /// For all data of a WRITE, while little is expected.
    single: Memory,
    /// Whether the next WRITE is expected to carry little.
    expects_little: bool,
    /// Requests other than WRITE, whole.
    message: Vec<u8>,
    /// Number of bytes of the present request.
    length: usize,
    /// Whether its data is in `single`, and not in `chunks`.
    in_single: bool,
    /// The offset of its data in the first of these.
    begins: usize,
    /// Where in its chunk the next WRITE is expected to begin.
    expected: usize,
}

/// A request.
pub(super) struct Received<'a> {
    pub(super) header: Header,
    /// The bytes after the header, without the data of a WRITE.
    pub(super) body: Body<'a>,
    /// Header and body.
    pub(super) message: &'a [u8],
    /// The data of a WRITE.
    pub(super) data: Load<'a>,
}

impl Intake {
    /// Makes reading the device give EAGAIN where it would wait.
    pub(super) fn new(device: Arc<OwnedFd>) -> io::Result<Intake> {
        let flags = rustix::fs::fcntl_getfl(&device)?;
        rustix::fs::fcntl_setfl(&device, flags | OFlags::NONBLOCK)?;
        Ok(Intake {
            device,
            head: [0; HEAD_BYTES],
            chunks: std::array::from_fn(|_| Memory::new(CHUNK_BYTES)),
            single: Memory::new(MAX_WRITE_BYTES as usize),
            expects_little: false,
            message: Vec::new(),
            length: 0,
            in_single: false,
            begins: 0,
            expected: 0,
        })
    }

    /// Reads a request if there is one.
    ///
    /// # Errors
    /// ENODEV and ECONNABORTED if the mount is gone.
    pub(super) fn receive(&mut self) -> Option<Result<(), Errno>> {
        let mut parts = [libc::iovec {
            iov_base: self.head.as_mut_ptr().cast(),
            iov_len: HEAD_BYTES,
        }; CHUNKS + 1];
        let (pieces, begins) = match self.expects_little {
            true => (slice::from_mut(&mut self.single), 0),
            false => (&mut self.chunks[..], self.expected),
        };
        (self.in_single, self.begins) = (self.expects_little, begins);
        let mut count = 1;
        for (piece, start) in pieces.iter_mut().zip(starts(begins)) {
            let (room, length) = piece.room(start);
            parts[count] = libc::iovec {
                iov_base: room.cast(),
                iov_len: length,
            };
            count += 1;
        }
        let device = self.device.as_raw_fd();
        // SAFETY: the parts are owned, do not overlap, and have these lengths.
        let length = unsafe { libc::readv(device, parts.as_ptr(), count as libc::c_int) };
        let Ok(length) = usize::try_from(length) else {
            return match Errno::from_io_error(&io::Error::last_os_error()) {
                // ENOENT: the request was withdrawn while it was being read.
                Some(Errno::AGAIN | Errno::INTR | Errno::NOENT) => None,
                errno => Some(Err(errno.unwrap_or(Errno::IO))),
            };
        };
        self.length = length;
        let mut left = length.saturating_sub(HEAD_BYTES);
        for (piece, start) in pieces.iter_mut().zip(starts(begins)) {
            let end = piece.len().min(start + left);
            // SAFETY: the kernel has filled the parts one after the other.
            unsafe { piece.was_set(start..end) };
            left -= end - start;
        }
        Some(Ok(()))
    }

    /// Waits until there may be a request, or the mount is gone, or for so long.
    pub(super) fn sleep(&self, at_most: Option<Duration>) {
        let mut polled = [PollFd::new(&self.device, PollFlags::IN)];
        let at_most = at_most.and_then(|time| Timespec::try_from(time).ok());
        // However it ends, reading tells why.
        let _ = rustix::event::poll(&mut polled, at_most.as_ref());
    }

    /// The request that was read; `None` if it is too short to be one.
    pub(super) fn request(&mut self) -> Option<Received<'_>> {
        let head = &self.head[..self.length.min(HEAD_BYTES)];
        let (header, body) = abi::parse(head)?;
        let beyond = self.length - head.len();
        let data = match self.in_single {
            true => Load::from(self.single.bytes(0..beyond)),
            false => in_chunks(&mut self.chunks, self.begins, beyond),
        };
        if header.opcode == opcode::WRITE {
            self.expected = expected(body);
            self.expects_little = beyond < LITTLE_BYTES;
            return Some(Received {
                header,
                body,
                message: head,
                data,
            });
        }
        let mut message = head;
        if beyond > 0 {
            self.message.clear();
            self.message.extend_from_slice(head);
            data.each(|_, bytes| self.message.extend_from_slice(bytes));
            message = &self.message;
        }
        Some(Received {
            header,
            body: Body(&message[HEADER_BYTES..]),
            message,
            data: Load::from(&[]),
        })
    }
}

/// So many bytes in these chunks, from where they begin in the first.
fn in_chunks(chunks: &mut [Memory], begins: usize, length: usize) -> Load<'_> {
    // What goes to the beginning of a chunk may become all of it.
    let split = usize::from(begins > 0);
    let (first, whole) = chunks.split_at_mut(split);
    let first = match first {
        [first] => first.bytes(begins..CHUNK_BYTES.min(begins + length)),
        _ => &[],
    };
    let in_whole = length - first.len();
    let count = in_whole.div_ceil(CHUNK_BYTES);
    Load::new(first, &mut whole[..count], in_whole)
}

/// From where on each piece is filled.
fn starts(begins: usize) -> impl Iterator<Item = usize> {
    std::iter::once(begins).chain(std::iter::repeat(0))
}

/// Where in its chunk the next WRITE begins if it goes on where this one ends.
fn expected(mut body: Body<'_>) -> usize {
    let end = |write: WriteIn| write.offset.wrapping_add(u64::from(write.size));
    let end = body.take().map_or(0, end);
    (end % CHUNK_BYTES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::helpers::message_pair;
    use zerocopy::IntoBytes;

    /// An intake of what is written to a socket on which, as on the device, one read is one
    /// request.
    fn intake() -> (Intake, OwnedFd) {
        let sockets = message_pair().unwrap();
        for socket in [&sockets.0, &sockets.1] {
            rustix::net::sockopt::set_socket_send_buffer_size(socket, 4 << 20).unwrap();
        }
        (Intake::new(Arc::new(sockets.0)).unwrap(), sockets.1)
    }

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let header = Header {
            opcode,
            ..Header::default()
        };
        [header.as_bytes(), body].concat()
    }

    fn write(offset: u64, data: &[u8]) -> Vec<u8> {
        let write = WriteIn {
            offset,
            size: data.len() as u32,
            ..WriteIn::default()
        };
        request(opcode::WRITE, &[write.as_bytes(), data].concat())
    }

    /// Sends a request and has it received.
    fn exchange(intake: &mut Intake, device: &OwnedFd, request: &[u8]) {
        assert_eq!(rustix::io::write(device, request), Ok(request.len()));
        assert_eq!(intake.receive(), Some(Ok(())));
    }

    #[test]
    fn a_write_is_read_whole_wherever_it_was_expected() {
        let (mut intake, device) = intake();
        assert!(intake.receive().is_none(), "there is no request yet");
        // The socket takes no more at once; the device gives up to 1 MiB.
        let data: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n as u16).to_ne_bytes())
            .collect();
        let chunk = CHUNK_BYTES as u64;
        for (offset, length) in [
            (0, 1),
            (1, 200_000),
            (200_001, 200_000),
            (7, 200_000),
            (chunk - 1, 1),
            (chunk, 200_000),
            (3 * chunk + 4096, 0),
            (9, 100),
            (109, 100),
            (209, 200_000),
        ] {
            exchange(&mut intake, &device, &write(offset, &data[..length]));
            let request = intake.request().unwrap();
            assert_eq!(request.header.opcode, opcode::WRITE);
            assert_eq!(request.message.len(), HEAD_BYTES);
            assert!(
                request.data.to_vec() == data[..length],
                "{length} bytes at {offset}"
            );
        }
    }

    #[test]
    fn other_requests_are_read_whole_too() {
        let (mut intake, device) = intake();
        // So that what does not fit into the head lies on both sides of a chunk's border.
        exchange(&mut intake, &device, &write(0, &[1; CHUNK_BYTES / 2]));
        exchange(
            &mut intake,
            &device,
            &write(CHUNK_BYTES as u64 / 2, &[1; CHUNK_BYTES / 2 - 5]),
        );
        for _ in 0..2 {
            for length in [0, 8, WRITE_BYTES, WRITE_BYTES + 1, 70_000] {
                let _ = intake.request();
                let body: Vec<u8> = (0..length).map(|n| n as u8).collect();
                exchange(&mut intake, &device, &request(opcode::SETATTR, &body));
                let request = intake.request().unwrap();
                assert_eq!(request.message[HEADER_BYTES..], body);
                assert!(request.data.is_empty());
            }
            // And once more where little is expected.
            exchange(&mut intake, &device, &write(0, b"little"));
        }
        exchange(&mut intake, &device, &[0; HEADER_BYTES - 1]);
        assert!(intake.request().is_none(), "it is too short");
    }

    #[test]
    fn a_device_that_is_gone_says_so() {
        let (mut intake, device) = intake();
        drop(device);
        // The end of a socket is a message of no bytes, that of the device an error.
        assert_eq!(intake.receive(), Some(Ok(())));
        assert!(intake.request().is_none());
        let closed = std::fs::File::open("/").unwrap().into();
        let mut intake = Intake::new(Arc::new(closed)).unwrap();
        assert_eq!(intake.receive(), Some(Err(Errno::ISDIR)));
    }
}

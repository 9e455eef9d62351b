//! The loop on `/dev/fuse`.
//!
//! Requests that may have to wait (OPEN, READ, WRITE, POLL) and their
//! companions are handled here, INTERRUPT above all: fuser would answer that
//! with ENOSYS, and from then on the kernel would no longer tell of signals.
//! So is what is asked often: names and attributes (`requests`), and whether a file is a
//! terminal. Everything else goes to fuser (`rare`), which answers each request before this loop goes on, so that
//! the loop needs no second thread to carry the answers back.
//!
//! No deadlock: a callback of fuser never waits for anything but the core's
//! lock, and the core's lock is never held across a wait.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::abi::{self, Body, Header, opcode};
use super::cpu_affinity::CpuAffinity;
use super::gathering::Gathering;
use super::intake::{Intake, Received};
use super::kernel::Kernel;
use super::rare::Rare;
use super::{handshake, requests};
use crate::core::effects::Unique;
use crate::core::generation::Writer;
use crate::core::namespace::Creator;
use crate::core::request::{Bytes, Caller, Opener, Request, at};
use crate::core::spool::Load;
use crate::fuse::helpers::OwnUse;
use crate::router::{Router, Spin, Step, processor};

/// The least room that the kernel wants for a request before it knows how much data one may carry
/// (`FUSE_MIN_READ_BUFFER` of `include/uapi/linux/fuse.h`).
const FIRST_REQUEST_BYTES: usize = 8192;

/// For how long the next request is looked for before the thread sleeps.
const SPIN: Duration = Duration::from_micros(100);

/// The loop itself.
pub(crate) struct Front {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) router: Arc<Router>,
}

impl Front {
    /// Answers the kernel's first request, and gives it.
    pub(crate) fn handshake(&self) -> io::Result<Vec<u8>> {
        let mut request = vec![0; FIRST_REQUEST_BYTES];
        let device = self.kernel.device();
        let read = || rustix::io::read(device, &mut request[..]);
        let length = rustix::io::retry_on_intr(read)?;
        request.truncate(length);
        rustix::io::write(device, &handshake::answer(&request)?)?;
        Ok(request)
    }

    /// Serves requests until the mount is gone. `init` is what the handshake gave.
    pub(crate) fn serve(&self, init: Vec<u8>, mut own_use: OwnUse) -> io::Result<()> {
        let mut rare = Rare::new(Arc::clone(&self.router), init);
        let mut intake = Intake::new(Arc::clone(self.kernel.device()))?;
        let mut gathering = Gathering::new(&self.router);
        let mut affinity = CpuAffinity::default();
        let mut spin = Spin::new(SPIN);
        loop {
            let mut waited = false;
            let received = spin.wait(|step| {
                match step {
                    Step::Look(for_so_long) => {
                        waited = !for_so_long.is_zero();
                        gathering.pause(for_so_long);
                    }
                    Step::Sleep => {
                        waited = true;
                        gathering.end();
                        let start = Instant::now();
                        intake.sleep(affinity.longest_sleep());
                        affinity.slept(start.elapsed());
                    }
                }
                intake.receive()
            });
            match received {
                Ok(()) => {}
                // Unmounted, or aborted.
                Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
            let Some(request) = intake.request() else {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            };
            let Received {
                header,
                message,
                data,
            } = request;
            let body = &message[abi::HEADER_BYTES..];
            let is_write = header.opcode == opcode::WRITE;
            match is_write && !is_from_cache(Body(body)) {
                true => affinity.wrote(header.pid as i32, waited, processor),
                false => affinity.leave(),
            }
            if is_write {
                // Of whoever writes, an OPEN came before.
                self.write(header, Body(body), data, &mut gathering);
                continue;
            }
            own_use.note(header.pid as i32);
            if self.handle(header, body) {
                gathering.go_on();
            } else {
                // That may take a while.
                gathering.end();
                match rare.answer(message) {
                    Ok(answer) => self.kernel.pass_on(answer),
                    // One request fails, not the mount with all that is in it.
                    Err(error) => {
                        log::error!("cannot answer request {}: {error}", header.opcode);
                        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                        self.kernel.refuse(Unique(header.unique), errno);
                    }
                }
            }
        }
    }

    fn caller(&self, header: Header) -> Caller {
        let thread = header.pid as i32;
        Caller {
            unique: Unique(header.unique),
            thread,
            internal: thread != 0 && thread == self.kernel.flusher().pid(),
            user: Some(header.uid),
        }
    }

    /// Handles a WRITE.
    fn write(
        &self,
        header: Header,
        fields: Body<'_>,
        data: Load<'_>,
        gathering: &mut Gathering<'_>,
    ) {
        let (handle, ino) = (fields.u64(0), header.nodeid);
        let caller = self.caller(header);
        let bytes = Bytes {
            offset: fields.u64(8),
            data,
            from_cache: is_from_cache(fields),
            kills_set_id: fields.u32(20) & abi::WRITE_KILL_SUIDGID != 0,
        };
        if !bytes.from_cache {
            self.router.seen_writing(handle, caller.thread);
        }
        gathering.note(self.router.handle(caller, Request::Write { ino, bytes }));
    }

    /// Handles a request that is ours and carries no data; says whether it was.
    fn handle(&self, header: Header, body: &[u8]) -> bool {
        let router = &self.router;
        let caller = self.caller(header);
        let fields = Body(body);
        match header.opcode {
            opcode::OPEN => {
                let flags = fields.u32(0) as i32;
                let writes =
                    flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
                if !writes {
                    router.open_for_reading(caller, header.nodeid, flags);
                    return true;
                }
                self.with_writer(caller, |writer| Request::Open {
                    ino: header.nodeid,
                    flags,
                    writer: Some(writer),
                    opener: Opener::default(),
                    kills_set_id: fields.u32(4) & abi::OPEN_KILL_SUIDGID != 0,
                });
            }
            opcode::CREATE => self.with_writer(caller, |writer| Request::Create {
                at: at(header.nodeid, requests::name(body, 16)),
                creator: Creator {
                    uid: header.uid,
                    gid: header.gid,
                    mode: fields.u32(4) & 0o7777,
                },
                flags: fields.u32(0) as i32,
                writer,
            }),
            opcode::GETATTR => {
                let by_handle = fields.u32(0) & abi::GETATTR_FH != 0;
                router.get_attributes(caller, (header.nodeid, by_handle));
            }
            // Then the kernel asks by GETATTR.
            opcode::STATX => self.kernel.refuse(caller.unique, Errno::NOSYS),
            opcode::FLUSH => {
                router.seen_closing(fields.u64(0), caller.thread);
                self.kernel.reply(caller.unique, &[]);
            }
            opcode::BATCH_FORGET => {
                // A count and padding, then so often an inode and how many references.
                for one in body.get(8..).unwrap_or_default().chunks_exact(16) {
                    let (ino, lookups) = (Body(one).u64(0), Body(one).u64(8));
                    router.handle(caller, Request::Forget { ino, lookups });
                }
            }
            // Asked for each file that is written to: whether it has capabilities to lose.
            opcode::GETXATTR => {
                let room = fields.u32(0) as usize;
                let name = requests::name(body, 8);
                match router.look(|core| core.xattr(header.nodeid, name)) {
                    Ok(value) if room == 0 => {
                        let length = abi::padded(value.len() as u32);
                        self.kernel.reply(caller.unique, &length);
                    }
                    Ok(value) if value.len() > room => {
                        self.kernel.refuse(caller.unique, Errno::RANGE);
                    }
                    Ok(value) => self.kernel.reply(caller.unique, &value),
                    Err(errno) => self.kernel.refuse(caller.unique, errno),
                }
            }
            // Python and Perl ask of each file that they open whether it is a terminal.
            opcode::IOCTL => self.kernel.refuse(caller.unique, Errno::NOTTY),
            opcode::INTERRUPT => router.interrupted(Unique(fields.u64(0))),
            _ => match requests::request(header, body) {
                Some(request) => drop(router.handle(caller, request)),
                None => return false,
            },
        }
        true
    }

    /// Makes a request of the caller as one who writes, whose end will be seen.
    fn with_writer<'a>(&self, caller: Caller, request: impl FnOnce(Writer) -> Request<'a>) {
        match self.router.writer(caller.thread) {
            Ok(writer) => drop(self.router.handle(caller, request(writer))),
            Err(errno) => self.kernel.refuse(caller.unique, errno),
        }
    }
}

/// Whether a WRITE is of the kernel, which writes back its cache.
fn is_from_cache(write: Body<'_>) -> bool {
    write.u32(20) & abi::WRITE_CACHE != 0
}

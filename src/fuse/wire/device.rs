//! The loop on `/dev/fuse`.
//!
//! Reads requests, one after the other, and has each answered: by `dispatch`, or by fuser (`rare`), which
//! answers before this loop goes on, so that the loop needs no second thread to carry the answers back.
//! INTERRUPT above all is kept from fuser, which would answer it with ENOSYS, and from then on the kernel
//! would not report signals any more.
//!
//! No deadlock: a callback of fuser never waits for anything but the core's
//! lock, and the core's lock is never held across a wait.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use super::abi::{self, Header, WriteIn};
use super::cpu_affinity::CpuAffinity;
use super::handshake;
use super::intake::{Intake, Received};
use super::kernel::Kernel;
use super::opcode;
use super::rare::Rare;
use crate::core::effects::Unique;
use crate::core::request::{Bytes, Request};
use crate::core::spool::Load;
use crate::fuse::helpers::OwnUse;
use crate::fuse::timers::REQUEST_SPIN;
use crate::router::{Router, Spin, Step, processor};

/// The least room that the kernel wants for a request before it knows how much data one may carry
/// (`FUSE_MIN_READ_BUFFER` of `include/uapi/linux/fuse.h`).
const FIRST_REQUEST_BYTES: usize = 8192;

/// Where a request is answered.
pub(super) enum Served {
    /// Here, now or later.
    Here,
    /// fuser.
    ByFuser,
}

/// The loop itself.
pub(crate) struct Front {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) router: Arc<Router>,
}

impl Front {
    /// Answers the kernel's first request, and returns it.
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
        let mut rare = Rare::new(Arc::clone(&self.router), self.kernel.numbers, init);
        let mut intake = Intake::new(Arc::clone(self.kernel.device()))?;
        let mut affinity = CpuAffinity::default();
        let mut spin = Spin::new(REQUEST_SPIN);
        loop {
            let mut waited = false;
            let received = spin.wait(|step| {
                match step {
                    Step::Look(for_so_long) => waited = !for_so_long.is_zero(),
                    Step::Sleep => {
                        waited = true;
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
                mut body,
                message,
                data,
            } = request;
            if header.opcode == opcode::WRITE {
                let Ok(write) = body.take::<WriteIn>() else {
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                };
                // A writer's OPEN was noted before (`own_use`).
                match write.write_flags & abi::WRITE_CACHE == 0 {
                    true => affinity.wrote(header.pid as i32, waited, processor),
                    false => affinity.leave(),
                }
                self.write(header, &write, data);
                continue;
            }
            affinity.leave();
            own_use.note(header.pid as i32);
            match self.dispatch(header, body) {
                Ok(Served::Here) => {}
                Ok(Served::ByFuser) => match rare.answer(message) {
                    Ok(answer) => self.kernel.pass_on(answer),
                    // One request fails, not the mount with all that is in it.
                    Err(error) => {
                        log::error!("cannot answer request {}: {error}", header.opcode);
                        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                        self.kernel.refuse(Unique(header.unique), errno);
                    }
                },
                Err(errno) => self.kernel.refuse(Unique(header.unique), errno),
            }
        }
    }

    /// Handles a WRITE.
    fn write(&self, header: Header, write: &WriteIn, data: Load<'_>) {
        let (caller, (ino, _)) = (
            self.caller(header),
            self.kernel.numbers.inode(header.nodeid),
        );
        let bytes = Bytes {
            offset: write.offset,
            from_cache: write.write_flags & abi::WRITE_CACHE != 0,
            kills_set_id: write.write_flags & abi::WRITE_KILL_SUIDGID != 0,
        };
        if !bytes.from_cache {
            self.router.seen_writing(write.fh, caller.thread);
        }
        self.router
            .handle(caller, Request::Write { ino, bytes }.with(data));
    }
}

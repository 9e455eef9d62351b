//! Readers in this process: requests that are answered to a thread of it, not
//! to the kernel.
//!
//! A reader has one request at most at a time, so its number is that of the
//! request, too; the highest bit tells it from the kernel's, which count up from
//! zero. The answer comes over a channel from whichever thread has it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use rustc_hash::FxHashMap;
use rustix::io::Errno;

use super::timers::READER_SPIN;
use super::{Router, Spin, Step, inspector, lock};
use crate::core::effects::{Effect, Reply, Unique};
use crate::core::event::FileEvent;
use crate::core::patching::Reading;
use crate::core::request::{Caller, Request, Wanted};
use crate::core::spool::Segments;
use crate::core::{CaptureId, Core};

/// Tells the numbers of requests of this process from those of the kernel.
const LOCAL: u64 = 1 << 63;

/// What a request of this process gets.
type Answer = Result<Given, Errno>;

/// Where the answer to a request of this process goes, and the waker to call if no thread waits on the
/// channel.
struct Asker {
    sender: Sender<Answer>,
    waker: Option<Waker>,
}

/// The readers of this process that wait for answers.
#[derive(Default)]
pub(super) struct LocalReaders {
    /// Guards the destinations of answers, by the number of the request.
    askers: Mutex<FxHashMap<u64, Asker>>,
}

impl LocalReaders {
    /// Carries out an effect that answers a request of this process; returns any other.
    pub(super) fn answer(&self, effect: Effect) -> Option<Effect> {
        let (unique, reply) = match effect {
            Effect::Reply { unique, reply } if is_local(unique) => (unique, reply),
            effect => return Some(effect),
        };
        let answer = match reply {
            Reply::Bytes(bytes) => Ok(Given::Bytes(bytes)),
            Reply::Events(events) => Ok(Given::Events(events)),
            Reply::Refused(errno) => Err(errno),
            _ => Ok(Given::End),
        };
        let asker = lock(&self.askers)
            .get_mut(&unique.0)
            .map(|asker| (asker.sender.clone(), asker.waker.take()));
        // A reader that is gone needs none.
        if let Some((sender, waker)) = asker {
            // Never full: one request has one answer.
            let _ = sender.try_send(answer);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        None
    }
}

#[cfg(test)]
impl LocalReaders {
    pub(super) fn count(&self) -> usize {
        lock(&self.askers).len()
    }
}

/// The result of a read.
#[derive(Debug)]
pub(crate) enum Given {
    /// Bytes of a file.
    Bytes(Segments),
    /// There are no more.
    End,
    /// Events.
    Events(Vec<Arc<FileEvent>>),
}

/// Why a read gave nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The deadline has passed.
    TimedOut,
    /// A canceller ended the wait.
    Cancelled,
    /// The error that a process would get.
    Errno(Errno),
}

/// An open file of this process.
pub(crate) struct LocalReader {
    router: Arc<Router>,
    number: u64,
    handle: u64,
    answers: Receiver<Answer>,
    /// Whether a request is pending, or its answer was not taken yet.
    asked: bool,
    spin: Spin,
    cancelled: Arc<AtomicBool>,
}

/// Ends the waits of one reader, from any thread.
#[derive(Clone)]
pub(crate) struct LocalCanceller {
    router: Arc<Router>,
    number: u64,
    cancelled: Arc<AtomicBool>,
}

impl Router {
    /// Opens a captured path: see `Request::OpenCaptured`.
    pub(crate) fn read_capture(
        self: &Arc<Self>,
        id: CaptureId,
        reading: Reading,
    ) -> Result<LocalReader, Errno> {
        let opener = inspector::opener(std::process::id().cast_signed());
        self.open_here(Request::OpenCaptured {
            id,
            reading,
            opener,
        })
    }

    /// Opens the stream of events of one path, relative to the mount, or of all.
    pub(crate) fn read_events(
        self: &Arc<Self>,
        path: Option<PathBuf>,
    ) -> Result<LocalReader, Errno> {
        self.open_here(Request::OpenEvents { path })
    }

    fn open_here(self: &Arc<Self>, request: Request) -> Result<LocalReader, Errno> {
        match self.ask(own_caller(Unique(u64::MAX)), request)? {
            Reply::Handle(handle) => Ok(self.local_reader(handle)),
            _ => Err(Errno::IO),
        }
    }

    fn local_reader(self: &Arc<Self>, handle: u64) -> LocalReader {
        let (sender, answers) = crossbeam_channel::bounded(1);
        let number = LOCAL | handle;
        let asker = Asker {
            sender,
            waker: None,
        };
        lock(&self.locals.askers).insert(number, asker);
        LocalReader {
            router: Arc::clone(self),
            number,
            handle,
            answers,
            asked: false,
            spin: Spin::new(READER_SPIN),
            cancelled: Arc::default(),
        }
    }
}

/// This thread as the caller of a request with this number.
fn own_caller(unique: Unique) -> Caller {
    Caller {
        unique,
        thread: rustix::thread::gettid().as_raw_nonzero().get(),
        ..Caller::SELF
    }
}

fn is_local(unique: Unique) -> bool {
    unique.0 & LOCAL != 0
}

impl LocalReader {
    /// Reads up to `length` bytes at `offset`; waits for them. If the deadline passes, the request
    /// stays, and the next read has its answer: it must be for the same.
    pub(crate) fn read(
        &mut self,
        offset: u64,
        length: u32,
        deadline: Option<Instant>,
    ) -> Result<Given, Failure> {
        self.ask(offset, length)?;
        let answers = &self.answers;
        let received = self.spin.wait(|step| match (step, deadline) {
            (Step::Look(_), _) => answers.try_recv().ok().map(Ok),
            (Step::Sleep, None) => Some(answers.recv().map_err(|_| RecvTimeoutError::Disconnected)),
            (Step::Sleep, Some(deadline)) => Some(answers.recv_deadline(deadline)),
        });
        match received {
            Ok(answer) => self.take(answer),
            Err(RecvTimeoutError::Disconnected) => self.take(Err(Errno::NOTCONN)),
            Err(RecvTimeoutError::Timeout) => Err(Failure::TimedOut),
        }
    }

    /// The same without waiting: `waker` is called when trying again is worthwhile. A later waker replaces
    /// it.
    pub(crate) fn poll_read(
        &mut self,
        offset: u64,
        length: u32,
        waker: &Waker,
    ) -> Poll<Result<Given, Failure>> {
        if let Some(asker) = lock(&self.router.locals.askers).get_mut(&self.number) {
            asker.waker = Some(waker.clone());
        }
        if let Err(failure) = self.ask(offset, length) {
            return Poll::Ready(Err(failure));
        }
        match self.answers.try_recv() {
            Ok(answer) => Poll::Ready(self.take(answer)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(self.take(Err(Errno::NOTCONN))),
        }
    }

    /// Makes sure that a request is pending or answered.
    fn ask(&mut self, offset: u64, length: u32) -> Result<(), Failure> {
        if self.cancelled.load(Ordering::Acquire) {
            return Err(Failure::Cancelled);
        }
        if std::mem::replace(&mut self.asked, true) {
            return Ok(());
        }
        let caller = own_caller(Unique(self.number));
        let wanted = Wanted {
            offset,
            length,
            nonblocking: false,
        };
        let request = Request::Read {
            ino: 0,
            handle: self.handle,
            wanted,
            fills_pages: false,
        };
        self.router.handle(caller, request);
        // A cancellation before there was a request found none to give up.
        if self.cancelled.load(Ordering::Acquire) {
            self.canceller().cancel();
        }
        Ok(())
    }

    fn take(&mut self, answer: Answer) -> Result<Given, Failure> {
        self.asked = false;
        answer.map_err(|errno| match errno {
            Errno::INTR if self.cancelled.load(Ordering::Acquire) => Failure::Cancelled,
            errno => Failure::Errno(errno),
        })
    }

    /// Withdraws a pending request, so that another can be made.
    pub(crate) fn withdraw(&mut self) {
        if std::mem::replace(&mut self.asked, false) {
            give_up(&self.router, self.number);
            // Now there is an answer, if only that it was given up.
            let _ = self.answers.recv();
        }
    }

    /// Reads the core's state of this reader, with its handle.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Core, u64) -> R) -> R {
        self.router.look(|core| look(core, self.handle))
    }

    /// See `Core::release_bytes`.
    pub(crate) fn release_bytes(&self, range: Range<u64>) {
        let handle = self.handle;
        self.router.tell(Request::ReleaseBytes { handle, range });
    }

    /// Declares that nothing more will come at the path that it reads.
    pub(crate) fn release(&self, id: CaptureId) {
        self.router.release_capture(id, false);
    }

    /// The canceller of its waits.
    pub(crate) fn canceller(&self) -> LocalCanceller {
        LocalCanceller {
            router: Arc::clone(&self.router),
            number: self.number,
            cancelled: Arc::clone(&self.cancelled),
        }
    }
}

impl Drop for LocalReader {
    fn drop(&mut self) {
        lock(&self.router.locals.askers).remove(&self.number);
        let handle = self.handle;
        self.router.tell(Request::Release { handle });
    }
}

impl LocalCanceller {
    /// Ends the present wait and all to come.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        give_up(&self.router, self.number);
    }
}

fn give_up(router: &Router, number: u64) {
    let unique = Unique(number);
    router.tell(Request::Cancel { unique });
}

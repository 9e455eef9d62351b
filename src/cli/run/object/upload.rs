//! An upload: parts in any order, and at the end all of them or nothing.
//!
//! Knows how it is told what to do and how it ends; the [`Task`] does it, and where the bytes come from,
//! `feed` knows. The invariant: it ends, whatever happens to the task.

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fifofs::{Error, Result};
use object_store::{MultipartId, PutPayload};
use rustix::event::EventfdFlags;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guarded::guarded;
use super::parts::Whole;
use super::record;
use super::store::{Patience, Refusal, SHORT, Store, explain};
use super::task::{Message, Task, is_gone};
use super::{Address, Fate};

/// How much of all uploads is on its way at once: eight of the first parts. No more than `--memory`,
/// where that was said.
const ROOM_KIB: u32 = 64 << 10;

/// The same of one upload at least, so that there is one part; one that is larger waits for all of it.
const ROOM_KIB_MIN: u32 = 8 << 10;

/// How often it is looked whether an answer is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// An upload that was begun. What may be called from several threads waits for none of them, but
/// [`Upload::put`] and [`Upload::finish`], which wait for room.
#[derive(Debug)]
pub(in super::super) struct Upload {
    messages: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    /// What fits into it.
    room_kib: u32,
    parts: Arc<AtomicU64>,
    ended: Arc<Ended>,
}

/// How it ended.
#[derive(Debug)]
struct Ended {
    /// Readable once it has.
    bell: OwnedFd,
    fate: Mutex<Option<Fate>>,
}

impl Upload {
    /// Sees whether the bucket is there, and what else can be seen before anything is sent; not
    /// longer than it `is_wanted`. An upload in the store begins with the first part. There are so many
    /// uploads in all, for which so much memory is, if that was said.
    pub(in super::super) fn begin(
        address: &Address,
        (uploads, memory): (usize, Option<u64>),
        is_wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        let store = Store::open(address, Patience::Long)?;
        let short = Store::open(address, Patience::Short)?;
        wait(check(short.clone()), is_wanted)
            .unwrap_or(Ok(()))
            .map_err(|error| explain(address, &error))?;
        let room_kib = room_kib(uploads, memory);
        Self::to(address, (store, short), room_kib, record::directory())
    }

    /// The same, to a store that is known to be there, with so much on its way at once; remembered in this
    /// directory.
    pub(super) fn to(
        address: &Address,
        stores: (Store, Store),
        room_kib: u32,
        records: Option<PathBuf>,
    ) -> Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("write to", address.to_string(), errno.into()))?;
        let (messages, received) = unbounded_channel();
        let ended = Arc::new(Ended {
            bell,
            fate: Mutex::default(),
        });
        let upload = Upload {
            messages: messages.clone(),
            room: Arc::new(Semaphore::new(room_kib as usize)),
            room_kib,
            parts: Arc::default(),
            ended: Arc::clone(&ended),
        };
        let (room, parts) = (Arc::clone(&upload.room), Arc::clone(&upload.parts));
        let task_room = Arc::clone(&room);
        let task = Task::new(address.clone(), stores, records, messages, task_room, parts);
        let task = runtime().spawn(task.run(received));
        let address = address.clone();
        runtime().spawn(async move {
            let fate = task.await.unwrap_or_else(|panic| {
                let why = format!(
                    "it is not known what became of the object: the upload failed ({panic})"
                );
                Fate::Unknown(address.failed(why))
            });
            room.close();
            *ended.fate.lock().unwrap_or_else(PoisonError::into_inner) = Some(fate);
            let _ = rustix::io::write(&ended.bell, &1_u64.to_ne_bytes());
        });
        Ok(upload)
    }

    /// Sends a part, once more if it was sent; waits while too much is on its way. False if nobody
    /// wants it any more.
    pub(super) fn put(&self, part: usize, bytes: Vec<u8>) -> bool {
        let size = u32::try_from(bytes.len() >> 10).unwrap_or(u32::MAX);
        let Some(room) = self.wait_for_room(size.clamp(1, self.room_kib)) else {
            return false;
        };
        let bytes = PutPayload::from(bytes);
        self.messages
            .send(Message::Put { part, bytes, room })
            .is_ok()
    }

    /// Those were all, and this is what the object is made of. Waits until all that was put is sent.
    pub(super) fn finish(&self, whole: Whole) -> bool {
        self.wait_for_room(self.room_kib).is_some()
            && self.messages.send(Message::Finish(whole)).is_ok()
    }

    fn wait_for_room(&self, size: u32) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room);
        runtime().block_on(room.acquire_many_owned(size)).ok()
    }

    /// How many parts were sent.
    pub(in super::super) fn parts(&self) -> u64 {
        self.parts.load(Ordering::Relaxed)
    }

    /// The object is to be there. Once all was put.
    pub(in super::super) fn commit(&self) {
        let _ = self.messages.send(Message::Commit);
    }

    /// Nothing is to be there, unless it is already; where that is not known yet, asked for twice it is not
    /// waited for.
    pub(in super::super) fn abort(&self) {
        self.room.close();
        let _ = self.messages.send(Message::Abort);
    }

    /// How it ended; to be called once, when [`Upload::as_fd`] is readable.
    pub(in super::super) fn fate(&self) -> Fate {
        let mut fate = self
            .ended
            .fate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        fate.take().unwrap_or(Fate::Removed)
    }
}

impl AsFd for Upload {
    /// Readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.bell.as_fd()
    }
}

/// How much of one of so many uploads is on its way at once.
fn room_kib(uploads: usize, memory: Option<u64>) -> u32 {
    let allowed = memory.map_or(ROOM_KIB, |bytes| {
        u32::try_from(bytes >> 10).unwrap_or(u32::MAX)
    });
    let uploads = u32::try_from(uploads).unwrap_or(u32::MAX).max(1);
    (allowed.min(ROOM_KIB) / uploads).max(ROOM_KIB_MIN)
}

/// What sends, in the background. It lives as long as the process.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fifofs-upload")
            .enable_all()
            .build()
            .expect("threads can be started")
    })
}

/// Waits for something, as long as it `is_wanted`, and not for ever.
fn wait<T: Send + 'static>(
    work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    is_wanted: &mut dyn FnMut() -> bool,
) -> Option<object_store::Result<T>> {
    let (tell, told) = mpsc::channel();
    runtime().spawn(async move { tell.send(guarded(work).await) });
    loop {
        match told.recv_timeout(LOOK_INTERVAL) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if is_wanted() => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Whether the bucket is there, and the store takes the credentials.
async fn check(store: Store) -> object_store::Result<()> {
    let listed = store.objects.list_with_delimiter(Some(&store.key));
    match tokio::time::timeout(SHORT, listed).await {
        Ok(Err(error)) if Refusal::of(&error) != Refusal::NotAllowed => Err(error),
        // Who may only write there finds out later.
        Ok(_) => Ok(()),
        Err(_) => Err(object_store::Error::Generic {
            store: "the store",
            source: format!("it has not answered within {SHORT:?}").into(),
        }),
    }
}

/// Removes an upload that nobody goes on with; one that is not there any more is fine.
pub(super) fn remove(address: &Address, id: MultipartId) -> Result<()> {
    let store = Store::open(address, Patience::Short)?;
    let work = async move { store.uploads.abort_multipart(&store.key, &id).await };
    match wait(work, &mut || true) {
        Some(Err(error)) if !is_gone(&error) => Err(explain(address, &error)),
        _ => Ok(()),
    }
}

//! An upload: takes parts in any order, and publishes all of them at the end or nothing.
//!
//! Knows the messages to the [`Task`] and how it ends; the task does the upload, and `feed` brings the
//! bytes. Invariant: it ends, whatever happens to the task.

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

/// How many KiB of all uploads are being sent at once: eight of the first parts. At most `--memory`, if
/// that was given.
const ROOM_KIB: u32 = 64 << 10;

/// The least for one upload, enough for one part; a larger part waits for all of it.
const ROOM_KIB_MIN: u32 = 8 << 10;

/// How often to check whether an answer is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// An upload in progress. Its methods can be called from several threads and do not block, except
/// [`Upload::put`] and [`Upload::finish`], which wait for room.
#[derive(Debug)]
pub(in super::super) struct Upload {
    messages: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    /// The capacity of `room`.
    room_kib: u32,
    parts: Arc<AtomicU64>,
    ended: Arc<Ended>,
}

/// The end of an upload.
#[derive(Debug)]
struct Ended {
    /// Readable once it has ended.
    bell: OwnedFd,
    fate: Mutex<Option<Fate>>,
}

impl Upload {
    /// Checks, as long as the upload `is_wanted`, that the bucket exists, and whatever else can be checked
    /// before anything is sent. The upload in the store begins with the first part. `uploads` is their
    /// number in all, which share `memory` if that was given.
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

    /// The same for a store that was checked, with at most `room_kib` being sent at once; its record is in
    /// this directory.
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

    /// Sends a part, or sends it again; waits while too much is being sent. False if the object is not
    /// wanted any more.
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

    /// Ends the parts; `whole` is the object's content. Waits until all parts are sent.
    pub(super) fn finish(&self, whole: Whole) -> bool {
        self.wait_for_room(self.room_kib).is_some()
            && self.messages.send(Message::Finish(whole)).is_ok()
    }

    fn wait_for_room(&self, size: u32) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room);
        runtime().block_on(room.acquire_many_owned(size)).ok()
    }

    /// The number of parts sent.
    pub(in super::super) fn parts(&self) -> u64 {
        self.parts.load(Ordering::Relaxed)
    }

    /// Publishes the object. Call this after `finish`.
    pub(in super::super) fn commit(&self) {
        let _ = self.messages.send(Message::Commit);
    }

    /// Removes everything, unless the object is published already. A second call ends the wait for an
    /// answer that would tell.
    pub(in super::super) fn abort(&self) {
        self.room.close();
        let _ = self.messages.send(Message::Abort);
    }

    /// How it ended; call this once, when [`Upload::as_fd`] is readable.
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

/// How many KiB of each of so many uploads are being sent at once.
fn room_kib(uploads: usize, memory: Option<u64>) -> u32 {
    let allowed = memory.map_or(ROOM_KIB, |bytes| {
        u32::try_from(bytes >> 10).unwrap_or(u32::MAX)
    });
    let uploads = u32::try_from(uploads).unwrap_or(u32::MAX).max(1);
    (allowed.min(ROOM_KIB) / uploads).max(ROOM_KIB_MIN)
}

/// The runtime that sends in the background, for the lifetime of the process.
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

/// Waits for a result, as long as it `is_wanted`, and with a timeout.
fn wait<T: Send + 'static>(
    work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    is_wanted: &mut dyn FnMut() -> bool,
) -> Option<object_store::Result<T>> {
    let (sender, receiver) = mpsc::channel();
    runtime().spawn(async move { sender.send(guarded(work).await) });
    loop {
        match receiver.recv_timeout(LOOK_INTERVAL) {
            Ok(result) => return Some(result),
            Err(RecvTimeoutError::Timeout) if is_wanted() => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// Checks that the bucket exists, and that the store accepts the credentials.
async fn check(store: Store) -> object_store::Result<()> {
    let listed = store.objects.list_with_delimiter(Some(&store.key));
    match tokio::time::timeout(SHORT, listed).await {
        Ok(Err(error)) if Refusal::of(&error) != Refusal::NotAllowed => Err(error),
        // Credentials that allow only writing elsewhere fail later.
        Ok(_) => Ok(()),
        Err(_) => Err(object_store::Error::Generic {
            store: "the store",
            source: format!("it has not answered within {SHORT:?}").into(),
        }),
    }
}

/// Removes an abandoned upload; it is no error if it does not exist any more.
pub(super) fn remove(address: &Address, id: MultipartId) -> Result<()> {
    let store = Store::open(address, Patience::Short)?;
    let work = async move { store.uploads.abort_multipart(&store.key, &id).await };
    match wait(work, &mut || true) {
        Some(Err(error)) if !is_gone(&error) => Err(explain(address, &error)),
        _ => Ok(()),
    }
}

//! An upload: parts in any order, and at the end all of them or nothing.
//!
//! Knows what was sent and what is on its way; where the bytes come from, `feed` knows. A task of its
//! own does what there is to do, and hears of everything by one channel, so that nothing is locked.
//! The invariant: it is completed only after [`Upload::commit`], and whatever ends it otherwise
//! removes what was sent.
//!
//! ```text
//!             all was put: finish      commit
//!   open ────────────────────► whole ─────────► publishing ──► ended
//!     │                          │                   │           ▲
//!     └──────────────────────────┴───────────────────┘           │
//!        a request failed for good, or abort ────► removing ─────┘
//! ```

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fifofs::{Error, Result};
use object_store::multipart::PartId;
use object_store::{MultipartId, ObjectStoreExt, PutPayload};
use rustix::event::EventfdFlags;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use super::Address;
use super::feed::Whole;
use super::record::Record;
use super::store::{Patience, Refusal, SHORT, Store, explain};
use crate::cli::text::say;

/// How much is on its way at once, unless a single part is more: eight of the first parts.
const ROOM_KIB: u32 = 64 << 10;

/// How often it is looked whether an answer is still wanted.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// How long parts that are on their way may take once nobody wants them: a request that is cut off may be
/// carried out all the same, after the upload was removed.
const GRACE: Duration = Duration::from_secs(5);

/// An upload that was begun. What may be called from several threads waits for none of them, but
/// [`Upload::put`] and [`Upload::finish`], which wait for room.
#[derive(Debug)]
pub(in super::super) struct Upload {
    messages: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    parts: Arc<AtomicU64>,
    ended: Arc<Ended>,
}

/// How it ended.
#[derive(Debug)]
struct Ended {
    /// Readable once it has.
    bell: OwnedFd,
    result: Mutex<Option<Result<()>>>,
}

/// What the task is told.
#[derive(Debug)]
enum Message {
    Put {
        part: usize,
        bytes: PutPayload,
        room: OwnedSemaphorePermit,
    },
    Finish(Whole),
    Commit,
    Abort,
    Begun(object_store::Result<MultipartId>),
    Sent(usize, object_store::Result<PartId>),
    Published(object_store::Result<()>),
}

impl Upload {
    /// Sees whether the bucket is there, and what else can be seen before anything is sent; not
    /// longer than it `is_wanted`. An upload in the store begins with the first part.
    pub(in super::super) fn begin(
        address: &Address,
        is_wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Self> {
        let store = Store::open(address, Patience::Long)?;
        let short = Store::open(address, Patience::Short)?;
        wait(check(short.clone()), is_wanted)
            .unwrap_or(Ok(()))
            .map_err(|error| explain(address, &error))?;
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::io("write to", address.to_string(), errno.into()))?;
        let (messages, received) = unbounded_channel();
        let ended = Arc::new(Ended {
            bell,
            result: Mutex::default(),
        });
        let upload = Upload {
            messages: messages.clone(),
            room: Arc::new(Semaphore::new(ROOM_KIB as usize)),
            parts: Arc::default(),
            ended: Arc::clone(&ended),
        };
        let task = Task {
            address: address.clone(),
            store,
            short,
            messages,
            room: Arc::clone(&upload.room),
            sent: Arc::clone(&upload.parts),
            running: JoinSet::new(),
            publishing: None,
            is_begun: false,
            id: None,
            record: None,
            parts: Vec::new(),
            busy: HashSet::new(),
            waiting: BTreeMap::new(),
            whole: None,
        };
        runtime().spawn(async move {
            let result = task.run(received).await;
            *ended.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            let _ = rustix::io::write(&ended.bell, &1_u64.to_ne_bytes());
        });
        Ok(upload)
    }

    /// Sends a part, once more if it was sent; waits while too much is on its way. False if nobody
    /// wants it any more.
    pub(super) fn put(&self, part: usize, bytes: Vec<u8>) -> bool {
        let size = u32::try_from(bytes.len() >> 10).unwrap_or(u32::MAX);
        let Some(room) = self.wait_for_room(size.clamp(1, ROOM_KIB)) else {
            return false;
        };
        let bytes = PutPayload::from(bytes);
        self.messages
            .send(Message::Put { part, bytes, room })
            .is_ok()
    }

    /// Those were all, and this is what the object is made of. Waits until all that was put is sent.
    pub(super) fn finish(&self, whole: Whole) -> bool {
        self.wait_for_room(ROOM_KIB).is_some() && self.messages.send(Message::Finish(whole)).is_ok()
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

    /// Nothing is to be there.
    pub(in super::super) fn abort(&self) {
        self.room.close();
        let _ = self.messages.send(Message::Abort);
    }

    /// How it ended; to be called once, when [`Upload::as_fd`] is readable.
    pub(in super::super) fn outcome(&self) -> Result<()> {
        let mut result = self
            .ended
            .result
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        result.take().unwrap_or(Ok(()))
    }
}

impl AsFd for Upload {
    /// Readable when it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.bell.as_fd()
    }
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
    work: impl Future<Output = T> + Send + 'static,
    is_wanted: &mut dyn FnMut() -> bool,
) -> Option<T> {
    let (tell, told) = mpsc::channel();
    runtime().spawn(async move { tell.send(work.await) });
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

fn is_gone(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || Refusal::of(error) == Refusal::NoUpload
}

/// What does it all.
struct Task {
    address: Address,
    store: Store,
    /// The same, for what nobody waits for long.
    short: Store,
    /// To itself.
    messages: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    /// How many parts were sent.
    sent: Arc<AtomicU64>,
    /// Parts that are on their way.
    running: JoinSet<()>,
    /// What publishes them.
    publishing: Option<AbortHandle>,
    /// Whether the store was asked for an upload.
    is_begun: bool,
    id: Option<MultipartId>,
    /// What is remembered of it should this process be killed.
    record: Option<Record>,
    parts: Vec<Option<PartId>>,
    /// The parts that are on their way.
    busy: HashSet<usize>,
    /// Those that are to be sent when there is an upload, and no older bytes of the same part are on
    /// their way.
    waiting: BTreeMap<usize, (PutPayload, OwnedSemaphorePermit)>,
    whole: Option<Whole>,
}

impl Task {
    async fn run(mut self, mut received: UnboundedReceiver<Message>) -> Result<()> {
        while let Some(message) = received.recv().await {
            match message {
                Message::Put { part, bytes, room } => {
                    self.begin();
                    self.waiting.insert(part, (bytes, room));
                }
                Message::Begun(Ok(id)) => {
                    // (Azure has none that could be removed.)
                    if !id.is_empty() {
                        self.record = Record::keep(self.address.to_string(), id.clone());
                    }
                    self.id = Some(id);
                }
                Message::Sent(part, Ok(id)) => {
                    self.busy.remove(&part);
                    self.note(part, id);
                }
                Message::Finish(whole) => self.whole = Some(whole),
                Message::Commit => self.publish(),
                Message::Published(Ok(())) => {
                    self.forget();
                    return Ok(());
                }
                Message::Begun(Err(error))
                | Message::Sent(_, Err(error))
                | Message::Published(Err(error)) => {
                    self.remove(received).await;
                    return Err(explain(&self.address, &error));
                }
                Message::Abort => {
                    self.remove(received).await;
                    return Ok(());
                }
            }
            self.send();
        }
        Ok(())
    }

    /// Asks the store for an upload, if it was not.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let (store, messages, room) = (
            self.store.clone(),
            self.messages.clone(),
            Arc::clone(&self.room),
        );
        // Not one of those that are stopped: one that was just made must be known to be removed.
        tokio::spawn(async move {
            let begun = store.uploads.create_multipart(&store.key).await;
            if begun.is_err() {
                room.close();
            }
            let _ = messages.send(Message::Begun(begun));
        });
    }

    /// Sends what can be sent.
    fn send(&mut self) {
        let Some(id) = &self.id else {
            return;
        };
        let free = |part: &&usize| !self.busy.contains(part);
        let ready: Vec<usize> = self.waiting.keys().filter(free).copied().collect();
        for part in ready {
            let Some((bytes, place)) = self.waiting.remove(&part) else {
                continue;
            };
            self.busy.insert(part);
            let (store, id, messages) = (self.store.clone(), id.clone(), self.messages.clone());
            let room = Arc::clone(&self.room);
            self.running.spawn(async move {
                let sent = store.uploads.put_part(&store.key, &id, part, bytes).await;
                if sent.is_err() {
                    // Before there is room for who believes that all went well.
                    room.close();
                }
                let _ = messages.send(Message::Sent(part, sent));
                drop(place);
            });
        }
    }

    fn note(&mut self, part: usize, id: PartId) {
        if self.parts.len() <= part {
            self.parts.resize(part + 1, None);
        }
        if self.parts[part].replace(id).is_none() {
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes one object of what was sent.
    fn publish(&mut self) {
        let (store, messages) = (self.store.clone(), self.messages.clone());
        let (id, whole) = (self.id.clone(), self.whole.take());
        let parts = std::mem::take(&mut self.parts);
        let publishing = tokio::spawn(async move {
            let published = publish(&store, id, whole, parts).await;
            let _ = messages.send(Message::Published(published));
        });
        self.publishing = Some(publishing.abort_handle());
    }

    /// Removes what was sent.
    async fn remove(&mut self, mut received: UnboundedReceiver<Message>) {
        self.room.close();
        self.waiting.clear();
        if let Some(publishing) = self.publishing.take() {
            publishing.abort();
        }
        let end = async { while self.running.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, end).await;
        self.running.shutdown().await;
        let id = match self.id.take() {
            None if self.is_begun => tokio::time::timeout(SHORT, begun(&mut received)).await,
            id => Ok(id),
        };
        let removed = match id {
            Ok(None) => return,
            Ok(Some(id)) => {
                let remove = self.short.uploads.abort_multipart(&self.short.key, &id);
                tokio::time::timeout(SHORT, remove).await
            }
            Err(elapsed) => Err(elapsed),
        };
        let why = match removed {
            Ok(Ok(())) => return self.forget(),
            Ok(Err(error)) if is_gone(&error) => return self.forget(),
            Ok(Err(error)) => explain(&self.address, &error).to_string(),
            Err(_) => format!(
                "cannot write to {}: the store does not answer",
                self.address
            ),
        };
        say(&format!(
            "an unfinished upload is left in the store, as it cannot be removed now: {why}"
        ));
    }

    /// Nothing is left of it.
    fn forget(&mut self) {
        if let Some(record) = self.record.take() {
            record.forget();
        }
    }
}

/// The upload that the store was asked for, if it makes one.
async fn begun(received: &mut UnboundedReceiver<Message>) -> Option<MultipartId> {
    while let Some(message) = received.recv().await {
        if let Message::Begun(begun) = message {
            return begun.ok();
        }
    }
    None
}

async fn publish(
    store: &Store,
    id: Option<MultipartId>,
    whole: Option<Whole>,
    parts: Vec<Option<PartId>>,
) -> object_store::Result<()> {
    let missing = || object_store::Error::Generic {
        store: "fifofs",
        source: "a part was not sent".into(),
    };
    match (whole, id) {
        (Some(Whole::Bytes(bytes)), id) => {
            if let Some(id) = id {
                store.uploads.abort_multipart(&store.key, &id).await?;
            }
            store.objects.put(&store.key, bytes.into()).await?;
        }
        (Some(Whole::Parts(count)), Some(id)) => {
            let parts: Option<Vec<PartId>> = parts.into_iter().take(count).collect();
            let parts = parts
                .filter(|parts| parts.len() == count)
                .ok_or_else(missing)?;
            store
                .uploads
                .complete_multipart(&store.key, &id, parts)
                .await?;
        }
        _ => return Err(missing()),
    }
    Ok(())
}

//! The task that does an upload: all messages come through one channel, so that no lock is needed.
//!
//! Knows which parts were sent and which are being sent. Invariants: an object is made only after
//! [`Message::Commit`]; any other end removes what was sent; the reported end is certain, or reported as
//! unknown.
//!
//! ```text
//!             all was put: finish      commit                 answered
//!   open ────────────────────► whole ─────────► publishing ─────────────► published
//!     │                          │                   │ failed, or not waited for any longer
//!     └──────────────────────────┴───────────────────┴──► removing ─────► removed, failed, unknown
//!        a request failed for good, or abort
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fifofs::Error;
use object_store::multipart::PartId;
use object_store::{MultipartId, PutPayload};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::guarded::guarded;
use super::parts::Whole;
use super::publication::{Publication, Seen};
use super::record::Record;
use super::store::{Refusal, SHORT, Store, explain};
use super::{Address, Fate};
use crate::cli::text::say;

/// How long requests for parts may still take once the object is not wanted: the store may carry out a request
/// that was cut off, after the upload was removed.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait for the answer to the last request once the object is not wanted.
const LAST_WORD: Duration = SHORT;

/// A message to the task.
#[derive(Debug)]
pub(super) enum Message {
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

/// The task of one upload.
pub(super) struct Task {
    address: Address,
    store: Store,
    /// The same store with short timeouts, for requests that must not take long.
    short: Store,
    /// For messages to itself.
    messages: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    /// The number of parts sent.
    sent: Arc<AtomicU64>,
    /// Requests for parts in progress.
    running: JoinSet<()>,
    publishing: Option<Publishing>,
    /// Whether the store was asked for an upload.
    is_begun: bool,
    id: Option<MultipartId>,
    /// The directory for the record of the upload in case this process is killed, and the record.
    records: Option<PathBuf>,
    record: Option<Record>,
    parts: Vec<Option<PartId>>,
    /// The parts being sent.
    busy: HashSet<usize>,
    /// Parts to be sent once there is an upload, and no older bytes of the same part are being sent.
    waiting: BTreeMap<usize, (PutPayload, OwnedSemaphorePermit)>,
    whole: Option<Whole>,
}

/// The last request, which cannot be cancelled.
struct Publishing {
    publication: Arc<Publication>,
    request: AbortHandle,
    /// When to stop waiting for its answer, once the object is not wanted.
    until: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        address: Address,
        (store, short): (Store, Store),
        records: Option<PathBuf>,
        messages: UnboundedSender<Message>,
        room: Arc<Semaphore>,
        sent: Arc<AtomicU64>,
    ) -> Self {
        Task {
            address,
            store,
            short,
            messages,
            room,
            sent,
            running: JoinSet::new(),
            publishing: None,
            is_begun: false,
            id: None,
            records,
            record: None,
            parts: Vec::new(),
            busy: HashSet::new(),
            waiting: BTreeMap::new(),
            whole: None,
        }
    }

    pub(super) async fn run(mut self, mut received: UnboundedReceiver<Message>) -> Fate {
        while let Some(message) = self.next(&mut received).await {
            match message {
                Message::Put { part, bytes, room } => {
                    self.begin();
                    self.waiting.insert(part, (bytes, room));
                }
                Message::Begun(Ok(id)) => {
                    // (Azure has no uploads that could be removed.)
                    if let Some(directory) = self.records.take().filter(|_| !id.is_empty()) {
                        self.record =
                            Record::keep(&directory, self.address.to_string(), id.clone());
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
                    return Fate::Published;
                }
                Message::Published(Err(error)) => return self.fail(received, Some(error)).await,
                Message::Begun(Err(error)) | Message::Sent(_, Err(error)) => {
                    self.remove(received).await;
                    return Fate::Failed(explain(&self.address, &error));
                }
                Message::Abort => match &mut self.publishing {
                    Some(publishing) if publishing.until.is_none() => {
                        publishing.until = Some(Instant::now() + LAST_WORD);
                    }
                    // A second abort.
                    Some(_) => return self.fail(received, None).await,
                    None => {
                        self.remove(received).await;
                        return Fate::Removed;
                    }
                },
            }
            self.send();
        }
        match self.publishing {
            Some(_) => self.fail(received, None).await,
            None => Fate::Removed,
        }
    }

    /// The next message; none once the time for the last answer is over.
    async fn next(&self, received: &mut UnboundedReceiver<Message>) -> Option<Message> {
        let until = self
            .publishing
            .as_ref()
            .and_then(|publishing| publishing.until);
        match until {
            Some(until) => tokio::time::timeout_at(until, received.recv()).await.ok()?,
            None => received.recv().await,
        }
    }

    /// Asks the store for an upload, once.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let (store, messages) = (self.store.clone(), self.messages.clone());
        // Spawned outside of `running`, which is aborted: an upload that was just made must be reported, to be
        // removed.
        tokio::spawn(async move {
            let begun = guarded(store.uploads.create_multipart(&store.key)).await;
            let _ = messages.send(Message::Begun(begun));
        });
    }

    /// Sends the parts that can be sent.
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
                let sent = guarded(store.uploads.put_part(&store.key, &id, part, bytes)).await;
                let failed = sent.is_err();
                // Before `close`: messages of callers that find the room closed come after the reason.
                let _ = messages.send(Message::Sent(part, sent));
                if failed {
                    // Before the permit is released, so that no caller believes that all went well.
                    room.close();
                }
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

    /// Makes one object of the sent parts.
    fn publish(&mut self) {
        let stores = (self.store.clone(), self.short.clone());
        let (whole, parts) = (self.whole.take(), std::mem::take(&mut self.parts));
        let publication = match Publication::new(stores, self.id.clone(), whole, parts) {
            Ok(publication) => Arc::new(publication),
            Err(error) => {
                let _ = self.messages.send(Message::Published(Err(error)));
                return;
            }
        };
        let (messages, publishes) = (self.messages.clone(), Arc::clone(&publication));
        let request = tokio::spawn(async move {
            let published = guarded(publishes.publish()).await;
            let _ = messages.send(Message::Published(published));
        });
        self.publishing = Some(Publishing {
            publication,
            request: request.abort_handle(),
            until: None,
        });
    }

    /// Handles a last request that failed, or whose answer is not waited for any longer: finds out what the
    /// store has.
    async fn fail(
        mut self,
        received: UnboundedReceiver<Message>,
        error: Option<object_store::Error>,
    ) -> Fate {
        // First: a request that is still in progress then finds no upload.
        self.remove(received).await;
        let seen = match &self.publishing {
            Some(publishing) => publishing.publication.look(error.as_ref()).await,
            None => Seen::NotThere,
        };
        match (seen, error) {
            (Seen::There, _) => Fate::Published,
            (Seen::NotThere, Some(error)) => Fate::Failed(explain(&self.address, &error)),
            (Seen::NotThere, None) => Fate::Removed,
            (Seen::Unknown, error) => Fate::Unknown(self.unknown(error.as_ref())),
        }
    }

    fn unknown(&self, error: Option<&object_store::Error>) -> Error {
        let why = error.map_or(
            "the wait for the store's answer was ended".into(),
            |error| explain(&self.address, error).to_string(),
        );
        let error = format!("it is not known whether the object is there: {why}");
        self.address
            .failed(error)
            .with_remedy("look whether it is, before you do it again")
    }

    /// Removes what was sent.
    async fn remove(&mut self, mut received: UnboundedReceiver<Message>) {
        self.room.close();
        self.waiting.clear();
        if let Some(publishing) = &self.publishing {
            publishing.request.abort();
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
                tokio::time::timeout(SHORT, guarded(remove)).await
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

    /// Removes the record: nothing of the upload is left.
    fn forget(&mut self) {
        if let Some(record) = self.record.take() {
            record.forget();
        }
    }
}

/// Whether an upload to be removed does not exist any more.
pub(super) fn is_gone(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || Refusal::of(error) == Refusal::NoUpload
}

/// Waits for the upload that the store was asked for, if it makes one.
async fn begun(received: &mut UnboundedReceiver<Message>) -> Option<MultipartId> {
    while let Some(message) = received.recv().await {
        if let Message::Begun(begun) = message {
            return begun.ok();
        }
    }
    None
}

//! What does an upload: one task, which hears of everything by one channel, so that nothing is locked.
//!
//! Knows what was sent and what is on its way. The invariants: an object is asked for only after
//! [`Message::Commit`]; whatever ends it otherwise removes what was sent; what is said of its end is so, or is
//! said not to be known.
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

/// How long parts that are on their way may take once nobody wants them: a request that is cut off may be
/// carried out all the same, after the upload was removed.
const GRACE: Duration = Duration::from_secs(5);

/// How long the answer to the last request is waited for once nobody wants the object.
const LAST_WORD: Duration = SHORT;

/// What the task is told.
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

/// What does it all.
pub(super) struct Task {
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
    publishing: Option<Publishing>,
    /// Whether the store was asked for an upload.
    is_begun: bool,
    id: Option<MultipartId>,
    /// Where it is remembered should this process be killed, and what is.
    records: Option<PathBuf>,
    record: Option<Record>,
    parts: Vec<Option<PartId>>,
    /// The parts that are on their way.
    busy: HashSet<usize>,
    /// Those that are to be sent when there is an upload, and no older bytes of the same part are on
    /// their way.
    waiting: BTreeMap<usize, (PutPayload, OwnedSemaphorePermit)>,
    whole: Option<Whole>,
}

/// The last request, which cannot be taken back.
struct Publishing {
    publication: Arc<Publication>,
    request: AbortHandle,
    /// Until when its answer is waited for, once nobody wants the object.
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
                    // (Azure has none that could be removed.)
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
                    // Asked for once more.
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

    /// The next message; none when it is not waited for any longer.
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

    /// Asks the store for an upload, if it was not.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let (store, messages) = (self.store.clone(), self.messages.clone());
        // Not one of those that are stopped: one that was just made must be known to be removed.
        tokio::spawn(async move {
            let begun = guarded(store.uploads.create_multipart(&store.key)).await;
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
                let sent = guarded(store.uploads.put_part(&store.key, &id, part, bytes)).await;
                let failed = sent.is_err();
                // First: what is asked for by who finds the room closed comes after the reason.
                let _ = messages.send(Message::Sent(part, sent));
                if failed {
                    // Before there is room for who believes that all went well.
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

    /// Makes one object of what was sent.
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

    /// The last request failed, or its answer is not waited for any longer. Finds out what there is.
    async fn fail(
        mut self,
        received: UnboundedReceiver<Message>,
        error: Option<object_store::Error>,
    ) -> Fate {
        // First: a request that is still on its way finds no upload then.
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

    /// Nothing is left of it.
    fn forget(&mut self) {
        if let Some(record) = self.record.take() {
            record.forget();
        }
    }
}

/// Whether an upload that was to be removed is not there any more.
pub(super) fn is_gone(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || Refusal::of(error) == Refusal::NoUpload
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

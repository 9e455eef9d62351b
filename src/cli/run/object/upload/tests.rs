//! Uploads to a store in memory, with faults that real stores rarely have; and to one that speaks HTTP, for
//! what the client does by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt, PutPayload, PutResult};
use rustix::event::{PollFd, PollFlags, Timespec};
use tempfile::TempDir;

use super::super::feed::Feed;
use super::super::parts::{self, Whole};
use super::super::store::{Patience, Store, both};
use super::{Address, Fate, ROOM_KIB, Upload, room_kib};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A fault of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    PartPanics,
    CompletionPanics,
    /// The object is made, but the answer is an error.
    CompletionIsLost,
    /// The answer takes a moment.
    CompletionIsSlow,
    /// There is no answer.
    CompletionHangs,
    PartFails,
}

#[derive(Debug)]
struct Faulty {
    store: Arc<InMemory>,
    fault: Fault,
    /// The number of uploads that are neither completed nor aborted.
    open: AtomicUsize,
    /// The parts that were sent.
    sent: Mutex<Vec<usize>>,
}

fn failed(why: &str) -> object_store::Error {
    object_store::Error::Generic {
        store: "a test",
        source: why.to_owned().into(),
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> object_store::Result<MultipartId> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.store.create_multipart(path).await
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part: usize,
        bytes: PutPayload,
    ) -> object_store::Result<PartId> {
        match self.fault {
            Fault::PartPanics => panic!("as the test wants it"),
            Fault::PartFails if part == 1 => return Err(failed("not this one")),
            _ => {}
        }
        self.sent.lock().expect("no panic").push(part);
        self.store.put_part(path, id, part, bytes).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> object_store::Result<PutResult> {
        match self.fault {
            Fault::CompletionPanics => panic!("as the test wants it"),
            Fault::CompletionHangs => std::future::pending::<()>().await,
            Fault::CompletionIsSlow => tokio::time::sleep(Duration::from_millis(300)).await,
            _ => {}
        }
        let result = self.store.complete_multipart(path, id, parts).await?;
        self.open.fetch_sub(1, Ordering::Relaxed);
        match self.fault {
            Fault::CompletionIsLost => Err(failed("the answer was lost")),
            _ => Ok(result),
        }
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> object_store::Result<()> {
        self.store.abort_multipart(path, id).await?;
        self.open.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

/// An upload to a faulty store.
struct Bench {
    upload: Arc<Upload>,
    faulty: Arc<Faulty>,
    records: TempDir,
}

fn address() -> Address {
    let address = Address::parse(std::ffi::OsStr::new("s3://bucket/key"));
    address.expect("right").expect("one")
}

impl Bench {
    fn new(fault: Fault) -> Self {
        let memory = Arc::new(InMemory::new());
        let faulty = Arc::new(Faulty {
            store: Arc::clone(&memory),
            fault,
            open: AtomicUsize::new(0),
            sent: Mutex::default(),
        });
        let store = Store {
            objects: memory,
            uploads: Arc::clone(&faulty) as _,
            key: Path::from("key"),
        };
        let records = tempfile::tempdir().expect("a directory");
        let place = Some(records.path().to_owned());
        let upload =
            Upload::to(&address(), (store.clone(), store), ROOM_KIB, place).expect("begun");
        Bench {
            upload: Arc::new(upload),
            faulty,
            records,
        }
    }

    fn put(&self, part: usize, byte: u8) -> bool {
        self.upload.put(part, vec![byte; size(parts::range(part))])
    }

    /// Puts two parts, and ends the parts.
    fn put_all(&self) -> bool {
        let all = Whole::Parts {
            count: 2,
            bytes: parts::start(2),
        };
        self.put(0, 1) && self.put(1, 2) && self.upload.finish(all)
    }

    fn object(&self) -> Option<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("one");
        let path = Path::from("key");
        let got = runtime.block_on(async { self.faulty.store.get(&path).await?.bytes().await });
        got.ok().map(|bytes| bytes.to_vec())
    }

    /// How it ended: checks that the object exists if it says so, and that nothing else is left.
    fn fate(&self) -> Fate {
        let fate = fate(&self.upload);
        match fate {
            Fate::Published => assert!(self.object().is_some()),
            Fate::Removed | Fate::Failed(_) => assert_eq!(self.object(), None),
            Fate::Unknown(_) => {}
        }
        assert_eq!(self.faulty.open.load(Ordering::Relaxed), 0, "uploads");
        let records = std::fs::read_dir(&self.records).expect("a directory");
        assert_eq!(records.count(), 0, "records");
        fate
    }
}

fn size(range: Range<u64>) -> usize {
    (range.end - range.start) as usize
}

fn fate(upload: &Upload) -> Fate {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("not long");
        let mut poll = [PollFd::from_borrowed_fd(upload.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut poll, Some(&left)) {
            Ok(0) => panic!("it has not ended: {upload:?}"),
            Ok(_) => return upload.fate(),
            Err(_) => {}
        }
    }
}

#[test]
fn uploads_share_the_room_within_memory_but_each_has_room_for_a_part() {
    let mib = |mib: u64| Some(mib << 20);
    for (uploads, memory, room_mib) in [
        (1, None, 64),
        (2, None, 32),
        (100, None, 8),
        (1, mib(1 << 20), 64),
        (1, mib(24), 24),
        (2, mib(24), 12),
        (1, Some(0), 8),
    ] {
        let room = room_kib(uploads, memory);
        assert_eq!(room, room_mib << 10, "{uploads}, {memory:?}");
    }
}

#[test]
fn parts_come_in_any_order_and_again_and_are_one_object() {
    let bench = Bench::new(Fault::None);
    for (part, byte) in [(1, 2), (0, 9), (0, 1)] {
        assert!(bench.put(part, byte));
    }
    assert!(bench.upload.put(2, vec![3; 5]));
    let bytes = parts::start(2) + 5;
    assert!(bench.upload.finish(Whole::Parts { count: 3, bytes }));
    assert_eq!(bench.object(), None, "not before it is wanted");
    bench.upload.commit();
    assert!(matches!(bench.fate(), Fate::Published));
    let first = size(parts::range(0));
    let expected = [vec![1; first], vec![2; first], vec![3; 5]].concat();
    assert!(bench.object().expect("there") == expected);
    assert_eq!(bench.upload.parts(), 3);
    let sent = bench.faulty.sent.lock().expect("no panic").clone();
    assert_eq!(
        sent.iter().filter(|part| **part == 0).count(),
        2,
        "{sent:?}"
    );
}

#[test]
fn bytes_one_after_the_other_are_an_object_however_many() {
    let first = size(parts::range(0));
    for length in [0, 1, first - 1, first, first + 1, 2 * first] {
        let bench = Bench::new(Fault::None);
        let content: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
        let mut feed = Feed::new(Arc::clone(&bench.upload));
        for bytes in content.chunks(1_000_003) {
            feed.write(bytes).expect("taken");
        }
        feed.finish().expect("taken");
        bench.upload.commit();
        assert!(matches!(bench.fate(), Fate::Published), "{length}");
        assert!(bench.object() == Some(content), "{length}");
    }
}

#[test]
fn an_object_that_became_small_after_a_part_was_sent_is_put_at_once() {
    let bench = Bench::new(Fault::None);
    assert!(bench.put(0, 1) && bench.upload.finish(Whole::Bytes(b"small".to_vec())));
    bench.upload.commit();
    assert!(matches!(bench.fate(), Fate::Published));
    assert_eq!(bench.object().as_deref(), Some(&b"small"[..]));
}

#[test]
fn an_unwanted_object_is_not_there() {
    for is_whole in [false, true] {
        let bench = Bench::new(Fault::None);
        assert!(match is_whole {
            true => bench.put_all(),
            false => bench.put(0, 1),
        });
        bench.upload.abort();
        assert!(matches!(bench.fate(), Fate::Removed));
        assert!(!bench.put(1, 1), "nobody takes any more");
    }
}

#[test]
fn a_part_that_fails_and_a_client_that_panics_fail_the_upload_without_a_hang() {
    for (fault, why) in [
        (Fault::PartFails, "not this one"),
        (Fault::PartPanics, "it panicked: as the test wants it"),
        (Fault::CompletionPanics, "it panicked: as the test wants it"),
    ] {
        let bench = Bench::new(fault);
        assert_eq!(
            bench.put_all(),
            fault == Fault::CompletionPanics,
            "{fault:?}"
        );
        bench.upload.commit();
        match bench.fate() {
            Fate::Failed(error) if error.to_string().contains(why) => {}
            fate => panic!("{fault:?}: {fate:?}"),
        }
    }
}

#[test]
fn an_object_that_is_aborted_too_late_is_there_and_reported() {
    let bench = Bench::new(Fault::CompletionIsSlow);
    assert!(bench.put_all());
    bench.upload.commit();
    bench.upload.abort();
    assert!(matches!(bench.fate(), Fate::Published));
}

#[test]
fn an_upload_aborted_before_the_last_answer_reports_what_there_is() {
    let bench = Bench::new(Fault::CompletionHangs);
    assert!(bench.put_all());
    bench.upload.commit();
    bench.upload.abort();
    bench.upload.abort();
    assert!(matches!(bench.fate(), Fate::Removed));
}

#[test]
fn after_a_lost_answer_an_object_that_may_be_another_is_reported_as_unknown() {
    let bench = Bench::new(Fault::CompletionIsLost);
    assert!(bench.put_all());
    bench.upload.commit();
    match fate(&bench.upload) {
        Fate::Unknown(error) if error.to_string().contains("not known") => {}
        fate => panic!("{fate:?}"),
    }
}

/// A bucket of S3 with scripted answers: for each request a part of its first line, and the status and body
/// of the answer, or none if the connection ends without one. Returns the client's store.
fn scripted(script: Vec<(&'static str, Option<(u16, &'static str)>)>) -> Store {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("one").port();
    std::thread::spawn(move || {
        let mut script = script.into_iter();
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let line = request(&connection);
            let (holds, answer) = script.next().expect("no more requests");
            assert!(line.contains(holds), "{line} is not {holds}");
            if let Some((status, body)) = answer {
                let tag = "ETag: \"5f363e0e58a95f06cbe9bbc662c5dfb6\"";
                let length = body.len();
                // The length of an object, for HEAD; no such body is sent.
                let (length, tag) = match line.starts_with("HEAD") {
                    true => (5 << 20, "ETag: \"81485c0e873d222199469076b60f30e9-1\""),
                    false => (length, tag),
                };
                let modified = "Last-Modified: Mon, 30 Nov 2026 12:00:00 GMT";
                let _ = write!(
                    connection,
                    "HTTP/1.1 {status} X\r\n{tag}\r\n{modified}\r\nConnection: close\r\n\
                     Content-Length: {length}\r\n\r\n{body}"
                );
            }
        }
    });
    let builder = AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_bucket_name("bucket")
        .with_region("here")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_retry(Patience::Long.retries());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (objects, uploads) = both(builder.build().expect("a client"));
    let key = Path::from("key");
    Store {
        objects,
        uploads,
        key,
    }
}

/// Reads a request and returns its first line.
fn request(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).expect("a request");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = reader.take(length);
    std::io::copy(&mut body, &mut std::io::sink()).expect("a body");
    first
}

const BUSY: Option<(u16, &str)> = Some((503, "<Error><Code>SlowDown</Code></Error>"));
const CREATED: &str =
    "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str =
    "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
const GONE: &str = "<Error><Code>NoSuchUpload</Code></Error>";

/// The fate of an upload of one part of 5 MiB of zeros.
fn upload_to(store: &Store) -> Fate {
    let stores = (store.clone(), store.clone());
    let upload = Upload::to(&address(), stores, ROOM_KIB, None).expect("begun");
    assert!(upload.put(0, vec![0; 5 << 20]));
    let bytes = 5 << 20;
    assert!(upload.finish(Whole::Parts { count: 1, bytes }));
    upload.commit();
    fate(&upload)
}

#[test]
fn a_busy_store_is_asked_again() {
    let store = scripted(vec![
        ("uploads", BUSY),
        ("uploads", Some((200, CREATED))),
        ("partNumber=1", BUSY),
        ("partNumber=1", None),
        ("partNumber=1", Some((200, ""))),
        ("POST /bucket/key?uploadId=u1", BUSY),
        ("POST /bucket/key?uploadId=u1", Some((200, COMPLETED))),
    ]);
    assert!(matches!(upload_to(&store), Fate::Published));
}

#[test]
fn an_object_whose_completion_was_not_answered_is_recognized() {
    let store = scripted(vec![
        ("uploads", Some((200, CREATED))),
        ("partNumber=1", Some((200, ""))),
        ("POST /bucket/key?uploadId=u1", None),
        ("POST /bucket/key?uploadId=u1", Some((404, GONE))),
        ("DELETE", Some((404, GONE))),
        ("HEAD", Some((200, ""))),
    ]);
    let fate = upload_to(&store);
    assert!(matches!(fate, Fate::Published), "{fate:?}");
}

#[test]
fn an_upload_that_another_client_ended_has_failed() {
    let store = scripted(vec![
        ("uploads", Some((200, CREATED))),
        ("partNumber=1", Some((200, ""))),
        ("POST /bucket/key?uploadId=u1", Some((404, GONE))),
        ("DELETE", Some((404, GONE))),
        ("HEAD", Some((404, ""))),
    ]);
    match upload_to(&store) {
        Fate::Failed(error) if error.to_string().contains("somebody else ended") => {}
        fate => panic!("{fate:?}"),
    }
}

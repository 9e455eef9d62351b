use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::FdFlags;

use super::*;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Place { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("x")
    }

    fn read(&self) -> String {
        fs::read_to_string(self.path()).expect("read")
    }

    /// A sink in the middle of a file, as after `{ printf HEAD; fifofs run … } >file`.
    fn sink(&self, content: &str, offset: u64, append: bool) -> Sink {
        fs::write(self.path(), content).expect("write");
        let mut options = File::options();
        let file = options.write(true).append(append).open(self.path());
        let file = OwnedFd::from(file.expect("open"));
        rustix::fs::seek(&file, SeekFrom::Start(offset)).expect("seek");
        Sink::of(&Destination::Descriptor(9), file, None).expect("a sink")
    }
}

fn put(sink: &mut Sink, text: &str) {
    assert!(sink.write(text.as_bytes()).is_ok());
}

#[test]
fn old_content_stays_and_the_offset_is_behind_the_last_byte() {
    let place = Place::new();
    let mut sink = place.sink("HEAD", 4, false);
    put(&mut sink, "body");
    assert!(sink.finish().is_ok());
    put(&mut sink, "next");
    assert_eq!(place.read(), "HEADbodynext");
}

#[test]
fn an_output_that_is_written_again_may_be_shorter() {
    let place = Place::new();
    let mut sink = place.sink("HEAD", 4, false);
    put(&mut sink, "some long text");
    assert!(sink.rewind());
    put(&mut sink, "sho");
    assert!(sink.rewind());
    put(&mut sink, "short");
    assert!(sink.finish().is_ok());
    assert_eq!(place.read(), "HEADshort");
    assert_eq!(rustix::fs::tell(&sink.descriptor), Ok(9));
}

#[test]
fn bytes_that_others_wrote_behind_it_stay() {
    let place = Place::new();
    let mut sink = place.sink("", 0, false);
    put(&mut sink, "some long text");
    fs::OpenOptions::new()
        .append(true)
        .open(place.path())
        .and_then(|mut file| io::Write::write_all(&mut file, b"BEHIND"))
        .expect("append");
    assert!(sink.rewind());
    put(&mut sink, "short");
    assert!(sink.finish().is_ok());
    assert_eq!(place.read(), "shortlong textBEHIND");
}

#[test]
fn bytes_that_others_wrote_at_the_shared_offset_are_not_overwritten() {
    let place = Place::new();
    let mut sink = place.sink("", 0, false);
    put(&mut sink, "one ");
    rustix::io::write(&sink.descriptor, b"other ").expect("write");
    put(&mut sink, "two");
    assert_eq!(place.read(), "one other two");
    assert!(!sink.rewind());
}

#[test]
fn an_output_inside_of_a_file_replaces_its_own_length_only() {
    let place = Place::new();
    let mut sink = place.sink("0123456789", 2, false);
    assert!(sink.is_inside_file());
    put(&mut sink, "ab");
    assert!(sink.finish().is_ok());
    assert_eq!(place.read(), "01ab456789");
}

#[test]
fn appended_bytes_cannot_be_rewritten() {
    let place = Place::new();
    let mut sink = place.sink("HEAD", 0, true);
    put(&mut sink, "body");
    assert!(!sink.is_inside_file() && !sink.rewind());
    assert_eq!(place.read(), "HEADbody");
}

#[test]
fn a_pipe_without_a_reader_is_closed() {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let mut sink = Sink::of(&Destination::Descriptor(9), writer, None).expect("a sink");
    assert!(sink.watchable().is_some());
    put(&mut sink, "x");
    drop(reader);
    // A process that another test has just forked has the pipe, too, until it calls exec(2).
    let deadline = Instant::now() + Duration::from_secs(30);
    while !matches!(sink.write(b"y"), Err(Stopped::Closed)) {
        assert!(Instant::now() < deadline, "the pipe still has a reader");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn descriptors_that_are_closed_or_not_writable_are_refused() {
    let refused = |number| {
        let opened = Sink::open(&Destination::Descriptor(number));
        opened.expect_err("an error").to_string()
    };
    assert!(refused(999).contains("cannot write to fd:999: Bad file descriptor"));
    let own = tempfile::tempfile().expect("a file");
    assert!(refused(own.as_raw_fd()).contains("Bad file descriptor"));
    let inherited = File::open("/dev/null").expect("open");
    rustix::io::fcntl_setfd(&inherited, FdFlags::empty()).expect("fcntl");
    assert!(refused(inherited.as_raw_fd()).contains("open for reading only"));
}

#[test]
fn a_directory_and_a_missing_directory_are_refused() {
    let refused = |path: &str| {
        let opened = Sink::open(&Destination::File(path.into()));
        opened.expect_err("an error").to_string()
    };
    assert!(refused("/tmp").contains("cannot write to /tmp: Is a directory"));
    assert!(refused("/nowhere/x").contains("No such file"));
}

#[test]
fn zeros_are_left_as_holes_in_a_new_file_and_written_over_old_bytes() {
    const BLOCK: usize = holes::HOLE_BYTES;
    let place = Place::new();
    let mut sink = Sink::open(&Destination::File(place.path())).expect("a sink");
    let mut content = vec![0; 40 * BLOCK + 5];
    content[3] = 1;
    content[4 * BLOCK..5 * BLOCK + 7].fill(2);
    let blocks = |sink: &Sink| {
        rustix::fs::fstat(&sink.descriptor)
            .expect("fstat")
            .st_blocks
            * 512
    };
    // In pieces with unaligned ends.
    for piece in content.chunks(10 * BLOCK + 100) {
        assert!(sink.write(piece).is_ok());
    }
    assert!(sink.finish().is_ok());
    assert!(blocks(&sink) < 16 * BLOCK as i64, "{}", blocks(&sink));
    // Again, and shorter: old bytes must not stay.
    content[4 * BLOCK..5 * BLOCK + 7].fill(0);
    content.truncate(30 * BLOCK);
    assert!(sink.rewind() && sink.write(&content).is_ok());
    assert!(sink.finish().is_ok());
    sink.appear(None).expect("a file");
    assert!(fs::read(place.path()).expect("read") == content);
}

//! The plain FIFO behind the same interface.

mod library;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::process::Command;

use fifofs::{Error, TemporaryPipe};

use library::{SOON, is_alive, listing, scratch, sh, within};

#[test]
fn it_is_a_fifo_in_a_directory_that_goes_with_it() {
    let pipe = TemporaryPipe::new().unwrap();
    let directory = pipe.path().parent().unwrap().to_owned();
    assert!(fs::metadata(pipe.path()).unwrap().file_type().is_fifo());
    assert_eq!(listing(&directory), ["out"]);
    fs::write(directory.join("left"), "something").unwrap();
    drop(pipe);
    assert!(!directory.exists());
}

#[test]
fn the_directory_is_gone_after_a_panic() {
    let (send, receive) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let pipe = TemporaryPipe::new().unwrap();
        send.send(pipe.path().parent().unwrap().to_owned()).unwrap();
        panic!("as it should");
    });
    assert!(panicked.join().is_err());
    assert!(!receive.recv().unwrap().exists());
}

#[test]
fn a_program_that_opens_it_without_waiting_finds_a_reader() {
    // The reader once came after the program, which got ENXIO.
    let pipe = TemporaryPipe::new().unwrap();
    let script = "import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
os.write(fd, b'hello')";
    let output = pipe
        .run(
            Command::new("python3")
                .args(["-S", "-c", script])
                .arg(pipe.path()),
        )
        .unwrap();
    assert!(output.status.success());
    assert_eq!(output.bytes, b"hello");
}

#[test]
fn it_has_one_reader_at_a_time() {
    let pipe = TemporaryPipe::new().unwrap();
    let mut running = pipe.spawn(&mut sh(r#"exec cat > "$1""#, &pipe)).unwrap();
    let error = pipe.spawn(&mut sh("exec sleep 60", &pipe)).unwrap_err();
    assert!(error.to_string().contains("reader"), "{error}");
    assert!(running.reader.read_all().unwrap().is_empty());
    running.child.wait().unwrap();
    drop(running);
    assert_eq!(
        pipe.run(&mut sh(r#"echo a > "$1""#, &pipe)).unwrap().bytes,
        b"a\n"
    );
}

#[test]
fn a_program_that_replaces_it_is_distinguished_from_one_that_writes_nothing() {
    let pipe = TemporaryPipe::new().unwrap();
    let result = pipe.run(&mut sh(r#"echo a > "$1.tmp"; mv "$1.tmp" "$1""#, &pipe));
    assert!(
        matches!(
            result.as_ref().map_err(|error| &*error.source),
            Err(Error::Io {
                remedy: Some(_),
                ..
            })
        ),
        "{result:?}"
    );
}

#[test]
fn more_than_a_fifo_holds_comes_through() {
    let pipe = TemporaryPipe::named("zeros.bin").unwrap();
    let output = within(SOON, "eight megabytes", move || {
        pipe.run(&mut sh(r#"head -c 8M /dev/zero > "$1""#, &pipe))
            .unwrap()
    });
    assert_eq!(output.bytes.len(), 8 << 20);
}

#[test]
fn a_process_that_waits_for_a_reader_goes_on_when_the_pipe_is_dropped() {
    let pipe = TemporaryPipe::new().unwrap();
    let path = pipe.path().to_owned();
    let place = scratch();
    let marker = place.path().join("started");
    let mut child = Command::new("sh")
        .args(["-c", r#"echo > "$2"; exec > "$1"; echo a"#, "sh"])
        .args([&path, &marker])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    library::until("the program is about to open it", || marker.exists());
    drop(pipe);
    within(SOON, "a program without a reader", move || {
        child.wait().unwrap()
    });
}

#[test]
fn a_reader_ends_though_the_child_was_waited_for_already() {
    let pipe = TemporaryPipe::new().unwrap();
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id().cast_signed();
    child.wait().unwrap();
    assert!(!is_alive(pid));
    let mut reader = pipe.reader_until_exit(&child).unwrap();
    let read = within(SOON, "a reader of nobody", move || reader.read_all());
    // Another test's program has copies of all descriptors before its exec, and so may count as a
    // writer.
    match read {
        Err(Error::Missing { .. }) => {}
        read => assert!(read.unwrap().is_empty()),
    }
}

#[test]
fn this_process_may_write_to_it_too() {
    let pipe = TemporaryPipe::new().unwrap();
    let mut running = pipe.spawn(&mut sh(r#"echo child > "$1""#, &pipe)).unwrap();
    let mut own = File::options().write(true).open(pipe.path()).unwrap();
    own.write_all(b"own\n").unwrap();
    within(SOON, "two writers", move || {
        running.child.wait().unwrap();
        drop(own);
        let mut text = String::new();
        running.reader.read_to_string(&mut text).unwrap();
        assert!(text.contains("own\n") && text.contains("child\n"), "{text}");
    });
}

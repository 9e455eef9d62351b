//! Captures on a mount of this process, beside ordinary readers and files.

mod library;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use fifofs::{Deliver, Error, Mount};

use library::{SOON, read_out, sh, sh_at, until, within};

fn mount() -> Mount {
    Mount::builder().mount_temporary().expect("a mount")
}

/// A file made there after the unmount would belong to no mount. Root can make one; `fuse::removal`
/// handles that.
#[test]
fn the_directory_below_a_temporary_mount_is_read_only_and_goes_with_it() {
    let mount = mount();
    let path = mount.path().to_owned();
    fifofs::unmount_if(&path, fifofs::IfBusy::Detach).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o500);
    mount.unmount().unwrap();
    assert!(!path.exists());
}

#[test]
fn ordinary_readers_beside_a_capture_get_the_same() {
    let mount = mount();
    let capture = mount.capture("run-17/out.log").unwrap();
    assert!(fs::metadata(mount.path().join("run-17")).unwrap().is_dir());
    let waits = fifofs::wait_path(capture.path(), false).unwrap();
    let other = Command::new("cat")
        .arg(waits)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let script = r#"seq 1000 > "$1"; sleep 0.3; seq 1000 >> "$1""#;
    let (own, other) = within(SOON, "a capture and cat", move || {
        let own = capture.run(&mut sh(script, &capture)).unwrap().bytes;
        (own, other.wait_with_output().unwrap().stdout)
    });
    assert_eq!(own.len(), 2 * 3893);
    assert!(own == other, "{} and {} bytes", own.len(), other.len());
}

#[test]
fn ordinary_files_beside_a_capture_are_what_they_were() {
    let mount = mount();
    let capture = mount.capture("out.txt").unwrap();
    let beside = mount.path().join("beside");
    let script = r#"echo beside > "${1%/*}/beside"; echo out > "$1""#;
    assert_eq!(
        capture.run(&mut sh(script, &capture)).unwrap().bytes,
        b"out\n"
    );
    assert!(capture.path().exists());
    drop(capture);
    until("the kernel has forgotten the name", || {
        !mount.path().join("out.txt").exists()
    });
    let read = within(SOON, "an ordinary file", move || fs::read(beside));
    assert_eq!(read.unwrap(), b"beside\n");
}

#[test]
fn a_path_that_exists_or_is_captured_already_is_not_captured() {
    let mount = mount();
    let kind = |error: Error| io::Error::from(error).kind();
    fs::write(mount.path().join("file"), "").unwrap();
    fs::create_dir(mount.path().join("dir")).unwrap();
    for path in ["file", "dir"] {
        assert_eq!(
            kind(mount.capture(path).unwrap_err()),
            io::ErrorKind::AlreadyExists,
            "{path}"
        );
    }
    let first = mount.capture("a/b").unwrap();
    assert_eq!(
        kind(mount.capture("a/b").unwrap_err()),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(mount.capture("a/./b").unwrap_err()),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(mount.capture("file/b").unwrap_err()),
        io::ErrorKind::NotADirectory
    );
    drop(first);
    mount.capture("a/b").unwrap();
}

#[test]
fn paths_that_lead_nowhere_are_refused_with_a_reason() {
    let mount = mount();
    let long = "x".repeat(256);
    for path in [
        "",
        ".",
        "..",
        "/",
        "/a",
        "a/../b",
        "../a",
        "a/",
        "a/.",
        "a\0b",
        ".fifofs",
        ".fifofs/x",
        ".fifofs/pipe/x",
        &long,
    ] {
        let error = mount
            .capture(path)
            .err()
            .unwrap_or_else(|| panic!("{path:?} was taken"));
        assert!(error.to_string().contains("give "), "{path:?}: {error}");
    }
    assert!(mount.capture(format!("{long}/a")).is_err());
}

#[test]
fn the_kernel_sees_a_directory_that_a_capture_made_after_it_looked() {
    let mount = mount();
    let path = mount.path().join("later/out.txt");
    assert!(!path.exists() && !path.parent().unwrap().exists());
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 0);
    let capture = mount.capture("later/out.txt").unwrap();
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 1);
    assert_eq!(
        capture
            .run(&mut sh_at(r#"echo a > "$1""#, &path))
            .unwrap()
            .bytes,
        b"a\n"
    );
}

#[test]
fn a_reader_of_a_mount_that_is_unmounted_meanwhile_gets_an_error() {
    let mount = mount();
    let capture = mount.capture("out.txt").unwrap();
    let mut running = capture
        .spawn(sh(r#"exec > "$1"; echo a; read go"#, &capture).stdin(Stdio::piped()))
        .unwrap();
    let mut first = [0; 2];
    running.reader.read_exact(&mut first).unwrap();
    let mut reader = running.reader;
    let waiting = std::thread::spawn(move || read_out(&mut reader));
    let _ = mount.unmount();
    let (bytes, error) = within(SOON, "a reader of a mount that is gone", move || {
        waiting.join().unwrap()
    });
    assert!(bytes.is_empty());
    assert!(matches!(error, Some(Error::Io { .. })), "{error:?}");
    // And so does every later reader.
    let later = within(SOON, "a later reader", move || {
        capture.reader().and_then(|mut reader| reader.read_all())
    });
    assert!(later.is_err());
    let _ = running.child.kill();
    running.child.wait().unwrap();
}

#[test]
fn a_file_that_was_done_before_the_mount_ended_can_still_be_read() {
    let mount = mount();
    let capture = mount.capture("out.txt").unwrap();
    let mut running = capture
        .spawn(&mut sh(r#"echo a > "$1""#, &capture))
        .unwrap();
    running.child.wait().unwrap();
    let mut reader = capture.reader().unwrap();
    let mut first = [0];
    running.reader.read_exact(&mut first).unwrap();
    assert_eq!(reader.read_all().unwrap(), b"a\n");
    drop(mount);
    let rest = within(SOON, "the rest", move || running.reader.read_all());
    assert_eq!(rest.unwrap(), b"\n");
}

#[test]
fn a_stream_without_a_reader_ends_its_program() {
    let mount = Mount::builder()
        .deliver_all(Deliver::Stream)
        .mount_temporary()
        .unwrap();
    let capture = mount.capture("out.txt").unwrap();
    let mut running = capture
        .spawn(sh(r#"exec yes > "$1""#, &capture).stderr(Stdio::null()))
        .unwrap();
    within(SOON, "a stream", move || {
        let mut bytes = vec![0; 3 << 20];
        running.reader.read_exact(&mut bytes).unwrap();
        assert!(bytes.chunks(2).all(|line| line == b"y\n"));
        drop(running.reader);
        assert!(!running.child.wait().unwrap().success());
    });
}

#[test]
fn writers_are_named() {
    let mount = mount();
    let capture = mount.capture("out.txt").unwrap();
    assert!(capture.writers().is_empty());
    let mut running = capture
        .spawn(sh(r#"exec > "$1"; read go"#, &capture).stdin(Stdio::piped()))
        .unwrap();
    let pid = running.child.id().cast_signed();
    until("the child writes", || {
        capture
            .writers()
            .iter()
            .any(|writer| writer.pid.cast_signed() == pid && writer.name == "sh")
    });
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    until("and does not any more", || capture.writers().is_empty());
}

#[test]
fn a_path_may_be_captured_again_at_once() {
    let mount = mount();
    within(
        2 * SOON,
        "a path that is captured again and again",
        move || {
            let mut earlier = None;
            for i in 0..40 {
                let capture = mount.capture("out.txt").unwrap();
                let mut reader = capture.reader().unwrap();
                let text = format!("{i}\n");
                fs::write(capture.path(), &text).unwrap_or_else(|error| panic!("{i}: {error}"));
                let mut first = [0];
                reader.set_timeout(Some(SOON / 4));
                reader
                    .read_exact(&mut first)
                    .unwrap_or_else(|error| panic!("{i}: {error}"));
                assert_eq!(first, text.as_bytes()[..1]);
                // The file that is still read is another one.
                earlier = Some(reader);
                drop(capture);
            }
            drop(earlier);
        },
    );
}

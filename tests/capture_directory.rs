//! Directories in which all files that a program leaves are captured.

mod library;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fifofs::{CaptureDir, Error};

use library::{SOON, sh_at, until, within};

#[test]
fn all_files_that_a_program_leaves_are_given_and_what_it_removed_or_renamed_is_not() {
    let directory = CaptureDir::new().unwrap();
    let script = r#"cd "$1"; echo out; echo err >&2
        mkdir -p a/b; seq 50000 > a/b/long.txt; printf '\0\1' > a/bin; : > empty
        echo old > x; echo new > y; mv y x; echo gone > z; rm z; ln x again; ln -s x link"#;
    let mut command = sh_at(script, directory.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = within(SOON, "a program", move || directory.run(&mut command)).unwrap();
    assert!(output.status.success());
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let names: Vec<&str> = output
        .files
        .keys()
        .map(|path| path.to_str().unwrap())
        .collect();
    assert_eq!(names, ["a/b/long.txt", "a/bin", "again", "empty", "x"]);
    let file = |name: &str| &output.files[Path::new(name)][..];
    let long: String = (1..=50000).map(|n| format!("{n}\n")).collect();
    assert!(file("a/b/long.txt") == long.as_bytes());
    assert_eq!((file("a/bin"), file("empty")), (&[0, 1][..], &[][..]));
    assert_eq!((file("x"), file("again")), (&b"new\n"[..], &b"new\n"[..]));
}

#[test]
fn a_process_that_was_left_behind_and_still_writes_is_waited_for() {
    let directory = CaptureDir::new().unwrap();
    let script = r#"cd "$1"; exec 3> late; (sleep 1; echo late >&3) & exit 3"#;
    let mut command = sh_at(script, directory.path());
    let output = within(SOON, "a program", move || directory.run(&mut command)).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.files[Path::new("late")], b"late\n");
}

#[test]
fn a_file_whose_writer_was_killed_is_an_error_unless_the_program_failed() {
    for (then, succeeds) in [("exit 0", true), ("exit 1", false)] {
        let directory = CaptureDir::new().unwrap();
        let script = format!(
            r#"cd "$1"; echo whole > good; sh -c 'exec > bad; echo half; kill -KILL $$'; {then}"#
        );
        let mut command = sh_at(&script, directory.path());
        command.stderr(Stdio::null());
        let result = within(SOON, "a program", move || directory.run(&mut command));
        match result {
            Err(error) if succeeds => {
                assert!(matches!(*error.source, Error::Failed { .. }), "{error:?}");
                assert!(error.status.unwrap().success());
            }
            Ok(output) if !succeeds => {
                let names: Vec<&PathBuf> = output.files.keys().collect();
                assert_eq!(names, [Path::new("good")]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_file_whose_name_is_known_can_be_followed_and_the_rest_read() {
    let directory = CaptureDir::new().unwrap();
    let log = directory.capture("logs/run.log").unwrap();
    let script =
        r#"cd "$1"; echo one > logs/run.log; echo 1,2 > data.csv; echo two >> logs/run.log"#;
    let mut child = sh_at(script, directory.path()).spawn().unwrap();
    let mut reader = log.reader_until_exit(&child).unwrap();
    assert_eq!(
        within(SOON, "a log", move || reader.read_all()).unwrap(),
        b"one\ntwo\n"
    );
    child.wait().unwrap();
    until("both files to be there", || directory.files().len() == 2);
    assert_eq!(directory.read("data.csv").unwrap(), b"1,2\n");
    assert_eq!(directory.read("logs/run.log").unwrap(), b"one\ntwo\n");
    drop(log);
    assert_eq!(directory.files(), [Path::new("data.csv")]);
    for wrong in ["", "/etc/passwd", "../x", "a/"] {
        assert!(
            matches!(directory.read(wrong), Err(Error::Usage { .. })),
            "{wrong}"
        );
    }
}

/// Links to files of its own and of other captures, which are on the same mount.
#[test]
fn links_lead_nowhere() {
    let (directory, other) = (CaptureDir::new().unwrap(), CaptureDir::new().unwrap());
    fs::write(other.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink("../secret", directory.path().join("link")).unwrap();
    std::os::unix::fs::symlink(other.path(), directory.path().join("dir")).unwrap();
    for link in ["link", "dir/secret", "dir"] {
        let read = directory.read(link);
        assert!(
            matches!(read, Err(Error::Missing { .. })),
            "{link}: {read:?}"
        );
    }
    assert!(directory.files().is_empty());
}

#[test]
fn a_directory_goes_with_all_that_is_in_it() {
    let directory = CaptureDir::new().unwrap();
    let other = CaptureDir::new().unwrap();
    let path = directory.path().to_owned();
    let script = r#"cd "$1"; mkdir -p a/b/c; echo x > a/b/c/d"#;
    directory.run(&mut sh_at(script, &path)).unwrap();
    assert!(path.join("a/b/c/d").exists());
    drop(directory);
    assert!(!path.exists() && other.path().exists());
}

//! The same program captured in five ways: `scripts/pipetest`, which writes one line to the path that it is
//! given.

#![cfg(feature = "cli")]

mod common;

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use common::{FIFOFS, Mount, SOON};
use fifofs::Capture;

/// Runs an example with `fifofs` in its PATH, within a time limit.
fn run(command: &[&str]) -> Output {
    let directory = Path::new(FIFOFS).parent().unwrap();
    let path = env::join_paths(
        [directory.to_owned()]
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    Command::new("timeout")
        .arg(SOON.as_secs().to_string())
        .args(command)
        .env("PATH", path.unwrap())
        .output()
        .unwrap()
}

#[track_caller]
fn prints_the_line(command: &[&str]) {
    let output = run(command);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello\n", "{output:?}");
}

/// The path of an example that cargo has built beside the tests.
#[track_caller]
fn built(name: &str) -> String {
    let path = Path::new(FIFOFS).with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "there is no {}: `cargo test` builds it, `cargo test --test` only with --examples",
        path.display()
    );
    path.to_str().unwrap().to_owned()
}

/// The code of README.md (scripts/examples compares its lines).
#[test]
fn in_rust_as_the_readme_says() -> Result<(), Box<dyn std::error::Error>> {
    let capture = Capture::new("report.zip")?;
    let output = capture.run(Command::new("zip").arg(capture.path()).arg("README.md"))?;
    assert!(output.status.success() && output.bytes.starts_with(b"PK"));
    Ok(())
}

#[test]
fn by_fifofs_run() {
    prints_the_line(&["examples/run.sh"]);
}

#[test]
fn in_rust_with_a_capture() {
    prints_the_line(&[&built("capture")]);
}

#[test]
fn in_rust_with_a_temporary_pipe() {
    prints_the_line(&[&built("temporary_pipe")]);
}

#[test]
fn in_python_through_a_mount() {
    let mount = Mount::start(&[]);
    prints_the_line(&["examples/wait.py", mount.path().to_str().unwrap()]);
    mount.unmount();
}

#[test]
fn in_python_with_fifofs_run() {
    prints_the_line(&["examples/run.py"]);
}

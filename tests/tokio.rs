//! Captures in tasks of tokio.

mod library;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use fifofs::{Capture, Error, Event, Mount};
use futures_core::Stream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use library::{BACKENDS, SOON, in_own_process, is_alive, succeed, until};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A shell that runs `script`, with the path as `$1`.
fn sh(script: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(path);
    command.stdin(Stdio::null());
    command
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(SOON, future).await;
    result.unwrap_or_else(|_| panic!("still not over: {what}"))
}

#[test]
fn a_run_gives_status_bytes_and_pipes() {
    runtime().block_on(async {
        for backend in BACKENDS {
            let target = backend.target("out.txt").unwrap();
            let script = r#"echo out; echo err >&2; seq 50000 > "$1"; exit 3"#;
            let mut command = sh(script, target.path());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let output = soon("a run", fifofs::tokio::run(&*target, &mut command));
            let output = output.await.unwrap();
            assert_eq!(output.status.code(), Some(3));
            assert_eq!(
                (&output.stdout[..], &output.stderr[..]),
                (&b"out\n"[..], &b"err\n"[..])
            );
            assert!(output.bytes.starts_with(b"1\n2\n") && output.bytes.ends_with(b"\n50000\n"));
        }
    });
}

#[test]
fn lines_come_as_they_are_written() {
    runtime().block_on(async {
        for backend in BACKENDS {
            let target = backend.target("out.log").unwrap();
            // Each line is written when the one before it was read.
            let script = r#"exec 3> "$1"; echo first >&3; read go; echo second >&3; read go; echo third >&3"#;
            let mut command = sh(script, target.path());
            command.stdin(Stdio::piped());
            let mut running = fifofs::tokio::spawn(&*target, &mut command).unwrap();
            let mut go = running.child.stdin.take().unwrap();
            let mut lines = running.reader.lines();
            for expected in ["first", "second", "third"] {
                let line = soon(expected, lines.next_line()).await.unwrap();
                assert_eq!(line.as_deref(), Some(expected), "{backend:?}");
                let _ = go.write_all(b"\n").await;
            }
            assert_eq!(soon("the end", lines.next_line()).await.unwrap(), None);
            assert!(running.child.wait().await.unwrap().success());
        }
    });
}

#[test]
fn errors_are_those_of_other_readers() {
    runtime().block_on(async {
        let capture = Capture::new("out.txt").unwrap();
        let mut command = sh(r#"echo half > "$1"; kill -KILL $$"#, capture.path());
        let mut running = fifofs::tokio::spawn(&capture, &mut command).unwrap();
        let mut bytes = Vec::new();
        let error = soon("a killed child", running.reader.read_to_end(&mut bytes)).await;
        let error = Error::io("read", capture.path(), error.unwrap_err());
        assert_eq!(bytes, b"half\n");
        assert!(
            matches!(
                error,
                Error::Failed {
                    writer: Some(_),
                    ..
                }
            ),
            "{error:?}"
        );
        running.child.wait().await.unwrap();

        // The exit status shows it.
        let output = soon("a killed child", fifofs::tokio::run(&capture, &mut command))
            .await
            .unwrap();
        assert_eq!(
            (output.status.signal(), &output.bytes[..]),
            (Some(9), &b"half\n"[..])
        );

        let mut command = sh(
            r#"echo one > "$1"; sleep 1; echo two > "$1""#,
            capture.path(),
        );
        let error = soon(
            "a file written anew",
            fifofs::tokio::run(&capture, &mut command),
        )
        .await;
        let error = error.unwrap_err();
        assert!(
            matches!(*error.source, Error::Rewritten { .. }),
            "{error:?}"
        );
        assert!(error.status.unwrap().success() && error.bytes == b"one\n");

        for backend in BACKENDS {
            let target = backend.target("out.txt").unwrap();
            let mut command = sh("exit 0", target.path());
            let error = soon("nothing", fifofs::tokio::run(&*target, &mut command)).await;
            assert!(matches!(*error.unwrap_err().source, Error::Missing { .. }));
        }
    });
}

#[test]
fn dropping_a_run_kills_its_program_if_kill_on_drop_is_set() {
    let pid = runtime().block_on(async {
        let capture = Capture::new("out.txt").unwrap();
        let mut command = sh(r#"echo $$ > "$1"; exec sleep 600"#, capture.path());
        command.kill_on_drop(true);
        let mut running = fifofs::tokio::spawn(&capture, &mut command).unwrap();
        let mut line = String::new();
        soon("its id", running.reader.read_line(&mut line))
            .await
            .unwrap();
        drop(running);

        let other = Capture::new("out.txt").unwrap();
        let mut command = sh("exec sleep 600", other.path());
        command.kill_on_drop(true);
        let run = fifofs::tokio::run(&other, &mut command);
        assert!(timeout(Duration::from_millis(300), run).await.is_err());
        line.trim().parse::<i32>().unwrap()
    });
    until("it to be dead", || !is_alive(pid));
}

#[test]
fn a_reader_of_a_child_of_tokio_ends_with_it() {
    runtime().block_on(async {
        let capture = Capture::new("out.txt").unwrap();
        let mut child = sh(r#"echo late > "$1""#, capture.path()).spawn().unwrap();
        let reader = capture.reader_until_exit(&child).unwrap();
        let mut reader = fifofs::tokio::Reader::new(reader).unwrap();
        let mut text = String::new();
        soon("a child", reader.read_to_string(&mut text))
            .await
            .unwrap();
        assert_eq!(text, "late\n");
        child.wait().await.unwrap();
        // A child that was waited for has exited.
        let capture = Capture::new("out.txt").unwrap();
        let error = capture
            .reader_until_exit(&child)
            .unwrap()
            .read(&mut [0])
            .unwrap_err();
        assert!(matches!(Error::io("", "", error), Error::Missing { .. }));
    });
}

#[test]
fn a_wait_is_ended_by_a_canceller_and_by_the_end_of_the_mount() {
    runtime().block_on(async {
        let capture = Capture::new("never").unwrap();
        let reader = capture.reader().unwrap();
        let canceller = reader.canceller();
        let mut reader = fifofs::tokio::Reader::new(reader).unwrap();
        let waits = tokio::spawn(async move { reader.read(&mut [0]).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        canceller.cancel();
        let error = soon("a cancelled read", waits).await.unwrap().unwrap_err();
        assert!(matches!(Error::io("", "", error), Error::Cancelled { .. }));

        let mount = Mount::builder().mount_temporary().unwrap();
        let reader = mount.capture("never").unwrap().reader().unwrap();
        let mut reader = fifofs::tokio::Reader::new(reader).unwrap();
        let waits = tokio::spawn(async move { reader.read(&mut [0]).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        mount.unmount().unwrap();
        soon("the end of the mount", waits)
            .await
            .unwrap()
            .unwrap_err();
    });
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context));
    soon("an event", next).await
}

#[test]
fn events_come_as_a_stream_that_ends_with_the_mount() {
    runtime().block_on(async {
        let mount = Mount::builder().mount_temporary().unwrap();
        let capture = mount.capture("a.txt").unwrap();
        let (mut of_file, mut of_all) = (capture.events(), mount.events());
        let done = tokio::spawn(async move {
            while let Some(event) = next(&mut of_file).await {
                if matches!(event.unwrap(), Event::Done { bytes: 6, .. }) {
                    return true;
                }
            }
            false
        });
        let mut command = sh(r#"echo hello > "$1""#, capture.path());
        fifofs::tokio::run(&capture, &mut command).await.unwrap();
        assert!(done.await.unwrap());
        assert_eq!(
            next(&mut of_all).await.unwrap().unwrap().path,
            Path::new("a.txt")
        );
        let ends = tokio::spawn(async move { while next(&mut of_all).await.is_some() {} });
        drop(capture);
        mount.unmount().unwrap();
        soon("the end of the events", ends).await.unwrap();
    });
}

/// The number of threads of this process.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

const CLIENTS: usize = 500;

/// A service; each of its answers is what a program writes to the path it is given.
async fn serve(listener: TcpListener) -> usize {
    let mut most_threads = 0;
    let mut answers = Vec::new();
    for _ in 0..CLIENTS {
        let (mut stream, _) = listener.accept().await.unwrap();
        answers.push(tokio::spawn(async move {
            let number = stream.read_u32().await.unwrap();
            let capture = Capture::new("answer.txt").unwrap();
            // It is open, and has written something, while all others come.
            let script = format!(r#"exec > "$1"; echo begin; read go; seq {number} 9999"#);
            let mut command = sh(&script, capture.path());
            command.stdin(Stdio::piped());
            let mut running = fifofs::tokio::spawn(&capture, &mut command).unwrap();
            let mut line = String::new();
            running.reader.read_line(&mut line).await.unwrap();
            stream.write_all(line.as_bytes()).await.unwrap();
            stream.read_u8().await.unwrap();
            drop(running.child.stdin.take());
            tokio::io::copy_buf(&mut running.reader, &mut stream)
                .await
                .unwrap();
            assert!(running.child.wait().await.unwrap().success());
        }));
        most_threads = most_threads.max(threads());
    }
    for answer in answers {
        answer.await.unwrap();
        most_threads = most_threads.max(threads());
    }
    most_threads
}

#[test]
fn five_hundred_captures_at_once_take_eight_threads_at_most() {
    let test = "five_hundred_captures_at_once_take_eight_threads_at_most";
    let Some(command) = in_own_process(test, "service") else {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
        let most_threads = runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let service = tokio::spawn(serve(listener));
            let mut clients = Vec::new();
            for number in 0..CLIENTS as u32 {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_u32(number).await.unwrap();
                clients.push((number, stream));
            }
            // All have begun before any goes on.
            for (_, stream) in &mut clients {
                let mut line = [0; 6];
                stream.read_exact(&mut line).await.unwrap();
                assert_eq!(&line, b"begin\n");
            }
            for (_, stream) in &mut clients {
                stream.write_u8(0).await.unwrap();
            }
            for (number, mut stream) in clients {
                let mut text = String::new();
                stream.read_to_string(&mut text).await.unwrap();
                let expected: String = (number..=9999).map(|n| format!("{n}\n")).collect();
                assert!(text == expected, "answer {number} has {} bytes", text.len());
            }
            service.await.unwrap()
        });
        // Two of them belong to the test harness.
        println!("{most_threads} threads");
        std::io::stdout().flush().unwrap();
        assert!(most_threads <= 8, "{most_threads} threads");
        return;
    };
    succeed(command);
}

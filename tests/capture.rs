//! The library: this process reads what a program writes to the path of a target, by either backend.

mod library;

use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fifofs::{Backend, Capture, Error, Reader, Target, TemporaryPipe};

use library::{BACKENDS, SOON, is_alive, read_out, sh, until, within};

#[test]
fn one_line_by_either_backend() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        assert!(target.path().is_absolute());
        assert!(target.path().ends_with("out.txt"));
        let output = target
            .run(Command::new("scripts/pipetest").arg(target.path()))
            .unwrap();
        assert!(output.status.success());
        assert_eq!(output.bytes, b"hello\n");
    }
}

#[test]
fn several_openings_are_one_output() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let script = r#"echo a > "$1"; sleep 0.3; echo b >> "$1""#;
        let output = target.run(&mut sh(script, &*target)).unwrap();
        assert_eq!(output.bytes, b"a\nb\n");
    }
}

#[test]
fn lines_come_while_the_program_still_runs() {
    for backend in BACKENDS {
        let target = backend.target("log").unwrap();
        let script = r#"exec > "$1"; echo one; read go; echo two"#;
        let mut running = target
            .spawn(sh(script, &*target).stdin(Stdio::piped()))
            .unwrap();
        within(SOON, "two lines, the second on demand", move || {
            let mut lines = running.reader.lines();
            assert_eq!(lines.next().unwrap().unwrap(), "one");
            assert!(running.child.try_wait().unwrap().is_none());
            drop(running.child.stdin.take());
            assert_eq!(lines.next().unwrap().unwrap(), "two");
            assert!(lines.next().is_none());
            running.child.wait().unwrap();
        });
    }
}

#[test]
fn a_program_that_dies_before_it_opens_its_output_does_not_hang() {
    for backend in BACKENDS {
        let target = backend.target("out").unwrap();
        let script = "kill -KILL $$";
        let output = within(SOON, "a child that dies at once", move || {
            target.run(&mut sh(script, &*target))
        });
        let output = output.unwrap();
        assert_eq!(output.status.signal(), Some(9));
        assert!(output.bytes.is_empty());
    }
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_that_names_it() {
    for backend in BACKENDS {
        let target = backend.target("out").unwrap();
        let error = target
            .run(&mut Command::new("/nonexistent/program"))
            .unwrap_err();
        assert!(matches!(*error.source, Error::Io { .. }), "{error:?}");
        assert!(
            error.to_string().contains("/nonexistent/program"),
            "{error}"
        );
        // And the target still works.
        let output = target.run(&mut sh(r#"echo a > "$1""#, &*target)).unwrap();
        assert_eq!(output.bytes, b"a\n");
    }
}

#[test]
fn a_program_that_reads_its_input_to_the_end_gets_that_end() {
    // It once did not: the pipe to it was closed only after its output had ended.
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let output = within(SOON, "a child that reads until the end", move || {
            target.run(sh(r#"cat > "$1"; echo end >> "$1""#, &*target).stdin(Stdio::piped()))
        });
        assert_eq!(output.unwrap().bytes, b"end\n");
    }
}

/// A sink with room for a few bytes.
struct Full {
    left: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_ends_the_program() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let result = within(SOON, "a child whose output nobody wants", move || {
            let mut sink = Full { left: 5 };
            target.run_to(&mut sh(r#"exec yes > "$1""#, &*target), &mut sink)
        });
        let error = io::Error::from(result.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_sink_that_fails_ends_a_program_that_reopens_its_output() {
    // Without a reader such a program once hung in open(2) of the FIFO, and run_to with it.
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let script = r#"trap '' PIPE; seq 300000 > "$1"; seq 3 > "$1"; seq 3 > "$1"; sleep 0.2; seq 3 > "$1"; true"#;
        let mut command = sh(script, &*target);
        command.stderr(Stdio::null());
        let result = within(SOON, "a child that opens its output again", move || {
            target.run_to(&mut command, &mut Full { left: 0 })
        });
        assert!(result.is_err());
    }
}

#[test]
fn bytes_go_to_the_sink_in_order() {
    for backend in BACKENDS {
        let target = backend.target("numbers.txt").unwrap();
        let expected = Command::new("seq").arg("300000").output().unwrap().stdout;
        let (status, bytes) = within(SOON, "two megabytes", move || {
            let mut sink = Vec::new();
            let status = target.run_to(&mut sh(r#"seq 300000 > "$1""#, &*target), &mut sink);
            (status.unwrap(), sink)
        });
        assert!(status.success());
        assert!(bytes == expected, "{} bytes", bytes.len());
    }
}

#[test]
fn the_status_of_a_program_that_fails_comes_with_what_it_wrote() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let output = target
            .run(&mut sh(r#"echo part > "$1"; exit 3"#, &*target))
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.bytes, b"part\n");
    }
}

#[test]
fn a_timeout_ends_one_read_and_the_next_goes_on() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let mut running = target
            .spawn(sh(r#"read go; echo late > "$1""#, &*target).stdin(Stdio::piped()))
            .unwrap();
        within(SOON, "a read with a timeout", move || {
            for timeout in [Duration::ZERO, Duration::from_millis(50)] {
                running.reader.set_timeout(Some(timeout));
                let started = Instant::now();
                let error = running.reader.read(&mut [0]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert!(started.elapsed() >= timeout);
                let error = Error::io("read", running.reader.path(), error);
                assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
            }
            running.reader.set_timeout(None);
            drop(running.child.stdin.take());
            assert_eq!(running.reader.read_all().unwrap(), b"late\n");
            running.child.wait().unwrap();
        });
    }
}

#[test]
fn a_reader_can_be_cancelled_before_and_during_its_wait() {
    for backend in BACKENDS {
        for before in [true, false] {
            let target = backend.target("out.txt").unwrap();
            let mut running = target
                .spawn(sh("sleep 60", &*target).stdin(Stdio::null()))
                .unwrap();
            let canceller = running.reader.canceller();
            let mut reader = running.reader;
            if before {
                canceller.clone().cancel();
            }
            let waiting = std::thread::spawn(move || (reader.read(&mut [0]), reader));
            canceller.cancel();
            let (read, mut reader) =
                within(SOON, "a cancelled read", move || waiting.join().unwrap());
            let error = Error::io("read", reader.path(), read.unwrap_err());
            assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
            // For good, and not as if by a signal, after which reads are tried again.
            let error = reader.read(&mut [0]).unwrap_err();
            assert_ne!(error.kind(), io::ErrorKind::Interrupted);
            running.child.kill().unwrap();
            running.child.wait().unwrap();
        }
    }
}

#[test]
fn a_reader_goes_on_while_a_descendant_still_writes() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let script = r#"exec 3> "$1"; (sleep 0.5; echo late >&3) & echo early >&3"#;
        let output = within(SOON, "a grandchild", move || {
            target.run(&mut sh(script, &*target))
        });
        assert_eq!(output.unwrap().bytes, b"early\nlate\n");
    }
}

#[test]
fn a_reader_outlives_its_target() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let path = target.path().to_owned();
        let mut running = target
            .spawn(
                sh(r#"exec > "$1"; echo one; read go; echo two"#, &*target).stdin(Stdio::piped()),
            )
            .unwrap();
        within(SOON, "a reader without a target", move || {
            let mut first = [0; 4];
            running.reader.read_exact(&mut first).unwrap();
            drop(target);
            drop(running.child.stdin.take());
            assert_eq!(running.reader.read_all().unwrap(), b"two\n");
            assert!(running.child.wait().unwrap().success());
        });
        assert!(!path.exists());
    }
}

#[test]
fn a_running_program_can_be_killed() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let mut running = target
            .spawn(&mut sh(r#"exec sleep 60 > "$1""#, &*target))
            .unwrap();
        let pid = running.child.id().cast_signed();
        if backend == Backend::Fuse {
            until("the child has opened its output", || {
                target
                    .writers()
                    .iter()
                    .any(|writer| writer.pid.cast_signed() == pid)
            });
        }
        running.child.kill().unwrap();
        let (bytes, error) = within(SOON, "the reader of a killed child", move || {
            let read = read_out(&mut running.reader);
            running.child.wait().unwrap();
            read
        });
        assert!(bytes.is_empty());
        assert_eq!(error.is_some(), backend == Backend::Fuse, "{error:?}");
        assert!(!is_alive(pid));
    }
}

#[test]
fn only_plain_file_names_are_taken() {
    for backend in BACKENDS {
        let long = "x".repeat(256);
        for name in ["", ".", "..", "/", "a/b", "a/", "/a", "./a", "a\0b", &long] {
            let made = backend.target(name);
            let error = made
                .err()
                .unwrap_or_else(|| panic!("{name:?} was taken by {backend:?}"));
            assert!(
                matches!(error, Error::Usage { .. } | Error::Io { .. }),
                "{error:?}"
            );
        }
        for name in [" ", "-", "a b", "*", "é", ".hidden", &"x".repeat(255)] {
            let target = backend.target(name).unwrap();
            let output = target.run(&mut sh(r#"echo a > "$1""#, &*target)).unwrap();
            assert_eq!(output.bytes, b"a\n", "{name:?}");
        }
    }
}

#[test]
fn values_are_send_or_sync_as_documented() {
    fn send<T: Send>() {}
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<Capture>();
    send_and_sync::<TemporaryPipe>();
    send_and_sync::<Box<dyn Target>>();
    send_and_sync::<fifofs::Mount>();
    send_and_sync::<fifofs::Canceller>();
    send_and_sync::<Reader>();
    send::<fifofs::Running>();
    send::<fifofs::CaptureEvents>();
    send_and_sync::<Error>();
}

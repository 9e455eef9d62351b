//! Readers that end with a process, in each way to identify it; runs that take too long; and the report of a program
//! that crashed or failed.

mod library;

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fifofs::{Capture, Deliver, Error, FailOn, ProcessRef, Reader, RunError, Running, Target, Way};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use library::{BACKENDS, Guard, SOON, read_out, scratch, sh, sh_at, until, within};

fn pidfd(child: &Guard) -> OwnedFd {
    pidfd_open(Pid::from_child(&child.0), PidfdFlags::empty()).unwrap()
}

/// Makes a reader of a child, by one way to identify it.
type ByWay = fn(&dyn Target, &Guard) -> Reader;

const WAYS: [(&str, ByWay); 4] = [
    ("a child", |target, child| {
        target
            .reader_until_exit(ProcessRef::from(&child.0))
            .unwrap()
    }),
    ("its id", |target, child| {
        target.reader_until_exit(child.0.id().into()).unwrap()
    }),
    ("a pidfd", |target, child| {
        target
            .reader_until_exit(pidfd(child).as_fd().into())
            .unwrap()
    }),
    ("an owned pidfd", |target, child| {
        target.reader_until_exit(pidfd(child).into()).unwrap()
    }),
];

#[test]
fn a_reader_ends_with_a_process_however_that_is_identified_and_before_it_is_reaped() {
    for backend in BACKENDS {
        for (way, reader_of) in WAYS {
            let target = backend.target("out.txt").unwrap();
            let script = r#"read go; echo one > "$1"; echo two >> "$1""#;
            let mut child = Guard(sh(script, &*target).stdin(Stdio::piped()).spawn().unwrap());
            let mut reader = reader_of(&*target, &child);
            drop(child.0.stdin.take());
            let bytes = within(SOON, way, move || reader.read_all()).unwrap();
            assert_eq!(bytes, b"one\ntwo\n", "{backend:?}, {way}");
            assert!(child.0.wait().unwrap().success());
        }
    }
}

#[test]
fn a_process_that_made_no_file_is_an_error_however_it_is_identified() {
    for (way, reader_of) in WAYS {
        let capture = Capture::new("out.txt").unwrap();
        let child = Guard(sh("exit 3", &capture).spawn().unwrap());
        let mut reader = reader_of(&capture, &child);
        let (bytes, error) = within(SOON, way, move || read_out(&mut reader));
        assert!(bytes.is_empty());
        assert!(
            matches!(error, Some(Error::Missing { .. })),
            "{way}: {error:?}"
        );
    }
}

#[test]
fn a_process_that_has_exited_counts_before_and_after_it_is_reaped() {
    for (way, reader_of) in WAYS {
        let capture = Capture::new("out.txt").unwrap();
        let mut child = Guard(sh(r#"echo done > "$1""#, &capture).spawn().unwrap());
        let exited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child.0)), exited).unwrap();
        let mut reader = reader_of(&capture, &child);
        let bytes = within(SOON, way, move || reader.read_all());
        assert_eq!(bytes.unwrap(), b"done\n", "{way}");
        child.0.wait().unwrap();
    }
    for by_id in [false, true] {
        let capture = Capture::new("out.txt").unwrap();
        let mut child = sh(r#"echo done > "$1""#, &capture).spawn().unwrap();
        child.wait().unwrap();
        let process = match by_id {
            true => ProcessRef::from(child.id()),
            false => ProcessRef::from(&child),
        };
        let mut reader = capture.reader_until_exit(process).unwrap();
        let bytes = within(SOON, "a reaped child", move || reader.read_all());
        assert_eq!(bytes.unwrap(), b"done\n");
    }
}

/// The process is a child of another one.
#[test]
fn a_reader_ends_with_a_process_that_is_no_child() {
    let place = scratch();
    let (pid_file, go) = (place.path().join("pid"), place.path().join("go"));
    let capture = Capture::new("out.txt").unwrap();
    // The parent lives on and reaps nothing until the writer has ended.
    let script = format!(
        r#"sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; while [ ! -e {go} ]; do sleep 0.02; done; echo late > "$1"' sh "$1" &
        exec sleep 600"#,
        pid = pid_file.display(),
        go = go.display()
    );
    let _parent = Guard(sh(&script, &capture).spawn().unwrap());
    until("it to say its id", || pid_file.exists());
    let pid: u32 = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut reader = capture.reader_until_exit(pid).unwrap();
    reader.set_timeout(Some(Duration::from_millis(300)));
    let error = reader.read(&mut [0]).unwrap_err();
    assert!(matches!(Error::io("", "", error), Error::TimedOut { .. }));
    reader.set_timeout(None);
    fs::write(&go, "").unwrap();
    let bytes = within(SOON, "somebody else's child", move || reader.read_all());
    assert_eq!(bytes.unwrap(), b"late\n");
}

/// The file once was not done as long as the process ran.
#[test]
fn a_dropped_reader_makes_no_other_wait_for_its_process() {
    let service = Guard::sleeping();
    let capture = Capture::new("out.log").unwrap();
    drop(capture.reader_until_exit(&service.0).unwrap());
    drop(capture.positional_reader(&service.0).unwrap());
    let (capture, mut reader) = (&capture, capture.reader().unwrap());
    fs::write(capture.path(), "all\n").unwrap();
    let bytes = within(SOON, "the end", move || reader.read_all());
    assert_eq!(bytes.unwrap(), b"all\n");

    // A reader that still exists keeps it waiting.
    let until_exit = capture.reader_until_exit(&service.0).unwrap();
    let mut reader = capture.reader().unwrap();
    fs::write(capture.path(), "more\n").unwrap();
    reader.set_timeout(Some(Duration::from_millis(1500)));
    let error = reader.read_all().unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    drop(until_exit);
    reader.set_timeout(Some(SOON));
    assert_eq!(reader.read_all().unwrap(), b"");
}

#[test]
fn a_process_that_is_asked_for_again_is_the_same() {
    for (way, reader_of) in WAYS {
        let capture = Capture::new("out.txt").unwrap();
        let script = r#"echo one > "$1"; read go; echo two >> "$1""#;
        let mut child = Guard(sh(script, &capture).stdin(Stdio::piped()).spawn().unwrap());
        let mut first = reader_of(&capture, &child);
        let mut line = [0; 4];
        first.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"one\n", "{way}");
        drop(first);
        let mut second = reader_of(&capture, &child);
        drop(child.0.stdin.take());
        assert_eq!(second.read_all().unwrap(), b"one\ntwo\n", "{way}");
        for _ in 0..2 {
            let bytes = reader_of(&capture, &child).read_all();
            assert_eq!(bytes.unwrap(), b"one\ntwo\n", "{way}: it has exited");
        }
        child.0.wait().unwrap();
        if !way.contains("pidfd") {
            let bytes = reader_of(&capture, &child).read_all();
            assert_eq!(bytes.unwrap(), b"one\ntwo\n", "{way}: it was reaped");
        }

        // The output of the first is not that of another process; also if that is asked for again.
        let other = Guard(Command::new("true").spawn().unwrap());
        for _ in 0..2 {
            let error = reader_of(&capture, &other).read_all().unwrap_err();
            assert!(matches!(error, Error::Missing { .. }), "{way}: {error}");
        }
    }
    let capture = Capture::new("out.txt").unwrap();
    let mut running = capture
        .spawn(&mut sh("echo one > \"$1\"", &capture))
        .unwrap();
    assert_eq!(running.reader.read_all().unwrap(), b"one\n");
    let again = capture
        .reader_until_exit(&running.child)
        .unwrap()
        .read_all();
    assert_eq!(again.unwrap(), b"one\n");
    running.child.wait().unwrap();
}

#[test]
fn an_output_that_was_not_read_to_its_end_is_not_that_of_the_next_program() {
    for round in 0..40 {
        let capture = Capture::new("out.txt").unwrap();
        let first = capture.spawn(&mut sh("echo first > \"$1\"", &capture));
        let Running {
            mut child, reader, ..
        } = first.unwrap();
        let kept = (round % 2 == 0).then_some(reader);
        child.wait().unwrap();
        drop(kept);
        let error = capture.run(&mut Command::new("true")).unwrap_err();
        assert!(matches!(*error.source, Error::Missing { .. }), "{error}");
    }
}

#[test]
fn an_id_that_means_no_process_is_a_usage_error() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let file = OwnedFd::from(fs::File::open("/dev/null").unwrap());
        for process in [ProcessRef::from(0), ProcessRef::from(u32::MAX), file.into()] {
            let error = target.reader_until_exit(process).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{error}");
        }
    }
}

#[test]
fn a_run_that_takes_too_long_is_killed_with_all_that_it_started_and_gives_what_came() {
    for backend in BACKENDS {
        let place = scratch();
        let alive = place.path().join("alive");
        let script = format!(
            r#"echo out; echo err >&2; (while :; do date >> {}; sleep 0.05; done) & exec > "$1"; echo first; sleep 600"#,
            alive.display()
        );
        let error: RunError = within(SOON, "a run that takes too long", move || {
            let target = backend.target("out.txt").unwrap();
            let mut command = sh_at(&script, target.path());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            target
                .run_timeout(&mut command, Duration::from_secs(2))
                .unwrap_err()
        });
        assert!(matches!(*error.source, Error::TimedOut { .. }), "{error:?}");
        assert_eq!(error.status.and_then(|status| status.signal()), Some(9));
        assert_eq!(error.bytes, b"first\n", "{backend:?}");
        assert_eq!(
            (&error.stdout[..], &error.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        let length = || fs::metadata(&alive).unwrap().len();
        // It was killed before the run returned; the kernel may take a while for that.
        let mut last = (length(), Instant::now());
        until("what it started to be gone", || {
            if length() != last.0 {
                last = (length(), Instant::now());
            }
            last.1.elapsed() > Duration::from_secs(1)
        });
    }
}

/// A process that leaves the process group is not killed, and must not delay the run's end either.
#[test]
fn a_run_that_takes_too_long_does_not_wait_for_a_process_that_left_its_group() {
    for backend in BACKENDS {
        let place = scratch();
        let pid_file = place.path().join("pid");
        let script = format!(
            r#"setsid sh -c 'echo $$ > {}; exec sleep 600' > "$1" & sleep 600"#,
            pid_file.display()
        );
        let error = within(SOON, "a run that takes too long", move || {
            let target = backend.target("out.txt").unwrap();
            let mut command = sh_at(&script, target.path());
            command.stderr(Stdio::piped());
            target
                .run_timeout(&mut command, Duration::from_secs(1))
                .unwrap_err()
        });
        assert!(matches!(*error.source, Error::TimedOut { .. }), "{error:?}");
        let text = fs::read_to_string(&pid_file).unwrap();
        let left = Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(left, rustix::process::Signal::KILL);
    }
}

#[test]
fn a_run_that_ends_in_time_is_as_without_a_limit() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let mut command = sh(r#"echo out; echo file > "$1"; exit 3"#, &*target);
        command.stdout(Stdio::piped());
        let output = target.run_timeout(&mut command, SOON).unwrap();
        assert_eq!(
            (output.status.code(), &output.bytes[..]),
            (Some(3), &b"file\n"[..])
        );
        assert_eq!(output.stdout, b"out\n");
    }
}

#[test]
fn a_run_that_fails_keeps_status_bytes_and_pipes() {
    let capture = Capture::new("out.txt").unwrap();
    let script = r#"echo out; echo one > "$1"; sleep 1; echo two > "$1""#;
    let mut command = sh(script, &capture);
    command.stdout(Stdio::piped());
    let error = within(SOON, "a file written anew", move || {
        capture.run(&mut command)
    })
    .unwrap_err();
    assert!(
        matches!(*error.source, Error::Rewritten { .. }),
        "{error:?}"
    );
    assert!(error.status.unwrap().success());
    assert_eq!(
        (&error.bytes[..], &error.stdout[..]),
        (&b"one\n"[..], &b"out\n"[..])
    );
    assert!(error.to_string().contains("exit status: 0"), "{error}");
    let error = Error::from(error);
    assert!(matches!(error, Error::Rewritten { .. }), "{error:?}");
}

#[test]
fn an_error_names_the_process_that_failed_and_how() {
    let capture = Capture::builder("out.txt")
        .fail_on(FailOn::Status)
        .capture()
        .unwrap();
    for (end, signal, status) in [("kill -SEGV $$", Some(11), None), ("exit 3", None, Some(3))] {
        let script = format!(r#"ulimit -c 0; echo half > "$1"; {end}"#);
        let mut running = capture.spawn(&mut sh(&script, &capture)).unwrap();
        let (pid, error) = within(SOON, "a program that fails", move || {
            let read = read_out(&mut running.reader);
            running.child.wait().unwrap();
            (running.child.id(), read.1.unwrap())
        });
        let Error::Failed {
            writer: Some(writer),
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!(
            (writer.signal, writer.status, &*writer.name),
            (signal, status, "sh")
        );
        assert_eq!(writer.pid, pid);
        assert!(
            error.to_string().contains(&format!("sh ({pid})")),
            "{error}"
        );
    }
}

#[test]
fn options_of_a_builder_apply_to_its_captures_only() {
    let settled = Capture::builder("a.txt")
        .deliver(Deliver::Settled)
        .capture()
        .unwrap();
    let plain = Capture::new("a.txt").unwrap();
    let same = Capture::builder("b.txt")
        .deliver(Deliver::Settled)
        .capture()
        .unwrap();
    let way = |capture: &Capture| {
        let mut running = capture.spawn(&mut sh(r#"echo x > "$1""#, capture)).unwrap();
        assert_eq!(running.reader.read_all().unwrap(), b"x\n");
        running.child.wait().unwrap();
        running.reader.way()
    };
    assert_eq!(way(&settled), Some(Way::Settled));
    assert_eq!(way(&plain), Some(Way::Follow));
    let mount = |capture: &Capture| fifofs::mount_of(capture.path()).unwrap();
    assert_eq!(mount(&settled), mount(&same));
    assert_ne!(mount(&settled), mount(&plain));
}

/// Each in a process of its own, as other tests have children.
#[test]
fn a_reader_without_any_possible_writer_gets_an_error() {
    let test = "a_reader_without_any_possible_writer_gets_an_error";
    let Some(command) = library::in_own_process(test, "alone") else {
        let capture = Capture::new("out.txt").unwrap();
        let read = || {
            let mut reader = capture.reader().unwrap();
            within(SOON, "nobody", move || reader.read_all())
        };
        // Without any child.
        let error = read().unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        // With a child that has failed, reaped or not.
        let mut failed = Command::new("false").spawn().unwrap();
        let error = read().unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        // A living child, beside one that has failed, is waited for.
        let mut child = sh(r#"sleep 1; echo here > "$1""#, &capture)
            .spawn()
            .unwrap();
        assert_eq!(read().unwrap(), b"here\n");
        failed.wait().unwrap();
        child.wait().unwrap();
        // With a hold, which says that a writer will come, the reader waits.
        let capture = Capture::new("later.txt").unwrap();
        let hold = capture.hold();
        let mut reader = capture.reader().unwrap();
        let reading = std::thread::spawn(move || reader.read_all());
        std::thread::sleep(Duration::from_millis(500));
        fs::write(capture.path(), "own\n").unwrap();
        drop(hold);
        assert_eq!(reading.join().unwrap().unwrap(), b"own\n");
        let mut reader = capture.reader().unwrap();
        reader.set_deadline(Some(Instant::now() + SOON));
        assert_eq!(reader.read_all().unwrap(), b"own\n");
        return;
    };
    library::succeed(command);
}

#[test]
fn a_deadline_ends_all_waits_of_a_reader_but_not_what_is_there() {
    for backend in BACKENDS {
        let target = backend.target("out.txt").unwrap();
        let script = r#"exec > "$1"; while echo tick; do sleep 0.02; done"#;
        let mut running = target.spawn(&mut sh(script, &*target)).unwrap();
        let guard = Guard(running.child);
        running.reader.set_timeout(Some(SOON));
        running
            .reader
            .set_deadline(Some(Instant::now() + Duration::from_secs(1)));
        let (bytes, error) = within(SOON, "a drip", move || read_out(&mut running.reader));
        assert!(matches!(error, Some(Error::TimedOut { .. })), "{error:?}");
        assert!(bytes.starts_with(b"tick\ntick\n"), "{backend:?}: {bytes:?}");
        drop(guard);
    }
}

/// One thread polls the readers of several programs, and reads each as it writes.
#[test]
fn one_thread_polls_and_reads_several_programs() {
    let mut readers = Vec::new();
    for backend in BACKENDS.into_iter().cycle().take(6) {
        let target = backend.target("out.txt").unwrap();
        let script = r#"exec > "$1"; for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; seq 20000"#;
        let mut running = target.spawn(&mut sh(script, &*target)).unwrap();
        let descriptor = running
            .reader
            .poll_fd()
            .unwrap()
            .try_clone_to_owned()
            .unwrap();
        readers.push((
            target,
            Guard(running.child),
            running.reader,
            descriptor,
            Vec::new(),
        ));
    }
    let total: String = (1..=5).chain(1..=20000).map(|n| format!("{n}\n")).collect();
    let mut open: Vec<usize> = (0..readers.len()).collect();
    let deadline = Instant::now() + SOON;
    while !open.is_empty() {
        open.retain(|number| {
            let (_, _, reader, _, bytes) = &mut readers[*number];
            let mut buffer = [0; 1000];
            loop {
                match reader.try_read(&mut buffer) {
                    Ok(0) => return false,
                    Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut polled: Vec<_> = open
            .iter()
            .map(|number| PollFd::new(&readers[*number].3, PollFlags::IN))
            .collect();
        let limit = Timespec::try_from(SOON).unwrap();
        let ready = polled.is_empty() || poll(&mut polled, Some(&limit)).unwrap() > 0;
        assert!(ready && Instant::now() < deadline, "still open: {open:?}");
    }
    for (_, _, _, _, bytes) in &readers {
        assert_eq!(bytes.len(), total.len());
        assert!(bytes == total.as_bytes());
    }
}

//! [`Pipe`] and [`PipeReader`] with real programs at the other end.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{panic, thread};

use rustix::pipe::fcntl_getpipe_size;

use super::*;
use crate::testing::{SOON, until};

/// For events that must not happen: long enough to see one that comes at once.
const MOMENT: Duration = Duration::from_millis(50);

/// A program that does not outlive its test.
struct Program(Child);

impl Program {
    /// Runs `script` with the path of `pipe` as `$1`.
    fn start(script: &str, pipe: &Pipe) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(pipe.path());
        Program(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the program exits", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Its open files, except those that it closes meanwhile (libraries, for instance).
    fn descriptors(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap();
        entries
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pidfd(program: &Program) -> OwnedFd {
    let pid = rustix::process::Pid::from_child(&program.0);
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

fn pipe() -> Pipe {
    Pipe::new(OsStr::new("out.bin")).unwrap()
}

fn read_once(reader: &mut PipeReader, patience: Duration) -> Outcome {
    let deadline = Some(Instant::now() + patience);
    reader.read(&mut [0; 1 << 16], deadline).unwrap()
}

fn has_ended(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::End | Outcome::Unopened)
}

fn read_to_end(reader: &mut PipeReader) -> Vec<u8> {
    let deadline = Some(Instant::now() + SOON);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer, deadline).unwrap() {
            Outcome::Bytes(count) => bytes.extend_from_slice(&buffer[..count]),
            Outcome::End => return bytes,
            other => panic!("{other:?} after {} bytes; {reader:?}", bytes.len()),
        }
    }
}

#[test]
fn several_opens_and_closes_are_one_stream() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let script = r#"printf one > "$1"; read go; printf two >> "$1""#;
    let mut program = Program::start(script, &pipe);
    reader.ends_with(pidfd(&program));
    assert_eq!(reader.read(&mut [0; 9], None).unwrap(), Outcome::Bytes(3));
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    drop(program.0.stdin.take());
    assert_eq!(read_to_end(&mut reader), b"two");
    assert!(program.wait().success());
}

#[test]
fn a_child_that_dies_before_opening_ends_the_stream_as_unopened() {
    let dies = || {
        let pipe = pipe();
        let mut reader = pipe.reader().unwrap();
        let mut program = Program::start("exit 3", &pipe);
        reader.ends_with(pidfd(&program));
        let outcome = read_once(&mut reader, SOON);
        assert_eq!(program.wait().code(), Some(3));
        assert_eq!(read_once(&mut reader, SOON), outcome);
        outcome
    };
    // Another test's program has copies of all descriptors before its exec.
    assert!((0..20).any(|_| dies() == Outcome::Unopened));
}

#[test]
fn a_child_that_opens_it_and_writes_nothing_leaves_an_empty_stream() {
    for script in [
        r#": > "$1""#,
        r#"exec > "$1"; exit 3"#,
        r#"exec 3> "$1"; sleep 0.2 &"#,
    ] {
        let pipe = pipe();
        let mut reader = pipe.reader().unwrap();
        let mut program = Program::start(script, &pipe);
        reader.ends_with(pidfd(&program));
        assert_eq!(read_to_end(&mut reader), b"", "{script}");
        program.wait();
    }
}

#[test]
fn a_child_that_was_reaped_already_has_exited() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let mut program = Program::start(r#"printf all > "$1""#, &pipe);
    let pidfd = pidfd(&program);
    program.wait();
    reader.ends_with(pidfd);
    assert_eq!(read_to_end(&mut reader), b"all");
}

#[test]
fn a_child_that_exited_already_is_left_to_be_reaped() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let mut program = Program::start("exit 3", &pipe);
    let stat = format!("/proc/{}/stat", program.0.id());
    until("the program is a zombie", || {
        fs::read_to_string(&stat).unwrap().contains(") Z ")
    });
    reader.ends_with(pidfd(&program));
    assert!(has_ended(read_once(&mut reader, SOON)));
    assert_eq!(program.wait().code(), Some(3));
}

#[test]
fn a_child_killed_while_it_writes_ends_the_stream() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let mut program = Program::start(r#"exec cat /dev/zero > "$1""#, &pipe);
    reader.ends_with(pidfd(&program));
    assert!(matches!(read_once(&mut reader, SOON), Outcome::Bytes(1..)));
    program.0.kill().unwrap();
    assert!(read_to_end(&mut reader).iter().all(|byte| *byte == 0));
}

#[test]
fn the_last_child_given_ends_the_stream() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let first = Program::start("exit 0", &pipe);
    let mut second = Program::start(r#"read go; printf second > "$1""#, &pipe);
    reader.ends_with(pidfd(&first));
    reader.ends_with(pidfd(&second));
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    drop(second.0.stdin.take());
    assert_eq!(read_to_end(&mut reader), b"second");
}

#[test]
fn a_descendant_that_holds_it_open_keeps_the_stream_going() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let script = r#"exec 3> "$1" 4<&0; (read go; printf late >&3) <&4 & exit 0"#;
    let mut program = Program::start(script, &pipe);
    let go = program.0.stdin.take();
    reader.ends_with(pidfd(&program));
    assert!(program.wait().success());
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    drop(go);
    assert_eq!(read_to_end(&mut reader), b"late");
}

#[test]
fn without_a_child_the_stream_is_ended_by_hand() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    reader.end();
    assert!(has_ended(read_once(&mut reader, SOON)));

    drop(reader);
    let mut reader = pipe.reader().unwrap();
    let script = r#"exec 3> "$1"; printf early >&3; read go; printf late >&3"#;
    let mut program = Program::start(script, &pipe);
    assert_eq!(read_once(&mut reader, SOON), Outcome::Bytes(5));
    reader.end();
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    drop(program.0.stdin.take());
    assert_eq!(read_to_end(&mut reader), b"late");
}

#[test]
fn eight_mebibytes_come_through_intact() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let script = r#"seq 1 2000000 | head -c 8388608 > "$1""#;
    let program = Program::start(script, &pipe);
    reader.ends_with(pidfd(&program));
    let mut expected: String = (1..=2_000_000)
        .map(|number| format!("{number}\n"))
        .collect();
    expected.truncate(8 << 20);
    let got = read_to_end(&mut reader);
    assert_eq!(got.len(), expected.len());
    assert!(got == expected.as_bytes());
}

#[test]
fn a_deadline_ends_the_wait_but_not_the_stream() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let start = Instant::now();
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    assert!(start.elapsed() >= MOMENT);

    let mut program = Program::start(r#"printf some > "$1"; read go"#, &pipe);
    reader.ends_with(pidfd(&program));
    assert_eq!(reader.read(&mut [], None).unwrap(), Outcome::Bytes(0));
    let mut outcome = Outcome::TimedOut;
    until("a deadline that has passed gives what is there", || {
        outcome = read_once(&mut reader, Duration::ZERO);
        outcome != Outcome::TimedOut
    });
    assert_eq!(outcome, Outcome::Bytes(4));
    assert_eq!(read_once(&mut reader, Duration::ZERO), Outcome::TimedOut);
    drop(program.0.stdin.take());
    program.wait();
    // Another test's program has copies of all descriptors before its exec.
    until("a deadline that has passed gives the end", || {
        read_once(&mut reader, Duration::ZERO) == Outcome::End
    });
}

#[test]
fn a_canceller_ends_a_read_that_waits_and_all_later_ones() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let canceller = reader.canceller().clone();
    let mut program = Program::start(r#"read go; printf some > "$1""#, &pipe);
    reader.ends_with(pidfd(&program));
    let reading_thread = rustix::thread::gettid();
    let cancelling = thread::spawn(move || {
        let syscall = PathBuf::from(format!("/proc/self/task/{reading_thread}/syscall"));
        until("the reader waits", || {
            in_system_call(&syscall, libc::SYS_ppoll)
        });
        canceller.cancel();
        canceller
    });
    assert_eq!(read_once(&mut reader, SOON), Outcome::Cancelled);
    drop(program.0.stdin.take());
    program.wait();
    assert_eq!(read_once(&mut reader, SOON), Outcome::Cancelled);
    drop(reader);
    cancelling.join().unwrap().cancel();
}

/// Whether the thread of this `syscall` file waits in system call `number`.
fn in_system_call(file: &Path, number: libc::c_long) -> bool {
    let now = fs::read_to_string(file).unwrap_or_default();
    now.split(' ').next() == Some(&number.to_string())
}

#[test]
fn a_second_reader_is_refused_until_the_first_is_dropped() {
    let pipe = pipe();
    let first = pipe.reader().unwrap();
    assert_eq!(
        pipe.reader().unwrap_err().to_string(),
        format!(
            "cannot read {}: it has a reader already; drop that one first: each would get a part",
            pipe.path().display()
        )
    );
    drop(first);
    let mut next = pipe.reader().unwrap();
    let program = Program::start(r#"printf next > "$1""#, &pipe);
    next.ends_with(pidfd(&program));
    assert_eq!(read_to_end(&mut next), b"next");
}

#[test]
fn dropping_the_reader_early_kills_the_writer_by_sigpipe() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let mut program = Program::start(r#"exec cat /dev/zero > "$1""#, &pipe);
    reader.ends_with(pidfd(&program));
    assert!(matches!(read_once(&mut reader, SOON), Outcome::Bytes(1..)));
    drop(reader);
    assert_eq!(program.wait().signal(), Some(libc::SIGPIPE));
}

#[test]
fn a_process_that_waits_for_the_other_side_goes_on_when_the_pipe_is_dropped() {
    for (script, signal) in [
        (
            r#"exec <&-; exec 3> "$1"; while :; do printf some >&3; done"#,
            Some(libc::SIGPIPE),
        ),
        (r#"exec <&-; exec 3< "$1"; cat <&3"#, None),
    ] {
        let pipe = pipe();
        let mut program = Program::start(script, &pipe);
        let process = PathBuf::from(format!("/proc/{}", program.0.id()));
        // Descriptor 0 is closed; the next open(2), of the FIFO, takes its number once it succeeds.
        until("the program waits in open(2)", || {
            !process.join("fd/0").exists()
                && in_system_call(&process.join("syscall"), libc::SYS_openat)
                && fs::read_to_string(process.join("status"))
                    .is_ok_and(|status| status.contains("State:\tS"))
        });
        drop(pipe);
        assert_eq!(program.wait().signal(), signal, "{script}");
    }
}

#[test]
fn a_reader_outlives_its_pipe() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let script = r#"exec 3> "$1"; printf early >&3; read go; printf late >&3"#;
    let mut program = Program::start(script, &pipe);
    reader.ends_with(pidfd(&program));
    assert_eq!(read_once(&mut reader, SOON), Outcome::Bytes(5));
    drop(pipe);
    assert_eq!(read_once(&mut reader, MOMENT), Outcome::TimedOut);
    drop(program.0.stdin.take());
    assert_eq!(read_to_end(&mut reader), b"late");
}

#[test]
fn a_program_inherits_nothing() {
    let pipe = pipe();
    let mut reader = pipe.reader().unwrap();
    let first = Program::start("read go", &pipe);
    reader.ends_with(pidfd(&first));
    let second = Program::start("read go", &pipe);
    let ours = [
        pipe.path(),
        Path::new("anon_inode:[eventfd]"),
        Path::new("anon_inode:[pidfd]"),
    ];
    for program in [&first, &second] {
        let open = program.descriptors();
        assert!(open.len() >= 3, "{open:?}");
        assert!(!open.iter().any(|link| ours.contains(&&**link)), "{open:?}");
    }
}

#[test]
fn the_fifo_and_its_directory_are_the_owners_alone() {
    let pipe = pipe();
    let fifo = fs::symlink_metadata(pipe.path()).unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!(fifo.permissions().mode() & 0o7777, 0o600);
    let directory = pipe.path().parent().unwrap();
    let mode = fs::metadata(directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    let name = directory.file_name().unwrap().to_str().unwrap();
    assert!(directory.is_absolute() && name.starts_with("fifofs-"));
}

#[test]
fn a_fifo_holds_a_mebibyte_where_that_is_allowed() {
    let pipe = pipe();
    let _reader = pipe.reader().unwrap();
    let beside = open_fifo(pipe.path(), OFlags::WRONLY).unwrap();
    let capacity = fcntl_getpipe_size(&beside).unwrap();
    // Only root is sure to be allowed it.
    if rustix::process::geteuid().is_root() {
        assert_eq!(capacity, 1 << 20);
    }
}

#[test]
fn dropping_removes_the_directory_with_all_that_a_program_left_there() {
    let pipe = pipe();
    let directory = pipe.path().parent().unwrap().to_owned();
    fs::write(directory.join("left over"), "").unwrap();
    let _reader = pipe.reader().unwrap();
    drop(pipe);
    assert!(!directory.exists());
}

#[test]
fn a_panic_removes_the_directory() {
    let pipe = pipe();
    let path = pipe.path().to_owned();
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(move || {
        let _reader = pipe.reader().unwrap();
        panic::resume_unwind(Box::new("as planned"));
    }));
    assert!(panicked.is_err() && !path.parent().unwrap().exists());
}

#[test]
fn a_fifo_that_a_program_replaced_is_noticed() {
    let pipe = pipe();
    assert!(pipe.is_still_there());
    let mut program = Program::start(r#"rm "$1"; printf all > "$1""#, &pipe);
    assert!(program.wait().success());
    assert!(!pipe.is_still_there());
    let message = pipe.reader().unwrap_err().to_string();
    assert!(message.contains(": a program removed or replaced the FIFO; use "));
    fs::remove_file(pipe.path()).unwrap();
    assert_eq!(pipe.reader().unwrap_err().to_string(), message);
}

#[test]
fn a_name_is_that_of_one_file() {
    for name in ["", ".", "..", "a/b", "a/", "/a", "./a", "a\0b"] {
        let error = Pipe::new(OsStr::new(name)).unwrap_err();
        assert!(matches!(error, Error::Usage { .. }), "{error}");
    }
    let name = OsStr::from_bytes(b"...\xff -x\n");
    assert_eq!(Pipe::new(name).unwrap().path().file_name(), Some(name));
    let error = Pipe::new(OsStr::new(&"x".repeat(256))).unwrap_err();
    assert!(error.to_string().ends_with("; give a shorter name"));
}

#[test]
fn everything_can_be_sent_and_a_canceller_shared() {
    fn send<T: Send>() {}
    fn send_and_share<T: Clone + Send + Sync>() {}
    send::<Pipe>();
    send::<PipeReader>();
    send_and_share::<Canceller>();
}

//! `fifofs cat` while it waits.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::common::{FIFOFS, Mount, SOON, assert_same};

fn cat(mount: &Mount, name: &str, output: impl Into<Stdio>) -> Child {
    let mut command = Command::new(FIFOFS);
    command.arg("cat").arg(mount.file(name));
    command.stdin(Stdio::null()).stdout(output);
    command.stderr(Stdio::piped()).spawn().expect("started")
}

/// Waits until it has ended; returns its status and its messages.
fn ended(mount: &Mount, mut child: Child) -> (ExitStatus, String) {
    let mut status = None;
    mount.wait_for("fifofs cat to end", || {
        status = child.try_wait().expect("waited for");
        status.is_some()
    });
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("a pipe");
    errors.read_to_string(&mut said).expect("read");
    (status.expect("ended"), said)
}

/// Waits until a reader waits in the mount.
fn wait_for_reader(mount: &Mount) {
    mount.wait_for("a reader", || {
        mount
            .place()
            .fifofs(&["ls", mount.path().to_str().expect("UTF-8")])
            .finish(SOON)
            .text()
            .contains("reader fifofs")
    });
}

#[test]
fn it_ends_quietly_when_its_output_has_no_reader_any_more_though_nothing_comes() {
    let mount = Mount::start(&[]);
    let quiet = |(status, said): (ExitStatus, String)| {
        assert_eq!(
            (status.code(), status.signal(), &*said),
            (Some(0), None, "")
        );
    };
    let mut child = cat(&mount, "never", Stdio::piped());
    wait_for_reader(&mount);
    assert!(child.try_wait().expect("waited for").is_none());
    drop(child.stdout.take());
    quiet(ended(&mount, child));

    // A socket, as sshd uses for standard output.
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut child = cat(&mount, "never", std::os::fd::OwnedFd::from(theirs));
    wait_for_reader(&mount);
    assert!(child.try_wait().expect("waited for").is_none());
    drop(ours);
    quiet(ended(&mount, child));

    // In the middle of a file.
    let writer = mount.shell("exec > $D/x.log; echo one; await end");
    mount.wait_exists("x.log");
    let mut child = cat(&mount, "x.log", Stdio::piped());
    let mut line = [0; 4];
    let mut output = child.stdout.take().expect("a pipe");
    output.read_exact(&mut line).expect("a line");
    drop(output);
    quiet(ended(&mount, child));
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn with_a_timeout_it_gives_up_with_status_124_when_nothing_comes() {
    let mount = Mount::start(&[]);
    let cat = |name: &str, timeout: &str| {
        let path = mount.file(name);
        let path = path.to_str().expect("UTF-8");
        let words = ["cat", "--timeout", timeout, path];
        mount.place().fifofs(&words).finish(SOON)
    };
    let done = cat("never", "100ms");
    assert_eq!(done.status.code(), Some(124), "{}", done.text());
    done.failed_saying("the timeout has passed").printed("");
    // No timeout is too long.
    let longest = format!("{}s", u64::MAX);
    let writer =
        mount.shell("until $FIFOFS ls $D | grep late; do sleep .05; done; echo late > $D/late");
    let done = cat("late", &longest).succeeded().printed("late\n");
    assert_eq!(done.stderr, "");
    writer.finish(SOON).succeeded();
    // Bytes that have come are passed on.
    let writer = mount.shell("exec > $D/x.log; echo one; await end");
    mount.wait_exists("x.log");
    let done = cat("x.log", "1s");
    assert_eq!(done.status.code(), Some(124), "{}", done.text());
    done.printed("one\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    cat("x.log", "30s").succeeded().printed("one\n");
    mount.unmount();
}

#[test]
fn a_terminal_shows_what_it_waits_for_until_that_comes() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
import pty, subprocess
ours, theirs = pty.openpty()
child = subprocess.Popen([os.environ["FIFOFS"], "cat", D + "/late"], stdout=subprocess.PIPE, stderr=theirs)
os.close(theirs)
def read():
    try: return os.read(ours, 1000)
    except OSError: return b""
told = b""
while b"/late: waiting for" not in told: told += read()
with open(D + "/late", "w") as file: file.write("late\n")
said = b""
while more := read(): said += more
assert said.endswith(b"\r\x1b[K"), (told, said)
say(child.communicate()[0].decode(), child.returncode)
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("late\n 0\n");
    mount.unmount();
}

/// It would read what it writes, for ever, or wait for itself to write.
#[test]
fn a_file_is_not_copied_onto_itself() {
    let mount = Mount::start(&[]);
    mount.shell("echo old > $D/x.log").finish(SOON).succeeded();
    for script in [
        r#""$FIFOFS" cat $D/x.log >> $D/x.log"#,
        r#"ln -s x.log $D/link; "$FIFOFS" cat $D/link >> $D/x.log"#,
        r#""$FIFOFS" cat $D/new.log > $D/new.log"#,
    ] {
        let done = mount.shell(script).finish(SOON);
        assert_eq!(done.status.code(), Some(125), "{}", done.text());
        done.failed_saying("it is standard output, too");
    }
    assert_same(&mount.finished("x.log"), b"old\n");
    mount.unmount();
}

/// Node and ssh make pipes that they share nonblocking.
#[test]
fn a_nonblocking_output_is_waited_for() {
    let mount = Mount::start(&[]);
    mount
        .shell("seq 200000 > $D/x.log")
        .finish(SOON)
        .succeeded();
    mount
        .python(
            r#"
import subprocess, time
r, w = os.pipe(); os.set_blocking(w, False)
child = subprocess.Popen([os.environ["FIFOFS"], "cat", D + "/x.log"], stdout=w); os.close(w)
got = b""
while more := os.read(r, 50000): got += more; time.sleep(0.001)
say(got == b"".join(b"%d\n" % n for n in range(1, 200001)), child.wait())
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("True 0\n");
    mount.unmount();
}

//! How soon everything is over when a mount ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fifofs::Running;

use crate::common::{Mount, Place, SOON, connection_of, until};

#[test]
fn after_sigkill_of_the_daemon_the_mount_is_gone_within_a_second_and_who_waited_within_four() {
    let place = Place::new();
    let mut mount = Mount::start_in(&place, &["--deliver", "*.stream=stream"]);
    let waits = mount.waiting_reader("nothing");
    let stream = mount.shell("exec head -c 1G /dev/zero > $D/x.stream");
    mount.wait_parked(&stream);
    let killed = Instant::now();
    mount.kill_daemon();
    place.wait_for("the mount to be gone", SOON, || {
        connection_of(&place.mount_point()).is_none()
    });
    let gone = killed.elapsed();
    for process in [waits, stream] {
        process.finish(SOON).failed_saying("");
    }
    let over = killed.elapsed();
    assert!(
        gone < Duration::from_secs(1) && over < Duration::from_secs(4),
        "the mount was gone after {gone:?}, those who waited after {over:?}"
    );
}

/// Where a program still has a file open the end of the mount is waited for a second.
#[test]
fn dropping_a_mount_whose_file_a_program_has_open_takes_a_second_and_little_more() {
    let mount = fifofs::Mount::builder().mount_temporary().unwrap();
    let directory = mount.path().to_owned();
    let capture = mount.capture("a/out.txt").unwrap();
    let mut program = Command::new("sh");
    program
        .args(["-c", r#"exec > "$1"; echo a; exec sleep 60"#, "sh"])
        .arg(capture.path())
        .stderr(Stdio::null());
    let Running {
        mut child, reader, ..
    } = capture.spawn(&mut program).unwrap();
    until("the child writes", || !capture.writers().is_empty());
    drop(capture);
    let started = Instant::now();
    drop(mount);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(reader);
    until("the mount and its directory to be gone", || {
        connection_of(&directory).is_none() && !directory.exists()
    });
}

/// The reader and the program are one script, which might go on writing: but not to a FIFO that its writer has left.
#[test]
fn what_is_settled_behind_a_virtual_fifo_is_over_when_its_writer_has_exited() {
    let mount = Mount::start(&["--fifos", "virtual"]);
    let script = "
os.chdir(D)
import subprocess
for n in range(30):
    os.mkfifo('p')
    child = subprocess.Popen([sys.executable, '-S', '-c', 'open(\"p\", \"w+\").write(\"text\")'])
    assert open('p').read() == 'text'
    child.wait(); os.unlink('p')
";
    let started = Instant::now();
    mount.python(script).finish(SOON).succeeded();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?} for thirty");
    mount.unmount();
}

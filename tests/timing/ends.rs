//! How soon everything is over when a mount ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fifofs::{Capture, CaptureDir, Running};

use crate::common::{Mount, Place, SOON, connection_of, until};

#[test]
fn after_sigkill_of_the_daemon_the_mount_is_gone_within_a_second_and_waiting_processes_within_four()
{
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
        "the mount was gone after {gone:?}, the waiting processes after {over:?}"
    );
}

/// If a program still has a file open, unmounting waits for a second.
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
fn a_settled_message_of_a_virtual_fifo_ends_when_its_writer_has_exited() {
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

/// Thirty times: if it waited for a reopening, that would take as many seconds.
#[track_caller]
fn thirty_of(mount: &Mount, script: &str) {
    let started = Instant::now();
    mount.python(script).finish(SOON).succeeded();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?} for thirty");
}

#[test]
fn a_program_that_reads_before_it_reaps_its_child_has_the_file_when_the_child_exits() {
    let mount = Mount::start(&[]);
    thirty_of(
        &mount,
        "
import subprocess
for n in range(30):
    child = subprocess.Popen(['sh', '-c', 'echo text > $0', f'{D}/{n}.zip'])
    assert open(f'{D}/.fifofs/wait/{n}.zip').read() == 'text\\n'
    child.wait()
",
    );
    mount.unmount();
}

#[test]
fn an_empty_output_of_a_step_of_mkstemp_or_of_touch_is_done_at_once() {
    let mount = Mount::start(&["--fifos", "virtual"]);
    thirty_of(
        &mount,
        "
import subprocess, tempfile
wait = lambda path: open(path.replace(D, D + '/.fifofs/wait')).read()
for n in range(10):
    step = 'grep nothing /dev/null > $0; cat $1; true'
    subprocess.run(['bash', '-c', step, f'{D}/step{n}', f'{D}/.fifofs/wait/step{n}'], check=True)
    fd, path = tempfile.mkstemp(dir=D); os.close(fd)
    assert wait(path) == ''
    os.mkfifo(f'{D}/p{n}')
    child = subprocess.Popen(['touch', f'{D}/p{n}'])
    assert open(f'{D}/p{n}').read() == ''
    child.wait()
",
    );
    mount.unmount();
}

/// Another part of the reader's own script writes on within the second that it is given.
#[test]
fn a_reader_waits_for_bytes_that_another_part_of_its_script_writes_a_moment_later() {
    let mount = Mount::start(&[]);
    for append in [
        // A thread, a child, one that has left the reader's process group.
        "threading.Timer(.1, write, ['late']).start()",
        "if os.fork() == 0: time.sleep(.1); write('late'); os._exit(0)",
        "if os.fork() == 0: os.setsid(); time.sleep(.1); write('late'); os._exit(0)",
    ] {
        let script = format!(
            "
import threading, time
def write(text):
    with open(D + '/f.zip', 'a') as f: f.write(text)
write('early')
{append}
got = open(D + '/.fifofs/wait/f.zip').read()
assert got == 'earlylate', got
os.unlink(D + '/f.zip')
"
        );
        mount.python(&script).finish(SOON).succeeded();
    }
    for script in [
        "(sleep .1; echo late >> $D/f.zip) & echo early > $D/f.zip; cat $D/.fifofs/wait/f.zip",
        // One that also passes on the reader's bytes.
        "echo early > $D/f.zip; (cat $D/.fifofs/wait/f.zip) | (sleep .1; echo late >> $D/f.zip; cat)",
    ] {
        let printed = "early\nlate\n";
        mount
            .shell(script)
            .finish(SOON)
            .succeeded()
            .printed(printed);
        mount.shell("rm $D/f.zip").finish(SOON).succeeded();
    }
    mount.unmount();
}

#[test]
fn a_process_left_behind_may_open_the_output_after_the_program_has_exited() {
    // bash does not wait for it, and it notices the exit by the end of its input.
    let script = r#"exec 4> >(cat > /dev/null; sleep 0.02; echo late > "$1")"#;
    let command = |path: &Path| {
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash"]).arg(path);
        command
    };
    let capture = Capture::new("out.txt").unwrap();
    let output = capture.run(&mut command(capture.path())).unwrap();
    assert_eq!(output.bytes, b"late\n");
    let directory = CaptureDir::new().unwrap();
    let output = directory.run(&mut command(&directory.path().join("x")));
    assert_eq!(output.unwrap().files[Path::new("x")], b"late\n");
    // If no process is left behind, none is waited for. Another test's orphan may exist for a moment.
    for command in ["true", "false"] {
        let run = || {
            let before = Instant::now();
            let missing = capture.run(&mut Command::new(command));
            let in_directory = directory.run(&mut Command::new(command));
            let took = before.elapsed();
            assert_eq!(missing.is_err(), command == "true");
            in_directory.unwrap();
            took
        };
        let soonest = (0..5).map(|_| run()).min().unwrap();
        let limit = Duration::from_millis(150);
        assert!(soonest < limit, "{command}: {soonest:?}");
    }
}

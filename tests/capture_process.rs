//! A process that captured something leaves nothing, however it ends. Each test runs itself again, in a process whose
//! mounts and directories are all below one of its own.

mod library;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use fifofs::{Capture, Mount, TemporaryPipe};

use library::{
    Guard, SOON, in_own_process, is_mounted_below, listing, processes_with, scratch, sh, succeed,
    until, within,
};

/// The command with all its mounts and directories below `place`.
fn placed(mut command: Command, place: &Path) -> Command {
    command.env("XDG_RUNTIME_DIR", place).env("TMPDIR", place);
    command
}

/// Checks that nothing is mounted or left below `place`, and that no process is left that was started for it.
#[track_caller]
fn assert_nothing_left(place: &Path) {
    until("no mount is left", || !is_mounted_below(place));
    until("no directory is left", || listing(place).is_empty());
    let text = place.to_str().expect("a name of ours").to_owned();
    until("no process is left", || processes_with(&text).is_empty());
}

/// Starts the command, waits until it prints `ready`, and lets `end` end it.
fn end_when_ready(mut command: Command, end: impl FnOnce(&mut Guard) + Send + 'static) {
    command.stdout(Stdio::piped());
    within(SOON, "a process that captures", move || {
        let mut owner = Guard(command.spawn().unwrap());
        let lines = BufReader::new(owner.0.stdout.take().unwrap()).lines();
        assert!(
            lines
                .map_while(Result::ok)
                .any(|line| line.ends_with("ready"))
        );
        end(&mut owner);
        owner.0.wait().unwrap();
    });
}

fn say_ready() {
    println!("ready");
    std::io::stdout().flush().unwrap();
}

/// A capture with a child that writes to it for long, and a reader.
fn busy() -> (Capture, fifofs::Running) {
    let capture = Capture::new("out.txt").unwrap();
    // Its writes go to the page cache, where they succeed even after the mount has ended: so it checks the path.
    let script = r#"exec > "$1"; while [ -e "$1" ] && echo line; do sleep 0.05; done"#;
    let mut running = capture
        .spawn(sh(script, &capture).stderr(Stdio::null()))
        .unwrap();
    let mut line = String::new();
    running.reader.read_line(&mut line).unwrap();
    assert_eq!(line, "line\n");
    (capture, running)
}

#[test]
fn nothing_is_left_when_the_owner_is_killed() {
    let Some(command) = in_own_process("nothing_is_left_when_the_owner_is_killed", "owner") else {
        let _busy = busy();
        say_ready();
        loop {
            std::thread::park();
        }
    };
    let place = scratch();
    end_when_ready(placed(command, place.path()), |owner| {
        owner.0.kill().unwrap()
    });
    assert_nothing_left(place.path());
}

#[test]
fn nothing_is_left_when_the_owner_exits_without_dropping() {
    let Some(command) = in_own_process(
        "nothing_is_left_when_the_owner_exits_without_dropping",
        "owner",
    ) else {
        let _busy = busy();
        say_ready();
        std::process::exit(0);
    };
    let place = scratch();
    end_when_ready(placed(command, place.path()), |_| {});
    assert_nothing_left(place.path());
}

#[test]
fn nothing_is_left_after_a_panic() {
    let Some(command) = in_own_process("nothing_is_left_after_a_panic", "owner") else {
        let (_capture, mut running) = busy();
        let _pipe = TemporaryPipe::new().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        panic!("as it should");
    };
    let place = scratch();
    let mut command = placed(command, place.path());
    let output = within(SOON, "a process that panics", move || {
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    });
    assert_eq!(
        output.status.code(),
        Some(101),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_nothing_left(place.path());
}

#[test]
fn the_mount_is_there_with_the_first_handle_and_gone_some_time_after_the_last() {
    const NAME: &str = "the_mount_is_there_with_the_first_handle_and_gone_some_time_after_the_last";
    let Some(command) = in_own_process(NAME, "owner") else {
        let place = std::env::var_os("TMPDIR").unwrap();
        let place = Path::new(&place);
        let threads = || fs::read_dir("/proc/self/task").unwrap().count();
        let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = (threads(), descriptors());
        for last in ["capture", "reader", "events"] {
            let (first, second) = (Capture::new("a").unwrap(), Capture::new("b").unwrap());
            assert_eq!(
                first.path().parent().unwrap().parent(),
                second.path().parent().unwrap().parent()
            );
            let (reader, events) = (second.reader().unwrap(), second.events());
            drop(first);
            assert!(is_mounted_below(place));
            let handles: [(&str, Box<dyn std::any::Any>); 3] = [
                ("capture", Box::new(second)),
                ("reader", Box::new(reader)),
                ("events", Box::new(events)),
            ];
            let which = last;
            let (others, last): (Vec<_>, Vec<_>) =
                handles.into_iter().partition(|(name, _)| *name != last);
            drop(others);
            assert!(is_mounted_below(place));
            drop(last);
            assert!(is_mounted_below(place), "it is kept for a while");
            if which == "capture" {
                // A caller that cannot wait for that ends it at once.
                fifofs::unmount_idle();
                assert!(!is_mounted_below(place));
            }
            until("the mount is gone after the last handle", || {
                !is_mounted_below(place)
            });
            until("and its directory", || listing(place).is_empty());
            until("and its threads and descriptors", || {
                (threads(), descriptors()) == before
            });
        }
        return;
    };
    let place = scratch();
    succeed(placed(command, place.path()));
    assert_nothing_left(place.path());
}

#[test]
fn the_next_capture_has_a_mount_when_the_last_one_was_unmounted_from_outside() {
    const NAME: &str = "the_next_capture_has_a_mount_when_the_last_one_was_unmounted_from_outside";
    let Some(command) = in_own_process(NAME, "owner") else {
        let first = Capture::new("a").unwrap();
        let mut waiting = first.reader().unwrap();
        let mount = first.path().parent().unwrap().parent().unwrap();
        fifofs::unmount_if(mount, fifofs::IfBusy::Detach).unwrap();
        // Reading the files of the last mount is an error.
        assert!(
            within(SOON, "a reader of a mount that is gone", move || waiting
                .read_all())
            .is_err()
        );
        until("a capture works again", || {
            let second = Capture::new("a").unwrap();
            second
                .run(sh(r#"echo a > "$1""#, &second).stderr(Stdio::null()))
                .is_ok_and(|output| output.bytes == b"a\n")
        });
        return;
    };
    let place = scratch();
    succeed(placed(command, place.path()));
    assert_nothing_left(place.path());
}

#[test]
fn only_the_owner_has_access_whatever_the_umask() {
    const NAME: &str = "only_the_owner_has_access_whatever_the_umask";
    let Some(command) = in_own_process(NAME, "owner") else {
        rustix::process::umask(rustix::fs::Mode::empty());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let pipe = TemporaryPipe::new().unwrap();
        assert_eq!(mode(pipe.path()), 0o600);
        assert_eq!(mode(pipe.path().parent().unwrap()), 0o700);
        let capture = Capture::new("out").unwrap();
        let mount = capture
            .path()
            .parent()
            .unwrap()
            .parent()
            .unwrap()
            .to_owned();
        // The directory below the mount appears once it is unmounted.
        rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
        // Not even its owner makes files there while it is not mounted.
        assert_eq!(mode(&mount), 0o500);
        return;
    };
    assert!(
        rustix::process::geteuid().is_root(),
        "only root may look below a mount: run this test as root"
    );
    let place = scratch();
    succeed(placed(command, place.path()));
    assert_nothing_left(place.path());
}

#[test]
fn a_private_namespace_is_refused_while_there_are_threads() {
    // The test itself is a second thread.
    let other = std::thread::spawn(fifofs::enter_private_namespace);
    let error = other.join().unwrap().unwrap_err();
    assert!(matches!(error, fifofs::Error::Usage { .. }), "{error:?}");
}

#[test]
fn a_program_whose_capture_is_gone_with_its_owner_fails() {
    let Some(command) = in_own_process(
        "a_program_whose_capture_is_gone_with_its_owner_fails",
        "owner",
    ) else {
        let capture = Capture::new("out.txt").unwrap();
        let status = std::env::var("STATUS").unwrap();
        let script = format!(
            r#"while [ -e "$(dirname "$1")" ]; do sleep 0.02; done; (echo late > "$1") 2>/dev/null; echo $? > {status}"#
        );
        let _running = capture
            .spawn(sh(&script, &capture).stderr(Stdio::null()))
            .unwrap();
        say_ready();
        loop {
            std::thread::park();
        }
    };
    let (place, results) = (scratch(), scratch());
    let status = results.path().join("status");
    let mut command = placed(command, place.path());
    command.env("STATUS", &status);
    end_when_ready(command, |owner| {
        owner.0.kill().unwrap();
        assert_eq!(owner.0.wait().unwrap().signal(), Some(9));
    });
    until("the program has tried to write", || {
        fs::read_to_string(&status).is_ok_and(|text| text.ends_with('\n'))
    });
    assert_ne!(fs::read_to_string(&status).unwrap(), "0\n");
    assert_nothing_left(place.path());
}

/// The memory of this process's helpers, by their names.
fn helpers() -> Vec<(String, u64)> {
    let own = format!("PPid:\t{}", std::process::id());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let statuses = entries.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    let of = |status: String| {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let kibibytes = field("VmRSS:").trim_end_matches(" kB").parse().unwrap_or(0);
        (field("Name:"), kibibytes << 10)
    };
    statuses
        .filter(|status| status.contains(&own))
        .map(of)
        .collect()
}

/// Memory of all kinds that a program may have much of: in one piece, in many, and shared.
fn much_memory() -> impl Sized {
    const BYTES: usize = 128 << 20;
    let large = vec![1_u8; BYTES];
    let small: Vec<Box<[u8; 1000]>> = (0..BYTES / 1000).map(|_| Box::new([1; 1000])).collect();
    // SAFETY: a mapping of our own, filled once.
    let shared = unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let shared = libc::mmap(std::ptr::null_mut(), BYTES, access, flags, -1, 0);
        assert_ne!(shared, libc::MAP_FAILED);
        std::ptr::write_bytes(shared.cast::<u8>(), 1, BYTES);
        shared as usize
    };
    (large, small, shared)
}

#[test]
fn the_helpers_have_nothing_of_their_owners_memory_and_do_their_work() {
    const TEST: &str = "the_helpers_have_nothing_of_their_owners_memory_and_do_their_work";
    let Some(command) = in_own_process(TEST, "owner") else {
        let _memory = much_memory();
        // On this thread, whose stack is one of many pieces of memory, and on the main thread's.
        let (_busy, _other) = (
            busy(),
            thread::spawn(|| Mount::builder().mount_temporary()).join(),
        );
        let few = |(_, bytes): &(String, u64)| *bytes < 24 << 20;
        until("there are two watchdogs and a flusher", || {
            let helpers = helpers();
            let count = |name| helpers.iter().filter(|(known, _)| known == name).count();
            count("fifofs-watchdog") == 2 && count("fifofs-flusher") == 1
        });
        until("each has little memory", || {
            let helpers = helpers();
            helpers.iter().all(few)
        });
        say_ready();
        loop {
            std::thread::park();
        }
    };
    let place = scratch();
    end_when_ready(placed(command, place.path()), |owner| {
        owner.0.kill().unwrap();
    });
    assert_nothing_left(place.path());
}

/// Captures once, and drops everything, so that the mount is kept without a user.
fn once() {
    let capture = Capture::new("out.txt").unwrap();
    let output = capture.run(&mut sh(r#"echo x > "$1""#, &capture)).unwrap();
    assert_eq!(output.bytes, b"x\n");
}

#[test]
fn a_loop_of_captures_has_one_mount_and_its_exit_leaves_none() {
    let test = "a_loop_of_captures_has_one_mount_and_its_exit_leaves_none";
    let Some(command) = in_own_process(test, "owner") else {
        let mount = || {
            let capture = Capture::new("out.txt").unwrap();
            fifofs::mount_of(capture.path()).unwrap()
        };
        assert_eq!(mount(), mount());
        once();
        // Not by returning: another thread may end the process.
        std::process::exit(0);
    };
    let place = scratch();
    succeed(placed(command, place.path()));
    // At once, even if its helpers were killed with it.
    assert!(!is_mounted_below(place.path()));
    assert_nothing_left(place.path());
}

#[test]
fn nothing_is_left_when_the_owner_is_killed_while_its_mount_is_kept() {
    let test = "nothing_is_left_when_the_owner_is_killed_while_its_mount_is_kept";
    let Some(command) = in_own_process(test, "owner") else {
        once();
        say_ready();
        loop {
            std::thread::park();
        }
    };
    let place = scratch();
    end_when_ready(placed(command, place.path()), |owner| {
        owner.0.kill().unwrap()
    });
    assert_nothing_left(place.path());
}

#[test]
fn a_fork_while_the_mount_is_kept_does_not_matter_to_either() {
    let test = "a_fork_while_the_mount_is_kept_does_not_matter_to_either";
    let Some(command) = in_own_process(test, "owner") else {
        once();
        let place = std::env::var_os("TMPDIR").unwrap();
        for captures in [false, true] {
            // SAFETY: the child does only what a forked child may do with this crate, and exits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                if captures {
                    once();
                }
                std::process::exit(7);
            }
            let child = rustix::process::Pid::from_raw(child).unwrap();
            let wait = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
            let (_, status) = wait.unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(7), "{captures}");
            assert!(is_mounted_below(Path::new(&place)), "it is the parent's");
        }
        once();
        std::process::exit(0);
    };
    let place = scratch();
    succeed(placed(command, place.path()));
    assert_nothing_left(place.path());
}

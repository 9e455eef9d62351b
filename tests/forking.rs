//! Fork without exec, as in pre-fork servers and Python's multiprocessing: what the child inherited belongs to its
//! parent, and what the child makes is its own. Each test runs itself again in a process of its own, which forks.

mod library;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fifofs::{Capture, Mount, Target, TemporaryPipe};

use library::{
    SOON, in_own_process, is_mounted_below, listing, scratch, sh, succeed, until, within,
};

/// Runs `act` in a forked child, which must finish it, and then calls exit(3) or _exit(2); returns what it printed.
fn in_a_fork(exits: bool, act: impl FnOnce() -> String) -> String {
    let (mut answer, mut sender) = std::io::pipe().unwrap();
    std::io::stdout().flush().unwrap();
    // SAFETY: the child has all locks that it uses: glibc handles those of its allocator.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let panics = std::panic::AssertUnwindSafe(act);
        let text = std::panic::catch_unwind(panics).unwrap_or_else(|_| "panicked".to_owned());
        sender.write_all(text.as_bytes()).unwrap();
        drop(sender);
        match exits {
            // With the destructors of C, like Python's exit.
            true => std::process::exit(0),
            // SAFETY: ends the process.
            false => unsafe { libc::_exit(0) },
        }
    }
    drop(sender);
    let text = within(SOON, "a forked child", move || {
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        text
    });
    // SAFETY: a child of this process, and a null pointer, which is allowed.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
    text
}

/// Runs a test in a process of its own, whose mounts and directories are all below one that is empty in the end.
fn alone(test: &str, act: impl FnOnce()) {
    let Some(mut command) = in_own_process(test, "parent") else {
        return act();
    };
    let place = scratch();
    command
        .env("XDG_RUNTIME_DIR", place.path())
        .env("TMPDIR", place.path());
    succeed(command);
    until("no mount is left", || !is_mounted_below(place.path()));
    until("no directory is left", || listing(place.path()).is_empty());
}

fn works(target: &dyn Target) {
    let output = target.run(&mut sh("echo works > \"$1\"", target)).unwrap();
    assert_eq!(output.bytes, b"works\n");
}

fn captured() -> String {
    let capture = Capture::new("of-the-child.txt").unwrap();
    let script = "echo child > \"$1\"";
    let output = capture.run(&mut sh(script, &capture)).unwrap();
    String::from_utf8(output.bytes).unwrap()
}

#[test]
fn a_fork_that_drops_what_it_inherited_changes_nothing() {
    alone(
        "a_fork_that_drops_what_it_inherited_changes_nothing",
        || {
            let mount = Mount::builder().mount_temporary().unwrap();
            let of_mount = mount.capture("of-mount.txt").unwrap();
            let (capture, pipe) = (
                Capture::new("kept.txt").unwrap(),
                TemporaryPipe::new().unwrap(),
            );
            let mut reader = capture.reader().unwrap();
            let events = (capture.events(), mount.events());
            let file = File::create(mount.path().join("open.txt")).unwrap();
            let directory = mount.path().to_owned();
            let inherited = (&mount, &of_mount, &capture, &pipe, &reader, &events, &file);
            for exits in [false, true] {
                let said = in_a_fork(exits, || {
                    // SAFETY: each is dropped once in this process, which then only exits.
                    unsafe {
                        drop(std::ptr::read(inherited.0));
                        drop(std::ptr::read(inherited.1));
                        drop(std::ptr::read(inherited.2));
                        drop(std::ptr::read(inherited.3));
                        drop(std::ptr::read(inherited.4));
                        drop(std::ptr::read(inherited.5));
                        drop(std::ptr::read(inherited.6));
                    }
                    "dropped".to_owned()
                });
                assert_eq!(said, "dropped");
            }
            assert!(is_mounted_below(&directory));
            fs::write(capture.path(), "whole").unwrap();
            assert_eq!(reader.read_all().unwrap(), b"whole");
            (&file).write_all(b"more").unwrap();
            works(&of_mount);
            works(&pipe);
            drop((file, events, reader, capture));
            mount.unmount().unwrap();
            assert!(!is_mounted_below(&directory));
        },
    );
}

#[test]
fn using_what_a_fork_inherited_is_an_error_that_says_what_to_do() {
    alone(
        "using_what_a_fork_inherited_is_an_error_that_says_what_to_do",
        || {
            let mount = Mount::builder().mount_temporary().unwrap();
            let (capture, pipe) = (
                Capture::new("a.txt").unwrap(),
                TemporaryPipe::new().unwrap(),
            );
            let mut reader = capture.reader().unwrap();
            let canceller = reader.canceller();
            let mut events = capture.events();
            let said = in_a_fork(false, || {
                let mut errors = vec![
                    capture.reader().unwrap_err(),
                    capture
                        .run(&mut sh("echo > \"$1\"", &capture))
                        .unwrap_err()
                        .into(),
                    capture
                        .spawn(&mut sh("echo > \"$1\"", &capture))
                        .unwrap_err(),
                    capture
                        .reader_until_exit(&Command::new("true").spawn().unwrap())
                        .unwrap_err(),
                    reader.read_all().unwrap_err(),
                    events.next().unwrap().unwrap_err(),
                    capture.events().next().unwrap().unwrap_err(),
                    mount.capture("b.txt").unwrap_err(),
                    pipe.spawn(&mut sh("echo > \"$1\"", &pipe)).unwrap_err(),
                ];
                // A call that cannot fail does nothing.
                canceller.cancel();
                capture.hang_up();
                pipe.hang_up();
                capture.keep_at_most(1);
                assert_eq!(capture.writers(), []);
                assert_eq!(mount.status().files, []);
                mount.wait();
                // SAFETY: not used after this in this process.
                errors.push(unsafe { std::ptr::read(&mount) }.unmount().unwrap_err());
                let texts = errors.iter().map(|error| format!("{error}\n"));
                texts.collect()
            });
            assert_eq!(said.lines().count(), 10, "{said}");
            let parent = format!(
                "it belongs to process {}, of which this is a fork; ",
                std::process::id()
            );
            for line in said.lines() {
                assert!(line.contains(&parent), "{line}");
                assert!(
                    line.ends_with("make a new one in this process, after the fork"),
                    "{line}"
                );
            }
            fs::write(capture.path(), "whole").unwrap();
            assert_eq!(reader.read_all().unwrap(), b"whole");
            works(&pipe);
        },
    );
}

#[test]
fn a_fork_captures_by_itself_whatever_its_parent_has() {
    alone("a_fork_captures_by_itself_whatever_its_parent_has", || {
        assert_eq!(in_a_fork(true, captured), "child\n");
        let capture = Capture::new("kept.txt").unwrap();
        for _ in 0..3 {
            assert_eq!(in_a_fork(true, captured), "child\n");
        }
        // A fork of a fork.
        assert_eq!(
            in_a_fork(true, || in_a_fork(true, captured) + &captured()),
            "child\nchild\n"
        );
        works(&capture);
    });
}

#[test]
fn forks_while_other_threads_capture_neither_hang_nor_disturb_them() {
    alone(
        "forks_while_other_threads_capture_neither_hang_nor_disturb_them",
        || {
            let ends = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                            let capture = Capture::new("of-the-parent.txt").unwrap();
                            let mut reader = capture.reader().unwrap();
                            fs::write(capture.path(), "parent").unwrap();
                            reader.set_timeout(Some(SOON));
                            assert_eq!(reader.read_all().unwrap(), b"parent");
                        }
                    });
                }
                for round in 0..20 {
                    assert_eq!(in_a_fork(round % 2 == 0, captured), "child\n");
                }
                ends.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        },
    );
}

#[test]
fn a_mount_goes_with_its_owner_though_a_fork_lives() {
    const TEST: &str = "a_mount_goes_with_its_owner_though_a_fork_lives";
    let Some(mut command) = in_own_process(TEST, "owner") else {
        let mount = Mount::builder().mount_temporary().unwrap();
        // SAFETY: the child only sleeps.
        if unsafe { libc::fork() } == 0 {
            std::thread::sleep(Duration::from_secs(60));
        }
        std::mem::forget(mount);
        std::process::exit(0);
    };
    let place = scratch();
    command
        .env("XDG_RUNTIME_DIR", place.path())
        .env("TMPDIR", place.path());
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    assert!(command.status().unwrap().success());
    until("no mount is left", || !is_mounted_below(place.path()));
    until("no directory is left", || listing(place.path()).is_empty());
    end_forks(place.path());
}

/// Kills the forks that a test left, found by their directory.
fn end_forks(place: &Path) {
    for pid in library::processes_with(place.to_str().unwrap()) {
        // SAFETY: a process that this test started.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

//! The host: its files in its own mount, and how it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fifofs::{Capture, Linger, Mount};

/// The text before the number of each of its connections.
pub(crate) const CONNECTION: &str = "connection ";

/// Something in its own mount that a process holds or waits for when it dies.
pub(crate) struct Hold {
    pub(crate) name: &'static str,
    /// Takes it, and returns it so that it is kept.
    take: fn(&Mount) -> Box<dyn std::any::Any>,
}

/// How it dies: by a signal from outside, or by its own action.
pub(crate) struct End {
    pub(crate) name: &'static str,
    pub(crate) signal: Option<i32>,
}

pub(crate) const HOLDS: [Hold; 14] = [
    Hold {
        name: "file",
        take: |mount| Box::new(open_for_writing(mount.path(), "x")),
    },
    Hold {
        name: "wait",
        take: |mount| Box::new(through_wait(mount.path())),
    },
    Hold {
        name: "threads",
        take: many_threads,
    },
    Hold {
        name: "write",
        take: blocked_in_write,
    },
    Hold {
        name: "read",
        take: blocked_in_read,
    },
    Hold {
        name: "read of an own file",
        take: blocked_in_a_read_of_an_own_file,
    },
    Hold {
        name: "flushes of own files",
        take: |mount| flushes_for_ever(mount.path()),
    },
    Hold {
        name: "open",
        take: blocked_in_open,
    },
    Hold {
        name: "forked",
        take: |mount| Box::new(with_a_forked_child(mount)),
    },
    Hold {
        name: "capture",
        take: |_| Box::new(a_capture()),
    },
    Hold {
        name: "kept open beyond the unmount",
        take: |_| Box::new(file_of_an_unmounted_mount()),
    },
    Hold {
        name: "kept open during the unmount",
        take: |_| Box::new(file_of_a_mount_being_unmounted()),
    },
    Hold {
        name: CAPTURES_BEING_MADE,
        take: |_| makes_for_ever(make_and_drop),
    },
    Hold {
        name: FORKS_THAT_CAPTURE,
        take: |_| makes_for_ever(have_a_fork_make),
    },
];

const CAPTURES_BEING_MADE: &str = "captures being made";
const FORKS_THAT_CAPTURE: &str = "forks that capture";

/// Whether it may die after it has made a directory and before it has a helper: the next process that makes one
/// clears it away.
pub(crate) fn may_leave_a_directory(hold: &str) -> bool {
    [CAPTURES_BEING_MADE, FORKS_THAT_CAPTURE].contains(&hold)
}

pub(crate) const ENDS: [End; 8] = [
    by("TERM", libc::SIGTERM),
    by("INT", libc::SIGINT),
    by("HUP", libc::SIGHUP),
    by("KILL", libc::SIGKILL),
    End {
        name: "abort",
        signal: None,
    },
    End {
        name: "exit",
        signal: None,
    },
    End {
        name: "exit of a thread",
        signal: None,
    },
    End {
        name: "main returns",
        signal: None,
    },
];

const fn by(name: &'static str, signal: i32) -> End {
    End {
        name,
        signal: Some(signal),
    }
}

/// Serves a mount, holds something of it, and ends in this way.
pub(crate) fn play(hold: &str, end: &str) {
    let mount = Mount::builder().linger(Linger::After(Duration::ZERO));
    let mount = mount.mount_temporary().expect("a mount");
    announce(mount.path());
    let hold = HOLDS
        .iter()
        .find(|known| known.name == hold)
        .expect("a known thing to hold");
    // Neither is ever dropped.
    std::mem::forget((hold.take)(&mount));
    std::mem::forget(mount);
    println!("ready");
    // Waits until it is to end.
    let _ = std::io::stdin().read(&mut [0]);
    match end {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "exit of a thread" => {
            let _ = thread::spawn(|| std::process::exit(3)).join();
        }
        "main returns" => {}
        _ => loop {
            thread::park();
        },
    }
}

/// Prints the connection of the mount that holds `path`: the harness can end it, even when the mount is gone.
fn announce(path: &Path) {
    let device = std::fs::metadata(path).expect("what is mounted").dev();
    println!("{CONNECTION}{}", rustix::fs::minor(device));
}

/// A capture, in the shared mount of this process.
fn new_capture(name: &str) -> Capture {
    let capture = Capture::new(name).expect("a capture");
    announce(capture.path().parent().expect("its directory"));
    capture
}

/// A file, and a child without exec(2) that keeps a copy of all descriptors until the test is over.
fn with_a_forked_child(mount: &Mount) -> File {
    let file = open_for_writing(mount.path(), "x");
    // SAFETY: the child only waits and exits.
    if unsafe { libc::fork() } == 0 {
        let mut input = libc::pollfd {
            fd: 0,
            events: 0,
            revents: 0,
        };
        // SAFETY: closes one descriptor; and ends without destructors.
        unsafe {
            while libc::poll(&mut input, 1, -1) < 1 {}
            libc::_exit(0);
        }
    }
    file
}

/// A file of a mount that was unmounted meanwhile, and is detached.
fn file_of_an_unmounted_mount() -> File {
    let mount = Mount::builder().mount_temporary().expect("a mount");
    announce(mount.path());
    let file = open_for_writing(mount.path(), "x");
    mount.unmount().expect("an end");
    file
}

/// The same, while the unmount waits for processes that have a file open.
fn file_of_a_mount_being_unmounted() -> File {
    let mount = Mount::builder().mount_temporary().expect("a mount");
    announce(mount.path());
    let (file, path) = (open_for_writing(mount.path(), "x"), mount.path().to_owned());
    thread::spawn(move || mount.unmount());
    let is_mounted = || {
        fifofs::mounts()
            .expect("the list of mounts")
            .contains(&path)
    };
    while is_mounted() {
        thread::sleep(Duration::from_millis(1));
    }
    file
}

fn open_for_writing(directory: &Path, name: &str) -> File {
    let mut file = File::create(directory.join(name)).expect("a file");
    file.write_all(b"something").expect("room");
    file
}

/// Descriptors of finished files, opened through `wait/`.
fn through_wait(directory: &Path) -> Vec<File> {
    let names = ["a", "b", "c"];
    let open = |name: &&str| {
        drop(open_for_writing(directory, name));
        File::open(directory.join(".fifofs/wait").join(name)).expect("the finished file")
    };
    names.iter().map(open).collect()
}

/// Threads that each have files open and use them.
fn many_threads(mount: &Mount) -> Box<dyn std::any::Any> {
    for thread in 0..16 {
        let directory = mount.path().to_owned();
        thread::spawn(move || {
            let mut file = open_for_writing(&directory, &thread.to_string());
            while file.write_all(b"more").is_ok() {
                let _ = std::fs::metadata(&directory);
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
    Box::new(open_for_writing(mount.path(), "x"))
}

/// Lets a thread do something that waits for ever, and waits until it does.
fn blocks(act: impl FnOnce() + Send + 'static) {
    let (sender, thread) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(rustix::thread::gettid());
        act();
    });
    let thread = thread.recv().expect("a thread").as_raw_nonzero();
    let waits_at = format!("/proc/self/task/{thread}/wchan");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let place = std::fs::read_to_string(&waits_at).expect("a thread that waits");
        if ["fuse", "request_wait"]
            .iter()
            .any(|name| place.contains(name))
        {
            return;
        }
        assert!(Instant::now() < deadline, "it waits in {place}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// As far ahead of a reader as possible. In the mount of captures such a write waits for ever.
fn blocked_in_write(_: &Mount) -> Box<dyn std::any::Any> {
    let capture = new_capture("x.log");
    capture.keep_at_most(64 << 10);
    let reader = capture.reader().expect("a reader");
    let mut file = File::create(capture.path()).expect("a file");
    blocks(move || {
        while file
            .write_all(&[0; 64 << 10])
            .and_then(|()| file.sync_data())
            .is_ok()
        {}
    });
    Box::new((capture, reader))
}

fn blocked_in_read(mount: &Mount) -> Box<dyn std::any::Any> {
    let mut events = File::open(mount.path().join(".fifofs/events")).expect("the events");
    blocks(move || while events.read(&mut [0; 4096]).is_ok() {});
    Box::new(open_for_writing(mount.path(), "x"))
}

/// Written by this process, and read by it while it is written.
fn blocked_in_a_read_of_an_own_file(mount: &Mount) -> Box<dyn std::any::Any> {
    let file = open_for_writing(mount.path(), "x.log");
    let mut pipe = File::open(mount.path().join(".fifofs/pipe/x.log")).expect("a reader");
    let mut bytes = [0; 9];
    pipe.read_exact(&mut bytes).expect("what was written");
    blocks(move || while pipe.read(&mut bytes).is_ok_and(|read| read > 0) {});
    Box::new(file)
}

/// Threads that write files of their own and close them, one after the other: each close(2) is a flush.
fn flushes_for_ever(directory: &Path) -> Box<dyn std::any::Any> {
    for thread in 0..4 {
        let directory = directory.to_owned();
        thread::spawn(move || {
            loop {
                drop(open_for_writing(&directory, &thread.to_string()));
            }
        });
    }
    in_the_midst();
    Box::new(open_for_writing(directory, "x"))
}

/// Waits for a time that differs in each process.
fn in_the_midst() {
    thread::sleep(Duration::from_millis(u64::from(std::process::id() % 20)));
}

fn blocked_in_open(mount: &Mount) -> Box<dyn std::any::Any> {
    let path = mount.path().join(".fifofs/pipe/never");
    blocks(move || {
        drop(
            OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_CLOEXEC)
                .open(path),
        )
    });
    Box::new(open_for_writing(mount.path(), "x"))
}

/// A capture that this process itself writes, and its reader.
fn a_capture() -> impl std::any::Any {
    let capture = new_capture("x");
    let reader = capture.reader().expect("a reader");
    let file = File::create(capture.path()).expect("a file");
    (capture, reader, file)
}

/// Threads that make mounts and captures one after the other.
fn makes_for_ever(make: fn()) -> Box<dyn std::any::Any> {
    for _ in 0..2 {
        thread::spawn(move || {
            loop {
                make();
            }
        });
    }
    in_the_midst();
    Box::new(())
}

fn make_and_drop() {
    let mount = Mount::builder().mount_temporary().expect("a mount");
    drop(Capture::new("x").expect("a capture"));
    fifofs::unmount_idle();
    drop(mount);
}

/// A child without exec(2) makes a mount of its own. It may outlive this process.
fn have_a_fork_make() {
    // SAFETY: a child may use the C library's allocator; it uses no lock that another thread may hold.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let capture = Capture::new("x");
        let is_made = capture.is_ok();
        drop(capture);
        fifofs::unmount_idle();
        // SAFETY: ends without destructors.
        unsafe { libc::_exit(i32::from(!is_made)) };
    }
    let mut status = -1;
    // SAFETY: the pointer is valid.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((ended, status), (child, 0), "a fork");
}

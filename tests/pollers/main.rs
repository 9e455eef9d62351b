//! A table of pollers: however a program waits for a file of a mount, it is woken for new bytes, the end, errors and
//! the unmount, and gets the right bytes or the right error.
//!
//! Rows are the kinds of pollers (`kinds`, and programs in Python and Go), columns what happens to the file (the tests)
//! and how it is delivered. The fault to find is a poller that is not woken: it does not reach the state that all must
//! reach.

#![cfg(feature = "cli")]

#[path = "../common/mod.rs"]
mod common;
mod kinds;
mod table;

use std::path::PathBuf;
use std::process::Command;

use common::{Mount, Place, Process, SOON, signal};
use rustix::io::Errno;
use rustix::process::Signal;

use kinds::{End, TOKIO, start_uring_read};
use table::Pollers;

/// The door through which a file that does not exist yet can be read as it is written.
const DOOR: &str = ".fifofs/pipe";

/// Delivered as it is written.
const AS_WRITTEN: [&str; 3] = ["auto", "follow", "stream"];

fn mount(deliver: &str) -> Mount {
    Mount::start(&["--deliver", deliver])
}

fn pollers(mount: &Mount, path: impl Into<PathBuf>) -> Pollers {
    Pollers::start(mount.place(), &mount.path().join(path.into()))
}

/// Begins `x.log`, adds a line to it for each of the flags `line-1`, `line-2` and `line-3`, and does `last` when `end`
/// is raised.
fn writer(mount: &Mount, last: &str) -> Process {
    let writer = mount.shell(&format!(
        "exec 3> $D/x.log; for i in 1 2 3; do await line-$i; echo line $i >&3; done; await end; {last}"
    ));
    mount.wait_exists("x.log");
    writer
}

const LINES: &str = "line 1\nline 2\nline 3\n";

/// Lets the lines be written one by one, each when all pollers have the one before.
fn lines(mount: &Mount, pollers: &Pollers) {
    for line in 1..=3 {
        mount.raise(&format!("line-{line}"));
        pollers.all_have(&LINES[..7 * line]);
    }
}

/// The same if nothing is delivered before the end.
fn lines_unseen(mount: &Mount, pollers: &Pollers) {
    for line in 1..=3 {
        mount.raise(&format!("line-{line}"));
    }
    mount.wait_for("the lines", || {
        mount
            .file("x.log")
            .metadata()
            .is_ok_and(|x| x.len() == LINES.len() as u64)
    });
    pollers.all_have("");
}

#[test]
fn lines_wake_them_one_by_one_and_so_does_the_end() {
    for deliver in AS_WRITTEN {
        let mount = mount(deliver);
        let writer = writer(&mount, "exec 3>&-");
        let pollers = pollers(&mount, "x.log");
        lines(&mount, &pollers);
        mount.raise("end");
        pollers.all_end_with(LINES);
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

#[test]
fn they_can_wait_for_a_file_that_is_not_there_yet() {
    for deliver in AS_WRITTEN {
        let mount = mount(deliver);
        let pollers = pollers(&mount, format!("{DOOR}/x.log"));
        let writer = writer(&mount, "exec 3>&-");
        lines(&mount, &pollers);
        mount.raise("end");
        pollers.all_end_with(LINES);
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

#[test]
fn they_can_wait_for_the_next_writing() {
    let mount = mount("follow");
    mount
        .shell("echo before > $D/x.log")
        .finish(SOON)
        .succeeded();
    assert_eq!(mount.finished("x.log"), b"before\n");
    let pollers = pollers(&mount, ".fifofs/next/pipe/x.log");
    let writer = writer(&mount, "exec 3>&-");
    lines(&mount, &pollers);
    mount.raise("end");
    pollers.all_end_with(LINES);
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_settled_file_wakes_them_when_it_is_done() {
    for door in [".", DOOR] {
        let mount = mount("settled");
        let writer = writer(&mount, "exec 3>&-");
        let pollers = pollers(&mount, format!("{door}/x.log"));
        lines_unseen(&mount, &pollers);
        mount.raise("end");
        pollers.all_end_with(LINES);
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

/// Bytes that come while a poller asks, reads or is about to sleep.
#[test]
fn bytes_that_come_at_any_moment_wake_them() {
    let expected: String = (0..5_000).map(|i| format!("{i}\n")).collect();
    for deliver in ["follow", "stream"] {
        for door in [".", DOOR] {
            let mount = mount(deliver);
            let writer = mount.python(
                r#"
fd = os.open(D + "/x.log", os.O_WRONLY | os.O_CREAT)
wait_flag("begin")
for i in range(5000): write_all(fd, b"%d\n" % i)
"#,
            );
            mount.wait_exists("x.log");
            let pollers = pollers(&mount, format!("{door}/x.log"));
            mount.raise("begin");
            pollers.all_end_with(&expected);
            writer.finish(SOON).succeeded();
            mount.unmount();
        }
    }
}

/// The kernel takes the end of the available bytes for the end, as for any file that grows; but it once asked again for
/// bytes that it had, and put them behind the first: they appeared a hundred times.
#[test]
fn reads_by_io_uring_get_no_byte_twice() {
    for deliver in AS_WRITTEN {
        let mount = mount(deliver);
        let writer = writer(&mount, "exec 3>&-");
        let (reader, kept) = start_uring_read(&mount.file("x.log"));
        for line in 1..=3 {
            mount.raise(&format!("line-{line}"));
            mount.wait_for("the line", || {
                mount
                    .file("x.log")
                    .metadata()
                    .is_ok_and(|x| x.len() == 7 * line)
            });
        }
        mount.raise("end");
        mount.wait_for("the reader's end", || reader.lock().end.is_some());
        let got = String::from_utf8_lossy(&reader.lock().got).into_owned();
        assert!(LINES.starts_with(&got), "{deliver}: {got:?}");
        drop(kept);
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

#[test]
fn rewritten_bytes_wake_them_with_an_error() {
    for door in [".", DOOR] {
        let mount = mount("follow");
        let writer = writer(
            &mount,
            "printf L | dd of=$D/x.log conv=notrunc status=none; await over",
        );
        let pollers = pollers(&mount, format!("{door}/x.log"));
        lines(&mount, &pollers);
        mount.raise("end");
        pollers.all_fail_with(LINES, Errno::STALE);
        mount.raise("over");
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

#[test]
fn the_death_of_the_writer_wakes_them_with_an_error() {
    for deliver in AS_WRITTEN {
        let mount = mount(deliver);
        let writer = writer(&mount, "kill -KILL $$");
        let pollers = pollers(&mount, "x.log");
        lines(&mount, &pollers);
        mount.raise("end");
        pollers.all_fail_with(LINES, Errno::IO);
        writer.finish(SOON);
        mount.unmount();
    }
}

#[test]
fn the_death_of_a_settled_files_writer_wakes_them_with_an_error() {
    let mount = mount("settled");
    let writer = writer(&mount, "kill -KILL $$");
    let pollers = pollers(&mount, "x.log");
    lines_unseen(&mount, &pollers);
    mount.raise("end");
    pollers.all_come_to("EIO", |progress| {
        progress.end == Some(End::Failed(Errno::IO))
    });
    writer.finish(SOON);
    mount.unmount();
}

#[test]
fn a_file_put_in_place_of_theirs_wakes_them_with_more_or_with_an_error() {
    for begins_alike in [true, false] {
        let mount = mount("follow");
        let new = match begins_alike {
            true => "line 1\\nline 2\\nline 3\\nmore\\n",
            false => "other\\n",
        };
        let writer = writer(
            &mount,
            &format!("printf '{new}' > $D/new; mv $D/new $D/x.log; exec 3>&-"),
        );
        let pollers = pollers(&mount, "x.log");
        lines(&mount, &pollers);
        mount.raise("end");
        match begins_alike {
            true => pollers.all_end_with(&format!("{LINES}more\n")),
            false => pollers.all_fail_with(LINES, Errno::STALE),
        }
        writer.finish(SOON).succeeded();
        mount.unmount();
    }
}

#[test]
fn the_removal_of_their_file_wakes_them_with_an_error() {
    let mount = mount("follow");
    let writer = writer(&mount, "rm $D/x.log; exec 3>&-");
    let pollers = pollers(&mount, "x.log");
    lines(&mount, &pollers);
    mount.raise("end");
    pollers.all_fail_with(LINES, Errno::NOENT);
    writer.finish(SOON).succeeded();
    mount.unmount();
}

/// A writer, and pollers of its file, of one that does not exist, and of the events.
fn writer_and_pollers(mount: &Mount) -> (Process, [Pollers; 3]) {
    let writer = writer(mount, "");
    let of_a_file = pollers(mount, "x.log");
    lines(mount, &of_a_file);
    let of_nothing = pollers(mount, format!("{DOOR}/nothing"));
    let of_events = pollers(mount, ".fifofs/events");
    (writer, [of_a_file, of_nothing, of_events])
}

#[test]
fn the_end_of_the_daemon_wakes_them_with_an_error() {
    let mount = mount("follow");
    let (_writer, all) = writer_and_pollers(&mount);
    mount.unmount();
    all.iter().for_each(Pollers::all_fail);
}

#[test]
fn a_lazy_unmount_lets_them_go_on() {
    let mut mount = mount("follow");
    let writer = writer(&mount, "exec 3>&-");
    let pollers = pollers(&mount, "x.log");
    mount.raise("line-1");
    pollers.all_have(&LINES[..7]);
    let mut command = Command::new("umount");
    command.arg("-l").arg(mount.path());
    mount.place().spawn(command).finish(SOON).succeeded();
    lines(&mount, &pollers);
    mount.raise("end");
    pollers.all_end_with(LINES);
    writer.finish(SOON).succeeded();
    mount.wait_daemon(SOON);
}

/// The kernel then answers each POLL with POLLERR alone, which `AsyncFd` reports only if it is asked to.
#[test]
fn a_forced_unmount_wakes_them_with_an_error() {
    let mut mount = mount("follow");
    let (_writer, all) = writer_and_pollers(&mount);
    let path = mount.path();
    let arguments = ["unmount", "--force", path.to_str().expect("UTF-8")];
    mount.place().fifofs(&arguments).finish(SOON).succeeded();
    for pollers in all {
        pollers.without(TOKIO).all_fail();
    }
    mount.wait_daemon(SOON);
}

/// The process that served the mount lives on, and so does the connection of processes that have a file open.
#[test]
fn the_end_of_a_librarys_mount_wakes_them_with_an_error() {
    let place = Place::new();
    let mount = fifofs::Mount::builder()
        .mount(place.mount_point())
        .expect("a mount");
    let _writer = place.shell("exec 3> $D/x.log; echo line >&3; await never");
    let file = mount.path().join("x.log");
    place.wait_for("the file", SOON, || file.exists());
    let of_a_file = Pollers::start(&place, &file);
    of_a_file.all_have("line\n");
    let of_nothing = Pollers::start(&place, &mount.path().join(DOOR).join("nothing"));
    drop(mount);
    of_a_file.all_fail();
    of_nothing.all_fail();
}

/// As after a forced unmount.
#[test]
fn the_death_of_the_daemon_wakes_them_with_an_error() {
    let mut mount = mount("follow");
    let (_writer, all) = writer_and_pollers(&mount);
    mount.kill_daemon();
    for pollers in all {
        pollers.without(TOKIO).all_fail();
    }
}

#[test]
fn events_wake_them() {
    let mount = mount("follow");
    let pollers = pollers(&mount, ".fifofs/events");
    for times in 1..=3 {
        mount
            .shell("echo something > $D/x.log; echo more >> $D/x.log")
            .finish(SOON)
            .succeeded();
        let ends = |text: &str| text.matches(r#""event":"done""#).count();
        pollers.all_come_to(&format!("{times} events 'done'"), |progress| {
            ends(&String::from_utf8_lossy(&progress.got)) == times && progress.end.is_none()
        });
    }
    signal(mount.pid(), Signal::INT);
    pollers.all_fail();
    mount.unmount();
}

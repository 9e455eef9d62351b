//! What is shown: by `fifofs ls`, in the control directory, and by `--help`.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::common::{FIFOFS, Mount, SOON, assert_same};

/// Whether a listing names this process.
fn names(listing: &str, pid: i32) -> bool {
    listing
        .split(|character: char| !character.is_ascii_digit())
        .any(|number| number == pid.to_string())
}

#[test]
fn ls_shows_each_files_state_way_and_reason_and_who_waits_for_whom() {
    let mount = Mount::start(&["--deliver", "*.stream=stream"]);
    let writer = mount.shell(
        "exec 3> $D/x.log 4> $D/x.zip 5> $D/x.stream; echo a >&3; echo a >&4; echo a >&5; await end",
    );
    mount.wait_exists("x.stream");
    mount
        .shell("/bin/echo done > $D/old.txt")
        .finish(SOON)
        .succeeded();
    let follows = mount.reader("x.log");
    let settled = mount.reader("x.zip");
    let stream = mount.reader("x.stream");
    let nothing = mount.reader(".fifofs/wait/missing.txt");
    follows.wait_output(b"a\n");
    for reader in [&follows, &settled, &stream, &nothing] {
        mount.wait_parked(reader);
    }
    let listing = mount.ls();
    println!("{listing}");
    for word in [
        "x.log",
        "x.zip",
        "x.stream",
        "old.txt",
        "missing.txt",
        "follow",
        "settled",
        "stream",
        "cat",
        "bash",
    ] {
        assert!(listing.contains(word), "no '{word}' in\n{listing}");
    }
    for process in [&writer, &follows, &settled, &stream, &nothing] {
        assert!(
            names(&listing, process.pid()),
            "no process {} in\n{listing}",
            process.pid()
        );
    }
    let json = mount
        .place()
        .fifofs(&["ls", "--json", mount.path().to_str().expect("UTF-8")])
        .finish(SOON)
        .succeeded()
        .text();
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    assert!(json.starts_with(&format!(r#"{{"mount":"{}""#, mount.path().display())));
    for process in [&writer, &follows, &settled, &stream, &nothing] {
        assert!(names(&json, process.pid()), "not in the JSON: {json}");
    }
    let status = mount.status().to_string();
    for name in ["x.log", "x.zip", "x.stream", "old.txt"] {
        assert!(status.contains(name), "no {name} in the status: {status}");
    }
    mount.raise("end");
    writer.finish(SOON).succeeded();
    for reader in [follows, settled, stream] {
        reader.finish(SOON).succeeded().printed("a\n");
    }
    drop(nothing);
    mount.unmount();
}

#[test]
fn ls_watch_goes_on_until_it_is_interrupted() {
    let mount = Mount::start(&[]);
    let mut watch = mount
        .place()
        .fifofs(&["ls", "--watch", mount.path().to_str().expect("UTF-8")]);
    mount.wait_for("the file to be shown", || {
        // It may not watch yet.
        mount
            .shell("/bin/echo x > $D/seen.txt")
            .finish(SOON)
            .succeeded();
        String::from_utf8_lossy(&watch.output()).contains("seen.txt")
    });
    assert!(watch.is_running());
    watch.signal(Signal::INT);
    watch
        .try_finish(Duration::from_secs(2))
        .expect("an interrupt ends it");
    mount.unmount();
}

#[test]
fn the_control_directory_never_shows_in_a_listing() {
    let mount = Mount::start(&[]);
    mount
        .shell("echo x > $D/x; mkdir $D/d; echo y > $D/d/y; cd $D; find . | sort; ls -A; ls -A .fifofs/..; echo .f*")
        .finish(SOON)
        .succeeded()
        .printed(".\n./d\n./d/y\n./x\nd\nx\nd\nx\n.f*\n");
    mount
        .shell("cat $D/.fifofs/status > /dev/null")
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

#[test]
fn help_names_the_commands() {
    let done = Command::new(FIFOFS)
        .arg("--help")
        .output()
        .expect("started");
    let help = String::from_utf8_lossy(&done.stdout).into_owned();
    for command in ["mount", "cat", "ls", "unmount"] {
        assert!(help.contains(command), "no {command} in\n{help}");
    }
    assert_same(&done.stderr, b"");
}

/// It waited for the next event, which on a quiet mount never comes.
#[test]
fn ls_watch_ends_when_nobody_reads_it_any_more() {
    let mount = Mount::start(&[]);
    mount
        .shell(r#""$FIFOFS" ls --watch $D | sleep 0.2"#)
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

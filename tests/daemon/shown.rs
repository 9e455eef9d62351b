//! The output of `fifofs ls`, of the control directory, and of `--help`.

use std::process::Command;

use rustix::process::Signal;

use crate::AS_NOBODY;
use crate::common::{FIFOFS, Mount, Place, SOON, assert_same, needs, needs_root, parked_in_group};

/// Whether a listing names this process.
fn names(listing: &str, pid: i32) -> bool {
    listing
        .split(|character: char| !character.is_ascii_digit())
        .any(|number| number == pid.to_string())
}

#[test]
fn ls_shows_each_files_state_way_and_reason_and_which_process_waits_for_which() {
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
    let nothing = mount.reader(".fifofs/pipe/missing.txt");
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
        // It may not have subscribed yet.
        mount
            .shell("/bin/echo x > $D/seen.txt")
            .finish(SOON)
            .succeeded();
        String::from_utf8_lossy(&watch.output()).contains("seen.txt")
    });
    assert!(watch.is_running());
    watch.signal(Signal::INT);
    watch.try_finish(SOON).expect("an interrupt ends it");
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
fn ls_watch_ends_when_its_output_has_no_reader_any_more() {
    let mount = Mount::start(&[]);
    mount
        .shell(r#""$FIFOFS" ls --watch $D | sleep 0.2"#)
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

/// Names contain one user's bytes, and appear on another user's terminal.
#[test]
fn ls_cat_and_the_log_escape_control_characters() {
    const NAME: &str = "evil\x1b]0;T\x07\x1b[2J\nfake: line\u{9b}.log";
    const SHOWN: &str = r"evil\x1b]0;T\x07\x1b[2J\nfake: line\x9b.log";
    let mount = Mount::start(&["--deliver", "follow"]);
    let writer = mount.python(
        r#"
name = D + "/evil\x1b]0;T\x07\x1b[2J\nfake: line\u009b.log"
libc = ctypes.CDLL(None)
libc.prctl(15, b"e\x1b[31m\nX", 0, 0, 0)
fd = os.open(name, os.O_RDWR | os.O_CREAT)
write_all(fd, b"one\n")
wait_flag("read")
os.pwrite(fd, b"two\n", 0)
wait_flag("end")
"#,
    );
    mount.wait_exists(NAME);
    let path = mount.file(NAME).display().to_string();
    let reader = mount.place().fifofs(&["cat", &path]);
    reader.wait_output(b"one\n");
    mount.raise("read");
    let cat = reader.finish(SOON);
    let ls = mount.ls();
    let log = std::fs::read_to_string(mount.place().at("daemon.log")).expect("the log");
    for (what, text) in [("cat", &cat.stderr), ("ls", &ls), ("the log", &log)] {
        let obeyed = text.find(|c: char| c != '\n' && c.is_control());
        assert_eq!(obeyed, None, "{what} says {text:?}");
        assert!(text.contains(SHOWN), "{what} says {text:?}");
        assert!(!text.contains("\nfake"), "{what} says {text:?}");
    }
    assert!(ls.contains(r"writer e\x1b[31m\nX ("), "{ls}");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn control_characters_of_the_command_line_are_escaped() {
    let place = Place::new();
    let done = place
        .shell(r#""$FIFOFS" unmount a "$(printf 'x\007\ny')""#)
        .finish(SOON)
        .failed_saying("unexpected argument");
    assert!(!done.stderr.contains('\x07'), "{:?}", done.stderr);
}

/// Each write to a log is a message of its own.
#[test]
fn one_message_is_one_write() {
    let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().expect("sockets");
    ours.set_read_timeout(Some(SOON)).expect("a deadline");
    let done = Command::new(FIFOFS)
        .args(["cat", "/nowhere/x"])
        .stderr(std::os::fd::OwnedFd::from(theirs))
        .status()
        .expect("started");
    assert_eq!(done.code(), Some(125));
    let mut buffer = [0; 4096];
    let length = ours.recv(&mut buffer).expect("a message");
    let said = String::from_utf8_lossy(&buffer[..length]);
    assert!(said.starts_with("fifofs: cannot "), "{said:?}");
    assert!(said.ends_with('\n'), "{said:?}");
}

#[test]
fn ls_shows_only_what_is_below_the_directory_that_it_is_given() {
    let mount = Mount::start(&[]);
    mount
        .shell("mkdir -p $D/a/b $D/ab; for f in x a/x a/b/x ab/x; do echo 1 > $D/$f; done")
        .finish(SOON)
        .succeeded();
    let waits = mount
        .place()
        .fifofs(&["cat", mount.file("a/none").to_str().expect("UTF-8")]);
    mount.wait_parked(&waits);
    for (listed, expected) in [
        ("", "a/b/x a/x ab/x x a/none"),
        ("a", "a/b/x a/x a/none"),
        ("a/b/", "a/b/x"),
        ("a/b/x", "a/b/x"),
    ] {
        let file = mount.file(listed).display().to_string();
        let ls = |options: &[&str]| {
            let mut words = vec!["ls"];
            words.extend(options);
            words.push(&file);
            mount.place().fifofs(&words).finish(SOON).succeeded().text()
        };
        let text = ls(&[]);
        let entries = text.lines().filter_map(|line| line.strip_prefix("  "));
        let names = entries.filter(|line| !line.starts_with(' '));
        let names: Vec<_> = names.filter_map(|line| line.split("  ").next()).collect();
        assert_eq!(names.join(" "), expected, "of {listed:?}:\n{text}");
        let json: serde_json::Value = serde_json::from_str(&ls(&["--json"])).expect("JSON");
        let entries = ["files", "waiting"].map(|list| json[list].as_array().expect("a list"));
        let paths = entries.into_iter().flatten().map(|entry| &entry["path"]);
        let paths: Vec<_> = paths.filter_map(|path| path.as_str()).collect();
        assert_eq!(paths.join(" "), expected, "of {listed:?}:\n{json}");
    }
    mount
        .shell("$FIFOFS ls $D/missing")
        .finish(SOON)
        .failed_saying("No such file");
    drop(waits);
    mount.unmount();
}

#[test]
fn ls_leaves_out_mounts_of_other_users() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let mount = Mount::start(&[]);
    std::fs::copy(FIFOFS, mount.place().at("fifofs")).expect("a copy that others may run");
    let done = mount
        .shell(&format!("{AS_NOBODY} $P/../fifofs ls"))
        .finish(SOON)
        .succeeded();
    assert!(!done.stderr.contains("Permission"), "{}", done.stderr);
    let path = mount.path().display().to_string();
    assert!(!done.text().contains(&path), "{}", done.text());
    mount
        .shell(&format!("{AS_NOBODY} $P/../fifofs ls $D"))
        .finish(SOON)
        .failed_saying("Permission denied");
    mount.unmount();
}

/// The daemon's pid namespace is below the test's, like that of a container whose volume other
/// processes read.
#[test]
fn an_invisible_reader_is_reported_once_and_any_signal_ends_its_wait() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let place = Place::new();
    let daemon = place.shell("exec unshare --pid --fork --kill-child $FIFOFS mount $D 2> $P/log");
    place.wait_for("the mount", SOON, || {
        place.mount_point().join(".fifofs/status").exists()
    });
    for _ in 0..2 {
        let reader = place.python(
            r#"
signal.signal(signal.SIGCHLD, lambda *_: raise_flag("signalled-%d" % os.getpid()))
open(D + "/.fifofs/pipe/nothing")
"#,
        );
        let flag = place
            .at("flags")
            .join(format!("signalled-{}", reader.pid()));
        // Python tries again.
        for _ in 0..3 {
            place.wait_for("the reader to wait", SOON, || {
                parked_in_group(reader.pid()) > 0
            });
            let _ = std::fs::remove_file(&flag);
            place.wait_for("the signal to be handled", SOON, || {
                reader.signal(Signal::CHILD);
                flag.exists()
            });
        }
        reader.signal(Signal::TERM);
        assert!(!reader.finish(SOON).status.success());
    }
    let log = std::fs::read_to_string(place.at("plain").join("log")).expect("the log");
    assert_eq!(log.matches("pid namespace").count(), 1, "{log}");
    drop(daemon);
}

#[test]
fn ls_aligns_its_columns_and_sorts_numbers_by_their_value() {
    let mount = Mount::start(&["--deliver", "settled"]);
    mount
        .shell(
            r#"
            long=$(printf 'l%.0s' {1..60})
            for i in {1..100}; do /bin/echo $i > $D/file-$i; done
            /bin/head -c 1500 /dev/zero > $D/big; /bin/echo 1 > "$D/$long"; /bin/echo 2 > "$D/w$(printf '\033')"
            "#,
        )
        .finish(SOON)
        .succeeded();
    let mut text = String::new();
    mount.wait_for("all to be done", || {
        text = mount.ls();
        text.matches("  done  ").count() == 103
    });
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines.len(), 103, "a line for each:\n{text}");
    let names: Vec<&str> = (lines.iter())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut expected = vec!["big".to_owned()];
    expected.extend((1..=100).map(|i| format!("file-{i}")));
    expected.extend(["l".repeat(60), r"w\x1b".to_owned()]);
    assert_eq!(names, expected, "{text}");
    assert!(
        lines[0].starts_with("  big       done  1.46 KiB  settled: "),
        "{text}"
    );
    assert!(
        lines[1].starts_with("  file-1    done       2 B  settled: "),
        "{text}"
    );
    assert!(
        lines[100].starts_with("  file-100  done       4 B  settled: "),
        "{text}"
    );
    assert!(
        lines[101].starts_with(&format!("  {}  done       2 B  settled: ", "l".repeat(60))),
        "{text}"
    );
    assert!(
        lines[102].starts_with(r"  w\x1b     done       2 B  settled: "),
        "{text}"
    );
    assert!(lines[1].contains("; written by bash ("), "{text}");
    let json = mount
        .place()
        .fifofs(&["ls", "--json", mount.path().to_str().expect("UTF-8")])
        .finish(SOON)
        .succeeded()
        .text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["files"], mount.status()["files"]);
    mount.unmount();
}

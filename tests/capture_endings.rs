//! How a captured output ends: whole, cut off, missing, rewritten; and what programs do to a file on the way there.

mod library;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use fifofs::{Capture, Deliver, Error, Mount, Way};

use library::{BACKENDS, SOON, read_out, scratch, sh, until, within};

fn capture(name: &str) -> Capture {
    Capture::new(name).expect("a mount")
}

#[test]
fn a_reader_of_a_program_that_was_killed_gets_every_byte_and_then_an_error() {
    let capture = capture("out.txt");
    let script = r#"seq 20000 > "$1"; echo last >> "$1"; kill -KILL $$"#;
    let mut running = capture.spawn(&mut sh(script, &capture)).unwrap();
    let (bytes, error) = within(SOON, "a killed child", move || {
        let read = read_out(&mut running.reader);
        assert_eq!(running.child.wait().unwrap().signal(), Some(9));
        read
    });
    assert!(bytes.ends_with(b"20000\nlast\n"));
    assert!(matches!(error, Some(Error::Failed { .. })), "{error:?}");
}

#[test]
fn the_run_of_a_program_that_was_killed_gives_the_signal_and_the_bytes() {
    let capture = capture("out.txt");
    let script = r#"seq 20000 > "$1"; kill -KILL $$"#;
    let output = within(SOON, "a killed child", move || {
        capture.run(&mut sh(script, &capture))
    });
    let output = output.unwrap();
    assert_eq!(output.status.signal(), Some(9));
    assert!(output.bytes.ends_with(b"\n20000\n"));
}

#[test]
fn a_settled_output_of_a_program_that_was_killed_is_not_delivered() {
    let capture = capture("out.zip");
    let script = r#"exec > "$1"; head -c 3000000 /dev/zero; kill -KILL $$"#;
    let mut running = capture.spawn(&mut sh(script, &capture)).unwrap();
    let (bytes, error) = within(SOON, "a killed child", move || {
        let read = read_out(&mut running.reader);
        assert_eq!(running.reader.way(), Some(Way::Settled));
        running.child.wait().unwrap();
        read
    });
    assert!(bytes.is_empty());
    assert!(matches!(error, Some(Error::Failed { .. })), "{error:?}");
    let output = within(SOON, "a killed child", move || {
        capture.run(&mut sh(script, &capture))
    });
    let output = output.unwrap();
    assert_eq!(
        (output.status.signal(), output.bytes),
        (Some(9), Vec::new())
    );
}

#[test]
fn a_stream_that_is_written_anew_is_an_error_and_never_blocks_its_program() {
    let mount = Mount::builder()
        .deliver_all(Deliver::Stream)
        .mount_temporary()
        .unwrap();
    let capture = mount.capture("out.txt").unwrap();
    let script = r#"echo a > "$1"; sleep 0.3; rm "$1"; for i in 1 2 3; do
        head -c 3000000 /dev/zero > "$1"; rm -f "$1"; sleep 0.2; done; exit 0"#;
    let result = within(SOON, "a stream written anew", move || {
        capture.run(sh(script, &capture).stderr(Stdio::null()))
    });
    assert!(
        matches!(
            result.as_ref().map_err(|e| &*e.source),
            Err(Error::Failed { .. })
        ),
        "{result:?}"
    );
}

#[test]
fn a_writer_that_was_killed_under_a_shell_that_says_all_is_well_is_an_error() {
    let capture = capture("out.txt");
    let script = r#"sh -c 'echo part; kill -KILL $$' > "$1"; exit 0"#;
    let result = within(SOON, "a killed grandchild", move || {
        capture.run(sh(script, &capture).stderr(Stdio::null()))
    });
    assert!(
        matches!(
            result.as_ref().map_err(|e| &*e.source),
            Err(Error::Failed { .. })
        ),
        "{result:?}"
    );
}

#[test]
fn a_program_that_succeeds_and_makes_no_file_is_an_error() {
    let capture = capture("out.zip");
    let path = capture.path().to_owned();
    for script in ["true", r#"echo a > "$1.tmp""#, r#"echo a > "$1"; rm "$1""#] {
        match capture.run(&mut sh(script, &capture)) {
            Err(error) if matches!(*error.source, Error::Missing { .. }) => {
                assert!(
                    error.to_string().starts_with(path.to_str().unwrap()),
                    "{error}"
                )
            }
            other => panic!("{script}: {other:?}"),
        }
    }
    let output = capture.run(&mut sh("exit 2", &capture)).unwrap();
    assert_eq!((output.status.code(), output.bytes), (Some(2), Vec::new()));
}

#[test]
fn an_empty_file_is_a_result() {
    let output = capture("out.zip")
        .run(&mut sh("true", &capture("other")))
        .err();
    assert!(output.is_some());
    let capture = capture("out.zip");
    let output = capture.run(&mut sh(r#": > "$1""#, &capture)).unwrap();
    assert!(output.status.success() && output.bytes.is_empty());
}

#[test]
fn a_format_that_is_patched_comes_out_as_it_is_on_disk() {
    let place = scratch();
    fs::write(place.path().join("notes.txt"), "notes\n".repeat(5000)).unwrap();
    let capture = capture("report.zip");
    let script = r#"cd "$2" && zip -q "$1" notes.txt && zip -q -T "$1""#;
    let mut command = sh(script, &capture);
    let output = capture.run(command.arg(place.path())).unwrap();
    assert!(output.status.success());
    let plain = place.path().join("copy.zip");
    fs::write(&plain, &output.bytes).unwrap();
    let check = std::process::Command::new("unzip")
        .arg("-tq")
        .arg(&plain)
        .output();
    assert!(check.expect("unzip").status.success());
}

#[test]
fn programs_may_do_to_the_file_what_they_like() {
    // Each script, and the file that it must leave.
    let seq = |n: u32| (1..=n).map(|i| format!("{i}\n")).collect::<String>();
    let cases = [
        (r#"seq 2000 > "$1.tmp"; mv "$1.tmp" "$1""#, seq(2000)),
        (
            r#"echo old > "$1"; seq 2000 > "$1.tmp"; mv -f "$1.tmp" "$1""#,
            seq(2000),
        ),
        (r#"echo old > "$1"; rm "$1"; seq 2000 > "$1""#, seq(2000)),
        (
            r#"echo old > "$1"; rm "$1"; sleep 0.3; seq 3 > "$1""#,
            seq(3),
        ),
        (r#"seq 2000 > "$1"; truncate -s 4 "$1""#, "1\n2\n".into()),
        (r#"seq 3 > "$1"; sed -i s/2/x/ "$1""#, "1\nx\n3\n".into()),
        (
            r#"seq 3 > "$1"; cp "$1" "$1.2"; cat "$1.2" >> "$1""#,
            seq(3).repeat(2),
        ),
        (r#"echo a > "$1.2"; ln "$1.2" "$1""#, "a\n".into()),
        (r#"echo a > "$1.2"; ln -s out.zip.2 "$1""#, "a\n".into()),
        (
            r#"d=${1%/*}; rm -rf "$d"; mkdir "$d"; echo a > "$1""#,
            "a\n".into(),
        ),
        (
            r#"exec 3<> "$1"; echo abc >&3; printf X | dd of="$1" conv=notrunc status=none"#,
            "Xbc\n".into(),
        ),
    ];
    for (script, expected) in cases {
        // A name that is settled: the reader gets the file as it is at the end.
        let capture = capture("out.zip");
        let output = within(SOON, script, move || capture.run(&mut sh(script, &capture)));
        let output = output.unwrap_or_else(|error| panic!("{script}: {error}"));
        assert!(output.status.success(), "{script}");
        assert_eq!(String::from_utf8_lossy(&output.bytes), expected, "{script}");
    }
}

#[test]
fn a_program_that_edits_its_own_output_does_not_wait_for_itself() {
    // On a mount where other readers of a file that is being written wait for it.
    let mount = Mount::builder()
        .deliver_all(Deliver::Settled)
        .mount_temporary()
        .unwrap();
    let capture = mount.capture("out.txt").unwrap();
    let script = r#"echo xyx > "$1"; sed -i s/x/y/ "$1"; grep -q yyx "$1""#;
    let output = within(SOON, "sed -i", move || {
        capture.run(&mut sh(script, &capture))
    });
    let output = output.unwrap();
    assert!(output.status.success());
    assert_eq!(output.bytes, b"yyx\n");
}

#[test]
fn bytes_that_change_after_they_were_given_are_an_error_that_names_them() {
    let capture = capture("log.txt");
    let script = r#"exec 3> "$1"; printf 'first line\nsecond line\n' >&3; sleep 1
        printf 'FIRST' | dd of="$1" conv=notrunc status=none; printf 'third\n' >&3"#;
    let result = within(SOON, "a program that comes back", move || {
        capture.run(&mut sh(script, &capture))
    });
    match result.map_err(Error::from) {
        Err(Error::Rewritten { range, .. }) => {
            let range = range.expect("which bytes");
            assert_eq!(range.start, 0);
            assert!((5..=23).contains(&range.end), "{range:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_run_gives_its_own_output_and_never_that_of_the_one_before() {
    // Names of both kinds: delivered as written, and when done.
    for name in ["out.txt", "out.zip"] {
        let capture = capture(name);
        for (script, expected) in [
            (r#"echo first > "$1""#, "first\n"),
            (r#"sleep 0.3; echo second > "$1""#, "second\n"),
            (r#"echo third >> "$1""#, "second\nthird\n"),
            (r#"echo fourth > "$1.tmp"; mv "$1.tmp" "$1""#, "fourth\n"),
            (r#"rm "$1"; sleep 0.2; echo fifth > "$1""#, "fifth\n"),
        ] {
            let output = capture.run(&mut sh(script, &capture));
            let output = output.unwrap_or_else(|error| panic!("{name}, {script}: {error}"));
            assert_eq!(
                String::from_utf8_lossy(&output.bytes),
                expected,
                "{name}: {script}"
            );
        }
        let result = capture.run(&mut sh("true", &capture));
        assert!(
            matches!(
                result.as_ref().map_err(|e| &*e.source),
                Err(Error::Missing { .. })
            ),
            "{name}: {result:?}"
        );
        // The earlier file can still be read.
        let mut reader = capture.reader().unwrap();
        assert_eq!(reader.read_all().unwrap(), b"fifth\n");
    }
}

#[test]
fn every_reader_gets_all_the_bytes() {
    let capture = capture("numbers.txt");
    let mut before = capture.reader().unwrap();
    let mut running = capture
        .spawn(&mut sh(r#"seq 50000 > "$1""#, &capture))
        .unwrap();
    let mut beside = capture.reader().unwrap();
    let (first, second, third) = within(SOON, "three readers", move || {
        let others = std::thread::spawn(move || (before.read_all(), beside.read_all()));
        let own = running.reader.read_all().unwrap();
        running.child.wait().unwrap();
        let (before, beside) = others.join().unwrap();
        (own, before.unwrap(), beside.unwrap())
    });
    assert_eq!(first.len(), 288_894);
    assert!(first == second && first == third);
}

#[test]
fn a_directory_tree_at_the_path_goes_with_the_capture() {
    // Deep enough that removing it by recursion once overflowed the stack.
    let capture = capture("out");
    let script = "import os, sys
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
for _ in range(4000):
    os.mkdir('d')
    os.chdir('d')
";
    let mut command = std::process::Command::new("python3");
    let result = capture.run(command.args(["-c", script]).arg(capture.path()));
    assert!(
        matches!(
            result.as_ref().map_err(|e| &*e.source),
            Err(Error::Missing { .. })
        ),
        "{result:?}"
    );
    let path = capture.path().to_owned();
    drop(capture);
    until("the kernel has forgotten it", || !path.exists());
}

/// The error of the first run comes before the end of its program is noticed: the file of that program must still not
/// become the output of the next.
#[test]
fn the_file_of_a_run_that_failed_is_not_the_output_of_the_next() {
    let capture = capture("out.txt");
    let run = |script: &str| capture.run(&mut sh(script, &capture));
    for _ in 0..10 {
        let error = run(r#"echo one > "$1"; sleep 0.2; echo two > "$1""#).unwrap_err();
        assert!(matches!(*error.source, Error::Rewritten { .. }), "{error}");
        let output = run("exit 3").unwrap();
        assert_eq!(String::from_utf8_lossy(&output.bytes), "");
        let output = run(r#"echo next > "$1""#).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.bytes), "next\n");
    }
}

#[test]
fn a_program_with_piped_outputs_is_drained_while_it_runs() {
    // More than a pipe holds, on both, and before the file.
    let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; echo file > \"$1\"";
    for backend in BACKENDS {
        let output = within(SOON, "a program with pipes", move || {
            let target = backend.target("out.txt").unwrap();
            let mut command = sh(script, &*target);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            target.run(&mut command).unwrap()
        });
        assert_eq!(output.stdout, [0; 300_000]);
        assert_eq!(output.stderr, [0; 300_000]);
        assert_eq!(output.bytes, b"file\n");
        let output = within(SOON, "a program without", move || {
            let target = backend.target("out.txt").unwrap();
            target.run(&mut sh("echo file > \"$1\"", &*target)).unwrap()
        });
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn a_pipe_that_would_not_be_read_is_refused() {
    for backend in BACKENDS {
        let error = within(SOON, "a refused program", move || {
            let target = backend.target("out.txt").unwrap();
            let mut command = sh("head -c 300000 /dev/zero; echo file > \"$1\"", &*target);
            let error = target.run_to(command.stdout(Stdio::piped()), &mut Vec::new());
            error.unwrap_err()
        });
        assert!(matches!(*error.source, Error::Usage { .. }), "{error}");
    }
}

#[test]
fn a_run_whose_end_depends_on_this_process_says_so() {
    let (error, output) = within(SOON, "a run of a program with the file itself", || {
        let capture = Capture::new("out.txt").unwrap();
        let mut command = Command::new("echo");
        command
            .arg("hello")
            .stdout(File::create(capture.path()).unwrap());
        let error = capture.run(&mut command).unwrap_err();
        drop(command);
        // As the error advises.
        let mut running = {
            let mut command = Command::new("echo");
            command
                .arg("hello")
                .stdout(File::create(capture.path()).unwrap());
            capture.spawn(&mut command).unwrap()
        };
        let bytes = running.reader.read_all().unwrap();
        running.child.wait().unwrap();
        (error, bytes)
    });
    let text = error.to_string();
    assert!(
        text.contains("this process has the file open for writing; close it"),
        "{text}"
    );
    assert_eq!(output, b"hello\n");
}

#[test]
fn a_thread_that_closes_the_file_soon_after_the_program_is_waited_for() {
    let output = within(SOON, "a program and a thread", || {
        let capture = Capture::new("out.txt").unwrap();
        let mut file = File::create(capture.path()).unwrap();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            file.write_all(b"of a thread\n").unwrap();
        });
        let output = capture.run(&mut sh("exit 0", &capture)).unwrap();
        writing.join().unwrap();
        output
    });
    assert_eq!(output.bytes, b"of a thread\n");
}

#[test]
fn a_program_is_ended_and_reaped_if_its_sink_panics() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            std::panic::resume_unwind(Box::new("by the sink"))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let scratch = scratch();
    for backend in BACKENDS {
        let target = backend.target("endless.txt").unwrap();
        let pid_file = scratch.path().join(format!("{backend:?}.pid"));
        let mut command = Command::new("sh");
        let script = r#"echo $$ > "$2"; exec yes > "$1""#;
        let command = command
            .args(["-c", script, "sh"])
            .args([target.path(), &pid_file]);
        let run = std::panic::AssertUnwindSafe(|| target.run_to(command, &mut Panics));
        assert!(std::panic::catch_unwind(run).is_err());
        let pid: u32 = fs::read_to_string(&pid_file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // Not even a zombie is left.
        assert!(
            !fs::exists(format!("/proc/{pid}")).unwrap(),
            "{backend:?}: {pid}"
        );
    }
}

//! What a daemon reports to the program that started it and supervises it: a service manager, the
//! log, and collectors of metrics.

use std::collections::BTreeMap;

use crate::common::{Mount, Place, SOON, needs, needs_root};

#[test]
fn a_service_manager_is_notified_when_the_mount_is_ready_and_when_it_ends() {
    let place = Place::new();
    place
        .python(
            r#"
import os, signal, socket, subprocess
for address in ["socket", "\0fifofs-test-%d" % os.getpid()]:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(30)
    name = address.replace("\0", "@")
    mount = subprocess.Popen([os.environ["FIFOFS"], "mount", os.environ["D"]], stderr=subprocess.DEVNULL,
        env=dict(os.environ, NOTIFY_SOCKET=name))
    announced = manager.recv(4096).decode()
    assert "READY=1" in announced and "MAINPID=%d" % mount.pid in announced, announced
    open(os.environ["D"] + "/x", "w").close()
    mount.send_signal(signal.SIGTERM)
    assert manager.recv(4096) == b"STOPPING=1"
    assert mount.wait() == 0
"#,
        )
        .finish(SOON)
        .succeeded();
    place.assert_nothing_left();
}

#[test]
fn the_log_of_a_daemon_goes_to_the_given_file() {
    let place = Place::new();
    place
        .shell(
            r#"
            export RUST_LOG=warn
            "$FIFOFS" mount -d --log-file log "$D"
            ("$FIFOFS" cat "$D/x.txt"; echo $?) & sleep 0.3
            bash -c 'exec 3> "$D/x.txt"; echo aaaa >&3; sleep 0.5; printf bbbb 1<> "$D/x.txt"'
            wait
            "$FIFOFS" unmount "$D"
            grep -o 'WARN .*bytes 0 to [0-9]* were rewritten' log
            stat -c %a log
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("aaaa\n74\nWARN  fifofs::files] x.txt: bytes 0 to 4 were rewritten\n600\n");
    place.assert_nothing_left();
}

#[test]
fn without_a_file_the_log_of_a_daemon_goes_to_syslog_and_without_that_to_a_file_of_its_users() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let place = Place::new();
    // In namespaces with a syslog of the test, and without one.
    place
        .shell(
            r#"
            cat > script <<'END'
            mount --bind "$P" /var/log
            mount --bind "$P" /dev
            mknod -m 666 fuse c 10 229; mknod -m 666 null c 1 3
            rewrite() {
                "$FIFOFS" mount -d "$D"
                "$FIFOFS" cat "$D/x.txt" > /dev/null 2>&1 & sleep 0.3
                bash -c 'exec 3> "$D/x.txt"; echo aaaa >&3; sleep 0.5; printf bbbb 1<> "$D/x.txt"'
                wait $! || true
                "$FIFOFS" unmount "$D"
            }
            rewrite
            grep -c 'fifofs.*rewritten' fifofs.log
            "$PYTHON" -c '
import socket
syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
syslog.bind("/dev/log")
syslog.settimeout(30)
open("bound", "w").close()
line = syslog.recv(4096).decode()
assert line.startswith("<28>fifofs[") and "]: fifofs::files: x.txt: bytes 0 to 4" in line and "\n" not in line, line
print("syslog")' &
            until [ -e bound ]; do sleep 0.1; done
            rewrite
            wait
            rm fuse null
END
            unshare -m bash -e script
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("1\nsyslog\n");
    place.assert_nothing_left();
}

/// The samples of an OpenMetrics text by the text before the value, without the label of the mount;
/// checks the format.
fn samples(text: &str, mount: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    assert!(!body.contains("# EOF") && !body.contains('\r') && !body.contains("\n\n"));
    let is_name = |name: &str| {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with("fifofs_") && name.chars().all(is_valid)
    };
    let mut samples = BTreeMap::new();
    let mut families = std::collections::BTreeSet::new();
    let mut family = ("", "");
    let mut announced = Vec::new();
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# ") {
            let words: Vec<&str> = described.splitn(3, ' ').collect();
            let [what, name, value] = words[..] else {
                panic!("no description: {line}");
            };
            match what {
                "TYPE" => {
                    assert!(is_name(name) && families.insert(name), "{line}");
                    assert!(["gauge", "counter"].contains(&value), "{line}");
                    assert!(!name.ends_with("_total"), "{line}");
                    (family, announced) = ((name, value), vec![]);
                }
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                "HELP" => assert!(value.ends_with('.') && !value.contains('\\'), "{line}"),
                _ => panic!("no such description: {line}"),
            }
            // Once each, before the samples.
            assert!(name == family.0 && !announced.contains(&what), "{line}");
            announced.push(what);
            continue;
        }
        let unit = ["_bytes", "_seconds"].iter().any(|u| family.0.ends_with(u));
        assert_eq!(unit, announced.contains(&"UNIT"), "{line}");
        assert!(announced.contains(&"HELP"), "{line}");
        if !announced.contains(&"sample") {
            announced.push("sample");
        }
        let (key, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = key.split_once('{').expect("labels");
        let suffix = name.strip_prefix(family.0).expect("the metric's name");
        let expected = if family.1 == "counter" { "_total" } else { "" };
        assert_eq!(suffix, expected, "{line}");
        let labels = labels.strip_suffix('}').expect("the end of the labels");
        let labels = labels.strip_prefix(mount).expect("the mount's label");
        let value: f64 = value.parse().expect("a number");
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let key = format!("{name}{labels}");
        assert_eq!(samples.insert(key, value), None, "twice: {line}");
    }
    samples
}

#[test]
fn metrics_are_openmetrics_and_count_what_happens() {
    let mount = Mount::start(&["--deliver", "follow", "--memory", "64M"]);
    let label = format!("mount=\"{}\"", mount.path().display());
    let read = || {
        let read = mount.reader(".fifofs/metrics").finish(SOON).succeeded();
        samples(&read.text(), &label)
    };
    let wait_for = |expected: &[(&str, f64)]| {
        let mut last = BTreeMap::new();
        let mut announced = Vec::new();
        mount.wait_for(&format!("metrics of {expected:?}"), || {
            last = read();
            let other: Vec<_> = (expected.iter())
                .filter(|(name, value)| last[*name] != *value)
                .map(|(name, _)| (*name, last[*name]))
                .collect();
            let is_over = other.is_empty();
            if other != announced {
                println!("other than expected: {other:?}");
                announced = other;
            }
            is_over
        });
        last
    };
    let first = read();
    let writer = mount
        .shell("exec 3> $D/x.log; echo a >&3; await rewrite; printf b 1<> $D/x.log; await end");
    mount.wait_exists("x.log");
    let reader = mount.reader("x.log");
    reader.wait_output(b"a\n");
    mount.wait_parked(&reader);
    mount
        .shell("/bin/echo done > $D/old; bash -c 'exec 3> $D/bad; echo 12 >&3; kill -9 $$' || true")
        .finish(SOON);
    let then = wait_for(&[
        ("fifofs_files,state=\"writing\"", 1.0),
        ("fifofs_files,state=\"closed\"", 0.0),
        ("fifofs_files,state=\"done\"", 1.0),
        ("fifofs_files,state=\"failed\"", 1.0),
        ("fifofs_files_bytes", 10.0),
        ("fifofs_writers", 1.0),
        ("fifofs_readers", 1.0),
        ("fifofs_waits", 1.0),
        ("fifofs_done_total", 1.0),
        ("fifofs_failed_total", 1.0),
        ("fifofs_rewritten_total", 0.0),
        ("fifofs_memory_limit_bytes", f64::from(64 << 20)),
        ("fifofs_spilled_bytes", 0.0),
    ]);
    mount.raise("rewrite");
    let _ = reader.finish(SOON);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    let last = wait_for(&[
        ("fifofs_files,state=\"writing\"", 0.0),
        ("fifofs_files,state=\"done\"", 2.0),
        ("fifofs_files_bytes", 10.0),
        ("fifofs_writers", 0.0),
        ("fifofs_readers", 0.0),
        ("fifofs_waits", 0.0),
        ("fifofs_rewritten_total", 1.0),
    ]);
    // Through its cache the kernel may write the rest of a page once more.
    let written = "fifofs_written_bytes_total";
    assert!(then[written] >= 10.0, "{then:?}");
    assert!(last[written] > then[written], "{last:?}");
    assert!(last["fifofs_requests_total"] > first["fifofs_requests_total"]);
    assert!(last["fifofs_uptime_seconds"] > first["fifofs_uptime_seconds"]);
    for name in ["contents", "kept"] {
        let name = format!("fifofs_memory_{name}_bytes");
        assert!(last[&name] > 0.0, "{name} in {last:?}");
    }
    mount.unmount();
}

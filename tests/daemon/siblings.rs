//! A daemon in one pid namespace, and programs in another that it cannot see: containers that share a volume.

use std::sync::Arc;

use crate::common::{Place, Process, SOON, needs, needs_root};

/// Runs a program in a pid namespace of its own.
const APART: &str = "exec unshare --pid --fork --kill-child";

/// A daemon in a namespace of its own, which ends with the returned process.
fn daemon(place: &Arc<Place>, options: &str) -> Process {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let script = format!("{APART} $FIFOFS mount {options} $D 2> $P/log");
    let daemon = place.shell(&script);
    place.wait_for("the mount", SOON, || {
        place.mount_point().join(".fifofs/status").exists()
    });
    daemon
}

fn end(place: &Arc<Place>, daemon: Process) -> String {
    place.shell("umount $D").finish(SOON).succeeded();
    daemon.finish(SOON).succeeded();
    std::fs::read_to_string(place.at("plain").join("log")).unwrap()
}

#[test]
fn an_invisible_program_does_not_wait_for_its_own_output_and_that_is_reported_once() {
    let place = Place::new();
    let daemon = daemon(&place, "");
    for _ in 0..2 {
        let shell =
            format!("{APART} bash -c 'exec > $D/own.log; echo one; grep -c one $D/own.log >&2'");
        let ended = place.shell(&shell).finish(SOON).succeeded();
        assert_eq!(ended.stderr, "1\n");
        let reads_back = format!(
            "{APART} $PYTHON -c 'import sys
out = open(sys.argv[1], \"w+b\"); out.write(b\"x\" * 5000); out.flush()
print(len(open(sys.argv[1], \"rb\").read()))' $D/back.zip"
        );
        let ended = place.shell(&reads_back).finish(SOON);
        ended.succeeded().printed("5000\n");
    }
    needs(&[("ffmpeg", "ffmpeg")]);
    let faststart = "-v error -f lavfi -i testsrc=d=1:s=64x64 -movflags +faststart -y";
    let script = format!(
        "{APART} timeout 60 ffmpeg {faststart} $D/fast.mp4 && ffmpeg -v error -i $D/fast.mp4 -f null -"
    );
    place.shell(&script).finish(SOON).succeeded().printed("");
    // The daemon cannot know which process it means by a number.
    let script = format!("{APART} cat $D/.fifofs/pid/1/wait/later.log");
    let of_process = place.shell(&script).finish(SOON);
    of_process.failed_saying("No such process");
    // At a door it does wait, and gets the whole file.
    let reader = place.shell(&format!("{APART} cat $D/.fifofs/wait/later.log"));
    place
        .shell(&format!(
            "{APART} bash -c 'echo a > $D/later.log; echo b >> $D/later.log'"
        ))
        .finish(SOON)
        .succeeded();
    reader.finish(SOON).succeeded().printed("a\nb\n");
    let words = "a writer is in a pid namespace";
    let shown = place.shell("$FIFOFS ls $D").finish(SOON).succeeded();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.matches(words).count(), 1, "{shown}");
    let log = end(&place, daemon);
    assert_eq!(log.matches(words).count(), 1, "{log}");
    assert!(log.contains("shareProcessNamespace"), "{log}");
}

#[test]
fn with_require_visible_an_invisible_process_may_not_write() {
    let place = Place::new();
    let daemon = daemon(&place, "--require-visible");
    for script in [
        "echo one > $D/x.log",
        "echo one >> $D/x.log",
        "cp /dev/null $D/x",
    ] {
        place
            .shell(&format!("{APART} bash -c '{script}'"))
            .finish(SOON)
            .failed_saying("Operation not permitted");
    }
    place.shell("ls $D").finish(SOON).succeeded().printed("");
    let log = end(&place, daemon);
    assert_eq!(log.matches("a writer was refused").count(), 1, "{log}");
}

//! A file that was not written to its end never counts as whole: its writer was killed, failed or had no space.

use crate::common::{Mount, SOON, needs};

#[test]
fn readers_of_a_writer_killed_by_sigkill_get_every_byte_and_then_eio() {
    let mount = Mount::start(&[]);
    let early = mount.waiting_reader("killed.txt");
    let writer = mount.shell("exec > $D/killed.txt; echo one; await kill; echo two; kill -KILL $$");
    mount.wait_exists("killed.txt");
    let reader = mount.reader("killed.txt");
    reader.wait_output(b"one\n");
    mount.raise("kill");
    let ended = writer.finish(SOON);
    assert!(ended.status.code().is_none(), "killed by a signal");
    reader
        .finish(SOON)
        .failed_saying("Input/output error")
        .printed("one\ntwo\n");
    early
        .finish(SOON)
        .failed_saying("killed.txt")
        .printed("one\ntwo\n");
    mount.unmount();
}

/// Programs that read `$1`; many ask for the size and read no further, so that no later error would reach them.
const READERS: [&str; 8] = [
    r#"cat "$1""#,
    r#"head -c 3 "$1""#,
    r#"cp "$1" copy && cat copy"#,
    r#"dd status=none if="$1""#,
    r#"curl -sST "$1" "file://$PWD/uploaded""#,
    r#"rsync "$1" synced"#,
    r#"$PYTHON -c 'import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.write(1, os.read(fd, os.fstat(fd).st_size))' "$1""#,
    r#"$PYTHON -c 'import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.write(1, mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:])' "$1""#,
];

#[test]
fn a_settled_file_of_a_killed_writer_cannot_be_opened_by_readers_that_waited_for_it() {
    needs(&[("curl", "curl"), ("rsync", "rsync")]);
    let mount = Mount::start(&["--deliver", "settled"]);
    let early = mount.waiting_reader("killed.zip");
    let through_wait = mount.shell("cat $D/.fifofs/wait/killed.zip");
    mount.wait_parked(&through_wait);
    let writer = mount.shell(
        "exec > $D/killed.zip; head -c 5M /dev/zero; raise written; await kill; kill -KILL $$",
    );
    mount.wait_flag("written");
    let readers: Vec<_> = READERS
        .iter()
        .map(|reader| mount.shell(&format!("set -- $D/killed.zip; {reader}")))
        .collect();
    for reader in &readers {
        mount.wait_parked(reader);
    }
    mount.raise("kill");
    writer.finish(SOON);
    early.finish(SOON).failed_saying("not whole").printed("");
    through_wait
        .finish(SOON)
        .failed_saying("Input/output error")
        .printed("");
    for (reader, program) in readers.into_iter().zip(READERS) {
        let ended = reader.finish(SOON);
        assert!(!ended.status.success(), "{program}: {}", ended.stderr);
        assert!(
            ended.stdout.len() < 20 << 10,
            "{program} printed {}",
            ended.stdout.len()
        );
    }
    // Programs that come later, and would have waited.
    let tar = r#"tar -cf - -C "$(dirname "$1")" "$(basename "$1")""#;
    for program in READERS.into_iter().chain([tar]) {
        let script = format!("set -- $D/.fifofs/wait/killed.zip; {program}");
        let ended = mount.shell(&script).finish(SOON);
        assert!(!ended.status.success(), "{program}: {}", ended.stderr);
    }
    mount
        .shell("$FIFOFS cat $D/killed.zip")
        .finish(SOON)
        .failed_saying("not whole")
        .printed("");
    // By its own path it is an ordinary file, as after any crash.
    mount
        .shell("wc -c < $D/killed.zip")
        .finish(SOON)
        .succeeded()
        .printed("5242880\n");
    mount.unmount();
}

#[test]
fn an_empty_file_of_a_killed_writer_is_not_taken_for_an_empty_result() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let early = mount.waiting_reader("killed.zip");
    mount
        .shell("exec > $D/killed.zip; kill -KILL $$")
        .finish(SOON);
    early.finish(SOON).failed_saying("not whole").printed("");
    mount.unmount();
}

#[test]
fn fail_on_never_makes_a_killed_writer_an_end_and_fail_on_status_a_nonzero_exit_a_failure() {
    let mount = Mount::start(&["--fail-on", "never"]);
    let reader = mount.waiting_reader("killed.txt");
    mount
        .shell("exec > $D/killed.txt; echo one; kill -KILL $$")
        .finish(SOON);
    reader.finish(SOON).succeeded().printed("one\n");
    mount.unmount();

    let mount = Mount::start(&["--fail-on", "status"]);
    let reader = mount.waiting_reader("failed.txt");
    mount
        .shell("exec > $D/failed.txt; echo one; exit 3")
        .finish(SOON);
    reader
        .finish(SOON)
        .failed_saying("failed.txt")
        .printed("one\n");
    mount.unmount();
}

#[test]
fn a_reader_of_bytes_lost_for_lack_of_space_gets_an_error_at_the_end() {
    let mount = Mount::start(&["--deliver", "follow", "--max-size", "16M"]);
    let reader = mount.waiting_reader("x");
    mount
        .shell("head -c 40M /dev/zero | tr '\\0' x > $D/x")
        .finish(SOON)
        .failed_saying("No space left on device");
    reader.finish(SOON).failed_saying("not whole");
    mount.unmount();
}

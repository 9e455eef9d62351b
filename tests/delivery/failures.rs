//! What was not written to its end is not passed off as whole: writers that are killed, fail or have no space.

use crate::common::{Mount, SOON};

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

#[test]
fn a_settled_reader_of_a_killed_writer_gets_eio_and_not_a_whole_file() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let early = mount.waiting_reader("killed.zip");
    let writer = mount.shell("exec > $D/killed.zip; echo one; kill -KILL $$");
    writer.finish(SOON);
    early.finish(SOON).failed_saying("killed.zip");
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
fn a_reader_of_what_there_was_no_space_for_gets_an_error_at_the_end() {
    let mount = Mount::start(&["--deliver", "follow", "--max-size", "16M"]);
    let reader = mount.waiting_reader("x");
    mount
        .shell("head -c 40M /dev/zero | tr '\\0' x > $D/x")
        .finish(SOON)
        .failed_saying("No space left on device");
    reader.finish(SOON).failed_saying("not whole");
    mount.unmount();
}

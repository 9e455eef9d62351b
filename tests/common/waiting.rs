//! Processes that wait in a mount, in each way in which one can.
//!
//! Each function here makes a mount, passes on a function that starts one more waiting process, and cleans
//! up afterwards.

use super::{Mount, Process, SOON};

/// Starts a process, and returns it once it waits.
pub(crate) type Starts<'a> = &'a mut dyn FnMut() -> Process;

/// Readers that have some bytes and wait for more.
pub(crate) fn for_more(with: impl FnOnce(Starts<'_>)) {
    while_written(&[], "x.log", |mount| {
        with(&mut || {
            let reader = mount.reader("x.log");
            reader.wait_output(b"a\n");
            mount.wait_parked(&reader);
            reader
        });
    });
}

/// Readers whose open(2) waits for the end.
pub(crate) fn in_open(with: impl FnOnce(Starts<'_>)) {
    while_written(&["--deliver", "settled"], "x", |mount| {
        with(&mut || {
            let reader = mount.reader("x");
            mount.wait_parked(&reader);
            reader
        });
    });
}

/// Readers of a file that does not exist.
pub(crate) fn for_a_file(with: impl FnOnce(Starts<'_>)) {
    let mount = Mount::start(&[]);
    with(&mut || {
        let reader = mount.reader(".fifofs/pipe/nothing");
        mount.wait_parked(&reader);
        reader
    });
    mount.unmount();
}

/// Writers that are as far ahead of their readers as they may be.
pub(crate) fn for_readers(with: impl FnOnce(Starts<'_>)) {
    let mount = Mount::start(&["--deliver", "stream"]);
    let mut number = 0;
    with(&mut || {
        number += 1;
        let writer = mount.shell(&format!("exec head -c 1G /dev/zero > $D/x{number}"));
        mount.wait_parked(&writer);
        writer
    });
    mount.unmount();
}

/// While a process writes a file that has one line so far.
fn while_written(options: &[&str], name: &str, with: impl FnOnce(&Mount)) {
    let mount = Mount::start(options);
    let writer = mount.shell(&format!("exec > $D/{name}; echo a; await end"));
    mount.wait_exists(name);
    with(&mount);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

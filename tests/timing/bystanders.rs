//! No process is delayed for long by another one that waits.

use std::time::Duration;

use crate::common::{Mount, SOON};

/// A waiting process may delay others for this long: a second, and the time to start them.
const BYSTANDER: Duration = Duration::from_millis(1_500);

/// Every one of these scripts, started while a process waits, must end in time.
fn bystanders_do_not_hang(mount: &Mount, scripts: &[&str]) {
    for script in scripts {
        let done = mount.shell(script).finish(SOON).succeeded();
        assert!(
            done.took <= BYSTANDER,
            "'{script}' took {:?}\n{}",
            done.took,
            mount.place().state()
        );
    }
}

#[test]
fn no_bystander_hangs_because_of_a_waiting_reader() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.log; echo a; await end");
    mount.wait_exists("x.log");
    let reader = mount.reader("x.log");
    reader.wait_output(b"a\n");
    let settled = mount.reader(".fifofs/pipe/nothing");
    mount.wait_parked(&settled);
    bystanders_do_not_hang(
        &mount,
        &[
            "ls -l $D",
            "echo x > $D/other",
            "mv $D/other $D/another",
            "rm $D/another",
            "echo more >> $D/x.log",
            "mv $D/x.log $D/y.log",
            "ln $D/y.log $D/z.log",
            "rm $D/y.log $D/z.log",
            "mkdir $D/x; rmdir $D/x; ls $D",
        ],
    );
    mount.raise("end");
    writer.finish(SOON).succeeded();
    drop(reader);
    drop(settled);
    mount.unmount();
}

#[test]
fn no_bystander_hangs_because_of_a_waiting_stream_writer() {
    let mount = Mount::start(&["--deliver", "stream"]);
    let writer = mount.shell("exec head -c 1G /dev/zero > $D/x");
    mount.wait_parked(&writer);
    bystanders_do_not_hang(
        &mount,
        &[
            "ls -l $D",
            "stat $D/x",
            "echo other > $D/other",
            "echo more | dd of=$D/x conv=notrunc oflag=append status=none",
            "mv $D/x $D/y",
            "ls $D",
            "ln $D/y $D/z",
            "rm $D/y $D/z",
            "ls $D",
        ],
    );
    drop(writer);
    mount.unmount();
}

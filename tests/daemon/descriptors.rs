//! A daemon without free descriptors: it refuses opens, says why, and loses nothing.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::common::{Mount, Place, SOON};

/// Limits the running daemon as `ulimit -n LIMIT` would have.
fn limit_descriptors(mount: &Mount, limit: u64) {
    let daemon = Pid::from_raw(mount.pid());
    let limit = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    prlimit(daemon, Resource::Nofile, limit).expect("prlimit");
}

#[test]
fn out_of_descriptors_the_daemon_refuses_opens_says_so_once_and_keeps_the_mount_and_every_file() {
    let mount = Mount::start(&[]);
    limit_descriptors(&mount, 64);
    let writers = mount.python(
        r#"

children = []
for i in range(60):
    pid = os.fork()
    if pid == 0:
        try:
            fd = os.open(D + "/q%d" % i, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(fd, b"%d\n" % i)
        except OSError as error:
            os._exit(1 if error.errno == errno.ENFILE else 2)
        wait_flag("end")
        os._exit(0)
    children.append(pid)
raise_flag("started")
ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
print(ends.count(0), ends.count(1), ends.count(2))
"#,
    );
    mount.wait_flag("started");
    mount.wait_for("the last of them to be refused", || {
        fs::read_to_string(mount.place().at("daemon.log"))
            .is_ok_and(|log| log.contains("ulimit -n"))
    });
    // The daemon reads the list of mounts each time that it changes.
    mount
        .shell(
            "mkdir elsewhere; for i in 1 2 3 4 5; do mount -t tmpfs none elsewhere; sleep .1; \
             umount elsewhere; done",
        )
        .finish(SOON)
        .succeeded();
    mount.raise("end");
    let printed = writers.finish(SOON).succeeded().text();
    let counts: Vec<usize> = printed
        .split_whitespace()
        .map(|count| count.parse().expect("a count"))
        .collect();
    let [kept, refused, otherwise] = counts[..] else {
        panic!("three counts: {printed}")
    };
    assert!(
        kept >= 20 && refused >= 1 && otherwise == 0,
        "of 60 writers {kept} were let in, {refused} refused with ENFILE, {otherwise} failed \
         otherwise"
    );
    mount
        .shell("cat $D/q* | wc -l")
        .finish(SOON)
        .succeeded()
        .printed(format!("{kept}\n"));
    mount
        .shell("echo again > $D/again; cat $D/again")
        .finish(SOON)
        .succeeded()
        .printed("again\n");
    let log = fs::read_to_string(mount.place().at("daemon.log")).expect("the daemon's log");
    assert_eq!(log.matches("ulimit -n").count(), 1, "{log}");
    mount.unmount();
}

#[test]
fn two_thousand_files_that_are_spilled_take_no_descriptor_each() {
    let mount = Mount::start(&["--memory", "8M"]);
    limit_descriptors(&mount, 256);
    mount
        .python(
            r#"
for i in range(2000):
    with open(D + "/f%d" % i, "wb") as f:
        f.write(b"%08d" % i * 2048)
"#,
        )
        .finish(Duration::from_secs(60))
        .succeeded();
    let spilled = |mount: &Mount| mount.status()["memory"]["spilled"].as_u64();
    mount.wait_for("what has no room in memory to be spilled", || {
        spilled(&mount).is_some_and(|bytes| bytes >= 2000 * 16384 - (8 << 20))
    });
    assert!(
        mount.descriptors() < 64,
        "the daemon has {} descriptors",
        mount.descriptors()
    );
    mount
        .python(
            r#"
for i in range(2000):
    with open(D + "/f%d" % i, "rb") as f:
        assert f.read() == b"%08d" % i * 2048, i
    os.remove(D + "/f%d" % i)
"#,
        )
        .finish(Duration::from_secs(60))
        .succeeded();
    mount.wait_for("the disk to be free again", || spilled(&mount) == Some(0));
    mount.unmount();
}

/// It must not make a mount that ends at once, or in which nothing can be written.
#[test]
fn a_daemon_with_any_limit_of_descriptors_serves_or_says_at_its_start_that_it_cannot() {
    let place = Place::new();
    let script = r#"
mkdir -p m
for n in 5 8 12 16 20 24 28 31 32 40; do
    if said=$(ulimit -n $n; "$FIFOFS" mount --daemon m 2>&1); then
        echo $n > m/x; cat m/x
        "$FIFOFS" unmount m
    else
        case $said in *"ulimit -n"*) echo refused;; *) echo "$said";; esac
        mountpoint -q m && echo mounted
    fi
done"#;
    place.shell(script).finish(SOON).succeeded().printed(
        "refused\nrefused\nrefused\nrefused\nrefused\nrefused\nrefused\nrefused\n32\n40\n",
    );
}

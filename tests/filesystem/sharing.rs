//! One file and several processes: locks, appending, and mappings.

use crate::LIMIT;
use crate::common::{Mount, SOON, assert_same, needs};

#[test]
fn flock_and_fcntl_locks_hold_between_processes() {
    needs(&[("flock", "util-linux")]);
    let mount = Mount::start(&[]);
    mount.shell("touch $D/lock").finish(SOON).succeeded();
    let holder = mount.shell("exec 9>> $D/lock; flock 9; raise flock; await release; exec 9>&-");
    mount.wait_flag("flock");
    let refused = mount.shell("flock -n $D/lock true").finish(SOON);
    assert_eq!(refused.status.code(), Some(1), "the lock is held");
    let waits = mount.shell("flock $D/lock echo locked");
    mount.raise("release");
    waits.finish(SOON).succeeded().printed("locked\n");
    holder.finish(SOON).succeeded();

    let holder = mount.python(
        r#"
file = open(D + "/lock", "r+")
fcntl.lockf(file, fcntl.LOCK_EX, 100, 50)
raise_flag("fcntl")
wait_flag("release fcntl")
"#,
    );
    mount.wait_flag("fcntl");
    mount
        .python(
            r#"
file = open(D + "/lock", "r+")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 50, 0)
try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 120)
except BlockingIOError: say("refused")
raise_flag("release fcntl")
fcntl.lockf(file, fcntl.LOCK_EX, 10, 120)
say("locked")
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("refused\nlocked\n");
    holder.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn lines_of_concurrent_appenders_are_all_there_and_whole() {
    let mount = Mount::start(&[]);
    let reader = mount.waiting_reader("x.log");
    mount
        .shell(
            "for k in 1 2 3 4; do (for i in $(seq 1000); do echo \"writer $k line $i\"; done >> $D/x.log) & done; wait",
        )
        .finish(LIMIT)
        .succeeded();
    let text = reader.finish(SOON).succeeded().text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (1..=4)
        .flat_map(|k| (1..=1000).map(move |i| format!("writer {k} line {i}")))
        .collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_same(&mount.finished("x.log"), text.as_bytes());
    mount.unmount();
}

#[test]
fn a_mapping_shared_by_two_processes_shows_each_what_the_other_writes() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
fd = os.open(D + "/x", os.O_RDWR | os.O_CREAT, 0o644)
os.ftruncate(fd, 8192)
shared = mmap.mmap(fd, 8192)
child = os.fork()
if child == 0:
    own = mmap.mmap(os.open(D + "/x", os.O_RDWR), 8192)
    own[4096:4101] = b"child"
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert shared[4096:4101] == b"child"
shared[:6] = b"parent"
shared.flush()
assert os.pread(fd, 6, 0) == b"parent"
"#,
        )
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

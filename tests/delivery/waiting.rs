//! Which readers wait for a file that is being written, and which never do.

use crate::common::{Mount, SOON};

#[test]
fn a_process_that_holds_the_file_open_and_its_children_read_it_without_waiting() {
    let mount = Mount::start(&[]);
    mount
        .shell("exec 3>$D/x; echo a >&3; cat $D/x")
        .finish(SOON)
        .succeeded()
        .printed("a\n");
    mount
        .shell("exec > $D/script.log; echo start; echo error: x; grep -c error $D/script.log >&2; bash -c 'tail -n 1 $D/script.log' >&2")
        .finish(SOON)
        .succeeded();
    mount
        .python(
            r#"
with open(D + "/held.zip", "wb") as file:
    file.write(b"PK and so on")
    file.flush()
    assert open(D + "/held.zip", "rb").read() == b"PK and so on"
    child = os.fork()
    if child == 0:
        os._exit(0 if open(D + "/held.zip", "rb").read() == b"PK and so on" else 1)
    assert os.waitpid(child, 0)[1] == 0
assert open(D + "/held.zip", "rb").read() == b"PK and so on", "it has opened this generation for writing"
"#,
        )
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

#[test]
fn opening_for_reading_and_writing_never_waits() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.zip; echo one; await end");
    mount.wait_for("the first line", || {
        mount.file("x.zip").metadata().is_ok_and(|x| x.len() == 4)
    });
    mount
        .python(
            "fd = os.open(D + '/x.zip', os.O_RDWR); assert os.read(fd, 100) == b'one\\n'; assert os.read(fd, 100) == b''",
        )
        .finish(SOON)
        .succeeded();
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn metadata_of_a_file_that_is_being_written_never_waits() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("exec > $D/x.zip; printf 12345; await end");
    mount.wait_for("the first bytes", || {
        mount.file("x.zip").metadata().is_ok_and(|x| x.len() == 5)
    });
    mount
        .shell("stat -c '%F %s' $D/x.zip; ls -l $D >&2; find $D -size -10k >&2; du -a $D >&2; [ -f $D/x.zip ]")
        .finish(SOON)
        .succeeded()
        .printed("regular file 5\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_nonblocking_reader_gets_eagain_where_there_is_nothing_yet_and_poll_works() {
    let mount = Mount::start(&[]);
    let writer = mount.shell(
        "exec > $D/x.log; await reading; echo one; await again; echo two; await end; echo three",
    );
    mount.wait_exists("x.log");
    let reader = mount.python(
        r#"
fd = os.open(D + "/x.log", os.O_RDONLY | os.O_NONBLOCK)
poll = select.poll()
poll.register(fd, select.POLLIN)
def again():
    try: return os.read(fd, 100)
    except BlockingIOError: return "EAGAIN"
say(again())
raise_flag("reading")
assert poll.poll(10000), "poll says that there is something"
say(again(), again())
raise_flag("again")
assert poll.poll(10000)
say(again(), again())
raise_flag("end")
assert poll.poll(10000)
say(again())
assert poll.poll(10000), "the end is something too"
say(again())
"#,
    );
    reader
        .finish(SOON)
        .succeeded()
        .printed("EAGAIN\nb'one\\n' EAGAIN\nb'two\\n' EAGAIN\nb'three\\n'\nb''\n");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn a_nonblocking_open_of_a_settled_file_does_not_wait() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer = mount.shell("exec > $D/x; echo one; await end");
    mount.wait_exists("x");
    mount
        .python(
            r#"
fd = os.open(D + "/x", os.O_RDONLY | os.O_NONBLOCK)
try: os.read(fd, 100)
except BlockingIOError: say("EAGAIN")
"#,
        )
        .finish(SOON)
        .succeeded()
        .printed("EAGAIN\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    mount.unmount();
}

#[test]
fn the_open_of_a_settled_reader_waits_so_its_fstat_is_true_and_it_can_map_the_file() {
    let mount = Mount::start(&["--deliver", "settled"]);
    let writer =
        mount.shell("exec > $D/x; head -c 5000 /dev/zero; await end; head -c 5000 /dev/zero");
    mount.wait_exists("x");
    let reader = mount.python(
        r#"
fd = os.open(D + "/x", os.O_RDONLY)
size = os.fstat(fd).st_size
mapped = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
say(size, len(mapped), mapped[:] == bytes(size), os.lseek(fd, -1, os.SEEK_END), os.read(fd, 10))
"#,
    );
    mount.wait_parked(&reader);
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader
        .finish(SOON)
        .succeeded()
        .printed("10000 10000 True 9999 b'\\x00'\n");
    mount.unmount();
}

/// The daemon once read a file of the caller in /proc that is guarded by the lock which execve
/// holds while it closes such descriptors: the mount hung, and every `ps` of the machine with it.
#[test]
fn a_writer_may_start_programs_with_its_output_open_and_close_on_exec() {
    let mount = Mount::start(&[]);
    mount
        .python(
            r#"
import subprocess
f = open(D + "/x", "wb")
for i in range(20):
    f.write(b"line\n")
    f.flush()
    assert subprocess.Popen(["/bin/true"], close_fds=False).wait() == 0
"#,
        )
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

/// Descriptors were once recognized by small inode numbers that `/dev/null` and terminals have as
/// well: processes with those open did not wait.
#[test]
fn a_reader_with_dev_null_open_waits_like_any_other() {
    let mount = Mount::start(&[]);
    let writer = mount.shell("for i in 1 2 3 4 5 6; do exec 3>$D/f$i; echo a >&3; done; raise made; await end; echo b >&3");
    mount.wait_flag("made");
    let reader = mount.shell("exec 5>/dev/null; cat $D/f6");
    reader.wait_output(b"a\n");
    mount.raise("end");
    writer.finish(SOON).succeeded();
    reader.finish(SOON).succeeded().printed("a\nb\n");
    mount.unmount();
}
